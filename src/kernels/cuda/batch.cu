/* Orders, negatives and groups of a training epoch. */
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/sort.h"
#include "kernels/workspace.h"

__global__ void __launch_bounds__(KD_BLOCK) draw_keys(int64_t n, kd_rng rng, uint64_t *key, int32_t *index) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (i >= n) return;
    uint32_t draw[4];
    rng = kd_rng_now(rng);
    kd_rng_draw4(&rng, (uint32_t)i, 0, draw);
    key[i] = (uint64_t)draw[0] << 32 | draw[1];
    index[i] = (int32_t)i;
}

extern "C" kd_status kd_cuda_permutation(kd_ctx *ctx, int64_t n, const kd_rng *rng, int32_t *order) {
    kd_sort_arrays s = kd_sort_lay_out(ctx->workspace, n);
    if (n == 0) return KD_OK;
    KD_LAUNCH(draw_keys, kd_blocks(n, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), n, *rng, s.key[0], s.index[0]);
    int sorted = kd_cuda_sort(ctx, n, 64, &s);
    KD_CUDA_OR_RETURN(
        cudaMemcpyAsync(order, s.index[sorted], (size_t)n * sizeof *order, cudaMemcpyDeviceToDevice, kd_stream(ctx)));
    return kd_cuda_launched(__func__);
}

__global__ void __launch_bounds__(KD_BLOCK)
    draw_negatives(kd_csr train, int64_t n, const int32_t *user, kd_rng rng, int32_t *negative) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (i >= n) return;
    int64_t begin = train.row_ptr[user[i]], end = train.row_ptr[user[i] + 1], at;
    uint32_t draw[4], attempt = 0;
    int32_t item;
    rng = kd_rng_now(rng);
    do {
        if (attempt % 4 == 0) kd_rng_draw4(&rng, (uint32_t)i, attempt / 4, draw);
        item = (int32_t)kd_uniform_below(draw[attempt % 4], (uint32_t)train.cols);
        attempt++;
        at = kd_lower_bound(train.col, begin, end, item);
    } while (at < end && train.col[at] == item);
    negative[i] = item;
}

extern "C" kd_status kd_cuda_sample_negatives(kd_ctx *ctx, kd_csr train, int64_t n, const int32_t *user,
                                              const kd_rng *rng, int32_t *negative) {
    KD_LAUNCH(draw_negatives, kd_blocks(n, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), train, n, user, *rng, negative);
    return kd_cuda_launched(__func__);
}

__global__ void __launch_bounds__(KD_BLOCK)
    gather_batch(int64_t n, const int64_t *first, const int32_t *order, const int32_t *values, int32_t *out) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (i >= n) return;
    int32_t at = order[(first ? *first : 0) + i];
    out[i] = values ? values[at] : at;
}

extern "C" kd_status kd_cuda_gather(kd_ctx *ctx, int64_t n, const int64_t *first, const int32_t *order,
                                    const int32_t *values, int32_t *out) {
    KD_LAUNCH(gather_batch, kd_blocks(n, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), n, first, order, values, out);
    return kd_cuda_launched(__func__);
}

enum { GROUP_BLOCK = 1024, MOST_SHARED_PAIRS = (48 << 10) / 8 - 64 };
static_assert(sizeof(uint64_t) <= KD_SORT_ENTRY, "a key with its position fits the workspace");

/* One block sorts key << 32 | position, in shared memory where the batch fits, and deals the sorted list out in groups:
 * each thread takes a run of neighbours, and where its groups begin follows from the runs before it. */
__global__ void __launch_bounds__(GROUP_BLOCK)
    group_batch(int64_t n, const int32_t *key, uint64_t *room, int in_shared, kd_groups out) {
    KD_DYNAMIC_SHARED(uint64_t, shared);
    KD_SHARED(int64_t, part, [KD_WARP]);
    uint64_t *pair = in_shared ? shared : room;
    for (int64_t i = threadIdx.x; i < n; i += GROUP_BLOCK) pair[i] = (uint64_t)(uint32_t)key[i] << 32 | (uint64_t)i;
    __syncthreads();
    kd_block_sort(pair, n);
    int64_t begin = n * threadIdx.x / GROUP_BLOCK, end = n * (threadIdx.x + 1) / GROUP_BLOCK, heads = 0;
    for (int64_t i = begin; i < end; i++) heads += i == 0 || pair[i] >> 32 != pair[i - 1] >> 32;
    int64_t group = kd_block_scan(heads, part);
    if (threadIdx.x == GROUP_BLOCK - 1) {
        out.count[0] = group;
        out.ptr[group] = (int32_t)n;
    }
    group -= heads; /* groups that begin before this run */
    for (int64_t i = begin; i < end; i++) {
        if (i == 0 || pair[i] >> 32 != pair[i - 1] >> 32) {
            out.key[group] = (int32_t)(pair[i] >> 32);
            out.ptr[group++] = (int32_t)i;
        }
        out.member[i] = (int32_t)(uint32_t)pair[i];
    }
}

extern "C" kd_status kd_cuda_group(kd_ctx *ctx, int64_t n, const int32_t *key, kd_groups *out) {
    int in_shared = n <= MOST_SHARED_PAIRS;
    KD_LAUNCH(group_batch, 1, GROUP_BLOCK, in_shared ? (size_t)n * sizeof(uint64_t) : 0, kd_stream(ctx), n, key,
              (uint64_t *)ctx->workspace, in_shared, *out);
    return kd_cuda_launched(__func__);
}
