/* One stored number of a .npy file or a pickled array: its type, and how it is read from unaligned bytes. */
#ifndef KD_DATA_ELEMENT_H
#define KD_DATA_ELEMENT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct kd_element {
    char kind;       /* 'f' float (2, 4 or 8 bytes), 'i' signed, 'u' unsigned (1, 2, 4 or 8), 'b' bool (1) */
    int size;        /* bytes */
    bool big_endian; /* false for one byte */
} kd_element;

/* Parses a numpy type string of `length` characters: an optional order mark (< > | =) and kind and size, as in "<f2",
 * "i4",
 * "|b1". False, with *out untouched, for every other type (objects, strings, records, complex). */
bool kd_element_parse(const char *text, int64_t length, kd_element *out);

/* The element at `bytes` as a double; int64 values beyond 2^53 are rounded. */
double kd_element_real(kd_element element, const unsigned char *bytes);

/* The element at `bytes` as an int64; false if it is no whole number or does not fit. */
bool kd_element_integer(kd_element element, const unsigned char *bytes, int64_t *out);

#endif
