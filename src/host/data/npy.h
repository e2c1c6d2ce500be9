/* numpy's .npy files (versions 1 to 3): numbers of any width and byte order, row-major, up to four dimensions. */
#ifndef KD_DATA_NPY_H
#define KD_DATA_NPY_H

#include "host/base/file.h"
#include "host/data/element.h"

enum { KD_NPY_MAX_RANK = 4 };

typedef struct kd_npy {
    kd_mapped_file file;
    kd_element element;
    int64_t rank, shape[KD_NPY_MAX_RANK]; /* shape beyond rank is 1 */
    int64_t count;                        /* product of shape */
    const unsigned char *data;            /* [count] elements, perhaps unaligned */
} kd_npy;

/* Maps `path` and checks the header and that the data has exactly the bytes that the shape asks for; *out is
 * overwritten. KD_ERR_FORMAT names the file and what was expected: objects, records, strings, complex numbers, Fortran
 * order of two or more dimensions and more than four dimensions are refused. On failure *out is empty. */
kd_status kd_npy_open(const char *path, kd_npy *out);

/* Unmaps and leaves *npy empty; an empty one is allowed. */
void kd_npy_close(kd_npy *npy);

/* The whole array as float32, row-major: *rank, shape[0..3] (1 beyond rank) and *values [product of shape] are
 * overwritten; free *values with free(). KD_ERR_FORMAT also for a value that is NaN, infinite or beyond float32, naming
 * the row and the column of the first (column: the offset within the row). */
kd_status kd_npy_read_f32(const char *path, int64_t *rank, int64_t shape[KD_NPY_MAX_RANK], float **values);

/* As kd_npy_read_f32 for whole numbers; KD_ERR_FORMAT for one that is not whole or beyond int32. */
kd_status kd_npy_read_i32(const char *path, int64_t *rank, int64_t shape[KD_NPY_MAX_RANK], int32_t **values);

/* Write `values` [product of shape], row-major, as '<f4' and '<i8', whole or not at all. KD_ERR_ARGUMENT for a rank
 * outside 0..4 or a negative dimension, KD_ERR_IO. */
kd_status kd_npy_write_f32(const char *path, int64_t rank, const int64_t *shape, const float *values);
kd_status kd_npy_write_i64(const char *path, int64_t rank, const int64_t *shape, const int64_t *values);

#endif
