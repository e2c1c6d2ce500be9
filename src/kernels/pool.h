/* The device memory of one owner: every block is named, counted and freed together. In counting mode nothing is
 * allocated: the same lay-out code then gives the memory plan. */
#ifndef KD_KERNELS_POOL_H
#define KD_KERNELS_POOL_H

#include "kdiffe/record.h"
#include "kernels/ops.h"

typedef struct kd_pool {
    kd_ctx *ctx; /* NULL: counting mode */
    int64_t count, capacity;
    void **block;
    kd_memory_plan *plan; /* counting mode: bytes are added to the part named `what` */
} kd_pool;

/* Blocks of a GPU begin at multiples of 256 bytes, which the widest loads want; so do tensors that share a block where
 * each has its floats rounded up so. */
enum { KD_TENSOR_FLOATS = 256 / sizeof(float) };
static inline int64_t kd_tensor_floats(int64_t floats) {
    return (floats + KD_TENSOR_FLOATS - 1) / KD_TENSOR_FLOATS * KD_TENSOR_FLOATS;
}

/* So do, at multiples of 128 bytes, the rows of the matrices that the largest products read and write; but not at those
 * of 4 KiB, at which a CPU's first cache holds few rows. */
enum { KD_ROW_FLOATS = 128 / sizeof(float), KD_CACHE_FLOATS = 4096 / sizeof(float) };
static inline kd_mat kd_mat_padded(float *data, int64_t rows, int64_t cols) {
    int64_t ld = (cols + KD_ROW_FLOATS - 1) / KD_ROW_FLOATS * KD_ROW_FLOATS;
    return (kd_mat){data, rows, cols, ld + (ld % KD_CACHE_FLOATS == 0 ? KD_ROW_FLOATS : 0)};
}

void kd_pool_init(kd_pool *pool, kd_ctx *ctx);
/* Bytes that would be allocated go into *plan, which the caller has zeroed. */
void kd_pool_init_counting(kd_pool *pool, kd_memory_plan *plan);
void kd_pool_free(kd_pool *pool);

/* *out (a pointer variable) = count * size zeroed device bytes; in counting mode NULL. KD_ERR_MEMORY names `what`. */
kd_status kd_pool_alloc(kd_pool *pool, int64_t count, int64_t size, const char *what, void *out);

/* A dense rows x cols matrix. */
kd_status kd_pool_mat(kd_pool *pool, int64_t rows, int64_t cols, const char *what, kd_mat *out);
/* The same with rows as kd_mat_padded says. */
kd_status kd_pool_padded(kd_pool *pool, int64_t rows, int64_t cols, const char *what, kd_mat *out);

/* As kd_pool_alloc, then filled from `host` (not read in counting mode). */
kd_status kd_pool_upload(kd_pool *pool, const void *host, int64_t count, int64_t size, const char *what, void *out);

#endif
