#include "host/data/element.h"

#include <math.h>
#include <string.h>

bool kd_element_parse(const char *text, int64_t length, kd_element *out) {
    bool big_endian = length > 0 && text[0] == '>';
    if (length > 0 && strchr("<>|=", text[0]) != NULL) text++, length--;
    if (length != 2 || text[0] == '\0' || text[1] == '\0') return false;
    int size = text[1] - '0';
    const char *sizes = text[0] == 'f' ? "248" : text[0] == 'i' || text[0] == 'u' ? "1248" : text[0] == 'b' ? "1" : "";
    if (strchr(sizes, text[1]) == NULL) return false;
    *out = (kd_element){.kind = text[0], .size = size, .big_endian = big_endian && size > 1};
    return true;
}

/* The stored bits, whatever their order in the file. */
static uint64_t load_bits(kd_element element, const unsigned char *bytes) {
    uint64_t bits = 0;
    for (int i = 0; i < element.size; i++) {
        int place = element.big_endian ? element.size - 1 - i : i;
        bits |= (uint64_t)bytes[i] << (8 * place);
    }
    return bits;
}

static double half_to_double(uint64_t bits) {
    int exponent = (int)(bits >> 10 & 31);
    double fraction = (double)(bits & 1023);
    double magnitude;
    if (exponent == 31)
        magnitude = fraction == 0 ? (double)INFINITY : (double)NAN;
    else if (exponent == 0)
        magnitude = ldexp(fraction, -24);
    else
        magnitude = ldexp(fraction + 1024, exponent - 25);
    return bits >> 15 & 1 ? -magnitude : magnitude;
}

static int64_t sign_extend(uint64_t bits, int size) {
    uint64_t sign = (uint64_t)1 << (8 * size - 1);
    uint64_t extended = (bits ^ sign) - sign;
    int64_t value;
    memcpy(&value, &extended, sizeof value);
    return value;
}

double kd_element_real(kd_element element, const unsigned char *bytes) {
    uint64_t bits = load_bits(element, bytes);
    if (element.kind == 'i') return (double)sign_extend(bits, element.size);
    if (element.kind == 'u') return (double)bits;
    if (element.kind == 'b') return bits != 0;
    if (element.size == 2) return half_to_double(bits);
    if (element.size == 4) {
        uint32_t narrow = (uint32_t)bits;
        float single;
        memcpy(&single, &narrow, sizeof single);
        return (double)single;
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool kd_element_integer(kd_element element, const unsigned char *bytes, int64_t *out) {
    if (element.kind == 'f') {
        double value = kd_element_real(element, bytes);
        /* 2^63 itself is a double and does not fit; NaN fails both comparisons. */
        if (!(value >= -9223372036854775808.0 && value < 9223372036854775808.0) || value != trunc(value)) return false;
        *out = (int64_t)value;
        return true;
    }
    uint64_t bits = load_bits(element, bytes);
    if (element.kind == 'u' && bits > INT64_MAX) return false;
    *out = element.kind == 'i' ? sign_extend(bits, element.size) : element.kind == 'b' ? bits != 0 : (int64_t)bits;
    return true;
}
