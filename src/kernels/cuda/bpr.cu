/* BPR over grouped triples: margins by a warp each, then every user's and item's gradient by the warp of its group, so
 * that rows that a batch names several times need no atomics. */
#include "kernels/cuda/reduce.h"

enum { WARPS = KD_BLOCK / KD_WARP };

__device__ static inline int64_t warp_index() { return ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP; }

/* x_b over the local columns, by a warp; every lane gets it. */
__device__ static inline float margin(const kd_bpr_args &a, int64_t b) {
    const float *u = a.user_view.data + a.user[b] * a.user_view.ld;
    const float *p = a.item_view.data + a.positive[b] * a.item_view.ld;
    const float *n = a.item_view.data + a.negative[b] * a.item_view.ld;
    float sum = 0.0f;
    for (int64_t c = threadIdx.x % KD_WARP; c < a.user_view.cols; c += KD_WARP) sum += u[c] * (p[c] - n[c]);
    return kd_lanes_sum(sum);
}

/* slope[b] = d loss / d x_b, part[block] = the block's sum of -log sigmoid(x_b). KD_SUMS: slope[b] = x_b, which KD_REST
 * reads there, a thread each. */
template <kd_sum_part PART>
__global__ void __launch_bounds__(KD_BLOCK) margins(kd_bpr_args a, float *slope, double *part) {
    KD_SHARED(double, losses, [KD_WARP]);
    const int threads = PART == KD_REST ? 1 : KD_WARP; /* of a triple */
    bool own = threadIdx.x % threads == 0;
    double loss = 0.0;
    for (int64_t b = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / threads; b < a.count;
         b += (int64_t)gridDim.x * (KD_BLOCK / threads)) {
        float sum = PART == KD_REST ? slope[b] : margin(a, b);
        double x = (double)sum;
        if (!own) continue;
        if (PART == KD_SUMS) {
            slope[b] = sum;
            continue;
        }
        loss += x > 0.0 ? log1p(exp(-x)) : -x + log1p(exp(x)); /* without overflow */
        slope[b] = (float)(-1.0 / (1.0 + exp(x)) / a.batch);
    }
    if (PART == KD_SUMS) return;
    loss = kd_block_sum(loss, losses);
    if (threadIdx.x == 0) part[blockIdx.x] = loss;
}

__global__ void __launch_bounds__(KD_BLOCK) user_gradients(kd_bpr_args a, const float *slope) {
    int64_t g = warp_index();
    if (g >= a.users.count[0]) return;
    float *to = a.duser.data + a.users.key[g] * a.duser.ld;
    for (int64_t c = threadIdx.x % KD_WARP; c < a.duser.cols; c += KD_WARP) {
        float sum = to[c];
        for (int32_t i = a.users.ptr[g]; i < a.users.ptr[g + 1]; i++) {
            int32_t b = a.users.member[i];
            sum += slope[b] * (a.item_view.data[a.positive[b] * a.item_view.ld + c] -
                               a.item_view.data[a.negative[b] * a.item_view.ld + c]);
        }
        to[c] = sum;
    }
}

__global__ void __launch_bounds__(KD_BLOCK) item_gradients(kd_bpr_args a, const float *slope) {
    int64_t g = warp_index();
    if (g >= a.items.count[0]) return;
    float *to = a.ditem.data + a.items.key[g] * a.ditem.ld;
    for (int64_t c = threadIdx.x % KD_WARP; c < a.ditem.cols; c += KD_WARP) {
        float sum = to[c];
        for (int32_t i = a.items.ptr[g]; i < a.items.ptr[g + 1]; i++) {
            int64_t m = a.items.member[i], b = m < a.count ? m : m - a.count;
            float scale = m < a.count ? slope[b] : -slope[b];
            sum += scale * a.user_view.data[a.user[b] * a.user_view.ld + c];
        }
        to[c] = sum;
    }
}

extern "C" kd_status kd_cuda_bpr(kd_ctx *ctx, const kd_bpr_args *args) {
    float *slope = (float *)ctx->workspace;
    double *part = kd_cuda_of(ctx)->partial;
    unsigned blocks = kd_blocks(args->count, WARPS);
    if (blocks > KD_PARTIALS) blocks = KD_PARTIALS;
    if (args->split) {
        KD_LAUNCH(margins<KD_SUMS>, blocks, KD_BLOCK, 0, kd_stream(ctx), *args, slope, part);
        KD_OR_RETURN(kd_split_sum(args->split, ctx, args->count, slope));
        KD_LAUNCH(margins<KD_REST>, blocks, KD_BLOCK, 0, kd_stream(ctx), *args, slope, part);
    } else {
        KD_LAUNCH(margins<KD_WHOLE>, blocks, KD_BLOCK, 0, kd_stream(ctx), *args, slope, part);
    }
    if (args->loss)
        KD_LAUNCH(kd_add_sum, 1, KD_BLOCK, 0, kd_stream(ctx), (int64_t)blocks, part, 1.0 / args->batch, args->loss);
    KD_LAUNCH(user_gradients, kd_blocks(args->count, WARPS), KD_BLOCK, 0, kd_stream(ctx), *args, slope);
    KD_LAUNCH(item_gradients, kd_blocks(2 * args->count, WARPS), KD_BLOCK, 0, kd_stream(ctx), *args, slope);
    return kd_cuda_launched(__func__);
}
