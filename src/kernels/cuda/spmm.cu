/* Sparse message passing: Y = alpha A X + beta C for widths 1..1024 and rows from empty to hubs of many thousands, by
 * the sums of row_sums.h. */
#include "kernels/cuda/row_sums.h"

/* An entry adds its value times the row of X that its column names. */
template <bool BATCH> struct product_terms {
    enum { COUNT = 1 };
    kd_mat x[COUNT];
    kd_csr a;
    const int32_t *row, *place; /* of a batch of A's rows, of its columns; NULL: all */
    const int64_t *ptr;         /* where the listed rows' entries begin */

    __device__ void read(int64_t k, int64_t low, int64_t high, float *weight, int64_t *from) const {
        if (BATCH && row) {
            int64_t i = kd_lower_bound(ptr, low, high + 1, k + 1) - 1;
            k += a.row_ptr[row[i]] - ptr[i];
        }
        int64_t at = __ldg(a.col + k);
        if (BATCH && place) at = __ldg(place + at);
        weight[0] = a.val ? __ldg(a.val + k) : 1.0f;
        from[0] = at * x[0].ld;
    }
};

extern "C" kd_status kd_cuda_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    product_terms<false> terms = {{x}, a, NULL, NULL, NULL};
    kd_row_sums sums = {y.rows, a.entries, NULL, a.row_ptr, NULL, alpha, beta, c, y};
    return kd_launch_row_sums(ctx, sums, terms);
}

enum { LIST_BLOCK = 1024 };

/* What a product of listed rows goes through: their number, then where the entries of each begin if they follow one
 * another, [rows + 1]. One block, whose threads take neighbours. The rows are those of the list after `skip`, at most
 * `most`; count: how many the list has, NULL if as many as that. */
__global__ void __launch_bounds__(LIST_BLOCK) list_rows(int64_t most, const int64_t *count, int64_t skip,
                                                        const int32_t *row, const int64_t *row_ptr, int64_t *list) {
    KD_SHARED(int64_t, part, [KD_WARP]);
    int64_t left = count ? count[0] - skip : most, n = left < 0 ? 0 : left < most ? left : most, sum = 0;
    int64_t begin = n * threadIdx.x / LIST_BLOCK, end = n * (threadIdx.x + 1) / LIST_BLOCK;
    for (int64_t i = begin; i < end; i++) sum += row_ptr[row[i] + 1] - row_ptr[row[i]];
    int64_t at = kd_block_scan(sum, part);
    if (threadIdx.x == LIST_BLOCK - 1) {
        list[0] = n;
        list[1 + n] = at;
    }
    at -= sum;
    for (int64_t i = begin; i < end; i++) {
        list[1 + i] = at;
        at += row_ptr[row[i] + 1] - row_ptr[row[i]];
    }
}

/* Y [out or i] = alpha A[row[i]] X + beta C for the listed rows, as many at a time as there is room for. */
static kd_status multiply_listed(kd_ctx *ctx, kd_csr a, const int32_t *row, const int64_t *count, bool in_place,
                                 kd_mat x, kd_row_sums sums) {
    int64_t *list = kd_cuda_of(ctx)->row_list, all = sums.rows;
    for (int64_t skip = 0; skip < all; skip += KD_ROW_LIST) {
        sums.rows = all - skip < KD_ROW_LIST ? all - skip : (int64_t)KD_ROW_LIST;
        product_terms<true> terms = {{x}, a, row + skip, NULL, list + 1};
        sums.row_count = list;
        sums.ptr = list + 1;
        if (in_place) sums.out = row + skip;
        KD_LAUNCH(list_rows, 1, LIST_BLOCK, 0, kd_stream(ctx), sums.rows, count, skip, row + skip, a.row_ptr, list);
        KD_OR_RETURN(kd_launch_row_sums(ctx, sums, terms));
        if (!in_place) sums.y = sums.c = kd_mat_rows(sums.y, KD_ROW_LIST, sums.y.rows - KD_ROW_LIST);
    }
    return KD_OK;
}

extern "C" kd_status kd_cuda_spmm_rows(kd_ctx *ctx, const kd_spmm_rows_args *args) {
    const kd_groups *only = args->only;
    int64_t most = only->capacity < args->y.rows ? only->capacity : args->y.rows;
    kd_row_sums sums = {most, 0, NULL, NULL, NULL, args->alpha, args->beta, args->c, args->y};
    return multiply_listed(ctx, args->a, only->key, only->count, true, args->x, sums);
}

extern "C" kd_status kd_cuda_spmm_batch(kd_ctx *ctx, const kd_spmm_batch_args *args) {
    kd_row_sums sums = {args->y.rows, 0, NULL, args->a.row_ptr, NULL, args->alpha, args->beta, args->y, args->y};
    if (args->row) return multiply_listed(ctx, args->a, args->row, NULL, false, args->x, sums);
    product_terms<true> terms = {{args->x}, args->a, NULL, args->place, NULL};
    sums.entries = args->a.entries;
    return kd_launch_row_sums(ctx, sums, terms);
}

__global__ void __launch_bounds__(KD_BLOCK) place_rows(int64_t n, const int32_t *row, int32_t *place) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (i < n) place[row[i]] = (int32_t)i;
}

extern "C" kd_status kd_cuda_place_rows(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t rows, int32_t *place) {
    KD_CUDA_OR_RETURN(cudaMemsetAsync(place, 0xff, (size_t)rows * sizeof *place, kd_stream(ctx)));
    if (n > 0) KD_LAUNCH(place_rows, kd_blocks(n, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), n, row, place);
    return kd_cuda_launched(__func__);
}
