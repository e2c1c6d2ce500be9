/* Relation-aware attention, forward and backward. A team works on a head (or a tail): a warp where its edges are few,
 * all warps of the block where they are many, so that the hubs of a knowledge graph do not hold one warp for long. Sums
 * are added in an order that only the edges decide. */
#include "kernels/cuda/reduce.h"
#include "kernels/workspace.h"

enum { WARPS = KD_BLOCK / KD_WARP, LONG = 256, MOST_SHARED = 46 << 10 /* of 48 KB, with what stands beside it */ };

/* The threads that share a head. part: shared memory of the block, [WARPS * 32] doubles. */
struct team {
    int rank, size; /* of a thread */
    int warps;
    double *part;
    __device__ int lane() const { return rank % KD_WARP; }
    __device__ int warp() const { return rank / KD_WARP; }
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

/* x . y by the lanes of a warp; every lane gets it. */
__device__ static inline float dot(const float *x, const float *y, int64_t n, int lane) {
    float sum = 0.0f;
    for (int64_t c = lane; c < n; c += KD_WARP) sum += x[c] * y[c];
    return kd_lanes_sum(sum);
}

/* to[c] += own[c] summed over the team's warps in their order, for the columns c = lane, lane + 32, ... of one pass. */
__device__ static inline void add_over_warps(const team &t, float own, float *to, bool on) {
    float *part = reinterpret_cast<float *>(t.part);
    if (t.warps > 1) {
        part[t.warp() * KD_WARP + t.lane()] = own;
        __syncthreads();
        if (t.warp() == 0)
            for (int w = 1; w < t.warps; w++) own += part[w * KD_WARP + t.lane()];
        __syncthreads();
    }
    if (t.warp() == 0 && on) *to += own;
}

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

/* How a team goes through its edges: a warp an edge where dot products are made; where they are read, a thread. */
template <kd_sum_part PART> struct edges {
    int64_t first, end, step;
    bool own; /* whether a thread writes what its warp has of an edge */
    __device__ edges(const team &t, const int64_t *ptr, int64_t row)
        : first(ptr[row] + (PART == KD_REST ? t.rank : t.warp())), end(ptr[row + 1]),
          step(PART == KD_REST ? t.size : t.warps), own(PART == KD_REST || t.lane() == 0) {}
};

/* KD_SUMS: logit = the dot products before LeakyReLU, which KD_REST reads there. */
template <kd_sum_part PART> struct forward_work {
    kd_kg kg;
    float slope;
    kd_mat e, rh, rt, agg;
    float *logit, *alpha;

    __device__ float dots(const team &t, const float *self, int64_t k) const {
        int64_t r = kg.relation[k], d = e.cols;
        return dot(self, rh.data + r * rh.ld, d, t.lane()) +
               dot(e.data + kg.tail[k] * e.ld, rt.data + r * rt.ld, d, t.lane());
    }

    __device__ void operator()(const team &t, int64_t h) const {
        int64_t begin = kg.head_ptr[h], end = kg.head_ptr[h + 1], d = e.cols;
        const float *self = e.data + h * e.ld;
        float largest = -INFINITY;
        edges<PART> own(t, kg.head_ptr, h);
        for (int64_t k = own.first; k < own.end; k += own.step) {
            float x = PART == KD_REST ? logit[k] : dots(t, self, k);
            if (PART != KD_SUMS) x = x > 0.0f ? x : slope * x;
            if (own.own) logit[k] = x;
            largest = fmaxf(largest, x);
        }
        if (PART == KD_SUMS) return;
        largest = t.max(largest);
        t.sync();
        double total = 0.0;
        for (int64_t k = begin + t.rank; k < end; k += t.size) {
            float x = expf(logit[k] - largest);
            alpha[k] = x;
            total += (double)x;
        }
        total = t.sum(total);
        for (int64_t k = begin + t.rank; k < end; k += t.size) alpha[k] = (float)((double)alpha[k] / total);
        t.sync();
        for (int64_t pass = 0; pass < d; pass += KD_WARP) {
            int64_t c = pass + t.lane();
            float sum = 0.0f;
            for (int64_t k = begin + t.warp(); k < end && c < d; k += t.warps)
                sum += alpha[k] * e.data[kg.tail[k] * e.ld + c];
            if (t.warp() == 0 && c < d) agg.data[h * agg.ld + c] = self[c];
            add_over_warps(t, sum, agg.data + h * agg.ld + c, c < d);
        }
    }
};

template <kd_sum_part PART> __global__ void __launch_bounds__(KD_BLOCK) attend(forward_work<PART> work) {
    KD_SHARED(double, part, [WARPS * KD_WARP]);
    for_rows(work.agg.rows, work.kg.head_ptr, part, work);
}

template <kd_sum_part PART> static void launch_attend(kd_ctx *ctx, const forward_work<PART> &work) {
    KD_LAUNCH(attend<PART>, kd_blocks(work.agg.rows, WARPS), KD_BLOCK, 0, kd_stream(ctx), work);
}

extern "C" kd_status kd_cuda_rgat_forward(kd_ctx *ctx, const kd_rgat_forward_args *args) {
    const kd_kg *kg = args->kg;
    if (!args->split) {
        launch_attend(ctx, forward_work<KD_WHOLE>{*kg, args->slope, args->e, args->rh, args->rt, args->agg, args->logit,
                                                  args->alpha});
        return kd_cuda_launched(__func__);
    }
    KD_CUDA_OR_RETURN(cudaMemsetAsync(args->logit, 0, (size_t)kg->capacity * sizeof *args->logit, kd_stream(ctx)));
    launch_attend(
        ctx, forward_work<KD_SUMS>{*kg, args->slope, args->e, args->rh, args->rt, args->agg, args->logit, args->alpha});
    KD_OR_RETURN(kd_split_sum(args->split, ctx, kg->capacity, args->logit));
    launch_attend(
        ctx, forward_work<KD_REST>{*kg, args->slope, args->e, args->rh, args->rt, args->agg, args->logit, args->alpha});
    return kd_cuda_launched(__func__);
}

/* Gradient of a head's logits (before LeakyReLU, left in logit), and what the head itself gets. dalpha [edges] = d loss
 * / d alpha: written by KD_SUMS, read by KD_REST. */
template <kd_sum_part PART> struct head_work {
    kd_kg kg;
    float slope;
    kd_mat e, rh, dagg, de;
    float *logit;
    const float *alpha;
    float *dalpha;

    __device__ float dalpha_of(const team &t, const float *up, int64_t k) const {
        return PART == KD_REST ? dalpha[k] : dot(up, e.data + kg.tail[k] * e.ld, e.cols, t.lane());
    }

    __device__ void operator()(const team &t, int64_t h) const {
        int64_t begin = kg.head_ptr[h], end = kg.head_ptr[h + 1], d = e.cols;
        const float *up = dagg.data + h * dagg.ld;
        double mean = 0.0;
        edges<PART> own(t, kg.head_ptr, h);
        for (int64_t k = own.first; k < own.end; k += own.step) {
            float slope_of_alpha = dalpha_of(t, up, k);
            if (PART == KD_SUMS && own.own) dalpha[k] = slope_of_alpha;
            if (PART != KD_SUMS && own.own) mean += (double)alpha[k] * (double)slope_of_alpha;
        }
        if (PART == KD_SUMS) return;
        mean = t.sum(mean);
        for (int64_t k = own.first; k < own.end; k += own.step) {
            float dlogit = alpha[k] * (dalpha_of(t, up, k) - (float)mean);
            if (own.own) logit[k] = logit[k] > 0.0f ? dlogit : slope * dlogit;
        }
        t.sync();
        for (int64_t pass = 0; pass < d; pass += KD_WARP) {
            int64_t c = pass + t.lane();
            float sum = t.warp() == 0 && c < d ? up[c] : 0.0f;
            for (int64_t k = begin + t.warp(); k < end && c < d; k += t.warps)
                sum += logit[k] * rh.data[kg.relation[k] * rh.ld + c];
            add_over_warps(t, sum, de.data + h * de.ld + c, c < d);
        }
    }
};

template <kd_sum_part PART> __global__ void __launch_bounds__(KD_BLOCK) head_gradients(head_work<PART> work) {
    KD_SHARED(double, part, [WARPS * KD_WARP]);
    for_rows(work.dagg.rows, work.kg.head_ptr, part, work);
}

template <kd_sum_part PART> static void launch_heads(kd_ctx *ctx, const head_work<PART> &work) {
    KD_LAUNCH(head_gradients<PART>, kd_blocks(work.dagg.rows, WARPS), KD_BLOCK, 0, kd_stream(ctx), work);
}

/* What a tail gets from the edges that end in it. */
struct tail_work {
    kd_kg kg;
    kd_mat rt, dagg, de;
    const float *dlogit, *alpha;

