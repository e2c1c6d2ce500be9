#include "host/data/npy.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

static const char magic[6] = "\x93NUMPY";

/* The header is a Python dictionary; this reads the three keys that the format knows, in any order. */
typedef struct header_text {
    const char *path;
    const char *cursor, *end;
} header_text;

static kd_status header_error(const header_text *text, const char *expected) {
    return KD_FAIL(KD_ERR_FORMAT, "%s: bad .npy header: expected %s", text->path, expected);
}

static void skip_space(header_text *text) {
    while (text->cursor < text->end && strchr(" \t\r\n", *text->cursor) != NULL && *text->cursor != '\0')
        text->cursor++;
}

/* Consumes `c` after spaces if it comes next. */
static bool accept(header_text *text, char c) {
    skip_space(text);
    if (text->cursor == text->end || *text->cursor != c) return false;
    text->cursor++;
    return true;
}

static kd_status quoted(header_text *text, const char *what, const char **begin, int64_t *length) {
    skip_space(text);
    if (text->cursor == text->end || (*text->cursor != '\'' && *text->cursor != '"')) return header_error(text, what);
    char quote = *text->cursor++;
    const char *close = memchr(text->cursor, quote, (size_t)(text->end - text->cursor));
    if (close == NULL) return header_error(text, what);
    *begin = text->cursor;
    *length = close - text->cursor;
    text->cursor = close + 1;
    return KD_OK;
}

static kd_status parse_descr(header_text *text, kd_npy *out) {
    const char *begin = NULL;
    int64_t length = 0;
    skip_space(text);
    if (text->cursor < text->end && *text->cursor == '[')
        return KD_FAIL(KD_ERR_FORMAT, "%s: a .npy file of records; expected plain numbers", text->path);
    kd_status status = quoted(text, "a type such as '<f4'", &begin, &length);
    if (status == KD_OK && !kd_element_parse(begin, length, &out->element))
        status = KD_FAIL(KD_ERR_FORMAT, "%s: type '%.*s' is not read; expected f2, f4, f8, i1..i8, u1..u8 or b1",
                         text->path, (int)(length < 32 ? length : 32), begin);
    return status;
}

static kd_status parse_shape(header_text *text, kd_npy *out) {
    static const char expected[] = "a shape such as (10, 3)";
    if (!accept(text, '(')) return header_error(text, expected);
    while (!accept(text, ')')) {
        int64_t size = 0;
        const char *first = text->cursor;
        for (; text->cursor < text->end && *text->cursor >= '0' && *text->cursor <= '9'; text->cursor++)
            if (__builtin_mul_overflow(size, 10, &size) || __builtin_add_overflow(size, *text->cursor - '0', &size))
                return header_error(text, "dimensions that fit 63 bits");
        if (text->cursor == first) return header_error(text, expected);
        if (text->cursor < text->end && *text->cursor == 'L') text->cursor++; /* Python 2 wrote long integers so */
        if (out->rank == KD_NPY_MAX_RANK)
            return KD_FAIL(KD_ERR_FORMAT, "%s: more than %d dimensions", text->path, KD_NPY_MAX_RANK);
        out->shape[out->rank++] = size;
        if (!accept(text, ',')) {
            if (!accept(text, ')')) return header_error(text, expected);
            break;
        }
    }
    return KD_OK;
}

static kd_status parse_order(header_text *text, bool *fortran) {
    skip_space(text);
    int64_t left = text->end - text->cursor;
    *fortran = left >= 4 && memcmp(text->cursor, "True", 4) == 0;
    if (!*fortran && !(left >= 5 && memcmp(text->cursor, "False", 5) == 0)) return header_error(text, "True or False");
    text->cursor += *fortran ? 4 : 5;
    return KD_OK;
}

