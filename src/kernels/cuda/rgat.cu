/* Relation-aware attention, forward and backward. What is made of rows of X for each edge is divided by edges
 * (edge_dots; row_sums.h), so that the hubs of a knowledge graph are nobody's bottleneck; what remains for a head, a
 * few numbers an edge, is done by a warp, or by a block where its edges are many. Sums are added in an order that only
 * the edges decide. */
#include "kernels/cuda/row_sums.h"
#include "kernels/workspace.h"

enum { WARPS = KD_BLOCK / KD_WARP, LONG = 256, MOST_SHARED = 46 << 10 /* of 48 KB, with what stands beside it */ };

/* The factors of an edge's logit: e_h . rh_r + e_t . rt_r. */
struct logit_dots {
    enum { COUNT = 2 };
    kd_kg kg;
    kd_mat e, rh, rt;

    __device__ const float *left(int i, int64_t head, int64_t tail) const {
        return e.data + (i == 0 ? head : tail) * e.ld;
    }
    __device__ const float *right(int i, int64_t relation, int64_t tail) const {
        (void)tail;
        return i == 0 ? rh.data + relation * rh.ld : rt.data + relation * rt.ld;
    }
    bool aligned() const { return kd_is_aligned(e) && kd_is_aligned(rh) && kd_is_aligned(rt); }
};

/* And of d loss / d alpha: dagg_h . e_t. */
struct slope_dots {
    enum { COUNT = 1 };
    kd_kg kg;
    kd_mat e, dagg;

    __device__ const float *left(int i, int64_t head, int64_t tail) const {
        (void)i, (void)tail;
        return dagg.data + head * dagg.ld;
    }
    __device__ const float *right(int i, int64_t relation, int64_t tail) const {
        (void)i, (void)relation;
        return e.data + tail * e.ld;
    }
    bool aligned() const { return kd_is_aligned(e) && kd_is_aligned(dagg); }
};

enum { STEPS = 8, TOGETHER_DOTS = 4 };

/* out [k] = sum over the factors of left . right, for the edges k of the first `heads` entities. A warp takes STEPS
 * edges for each of its slots, which each take a share of the columns; the rows of several are on their way together.
 */
template <int VEC, class Dots>
__global__ void __launch_bounds__(KD_BLOCK) edge_dots(Dots dots, int64_t heads, int lanes, float *out) {
    enum { AHEAD = TOGETHER_DOTS / Dots::COUNT };
    int lane = (int)(threadIdx.x % KD_WARP), slots = KD_WARP / lanes, slot = lane / lanes;
    int64_t edges = dots.kg.head_ptr[heads], d = dots.e.cols;
    int each = STEPS * slots < KD_WARP ? STEPS * slots : (int)KD_WARP;
    for (int64_t first = kd_warp_row() * each; first < edges; first += (int64_t)gridDim.x * WARPS * each) {
        const int64_t *ptr = dots.kg.head_ptr;
        int count = (int)(edges - first < each ? edges - first : (int64_t)each);
        int64_t k = first + (lane < count ? lane : 0), last = first + count - 1;
        int64_t low = kd_warp_bound(0, heads, [&](int64_t h) { return ptr[h + 1] <= first; });
        int64_t high = kd_warp_bound(low, heads, [&](int64_t h) { return ptr[h + 1] <= last; });
        int64_t head = kd_lower_bound(ptr, low, high + 1, k + 1) - 1;
        int32_t tail = dots.kg.tail[k], relation = dots.kg.relation[k];
        for (int at = 0; at < count; at += AHEAD * slots) {
            float sum[AHEAD] = {};
            for (int64_t c = lane % lanes * VEC; c - lane % lanes * VEC < d; c += (int64_t)lanes * VEC) {
                kd_columns<VEC> left[AHEAD][Dots::COUNT], right[AHEAD][Dots::COUNT];
                KD_UNROLL(4)
                for (int u = 0; u < AHEAD; u++) {
                    int from = (at + u * slots + slot) % KD_WARP;
                    int64_t h = __shfl_sync(KD_FULL_WARP, head, from);
                    int32_t t = __shfl_sync(KD_FULL_WARP, tail, from), r = __shfl_sync(KD_FULL_WARP, relation, from);
                    bool there = c < d && at + u * slots + slot < count;
                    KD_UNROLL(4)
                    for (int i = 0; i < Dots::COUNT; i++) {
                        left[u][i] = there ? kd_load_columns<VEC>(dots.left(i, h, t) + c) : kd_columns<VEC>{};
                        right[u][i] = there ? kd_load_columns<VEC>(dots.right(i, r, t) + c) : kd_columns<VEC>{};
                    }
                }
                KD_UNROLL(4)
                for (int u = 0; u < AHEAD; u++)
                    for (int i = 0; i < Dots::COUNT; i++)
                        for (int j = 0; j < VEC; j++) sum[u] += left[u][i].at[j] * right[u][i].at[j];
            }
            KD_UNROLL(4)
            for (int u = 0; u < AHEAD; u++) {
                float all = kd_lanes_sum(sum[u], lanes);
                int edge = at + u * slots + slot;
                if (lane % lanes == 0 && edge < count) out[first + edge] = all;
            }
        }
    }
}