    __device__ void operator()(const team &t, int64_t tail) const {
        for (int64_t pass = 0; pass < de.cols; pass += KD_WARP) {
            int64_t c = pass + t.lane();
            float sum = 0.0f;
            for (int64_t i = kg.tail_ptr[tail] + t.warp(); i < kg.tail_ptr[tail + 1] && c < de.cols; i += t.warps) {
                int64_t k = kg.in_edge[i], head = kg.in_head[i];
                if (head >= dagg.rows) break; /* heads ascend */
                sum += alpha[k] * dagg.data[head * dagg.ld + c];
                sum += dlogit[k] * rt.data[kg.relation[k] * rt.ld + c];
            }
            add_over_warps(t, sum, de.data + tail * de.ld + c, c < de.cols);
        }
    }
};

__global__ void __launch_bounds__(KD_BLOCK) tail_gradients(tail_work work) {
    KD_SHARED(double, part, [WARPS * KD_WARP]);
    for_rows(work.kg.entities, work.kg.tail_ptr, part, work);
}

/* part [ranges, 2, relations, d]: a block sums its range of heads, a thread its columns, so that nobody else writes
 * there. The sums stand in shared memory where they fit. What a chunk of edges names is read side by side first, and
 * the rows of TOGETHER edges are on their way before the first is added: one edge after the other would wait for memory
 * twice an edge. */
enum { CHUNK = 64, TOGETHER = 4 };

__global__ void relation_parts(kd_kg kg, int64_t heads, kd_mat e, const float *__restrict__ dlogit, int64_t size,
                               int in_shared, float *__restrict__ part) {
    KD_DYNAMIC_SHARED(float, shared);
    KD_SHARED(float, slope, [CHUNK]);
    KD_SHARED(int32_t, relation, [CHUNK]);
    KD_SHARED(int64_t, head_row, [CHUNK]);
    KD_SHARED(int64_t, tail_row, [CHUNK]);
    int64_t d = e.cols, range = blockIdx.x, ranges = gridDim.x;
    int64_t head = heads * range / ranges, head_end = heads * (range + 1) / ranges;
    const float *__restrict__ rows = e.data;
    float *__restrict__ sums = in_shared ? shared : part + range * size;
    for (int64_t i = threadIdx.x; i < size; i += blockDim.x) sums[i] = 0.0f;
    __syncthreads();
    for (int64_t first = kg.head_ptr[head], end = kg.head_ptr[head_end]; first < end; first += CHUNK) {
        int count = (int)(end - first < CHUNK ? end - first : (int64_t)CHUNK);
        for (int i = threadIdx.x; i < CHUNK; i += blockDim.x) {
            int64_t k = first + (i < count ? i : 0); /* places beyond the edges add nothing to relation 0 */
            slope[i] = i < count ? dlogit[k] : 0.0f;
            relation[i] = i < count ? kg.relation[k] : 0;
            head_row[i] = (kd_lower_bound(kg.head_ptr, head, head_end, k + 1) - 1) * e.ld;
            tail_row[i] = kg.tail[k] * e.ld;
        }
        __syncthreads();
        for (int64_t c = threadIdx.x; c < d; c += blockDim.x)
            for (int at = 0; at < count; at += TOGETHER) {
                float from_head[TOGETHER], from_tail[TOGETHER];
                for (int i = 0; i < TOGETHER; i++) {
                    from_head[i] = rows[head_row[at + i] + c];
                    from_tail[i] = rows[tail_row[at + i] + c];
                }
                for (int i = 0; i < TOGETHER; i++) {
                    sums[relation[at + i] * d + c] += slope[at + i] * from_head[i];
                    sums[(kg.relations + relation[at + i]) * d + c] += slope[at + i] * from_tail[i];
                }
            }
        __syncthreads();
    }
    if (in_shared)
        for (int64_t i = threadIdx.x; i < size; i += blockDim.x) part[range * size + i] = sums[i];
}

__global__ void __launch_bounds__(KD_BLOCK) relation_sums(int64_t ranges, const float *part, kd_mat drh, kd_mat drt) {
    int64_t half = drh.rows * drh.cols, i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= 2 * half) return;
    float sum = 0.0f;
    for (int64_t range = 0; range < ranges; range++) sum += part[range * 2 * half + i];
    kd_mat to = i < half ? drh : drt;
    int64_t at = i % half;
    to.data[at / to.cols * to.ld + at % to.cols] += sum;
}

