/* Small input files for tests of the readers: a scratch folder, whole files, pickled matrices, damaged copies. */
#ifndef TESTS_DATA_FIXTURE_H
#define TESTS_DATA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/base/error.h"

static char scratch_folder[256];
static char scratch_file[512];

/* Group set-up and tear-down of a program that writes files. */
static inline int make_scratch(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(scratch_folder, sizeof scratch_folder, "%s/kdiffe-test-XXXXXX", base == NULL ? "/tmp" : base);
    return mkdtemp(scratch_folder) == NULL;
}

static inline int remove_scratch(void **state) {
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_folder);
    return system(command);
}

/* Path of a file in the scratch folder, valid until the next call. */
static inline const char *scratch(const char *name) {
    snprintf(scratch_file, sizeof scratch_file, "%s/%s", scratch_folder, name);
    return scratch_file;
}

/* Writes a file in the scratch folder and returns its path. */
static inline const char *write_bytes(const char *name, const void *bytes, size_t count) {
    const char *path = scratch(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* An empty folder in the scratch folder; its path, valid until the next call of scratch(). */
static inline const char *fresh_folder(const char *name) {
    char command[1100];
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", scratch(name), scratch_file);
    assert_int_equal(system(command), 0);
    return scratch(name);
}

static inline const char *write_text(const char *name, const char *text) {
    return write_bytes(name, text, strlen(text));
}

/* The last call failed with `status` and said `words` somewhere in one line. */
static inline void assert_failed(kd_status status, kd_status expected, const char *words) {
    assert_int_equal(status, expected);
    if (strstr(kd_last_error(), words) == NULL) fail_msg("expected '%s' in: %s", words, kd_last_error());
    assert_null(strchr(kd_last_error(), '\n'));
}

/* A growing byte string, for files that a test puts together. */
typedef struct byte_string {
    unsigned char bytes[8192];
    size_t count;
} byte_string;

static inline void put(byte_string *to, const void *bytes, size_t count) {
    assert_true(to->count + count <= sizeof to->bytes);
    memcpy(to->bytes + to->count, bytes, count);
    to->count += count;
}

static inline void put_text(byte_string *to, const char *text) { put(to, text, strlen(text)); }

static inline void put_opcode_u32(byte_string *to, char opcode, uint32_t number) {
    unsigned char bytes[5] = {(unsigned char)opcode, (unsigned char)number, (unsigned char)(number >> 8),
                              (unsigned char)(number >> 16), (unsigned char)(number >> 24)};
    put(to, bytes, sizeof bytes);
}

static inline void put_key(byte_string *to, const char *key) {
    put_opcode_u32(to, 'X', (uint32_t)strlen(key));
    put_text(to, key);
}

/* An ndarray of one dimension, as protocol 3 stores it. */
static inline void put_array(byte_string *to, const char *dtype, size_t size, uint32_t count, const void *data) {
    put_text(to, "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n");
    put(to, "K\0\x85", 3);
    put(to, "C\1b\x87R(K\1", 8);
    put_opcode_u32(to, 'J', count);
    put_text(to, "\x85"
                 "cnumpy\ndtype\n");
    put_key(to, dtype);
    put_text(to, "\x89\x88\x87R(K\3X\1");
    put(to, "\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89", 22);
    put_opcode_u32(to, 'B', (uint32_t)(size * count));
    put(to, data, size * count);
    put_text(to, "tb");
}

/* A coo_matrix of float64 values, as protocol 3 stores it. */
static inline void pickle_coo(byte_string *to, uint32_t rows, uint32_t cols, uint32_t nnz, const int32_t *row,
                              const int32_t *col, const double *value) {
    to->count = 0;
    put_text(to, "\x80\3cscipy.sparse.coo\ncoo_matrix\n)\x81}(");
    put_key(to, "_shape");
    put_opcode_u32(to, 'J', rows);
    put_opcode_u32(to, 'J', cols);
    put_text(to, "\x86");
    put_key(to, "row");
    put_array(to, "i4", 4, nnz, row);
    put_key(to, "col");
    put_array(to, "i4", 4, nnz, col);
    put_key(to, "data");
    put_array(to, "f8", 8, nnz, value);
    put_text(to, "ub.");
}

/* Calls `read` on every truncation of a file and on copies with one byte changed, each in several ways. The reader may
 * accept or refuse each; what is tested is that it neither crashes nor, under a sanitizer, reads what is not there. */
static inline void damage_everywhere(const char *name, const unsigned char *bytes, size_t count,
                                     kd_status (*read)(const char *path)) {
    static const unsigned char flips[] = {0x01, 0x04, 0x10, 0x40, 0x80, 0xff};
    unsigned char *copy = malloc(count + 1);
    assert_non_null(copy);
    for (size_t length = 0; length < count; length++)
        assert_int_not_equal(read(write_bytes(name, bytes, length)), KD_OK);
    for (size_t at = 0; at < count; at++)
        for (size_t flip = 0; flip < sizeof flips; flip++) {
            memcpy(copy, bytes, count);
            copy[at] ^= flips[flip];
            kd_status status = read(write_bytes(name, copy, count));
            assert_true(status == KD_OK || status == KD_ERR_FORMAT);
        }
    free(copy);
}

#endif
