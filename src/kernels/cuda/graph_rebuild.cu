/* Graphs rebuilt from sampled rows, all on the device: degrees are counted and places handed out with integer atomics,
 * whose order does not matter, since every row is sorted afterwards. */
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/scan.h"

enum { WARPS = KD_BLOCK / KD_WARP, SHORT_ROW = 32 };

__device__ static inline int64_t take_place(int64_t *end) {
    return (int64_t)atomicAdd((unsigned long long *)end, ~0ull) - 1; /* adds -1: a row fills from its end */
}

/* Sorts the rows of a block: short ones by a thread each, long ones by all threads. */
template <class T> __global__ void __launch_bounds__(KD_BLOCK) sort_rows(int64_t rows, const int64_t *ptr, T *x) {
    int64_t first = (int64_t)blockIdx.x * KD_BLOCK, own = first + threadIdx.x;
    if (own < rows && ptr[own + 1] - ptr[own] <= SHORT_ROW)
        for (int64_t i = ptr[own] + 1; i < ptr[own + 1]; i++) {
            T value = x[i];
            int64_t at = i;
            for (; at > ptr[own] && x[at - 1] > value; at--) x[at] = x[at - 1];
            x[at] = value;
        }
    for (int64_t r = first; r < first + KD_BLOCK && r < rows; r++)
        if (ptr[r + 1] - ptr[r] > SHORT_ROW) kd_block_sort(x + ptr[r], ptr[r + 1] - ptr[r]);
}

/* row_ptr[r] = entries of row r: itself, and what was sampled. */
__global__ void __launch_bounds__(KD_BLOCK) own_degrees(kd_modality_graph g) {
    int64_t r = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (r < g.nodes) g.row_ptr[r] = r < g.users ? g.q + 1 : 1;
}

__global__ void __launch_bounds__(KD_BLOCK) item_degrees(const int32_t *top, kd_modality_graph g) {
    int64_t k = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (k < g.users * g.q) atomicAdd((unsigned long long *)(g.row_ptr + g.users + top[k]), 1ull);
}

/* row_ptr holds the rows' ends before, their begins afterwards. */
__global__ void __launch_bounds__(KD_BLOCK) place_edges(const int32_t *top, kd_modality_graph g) {
    int64_t k = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x, edges = g.users * g.q;
    if (k < edges) {
        int64_t user = k / g.q, item = g.users + top[k];
        g.col[take_place(g.row_ptr + user)] = (int32_t)item;
        g.col[take_place(g.row_ptr + item)] = (int32_t)user;
    } else if (k < edges + g.nodes) {
        g.col[take_place(g.row_ptr + (k - edges))] = (int32_t)(k - edges);
    }
}

__device__ static inline float thinned(float value, int64_t row, int64_t col, float keep_rate, const kd_rng *rng) {
    uint32_t draw[4];
    kd_rng_draw4(rng, (uint32_t)row, (uint32_t)col, draw);
    return kd_uniform(draw[0]) < keep_rate ? value / keep_rate : 0.0f;
}

__global__ void __launch_bounds__(KD_BLOCK) edge_values(kd_modality_graph g, float keep_rate, kd_rng rng) {
    int64_t r = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP;
    if (r >= g.nodes) return;
    const int64_t *ptr = g.row_ptr;
    rng = kd_rng_now(rng);
    for (int64_t k = ptr[r] + threadIdx.x % KD_WARP; k < ptr[r + 1]; k += KD_WARP) {
        int64_t c = g.col[k];
        float value = (float)(1.0 / sqrt((double)(ptr[r + 1] - ptr[r]) * (double)(ptr[c + 1] - ptr[c])));
        g.val[k] = thinned(value, r, c, keep_rate, &rng);
        g.val_transpose[k] = thinned(value, c, r, keep_rate, &rng);
    }
}

extern "C" kd_status kd_cuda_modality_graph_build(kd_ctx *ctx, const int32_t *top, float keep_rate, const kd_rng *rng,
                                                  kd_modality_graph *out) {
    cudaStream_t stream = kd_stream(ctx);
    int64_t edges = out->users * out->q;
    KD_LAUNCH(own_degrees, kd_blocks(out->nodes, KD_BLOCK), KD_BLOCK, 0, stream, *out);
    KD_LAUNCH(item_degrees, kd_blocks(edges, KD_BLOCK), KD_BLOCK, 0, stream, top, *out);
    kd_cuda_scan(ctx, out->nodes, out->row_ptr, true, out->row_ptr + out->nodes);
    KD_LAUNCH(place_edges, kd_blocks(edges + out->nodes, KD_BLOCK), KD_BLOCK, 0, stream, top, *out);
    KD_LAUNCH(sort_rows<int32_t>, kd_blocks(out->nodes, KD_BLOCK), KD_BLOCK, 0, stream, out->nodes, out->row_ptr,
              out->col);
    KD_LAUNCH(edge_values, kd_blocks(out->nodes, WARPS), KD_BLOCK, 0, stream, *out, keep_rate, *rng);
    return kd_cuda_launched(__func__);
}

__device__ static inline bool contains(const int32_t *list, int64_t n, int32_t wanted) {
    for (int64_t i = 0; i < n; i++)
        if (list[i] == wanted) return true;
    return false;
}

