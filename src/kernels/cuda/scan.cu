#include "kernels/cuda/scan.h"

#include "kernels/cuda/reduce.h"

/* Which share of n elements a block takes. */
__device__ static inline int64_t share_begin(int64_t n, unsigned block, unsigned blocks) { return n * block / blocks; }

__global__ void __launch_bounds__(KD_BLOCK) share_sums(int64_t n, const int64_t *x, int64_t *sums) {
    KD_SHARED(int64_t, part, [KD_WARP]);
    int64_t end = share_begin(n, blockIdx.x + 1, gridDim.x), sum = 0;
    for (int64_t i = share_begin(n, blockIdx.x, gridDim.x) + threadIdx.x; i < end; i += KD_BLOCK) sum += x[i];
    sum = kd_block_sum(sum, part);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(KD_BLOCK)
    scan_shares(int64_t n, int64_t *x, const int64_t *sums, bool inclusive, int64_t *total) {
    KD_SHARED(int64_t, part, [KD_WARP]);
    KD_SHARED(int64_t, tile, [1]);
    int64_t begin = share_begin(n, blockIdx.x, gridDim.x), end = share_begin(n, blockIdx.x + 1, gridDim.x), before = 0;
    for (unsigned b = threadIdx.x; b < blockIdx.x; b += KD_BLOCK) before += sums[b];
    before = kd_block_sum(before, part);
    for (int64_t first = begin; first < end; first += KD_BLOCK) {
        int64_t i = first + threadIdx.x, own = i < end ? x[i] : 0, sum = kd_block_scan(own, part);
        if (i < end) x[i] = before + sum - (inclusive ? 0 : own);
        if (threadIdx.x == KD_BLOCK - 1) tile[0] = sum;
        __syncthreads();
        before += tile[0];
        __syncthreads();
    }
    if (total && blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) *total = before;
}

void kd_cuda_scan(kd_ctx *ctx, int64_t n, int64_t *x, bool inclusive, int64_t *total) {
    int64_t *sums = (int64_t *)kd_cuda_of(ctx)->partial, shares = (n + 2 * KD_BLOCK - 1) / (2 * KD_BLOCK);
    unsigned blocks = (unsigned)(shares < 1 ? 1 : shares > KD_PARTIALS ? (int64_t)KD_PARTIALS : shares);
    KD_LAUNCH(share_sums, blocks, KD_BLOCK, 0, kd_stream(ctx), n, x, sums);
    KD_LAUNCH(scan_shares, blocks, KD_BLOCK, 0, kd_stream(ctx), n, x, sums, inclusive, total);
}