static kd_status parse_dictionary(header_text *text, kd_npy *out) {
    bool fortran = false, seen_descr = false, seen_order = false, seen_shape = false;

    if (!accept(text, '{')) return header_error(text, "a dictionary");
    while (!accept(text, '}')) {
        const char *key = NULL;
        int64_t length = 0;
        KD_OR_RETURN(quoted(text, "a quoted key", &key, &length));
        if (!accept(text, ':')) KD_OR_RETURN(header_error(text, "':' after a key"));
        if (length == 5 && memcmp(key, "descr", 5) == 0 && !seen_descr) {
            seen_descr = true;
            KD_OR_RETURN(parse_descr(text, out));
        } else if (length == 13 && memcmp(key, "fortran_order", 13) == 0 && !seen_order) {
            seen_order = true;
            KD_OR_RETURN(parse_order(text, &fortran));
        } else if (length == 5 && memcmp(key, "shape", 5) == 0 && !seen_shape) {
            seen_shape = true;
            KD_OR_RETURN(parse_shape(text, out));
        } else {
            KD_OR_RETURN(header_error(text, "the keys descr, fortran_order and shape, once each"));
        }
        if (!accept(text, ',') && text->cursor < text->end && *text->cursor != '}')
            KD_OR_RETURN(header_error(text, "',' or '}' after a value"));
    }
    if (!seen_descr || !seen_order || !seen_shape)
        KD_OR_RETURN(header_error(text, "the keys descr, fortran_order and shape"));
    if (fortran && out->rank > 1)
        KD_OR_RETURN(
            KD_FAIL(KD_ERR_FORMAT, "%s: Fortran order is not read; save it with numpy.ascontiguousarray", text->path));
    return KD_OK;
}

/* Where the header's text lies, from the magic, the version and the length field. */
static kd_status find_header(const char *path, const kd_mapped_file *file, header_text *out) {
    if (file->bytes < 10 || memcmp(file->data, magic, sizeof magic) != 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s: not a .npy file: expected the 6 bytes \\x93NUMPY at offset 0", path);
    int version = file->data[6];
    if (version < 1 || version > 3)
        return KD_FAIL(KD_ERR_FORMAT, "%s: .npy version %d; expected 1, 2 or 3", path, version);
    int64_t begin = version == 1 ? 10 : 12, length = 0;
    for (int64_t i = 8; i < begin && i < file->bytes; i++) length |= (int64_t)file->data[i] << (8 * (i - 8));
    if (length > file->bytes - begin)
        return KD_FAIL(KD_ERR_FORMAT, "%s: truncated: the header ends at byte %" PRId64 ", the file at %" PRId64, path,
                       begin + length, file->bytes);
    out->path = path;
    out->cursor = (const char *)file->data + begin;
    out->end = out->cursor + length;
    return KD_OK;
}

kd_status kd_npy_open(const char *path, kd_npy *out) {
    kd_status status = KD_OK;
    header_text text = {0};
    int64_t bytes = 0;

    *out = (kd_npy){.shape = {1, 1, 1, 1}, .count = 1};
    KD_TRY(kd_file_map(path, &out->file));
    KD_TRY(find_header(path, &out->file, &text));
    out->data = (const unsigned char *)text.end;
    KD_TRY(parse_dictionary(&text, out));
    for (int64_t i = 0; i < out->rank; i++)
        if (__builtin_mul_overflow(out->count, out->shape[i], &out->count))
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: the shape's number of elements does not fit 63 bits", path);
    if (__builtin_mul_overflow(out->count, (int64_t)out->element.size, &bytes))
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: the shape's number of bytes does not fit 63 bits", path);
    int64_t present = out->file.data + out->file.bytes - out->data;
    if (present != bytes)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: %s: the shape asks for %" PRId64 " bytes of data, the file has %" PRId64,
                           path, present < bytes ? "truncated" : "too long", bytes, present);
cleanup:
    if (status != KD_OK) kd_npy_close(out);
    return status;
}

void kd_npy_close(kd_npy *npy) {
    kd_file_unmap(&npy->file);
    *npy = (kd_npy){0};
}

/* "row r, column c" of element `index`, for messages: the row is the first dimension. */
static kd_status bad_element(const char *path, const kd_npy *npy, int64_t index, const char *expected) {
    int64_t row_size = npy->rank > 1 ? npy->count / npy->shape[0] : 1;
    return KD_FAIL(KD_ERR_FORMAT, "%s: row %" PRId64 ", column %" PRId64 ": expected %s, found %g", path,
                   index / row_size, index % row_size, expected,
                   kd_element_real(npy->element, npy->data + index * npy->element.size));
}

/* Stores element `index` as the wanted type at `out`; otherwise the message says what was expected. */
typedef const char *(*convert_element)(const kd_npy *npy, int64_t index, void *out);