template <class Dots> static void launch_dots(kd_ctx *ctx, const Dots &dots, int64_t heads, float *out) {
    unsigned blocks = kd_strided_blocks(ctx, dots.kg.capacity * (KD_WARP / STEPS));
    int64_t d = dots.e.cols;
    if (heads == 0) return;
    if (dots.aligned())
        KD_LAUNCH((edge_dots<4, Dots>), blocks, KD_BLOCK, 0, kd_stream(ctx), dots, heads, kd_slot_lanes((d + 3) / 4),
                  out);
    else
        KD_LAUNCH((edge_dots<1, Dots>), blocks, KD_BLOCK, 0, kd_stream(ctx), dots, heads, kd_slot_lanes(d), out);
}

/* The threads that share a head. part: shared memory of the block, [KD_WARP] doubles. */
struct team {
    int rank, size; /* of a thread */
    int warps;
    double *part;
    __device__ void sync() const {
        if (warps > 1)
            __syncthreads();
        else
            __syncwarp();
    }
    __device__ double sum(double x) const { return warps > 1 ? kd_block_sum(x, part) : kd_lanes_sum(x); }
    __device__ float max(float x) const {
        return warps > 1 ? kd_block_max(x, reinterpret_cast<float *>(part)) : kd_warp_max(x);
    }
};

/* Runs work(team, row) for the WARPS neighbouring rows of the block: long rows by the block, then the others by a warp
 * each. */
template <class Work>
__device__ static inline void for_rows(int64_t rows, const int64_t *ptr, double *part, Work work) {
    int64_t first = (int64_t)blockIdx.x * WARPS, own = first + threadIdx.x / KD_WARP;
    team block = {(int)threadIdx.x, KD_BLOCK, WARPS, part}, warp = {(int)(threadIdx.x % KD_WARP), KD_WARP, 1, part};
    for (int64_t r = first; r < first + WARPS && r < rows; r++)
        if (ptr[r + 1] - ptr[r] > LONG) work(block, r);
    if (own < rows && ptr[own + 1] - ptr[own] <= LONG) work(warp, own);
}

/* Logits through LeakyReLU, and their softmax over the edges of a head. */
struct softmax_work {
    const int64_t *ptr;
    float slope;
    float *logit, *alpha;