/* keep[k]: edge (h, t) was sampled from either end and survives thinning. A warp a head. */
__global__ void __launch_bounds__(KD_BLOCK)
    choose_edges(kd_kg full, int64_t q, const int32_t *top, float keep_rate, kd_rng rng, uint8_t *keep) {
    int64_t h = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP;
    if (h >= full.entities) return;
    rng = kd_rng_now(rng);
    for (int64_t k = full.head_ptr[h] + threadIdx.x % KD_WARP; k < full.head_ptr[h + 1]; k += KD_WARP) {
        int32_t t = full.tail[k];
        uint32_t draw[4];
        kd_rng_draw4(&rng, (uint32_t)h, (uint32_t)t, draw);
        keep[k] =
            kd_uniform(draw[0]) < keep_rate && (contains(top + h * q, q, t) || contains(top + t * q, q, (int32_t)h));
    }
}

__global__ void __launch_bounds__(KD_BLOCK) count_kept(kd_kg full, const uint8_t *keep, kd_kg out) {
    int64_t h = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP, count = 0;
    if (h >= full.entities) return;
    for (int64_t k = full.head_ptr[h] + threadIdx.x % KD_WARP; k < full.head_ptr[h + 1]; k += KD_WARP)
        count += keep[k] != 0;
    count = kd_lanes_sum(count);
    if (threadIdx.x % KD_WARP == 0) {
        out.head_ptr[h] = count;
        out.tail_ptr[h] = 0;
    }
}

/* A head's kept edges in their order, counted by tail on the way. */
__global__ void __launch_bounds__(KD_BLOCK) copy_kept(kd_kg full, const uint8_t *keep, kd_kg out) {
    int64_t h = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP;
    int lane = (int)(threadIdx.x % KD_WARP);
    if (h >= full.entities) return;
    int64_t end = full.head_ptr[h + 1], at = out.head_ptr[h];
    for (int64_t first = full.head_ptr[h]; first < end; first += KD_WARP) {
        int64_t k = first + lane;
        bool kept = k < end && keep[k] != 0;
        unsigned all = __ballot_sync(KD_FULL_WARP, kept);
        if (kept) {
            int64_t to = at + __popc(all & ((1u << lane) - 1));
            out.tail[to] = full.tail[k];
            out.relation[to] = full.relation[k];
            atomicAdd((unsigned long long *)(out.tail_ptr + full.tail[k]), 1ull);
        }
        at += __popc(all);
    }
}

/* tail_ptr holds the tails' ends before, their begins afterwards. A warp a head. */
__global__ void __launch_bounds__(KD_BLOCK) place_by_tail(kd_kg out) {
    int64_t h = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP;
    if (h >= out.entities) return;
    for (int64_t k = out.head_ptr[h] + threadIdx.x % KD_WARP; k < out.head_ptr[h + 1]; k += KD_WARP)
        out.in_edge[take_place(out.tail_ptr + out.tail[k])] = k;
}

/* Edges of a tail ascend, so its heads do too: an edge's head is the row of head_ptr that holds it. */
__global__ void __launch_bounds__(KD_BLOCK) heads_of_edges(kd_kg out) {
    int64_t stride = (int64_t)gridDim.x * KD_BLOCK, edges = out.head_ptr[out.entities];
    for (int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x; i < edges; i += stride)
        out.in_head[i] = (int32_t)(kd_lower_bound(out.head_ptr, 0, out.entities, out.in_edge[i] + 1) - 1);
}

/* out = the edges of `full` with keep [edges of full] != 0, in order. */
static void take_kept(kd_ctx *ctx, const kd_kg *full, const uint8_t *keep, kd_kg *out) {
    cudaStream_t stream = kd_stream(ctx);
    unsigned heads = kd_blocks(full->entities, WARPS);
    KD_LAUNCH(count_kept, heads, KD_BLOCK, 0, stream, *full, keep, *out);
    kd_cuda_scan(ctx, out->entities, out->head_ptr, false, out->head_ptr + out->entities);
    KD_LAUNCH(copy_kept, heads, KD_BLOCK, 0, stream, *full, keep, *out);
    kd_cuda_scan(ctx, out->entities, out->tail_ptr, true, out->tail_ptr + out->entities);
    KD_LAUNCH(place_by_tail, heads, KD_BLOCK, 0, stream, *out);
    KD_LAUNCH(sort_rows<int64_t>, kd_blocks(out->entities, KD_BLOCK), KD_BLOCK, 0, stream, out->entities, out->tail_ptr,
              out->in_edge);
    KD_LAUNCH(heads_of_edges, kd_strided_blocks(ctx, full->capacity), KD_BLOCK, 0, stream, *out);
}

extern "C" kd_status kd_cuda_kg_generate(kd_ctx *ctx, const kd_kg *full, int64_t q, const int32_t *top, float keep_rate,
                                         const kd_rng *rng, kd_kg *out) {
    uint8_t *keep = (uint8_t *)ctx->workspace;
    KD_LAUNCH(choose_edges, kd_blocks(full->entities, WARPS), KD_BLOCK, 0, kd_stream(ctx), *full, q, top, keep_rate,
              *rng, keep);
    take_kept(ctx, full, keep, out);
    return kd_cuda_launched(__func__);
}