extern "C" kd_status kd_cuda_rgat_backward(kd_ctx *ctx, const kd_rgat_backward_args *args) {
    const kd_kg *kg = args->kg;
    kd_mat e = args->e;
    tail_work tail = {*kg, args->rt, args->dagg, args->de, args->logit, args->alpha};
    float *part = (float *)ctx->workspace;
    int64_t size = 2 * kg->relations * e.cols, bytes = size * (int64_t)sizeof(float);
    int64_t ranges = kd_rgat_ranges(kg->relations, e.cols);
    int in_shared = bytes <= MOST_SHARED;
    unsigned width = (unsigned)(e.cols < 32 ? 32 : e.cols > KD_BLOCK ? (int64_t)KD_BLOCK : (e.cols + 31) / 32 * 32);
    if (args->split) {
        float *dalpha = part; /* used up before the ranges' sums come */
        KD_CUDA_OR_RETURN(cudaMemsetAsync(dalpha, 0, (size_t)kg->capacity * sizeof *dalpha, kd_stream(ctx)));
        launch_heads(ctx, head_work<KD_SUMS>{*kg, args->slope, e, args->rh, args->dagg, args->de, args->logit,
                                             args->alpha, dalpha});
        KD_OR_RETURN(kd_split_sum(args->split, ctx, kg->capacity, dalpha));
        launch_heads(ctx, head_work<KD_REST>{*kg, args->slope, e, args->rh, args->dagg, args->de, args->logit,
                                             args->alpha, dalpha});
    } else {
        launch_heads(ctx, head_work<KD_WHOLE>{*kg, args->slope, e, args->rh, args->dagg, args->de, args->logit,
                                              args->alpha, NULL});
    }
    KD_LAUNCH(tail_gradients, kd_blocks(kg->entities, WARPS), KD_BLOCK, 0, kd_stream(ctx), tail);
    KD_LAUNCH(relation_parts, (unsigned)ranges, width, in_shared ? (size_t)bytes : 0, kd_stream(ctx), *kg,
              args->dagg.rows, e, args->logit, size, in_shared, part);
    KD_LAUNCH(relation_sums, kd_blocks(size, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), ranges, part, args->drh,
              args->drt);
    return kd_cuda_launched(__func__);
}