static const char *to_float32(const kd_npy *npy, int64_t index, void *out) {
    float value = (float)kd_element_real(npy->element, npy->data + index * npy->element.size);
    if (!isfinite(value)) return "a finite float32";
    ((float *)out)[index] = value;
    return NULL;
}

static const char *to_int32(const kd_npy *npy, int64_t index, void *out) {
    int64_t value = 0;
    if (!kd_element_integer(npy->element, npy->data + index * npy->element.size, &value) || value != (int32_t)value)
        return "a whole number that fits 32 bits";
    ((int32_t *)out)[index] = (int32_t)value;
    return NULL;
}

/* The whole array converted to a type of 4 bytes; *values is NULL on failure. */
static kd_status read_converted(const char *path, convert_element convert, int64_t *rank,
                                int64_t shape[KD_NPY_MAX_RANK], void **values) {
    kd_status status = KD_OK;
    kd_npy npy;

    *values = NULL;
    KD_TRY(kd_npy_open(path, &npy));
    KD_TRY(kd_host_alloc(values, npy.count, 4, path));
    for (int64_t i = 0; i < npy.count; i++) {
        const char *expected = convert(&npy, i, *values);
        if (expected != NULL) KD_TRY(bad_element(path, &npy, i, expected));
    }
    *rank = npy.rank;
    memcpy(shape, npy.shape, sizeof npy.shape);
cleanup:
    if (status != KD_OK) {
        free(*values);
        *values = NULL;
    }
    kd_npy_close(&npy);
    return status;
}

kd_status kd_npy_read_f32(const char *path, int64_t *rank, int64_t shape[KD_NPY_MAX_RANK], float **values) {
    void *array = NULL;
    kd_status status = read_converted(path, to_float32, rank, shape, &array);
    *values = array;
    return status;
}

kd_status kd_npy_read_i32(const char *path, int64_t *rank, int64_t shape[KD_NPY_MAX_RANK], int32_t **values) {
    void *array = NULL;
    kd_status status = read_converted(path, to_int32, rank, shape, &array);
    *values = array;
    return status;
}

static kd_status format_shape(const char *path, int64_t rank, const int64_t *shape, char *text, size_t size,
                              int64_t *count) {
    size_t used = 0;
    *count = 1;
    if (rank < 0 || rank > KD_NPY_MAX_RANK)
        return KD_FAIL(KD_ERR_ARGUMENT, "%s: %" PRId64 " dimensions; expected 0 to %d", path, rank, KD_NPY_MAX_RANK);
    text[0] = '\0';
    for (int64_t i = 0; i < rank; i++) {
        if (shape[i] < 0 || __builtin_mul_overflow(*count, shape[i], count))
            return KD_FAIL(KD_ERR_ARGUMENT, "%s: dimension %" PRId64 " is %" PRId64, path, i, shape[i]);
        /* A tuple of one needs its comma. */
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64 "%s", i > 0 ? " " : "", shape[i],
                                 i + 1 < rank || rank == 1 ? "," : "");
    }
    return KD_OK;
}

static kd_status write_array(const char *path, const char *descr, int64_t rank, const int64_t *shape,
                             const void *values, size_t size) {
    kd_status status = KD_OK;
    kd_atomic_file file = {0};
    char dimensions[128], header[256];
    int64_t count = 0;

    KD_TRY(format_shape(path, rank, shape, dimensions, sizeof dimensions, &count));
    int length =
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dimensions);
    /* numpy pads with spaces so that the data starts at a multiple of 64 and the header ends with a newline. */
    int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
    unsigned char prefix[10] = {0, 0, 0, 0, 0, 0, 1, 0, (unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
    memcpy(prefix, magic, sizeof magic);
    KD_TRY(kd_atomic_open(path, &file));
    fwrite(prefix, 1, sizeof prefix, file.stream);
    fprintf(file.stream, "%-*s\n", padded - 1, header);
    fwrite(values, size, (size_t)count, file.stream); /* a failed write shows in the commit */
    KD_TRY(kd_atomic_commit(&file));
cleanup:
    kd_atomic_abort(&file);
    return status;
}

kd_status kd_npy_write_f32(const char *path, int64_t rank, const int64_t *shape, const float *values) {
    return write_array(path, "<f4", rank, shape, values, sizeof *values);
}

kd_status kd_npy_write_i64(const char *path, int64_t rank, const int64_t *shape, const int64_t *values) {
    return write_array(path, "<i8", rank, shape, values, sizeof *values);
}