    __device__ void operator()(const team &t, int64_t h) const {
        int64_t begin = ptr[h], end = ptr[h + 1];
        float largest = -INFINITY;
        double total = 0.0;
        KD_UNROLL(4)
        for (int64_t k = begin + t.rank; k < end; k += t.size) {
            float x = logit[k];
            x = x > 0.0f ? x : slope * x;
            logit[k] = x;
            largest = fmaxf(largest, x);
        }
        largest = t.max(largest);
        KD_UNROLL(4)
        for (int64_t k = begin + t.rank; k < end; k += t.size) total += (double)expf(logit[k] - largest);
        total = t.sum(total);
        KD_UNROLL(4)
        for (int64_t k = begin + t.rank; k < end; k += t.size)
            alpha[k] = (float)((double)expf(logit[k] - largest) / total);
    }
};

__global__ void __launch_bounds__(KD_BLOCK) softmax_heads(int64_t heads, softmax_work work) {
    KD_SHARED(double, part, [KD_WARP]);
    for_rows(heads, work.ptr, part, work);
}

/* Adds weight times the row of X that `index` names, for each edge of a head. */
struct head_terms {
    enum { COUNT = 1 };
    kd_mat x[COUNT];
    const int32_t *index;
    const float *weight;

    __device__ void read(int64_t k, int64_t low, int64_t high, float *w, int64_t *from) const {
        (void)low, (void)high;
        w[0] = weight[k];
        from[0] = __ldg(index + k) * x[0].ld;
    }
};

extern "C" kd_status kd_cuda_rgat_forward(kd_ctx *ctx, const kd_rgat_forward_args *args) {
    const kd_kg *kg = args->kg;
    int64_t heads = args->agg.rows;
    softmax_work softmax = {kg->head_ptr, args->slope, args->logit, args->alpha};
    head_terms terms = {{args->e}, kg->tail, args->alpha};
    kd_row_sums sums = {heads, kg->capacity, NULL, kg->head_ptr, NULL, 1.0f, 1.0f, args->e, args->agg};
    if (args->split)
        KD_CUDA_OR_RETURN(cudaMemsetAsync(args->logit, 0, (size_t)kg->capacity * sizeof *args->logit, kd_stream(ctx)));
    launch_dots(ctx, logit_dots{*kg, args->e, args->rh, args->rt}, heads, args->logit);
    if (args->split) KD_OR_RETURN(kd_split_sum(args->split, ctx, kg->capacity, args->logit));
    KD_LAUNCH(softmax_heads, kd_blocks(heads, WARPS), KD_BLOCK, 0, kd_stream(ctx), heads, softmax);
    return kd_launch_row_sums(ctx, sums, terms);
}

/* Gradients of a head's logits (before LeakyReLU, left in logit), and what it gets of its own: de_h += dagg_h. */
struct slope_work {
    kd_kg kg;
    float slope;
    kd_mat dagg, de;
    float *logit;
    const float *alpha, *dalpha;

    __device__ void operator()(const team &t, int64_t h) const {
        int64_t begin = kg.head_ptr[h], end = kg.head_ptr[h + 1];
        double mean = 0.0;
        for (int64_t c = t.rank; c < de.cols; c += t.size) de.data[h * de.ld + c] += dagg.data[h * dagg.ld + c];
        KD_UNROLL(4)
        for (int64_t k = begin + t.rank; k < end; k += t.size) mean += (double)alpha[k] * (double)dalpha[k];
        mean = t.sum(mean);
        KD_UNROLL(4)
        for (int64_t k = begin + t.rank; k < end; k += t.size) {
            float dlogit = alpha[k] * (dalpha[k] - (float)mean);
            logit[k] = logit[k] > 0.0f ? dlogit : slope * dlogit;
        }
    }
};

__global__ void __launch_bounds__(KD_BLOCK) logit_gradients(slope_work work) {
    KD_SHARED(double, part, [KD_WARP]);
    for_rows(work.dagg.rows, work.kg.head_ptr, part, work);
}

/* What a tail gets of each edge that ends in it: alpha dagg_h + dlogit rt_r, nothing of heads that are not computed. */
struct tail_terms {
    enum { COUNT = 2 };
    kd_mat x[COUNT]; /* dagg, rt */
    kd_kg kg;
    const float *alpha, *dlogit;

