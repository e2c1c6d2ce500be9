/* What models are built of: device graphs, groups, propagation, initial values. */
#include "host/model/blocks.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/memory.h"

kd_status kd_csr_allocate(kd_pool *pool, int64_t rows, int64_t cols, int64_t nnz, bool values, const char *what,
                          kd_csr *out) {
    *out = (kd_csr){.rows = rows, .cols = cols, .entries = nnz};
    KD_OR_RETURN(kd_pool_alloc(pool, rows + 1, sizeof(int64_t), what, &out->row_ptr));
    KD_OR_RETURN(kd_pool_alloc(pool, nnz, sizeof(int32_t), what, &out->col));
    if (values) KD_OR_RETURN(kd_pool_alloc(pool, nnz, sizeof(float), what, &out->val));
    return KD_OK;
}

kd_status kd_groups_allocate(kd_pool *pool, int64_t capacity, kd_groups *out) {
    static const char what[] = "batch";
    *out = (kd_groups){.capacity = capacity};
    KD_OR_RETURN(kd_pool_alloc(pool, 1, sizeof(int64_t), what, &out->count));
    KD_OR_RETURN(kd_pool_alloc(pool, capacity, sizeof(int32_t), what, &out->key));
    KD_OR_RETURN(kd_pool_alloc(pool, capacity + 1, sizeof(int32_t), what, &out->ptr));
    return kd_pool_alloc(pool, capacity, sizeof(int32_t), what, &out->member);
}

kd_status kd_fill(kd_ctx *ctx, const void *device, const void *host, int64_t count, int64_t size) {
    return kd_upload(ctx, (void *)(uintptr_t)device, host, count * size);
}

int64_t kd_count_in(kd_range columns, int64_t n, const int32_t *column) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += column[i] >= columns.first && column[i] < columns.first + columns.count;
    return count;
}

kd_status kd_csr_fill_part(kd_ctx *ctx, const int64_t *row_ptr, const int32_t *col, int64_t base, kd_range rows,
                           kd_range columns, kd_csr *out) {
    kd_status status = KD_OK;
    int64_t *ptr = NULL, used = 0;
    int32_t *local = NULL;
    KD_TRY(kd_host_alloc(&ptr, rows.count + 1, sizeof *ptr, "columns of a rank"));
    KD_TRY(kd_host_alloc(&local, row_ptr[rows.first + rows.count] - row_ptr[rows.first], sizeof *local,
                         "columns of a rank"));
    for (int64_t r = 0; r < rows.count; r++) {
        for (int64_t k = row_ptr[rows.first + r]; k < row_ptr[rows.first + r + 1]; k++) {
            int64_t c = col[k] - base - columns.first;
            if (c >= 0 && c < columns.count) local[used++] = (int32_t)c;
        }
        ptr[r + 1] = used;
    }
    KD_TRY(kd_fill(ctx, out->row_ptr, ptr, rows.count + 1, sizeof *ptr));
    KD_TRY(kd_fill(ctx, out->col, local, used, sizeof *local));
cleanup:
    free(ptr);
    free(local);
    return status;
}

void kd_uniform_fill(float *x, kd_mat m, int64_t column, double bound, uint64_t seed, uint32_t tensor) {
    kd_rng rng = {seed, KD_RNG_INIT, tensor, 0, NULL};
    for (int64_t r = 0; r < m.rows; r++)
        for (int64_t block = column / 4; 4 * block < column + m.cols; block++) {
            uint32_t draw[4];
            kd_rng_draw4(&rng, (uint32_t)r, (uint32_t)block, draw);
            for (int64_t i = 0; i < 4; i++) {
                int64_t c = 4 * block + i - column;
                if (c >= 0 && c < m.cols) x[r * m.cols + c] = (float)((2.0 * kd_uniform(draw[i]) - 1.0) * bound);
            }
        }
}

double kd_xavier_bound(int64_t rows, int64_t cols) { return sqrt(6.0 / (double)(rows + cols)); }

kd_status kd_gcn(kd_ctx *ctx, kd_csr a, int64_t layers, kd_mat x, kd_mat scratch, kd_mat y) {
    if (layers == 0) return kd_add_scaled(ctx, 1.0f, x, 0.0f, y);
    kd_mat from = x;
    for (int64_t l = 1; l <= layers; l++) { /* Horner: Y <- A Y + X */
        kd_mat to = (layers - l) % 2 == 0 ? y : scratch;
        KD_OR_RETURN(kd_spmm(ctx, 1.0f, a, from, 1.0f, x, to));
        from = to;
    }
    return KD_OK;
}
