/* What models are built of: device graphs, groups, propagation, initial values. */
#ifndef KD_MODEL_BLOCKS_H
#define KD_MODEL_BLOCKS_H

#include "host/ranks/collectives.h"
#include "kernels/pool.h"

/* A rows x cols matrix of nnz entries in `pool`, to be filled; without `values` all of them are 1. */
kd_status kd_csr_allocate(kd_pool *pool, int64_t rows, int64_t cols, int64_t nnz, bool values, const char *what,
                          kd_csr *out);

/* For batches of up to `capacity` entries. */
kd_status kd_groups_allocate(kd_pool *pool, int64_t capacity, kd_groups *out);

/* device = count elements of `size` bytes of host. Graphs are written once, here; kd_csr holds them as const for every
 * later reader. */
kd_status kd_fill(kd_ctx *ctx, const void *device, const void *host, int64_t count, int64_t size);

/* How many of column [n] lie in the range. */
int64_t kd_count_in(kd_range columns, int64_t n, const int32_t *column);

/* Uploads the structure of some rows and columns of a matrix in host memory, whose columns are counted from `base`. */
kd_status kd_csr_fill_part(kd_ctx *ctx, const int64_t *row_ptr, const int32_t *col, int64_t base, kd_range rows,
                           kd_range columns, kd_csr *out);

/* x [m.rows, m.cols] = uniform in -bound .. bound, keyed (seed, tensor, row, column): columns `column` and on of whole
 * rows. Host memory. */
void kd_uniform_fill(float *x, kd_mat m, int64_t column, double bound, uint64_t seed, uint32_t tensor);

/* sqrt(6 / (rows + cols)): of Xavier's uniform initial values. */
double kd_xavier_bound(int64_t rows, int64_t cols);

/* Y = sum over l = 0..layers of A^l X; scratch is overwritten where layers > 1. A symmetric: its own gradient too. */
kd_status kd_gcn(kd_ctx *ctx, kd_csr a, int64_t layers, kd_mat x, kd_mat scratch, kd_mat y);

#endif