    __device__ void read(int64_t i, int64_t low, int64_t high, float *weight, int64_t *from) const {
        (void)low, (void)high;
        int64_t edge = kg.in_edge[i], head = kg.in_head[i];
        bool there = head < x[0].rows;
        weight[0] = there ? alpha[edge] : 0.0f;
        weight[1] = there ? dlogit[edge] : 0.0f;
        from[0] = there ? head * x[0].ld : -1;
        from[1] = there ? kg.relation[edge] * x[1].ld : -1;
    }
};

/* part [ranges, 2, relations, d]: a block sums its range of edges. Its threads are `groups` times as many as take a row
 * together, a thread its columns, and each group has sums of its own, in shared memory where that fits, so that nobody
 * else writes there. What a chunk of edges names is read side by side first, and the rows of TOGETHER edges are on
 * their way before the first is added: one edge after the other would wait for memory twice an edge. */
enum { CHUNK = 64, TOGETHER = 4 };

__global__ void relation_parts(kd_kg kg, int64_t heads, kd_mat e, const float *__restrict__ dlogit, int64_t size,
                               int groups, int in_shared, float *__restrict__ part) {
    KD_DYNAMIC_SHARED(float, shared);
    KD_SHARED(float, slope, [CHUNK]);
    KD_SHARED(int32_t, relation, [CHUNK]);
    KD_SHARED(int64_t, head_row, [CHUNK]);
    KD_SHARED(int64_t, tail_row, [CHUNK]);
    int64_t d = e.cols, range = blockIdx.x, ranges = gridDim.x;
    int64_t edges = kg.head_ptr[heads], begin = edges * range / ranges, end = edges * (range + 1) / ranges;
    int64_t head = kd_lower_bound(kg.head_ptr, 0, heads + 1, begin + 1) - 1;
    int64_t head_end = kd_lower_bound(kg.head_ptr, head, heads + 1, end);
    int threads = (int)blockDim.x / groups, group = (int)threadIdx.x / threads, own = (int)threadIdx.x % threads;
    const float *__restrict__ rows = e.data;
    float *__restrict__ sums = in_shared ? shared + group * size : part + range * size;
    for (int64_t i = own; i < size; i += threads) sums[i] = 0.0f;
    for (int64_t first = begin; first < end; first += CHUNK) {
        int count = (int)(end - first < CHUNK ? end - first : (int64_t)CHUNK);
        __syncthreads();
        for (int i = threadIdx.x; i < CHUNK; i += blockDim.x) {
            int64_t k = first + (i < count ? i : 0); /* places beyond the edges add nothing to relation 0 */
            slope[i] = i < count ? dlogit[k] : 0.0f;
            relation[i] = i < count ? kg.relation[k] : 0;
            head_row[i] = (kd_lower_bound(kg.head_ptr, head, head_end + 1, k + 1) - 1) * e.ld;
            tail_row[i] = kg.tail[k] * e.ld;
        }
        __syncthreads();
        for (int64_t c = own; c < d; c += threads)
            for (int at = group * TOGETHER; at < count; at += groups * TOGETHER) {
                float from_head[TOGETHER], from_tail[TOGETHER];
                KD_UNROLL(4)
                for (int i = 0; i < TOGETHER; i++) {
                    from_head[i] = rows[head_row[at + i] + c];
                    from_tail[i] = rows[tail_row[at + i] + c];
                }
                KD_UNROLL(4)
                for (int i = 0; i < TOGETHER; i++) {
                    sums[relation[at + i] * d + c] += slope[at + i] * from_head[i];
                    sums[(kg.relations + relation[at + i]) * d + c] += slope[at + i] * from_tail[i];
                }
            }
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; in_shared && i < size; i += blockDim.x) {
        float sum = shared[i];
        for (int g = 1; g < groups; g++) sum += shared[g * size + i];
        part[range * size + i] = sum;
    }
}

