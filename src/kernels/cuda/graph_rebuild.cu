/* Graphs rebuilt from sampled rows, all on the device and divided by edges, since a sampled item or a tail may have
 * nearly every user or head: what a row holds follows from prefix sums and a stable sort, in its order at once. */
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/scan.h"
#include "kernels/cuda/sort.h"

/* Pairs (user, item), as users sampled them. */
__global__ void __launch_bounds__(KD_BLOCK)
    sampled_pairs(int64_t pairs, const int32_t *top, uint64_t *item, int32_t *pair) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (i >= pairs) return;
    item[i] = (uint64_t)top[i];
    pair[i] = (int32_t)i;
}

__device__ static inline float thinned(float value, int64_t row, int64_t col, float keep_rate, const kd_rng *rng) {
    uint32_t draw[4];
    kd_rng_draw4(rng, (uint32_t)row, (uint32_t)col, draw);
    return kd_uniform(draw[0]) < keep_rate ? value / keep_rate : 0.0f;
}

/* What thins a graph. */
struct thinning {
    float keep_rate;
    kd_rng rng;
};

__device__ static inline void put_edge(const kd_modality_graph &g, int64_t at, int64_t row, int64_t col, float value,
                                       const thinning &t) {
    g.col[at] = (int32_t)col;
    g.val[at] = thinned(value, row, col, t.keep_rate, &t.rng);
    g.val_transpose[at] = thinned(value, col, row, t.keep_rate, &t.rng);
}

/* Where every row begins, and its own entry: the first of a user's, which items follow, the last of an item's. item
 * [pairs] ascends. */
__global__ void __launch_bounds__(KD_BLOCK) own_entries(kd_modality_graph g, const uint64_t *item, thinning t) {
    int64_t r = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x, pairs = g.users * g.q, i = r - g.users;
    if (r >= g.nodes) return;
    t.rng = kd_rng_now(t.rng);
    int64_t begin = r * (g.q + 1), end = begin + g.q + 1;
    if (i >= 0) { /* before an item's entries are those of users, of the items before and these items' own */
        int64_t first = kd_lower_bound(item, 0, pairs, (uint64_t)i);
        begin = g.users * (g.q + 1) + first + i;
        end = begin + kd_lower_bound(item, first, pairs, (uint64_t)i + 1) - first + 1;
    }
    g.row_ptr[r] = begin;
    if (r == g.nodes - 1) g.row_ptr[g.nodes] = end;
    put_edge(g, i < 0 ? begin : end - 1, r, r, (float)(1.0 / sqrt((double)(end - begin) * (double)(end - begin))), t);
}

/* Both entries of each pair, which are sorted by item and stand in the order of users among those of one. */
__global__ void __launch_bounds__(KD_BLOCK)
    pair_entries(kd_modality_graph g, const int32_t *top, const uint64_t *item, const int32_t *pair, thinning t) {
    int64_t at = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x, before = 0;
    if (at >= g.users * g.q) return;
    t.rng = kd_rng_now(t.rng);
    int64_t user = pair[at] / g.q, i = (int64_t)item[at], row = g.users + i;
    for (int64_t k = user * g.q; k < (user + 1) * g.q; k++) before += top[k] < i;
    int64_t degree = g.row_ptr[row + 1] - g.row_ptr[row];
    float value = (float)(1.0 / sqrt((double)(g.q + 1) * (double)degree));
    put_edge(g, g.users * (g.q + 1) + at + i, row, user, value, t);
    put_edge(g, user * (g.q + 1) + 1 + before, user, row, value, t);
}

extern "C" kd_status kd_cuda_modality_graph_build(kd_ctx *ctx, const int32_t *top, float keep_rate, const kd_rng *rng,
                                                  kd_modality_graph *out) {
    cudaStream_t stream = kd_stream(ctx);
    int64_t pairs = out->users * out->q;
    kd_sort_arrays s = kd_sort_lay_out(ctx->workspace, pairs);
    thinning t = {keep_rate, *rng};
    int bits = 0;
    while (bits < 32 && (out->nodes - out->users) >> bits > 0) bits++;
    KD_LAUNCH(sampled_pairs, kd_blocks(pairs, KD_BLOCK), KD_BLOCK, 0, stream, pairs, top, s.key[0], s.index[0]);
    int sorted = kd_cuda_sort(ctx, pairs, bits, &s);
    KD_LAUNCH(own_entries, kd_blocks(out->nodes, KD_BLOCK), KD_BLOCK, 0, stream, *out, s.key[sorted], t);
    KD_LAUNCH(pair_entries, kd_blocks(pairs, KD_BLOCK), KD_BLOCK, 0, stream, *out, top, s.key[sorted], s.index[sorted],
              t);
    return kd_cuda_launched(__func__);
}

__device__ static inline bool contains(const int32_t *list, int64_t n, int32_t wanted) {
    for (int64_t i = 0; i < n; i++)
        if (list[i] == wanted) return true;
    return false;
}

/* keep [2 capacity]: 1 for each edge that was sampled from either end and survives thinning, by head and then by tail;
 * 0 beyond the edges. */
__global__ void __launch_bounds__(KD_BLOCK)
    choose_edges(kd_kg full, int64_t q, const int32_t *top, thinning t, int64_t *keep) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x, k = i;
    bool kept = false;
    if (i >= full.capacity) return;
    if (i < full.head_ptr[full.entities]) {
        k = full.in_edge[i];
        int32_t head = full.in_head[i], tail = full.tail[k];
        uint32_t draw[4];
        t.rng = kd_rng_now(t.rng);
        kd_rng_draw4(&t.rng, (uint32_t)head, (uint32_t)tail, draw);
        kept = kd_uniform(draw[0]) < t.keep_rate &&
               (contains(top + head * q, q, tail) || contains(top + tail * q, q, head));
    }
    keep[k] = kept;
    keep[full.capacity + i] = kept;
}

/* before [2 capacity + 1] = how many were kept before each edge by head, and, after as many as there are in all, by
 * tail; what is kept is where the next one has one more before it. */
__global__ void __launch_bounds__(KD_BLOCK) take_kept(kd_kg full, const int64_t *before, kd_kg out) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x, edges = full.head_ptr[full.entities];
    const int64_t *by_tail = before + full.capacity, all = by_tail[0];
    if (i <= full.entities) {
        out.head_ptr[i] = before[full.head_ptr[i]];
        out.tail_ptr[i] = by_tail[full.tail_ptr[i]] - all;
    }
    if (i >= edges) return;
    if (before[i + 1] > before[i]) {
        out.tail[before[i]] = full.tail[i];
        out.relation[before[i]] = full.relation[i];
    }
    if (by_tail[i + 1] > by_tail[i]) {
        out.in_head[by_tail[i] - all] = full.in_head[i];
        out.in_edge[by_tail[i] - all] = before[full.in_edge[i]];
    }
}

extern "C" kd_status kd_cuda_kg_generate(kd_ctx *ctx, const kd_kg *full, int64_t q, const int32_t *top, float keep_rate,
                                         const kd_rng *rng, kd_kg *out) {
    int64_t *keep = (int64_t *)ctx->workspace, capacity = full->capacity;
    int64_t most = capacity > full->entities ? capacity : full->entities + 1;
    thinning t = {keep_rate, *rng};
    KD_LAUNCH(choose_edges, kd_blocks(capacity, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), *full, q, top, t, keep);
    kd_cuda_scan(ctx, 2 * capacity, keep, false, keep + 2 * capacity);
    KD_LAUNCH(take_kept, kd_blocks(most, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), *full, keep, *out);
    return kd_cuda_launched(__func__);
}