/* The ranges' sums: a warp of the block takes every WARPS-th, a lane an element. */
__global__ void __launch_bounds__(KD_BLOCK) relation_sums(int64_t ranges, const float *part, kd_mat drh, kd_mat drt) {
    KD_SHARED(float, over_warps, [WARPS][KD_WARP]);
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP);
    int64_t half = drh.rows * drh.cols, i = (int64_t)blockIdx.x * KD_WARP + lane;
    float sum = 0.0f;
    KD_UNROLL(8)
    for (int64_t range = warp; range < ranges; range += WARPS)
        if (i < 2 * half) sum += part[range * 2 * half + i];
    over_warps[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || i >= 2 * half) return;
    for (int w = 1; w < WARPS; w++) sum += over_warps[w][lane];
    kd_mat to = i < half ? drh : drt;
    int64_t at = i % half;
    to.data[at / to.cols * to.ld + at % to.cols] += sum;
}

extern "C" kd_status kd_cuda_rgat_backward(kd_ctx *ctx, const kd_rgat_backward_args *args) {
    const kd_kg *kg = args->kg;
    kd_mat e = args->e, de = args->de;
    int64_t heads = args->dagg.rows;
    float *dalpha = (float *)ctx->workspace, *part = dalpha; /* dalpha is used up before the ranges' sums come */
    slope_work slopes = {*kg, args->slope, args->dagg, de, args->logit, args->alpha, dalpha};
    head_terms of_heads = {{args->rh}, kg->relation, args->logit};
    tail_terms of_tails = {{args->dagg, args->rt}, *kg, args->alpha, args->logit};
    kd_row_sums head_sums = {heads, kg->capacity, NULL, kg->head_ptr, NULL, 1.0f, 1.0f, de, de};
    kd_row_sums tail_sums = {kg->entities, kg->capacity, NULL, kg->tail_ptr, NULL, 1.0f, 1.0f, de, de};
    int64_t size = 2 * kg->relations * e.cols, bytes = size * (int64_t)sizeof(float);
    int64_t ranges = kd_rgat_ranges(kg->relations, e.cols);
    int width = (int)(e.cols <= KD_WARP   ? (int64_t)KD_WARP
                      : e.cols < KD_BLOCK ? (e.cols + KD_WARP - 1) / KD_WARP * KD_WARP
                                          : (int64_t)KD_BLOCK);
    int in_shared = bytes <= MOST_SHARED, groups = in_shared ? KD_BLOCK / width : 1;
    while (groups * bytes > MOST_SHARED && groups > 1) groups--;
    if (args->split)
        KD_CUDA_OR_RETURN(cudaMemsetAsync(dalpha, 0, (size_t)kg->capacity * sizeof *dalpha, kd_stream(ctx)));
    launch_dots(ctx, slope_dots{*kg, e, args->dagg}, heads, dalpha);
    if (args->split) KD_OR_RETURN(kd_split_sum(args->split, ctx, kg->capacity, dalpha));
    KD_LAUNCH(logit_gradients, kd_blocks(heads, WARPS), KD_BLOCK, 0, kd_stream(ctx), slopes);
    KD_OR_RETURN(kd_launch_row_sums(ctx, head_sums, of_heads));
    KD_OR_RETURN(kd_launch_row_sums(ctx, tail_sums, of_tails));
    KD_LAUNCH(relation_parts, (unsigned)ranges, (unsigned)(groups * width), in_shared ? (size_t)(groups * bytes) : 0,
              kd_stream(ctx), *kg, heads, e, args->logit, size, groups, in_shared, part);
    KD_LAUNCH(relation_sums, kd_blocks(size, KD_WARP), KD_BLOCK, 0, kd_stream(ctx), ranges, part, args->drh, args->drt);
    return kd_cuda_launched(__func__);
}
