/* Y = alpha (weighted sums of rows of X) + beta C, one sum for each row of a sparse graph: what message passing,
 * relation attention and its gradients are made of. Work is divided by entries, not by rows, so that a hub of many
 * thousands is nobody's bottleneck:
 *
 *   Entries and ends of rows, in their order, are one list (the merge path of Merrill and Garland, "Merge-based
 * parallel sparse matrix-vector multiplication", SC16), in which the end of a row counts for as much as KD_ROW_END
 * entries. A block takes an equal piece of it, and its warps take equal pieces of that. A short row is never cut
 * between blocks: the block in which it begins takes it whole. Of a long row each block leaves its part in global
 * memory, and the last of its blocks to arrive adds the parts up in the order of the list. blockIdx.y is a slab of
 * columns. A warp's lanes are dealt out in slots of `lanes` lanes that cover a slab together, a slot an entry, and each
 * lane has KD_ROW_UNROLLED rows of X on their way at a time.
 *
 * No float is added atomically: the order of a sum follows from the graph and the width alone. */
#ifndef KD_CUDA_ROW_SUMS_H
#define KD_CUDA_ROW_SUMS_H

#include "kernels/cuda/reduce.h"

/* The rows that are summed up, and where the sums go. */
struct kd_row_sums {
    int64_t rows, entries;    /* or the most of them; entries 0: nobody knows */
    const int64_t *row_count; /* so many rows; NULL: `rows` */
    const int64_t *ptr;       /* [rows + 1] where each row's entries begin in the list of all */
    const int32_t *out;       /* [rows] the row of Y and C for each; NULL: its own number */
    float alpha, beta;
    kd_mat c, y;
};

/* The shape of a launch. */
struct kd_row_launch {
    int lanes;     /* of a slot */
    int64_t items; /* of a block, at least */
    int64_t most;  /* blocks: pieces grow where these are too few */
    float *parts;  /* [slabs, most, 2, lanes * VEC] of a row that ends in a block, and of one that goes on after it */
    int32_t *arrivals; /* [slabs, most] by the block in which a row ends: how many of its blocks have come; 0 between */
};

enum { KD_ROW_WARPS = KD_BLOCK / KD_WARP, KD_ROW_UNROLLED = 4, KD_ROW_END = 4 };

template <int VEC> struct kd_columns { float at[VEC]; };

template <int VEC> __device__ static inline kd_columns<VEC> kd_load_columns(const float *from) {
    kd_columns<VEC> v;
    if (VEC == 4) {
        float4 four = __ldg(reinterpret_cast<const float4 *>(from));
        v.at[0] = four.x;
        v.at[VEC > 1 ? 1 : 0] = four.y;
        v.at[VEC > 2 ? 2 : 0] = four.z;
        v.at[VEC > 3 ? 3 : 0] = four.w;
    } else {
        v.at[0] = __ldg(from);
    }
    return v;
}

/* A place on the path: before the end of `row`, `entry` entries of the list have come. */
struct kd_path_place {
    int64_t row, entry;
};

/* How many of low .. high - 1, from the first on, `before` is true of, plus low, by a warp: 32 are asked together. */
template <class Before> __device__ static inline int64_t kd_warp_bound(int64_t low, int64_t high, Before before) {
    while (low < high) {
        int64_t step = (high - low + KD_WARP - 1) / KD_WARP, at = low + threadIdx.x % KD_WARP * step;
        int count = __popc(__ballot_sync(KD_FULL_WARP, at < high && before(at)));
        if (count == 0) return low;
        if (step == 1) return low + count;
        high = low + count * step < high ? low + count * step : high;
        low += (count - 1) * step + 1;
    }
    return low;
}

/* How far along the path a place is, and the end of a row. base: ptr[0] */
__device__ static inline int64_t kd_along(const kd_path_place &p, int64_t base) {
    return p.entry - base + KD_ROW_END * p.row;
}
__device__ static inline int64_t kd_end_along(const int64_t *ptr, int64_t row, int64_t base) {
    return kd_along({row, ptr[row + 1]}, base);
}

/* The place that lies `at` along the path, or the begin of a row after whose end that is, among rows [low, high]. */
__device__ static inline kd_path_place kd_find_on_path(const int64_t *ptr, int64_t at, int64_t low, int64_t high) {
    int64_t base = ptr[0];
    int64_t row = kd_warp_bound(low, high, [&](int64_t i) { return kd_end_along(ptr, i, base) < at; });
    int64_t entry = at - KD_ROW_END * row + base, begin = ptr[row];
    return {row, entry > begin ? entry : begin};
}

template <int VEC>
__device__ static inline void kd_store_sum(const kd_row_sums &s, const kd_columns<VEC> &sum, int64_t row, int64_t col) {
    int64_t to = s.out ? s.out[row] : row;
    for (int i = 0; i < VEC; i++) {
        float value = s.alpha * sum.at[i];
        if (s.beta != 0.0f) value += s.beta * s.c.data[to * s.c.ld + col + i];
        s.y.data[to * s.y.ld + col + i] = value;
    }
}

/* Sum over a warp's slots; every slot gets it. */
template <int VEC> __device__ static inline void kd_add_slots(kd_columns<VEC> *sum, int lanes) {
    for (int i = 0; i < VEC; i++)
        for (int offset = lanes; offset < KD_WARP; offset *= 2)
            sum->at[i] += __shfl_xor_sync(KD_FULL_WARP, sum->at[i], offset);
}

/* What the warps of a block tell each other. place [w] is where warp w begins, and the last one where the block ends.
 */
template <int VEC> struct kd_row_block {
    kd_path_place place[KD_ROW_WARPS + 1];
    bool open[KD_ROW_WARPS + 1];                 /* whether entries of that row came before */
    float ending[KD_ROW_WARPS][KD_WARP * VEC];   /* a warp's part of a row that ends in it and began before it, */
    float going_on[KD_ROW_WARPS][KD_WARP * VEC]; /* and of one that ends after it */
    bool complete[2];                            /* all blocks have come of the row that ends here, that goes on */
};

/* The first item of block `number`, by a warp: a row of at most `most_whole` entries belongs to the block before. */
__device__ static inline kd_path_place kd_block_begin(const kd_row_sums &s, int64_t rows, int64_t at, int64_t all,
                                                      int64_t most_whole) {
    kd_path_place p = kd_find_on_path(s.ptr, at < all ? at : all, 0, rows);
    if (p.row < rows && p.entry > s.ptr[p.row] && s.ptr[p.row + 1] - s.ptr[p.row] <= most_whole)
        p = {p.row + 1, s.ptr[p.row + 1]};
    return p;
}

/* A warp's items [begin, end): rows that begin and end here are stored. `open`: the first row began before. */
template <int VEC, class Terms>
__device__ static inline void kd_sum_items(const kd_row_sums &s, const Terms &terms, int lanes, kd_path_place begin,
                                           kd_path_place end, bool open, int64_t col, float *ending, float *going_on) {
    enum { AHEAD = KD_ROW_UNROLLED / Terms::COUNT };
    int lane = (int)(threadIdx.x % KD_WARP), slots = KD_WARP / lanes, slot = lane / lanes;
    bool on = col < s.y.cols;
    int64_t row = begin.row, ends_from = row,
            ends = row < end.row ? s.ptr[row + 1 + (row + lane < end.row ? lane : 0)] : 0;
    kd_columns<VEC> sum = {};
    /* where the row ends, or beyond all entries of this warp for one that goes on */
    auto end_of_row = [&]() {
        if (row >= end.row) return end.entry + 1;
        if (row - ends_from >= KD_WARP) {
            ends_from = row;
            ends = s.ptr[row + 1 + (row + lane < end.row ? lane : 0)];
        }
        return __shfl_sync(KD_FULL_WARP, ends, (int)(row - ends_from));
    };
    auto finish_row = [&]() {
        kd_add_slots<VEC>(&sum, lanes);
        if (lane < lanes) {
            if (open)
                for (int i = 0; i < VEC; i++) ending[lane * VEC + i] = sum.at[i];
            else if (on)
                kd_store_sum<VEC>(s, sum, row, col);
        }
        open = false;
        sum = {};
        row++;
    };
    int64_t row_end = end_of_row();
    for (int64_t first = begin.entry; first < end.entry; first += KD_WARP) {
        int count = (int)(end.entry - first < KD_WARP ? end.entry - first : (int64_t)KD_WARP), done = 0;
        float weight[Terms::COUNT];
        int64_t from[Terms::COUNT]; /* offset in X; below 0: adds nothing */
        terms.read(lane < count ? first + lane : first, row, end.row, weight, from);
        for (int t = 0; t < Terms::COUNT; t++)
            if (lane >= count) from[t] = -1;
        while (done < count) {
            int from_here = done;
            kd_columns<VEC> x[AHEAD][Terms::COUNT];
            float w[AHEAD][Terms::COUNT];
            int next = done + AHEAD * slots < count ? done + AHEAD * slots : count;
            KD_UNROLL(4)
            for (int u = 0; u < AHEAD; u++) KD_UNROLL(4)
            for (int t = 0; t < Terms::COUNT; t++) {
                int entry = done + u * slots + slot;
                int64_t at = __shfl_sync(KD_FULL_WARP, from[t], entry % KD_WARP);
                w[u][t] = __shfl_sync(KD_FULL_WARP, weight[t], entry % KD_WARP);
                bool there = on && entry < count && at >= 0;
                if (there) x[u][t] = kd_load_columns<VEC>(terms.x[t].data + at + col);
                if (!there) x[u][t] = {}, w[u][t] = 0.0f;
            }
            for (;;) { /* the rows that have entries among these */
                int stop = row_end - first < next ? (int)(row_end - first) : next;
                KD_UNROLL(4)
                for (int u = 0; u < AHEAD; u++) {
                    int entry = done + u * slots + slot;
                    bool own = entry >= from_here && entry < stop;
                    KD_UNROLL(4)
                    for (int t = 0; t < Terms::COUNT; t++)
                        for (int i = 0; i < VEC; i++)
                            if (own) sum.at[i] += w[u][t] * x[u][t].at[i];
                }
                from_here = stop;
                if (row_end - first > next) break;
                finish_row();
                row_end = end_of_row();
            }
            done = next;
        }
    }
    while (row < end.row) finish_row();
    kd_add_slots<VEC>(&sum, lanes);
    if (lane < lanes)
        for (int i = 0; i < VEC; i++) going_on[lane * VEC + i] = sum.at[i];
}

/* What warps first .. end - 1 have of the row that goes on after warp end - 1, in their order, onto `sum`. */
template <int VEC>
__device__ static inline void kd_add_going_on(const kd_row_block<VEC> &b, int first, int end, int lane,
                                              kd_columns<VEC> *sum) {
    kd_columns<VEC> all = {};
    for (int w = first; w < end; w++)
        for (int i = 0; i < VEC; i++) all.at[i] += b.going_on[w][lane * VEC + i];
    for (int i = 0; i < VEC; i++) sum->at[i] = all.at[i] + sum->at[i];
}

/* The first warp that has entries of the row in which warp w begins, and which it began before. */
template <int VEC> __device__ static inline int kd_first_warp(const kd_row_block<VEC> &b, int w) {
    int64_t row = b.place[w].row;
    while (w > 0 && b.open[w] && b.place[w].row == row) w--;
    return w;
}

/* Rows that end in the block, in another warp than they began: stored, or left to the row's last block to come, like
 * what the block has of a row that goes on. */
template <int VEC>
__device__ static inline void kd_join_warps(const kd_row_sums &s, const kd_row_block<VEC> &b, int lanes, int64_t col,
                                            float *part) {
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP);
    int64_t row = b.place[warp].row;
    if (lane >= lanes) return;
    if (b.open[warp] && b.place[warp + 1].row > row) {
        kd_columns<VEC> sum;
        for (int i = 0; i < VEC; i++) sum.at[i] = b.ending[warp][lane * VEC + i];
        kd_add_going_on<VEC>(b, kd_first_warp<VEC>(b, warp), warp, lane, &sum);
        if (b.open[0] && b.place[0].row == row)
            for (int i = 0; i < VEC; i++) part[lane * VEC + i] = sum.at[i];
        else if (col < s.y.cols)
            kd_store_sum<VEC>(s, sum, row, col);
    }
    if (warp == KD_ROW_WARPS - 1 && b.open[KD_ROW_WARPS]) {
        kd_columns<VEC> sum = {};
        kd_add_going_on<VEC>(b, kd_first_warp<VEC>(b, KD_ROW_WARPS), KD_ROW_WARPS, lane, &sum);
        for (int i = 0; i < VEC; i++) part[(lanes + lane) * VEC + i] = sum.at[i];
    }
}

/* The sum of a row whose blocks first .. last have all come, by the last of them to do so. */
template <int VEC>
__device__ static inline void kd_add_parts(const kd_row_sums &s, int64_t row, int64_t first, int64_t last, int lanes,
                                           int64_t col, const float *parts, kd_row_block<VEC> *b) {
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP), slots = KD_WARP / lanes;
    kd_columns<VEC> sum = {};
    KD_UNROLL(4)
    for (int64_t block = first + warp * slots + lane / lanes; block <= last; block += (int64_t)KD_ROW_WARPS * slots) {
        const float *from = parts + ((2 * block + (block < last ? 1 : 0)) * lanes + lane % lanes) * VEC;
        for (int i = 0; i < VEC; i++) sum.at[i] += __ldcg(from + i);
    }
    kd_add_slots<VEC>(&sum, lanes);
    if (lane < lanes)
        for (int i = 0; i < VEC; i++) b->going_on[warp][lane * VEC + i] = sum.at[i];
    __syncthreads();
    if (warp == 0 && lane < lanes && col < s.y.cols) {
        sum = {};
        kd_add_going_on<VEC>(*b, 0, KD_ROW_WARPS, lane, &sum);
        kd_store_sum<VEC>(s, sum, row, col);
    }
    __syncthreads();
}

/* Blocks first .. last have a part of `row` each; whether this one is the last of them to come. */
__device__ static inline bool kd_arrive(int32_t *arrivals, int64_t first, int64_t last) {
    return atomicAdd(&arrivals[last], 1) == (int32_t)(last - first);
}

/* A block has left what it has of a row that ends in it and of one that goes on after it. */
template <int VEC>
__device__ static inline void kd_join_blocks(const kd_row_sums &s, const kd_row_launch &l, int64_t ending,
                                             int64_t going_on, bool ends, bool goes_on, int64_t items, int64_t col,
                                             kd_row_block<VEC> *b) {
    const int64_t *ptr = s.ptr, base = s.ptr[0];
    const float *parts = l.parts + (int64_t)blockIdx.y * l.most * 2 * l.lanes * VEC;
    int32_t *arrivals = l.arrivals + (int64_t)blockIdx.y * l.most;
    int64_t ending_first = ends ? kd_along({ending, ptr[ending]}, base) / items : 0;
    int64_t ending_last = ends ? kd_end_along(ptr, ending, base) / items : 0;
    int64_t going_on_first = goes_on ? kd_along({going_on, ptr[going_on]}, base) / items : 0;
    int64_t going_on_last = goes_on ? kd_end_along(ptr, going_on, base) / items : 0;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) b->complete[0] = ends && kd_arrive(arrivals, ending_first, ending_last);
    if (threadIdx.x == KD_WARP) b->complete[1] = goes_on && kd_arrive(arrivals, going_on_first, going_on_last);
    __syncthreads();
    bool first = b->complete[0], second = b->complete[1];
    __threadfence();
    if (first) kd_add_parts<VEC>(s, ending, ending_first, ending_last, l.lanes, col, parts, b);
    if (second) kd_add_parts<VEC>(s, going_on, going_on_first, going_on_last, l.lanes, col, parts, b);
    if (threadIdx.x == 0 && first) arrivals[ending_last] = 0;
    if (threadIdx.x == 0 && second) arrivals[going_on_last] = 0;
}

template <int VEC, class Terms>
__global__ void __launch_bounds__(KD_BLOCK) kd_sum_rows(kd_row_sums s, Terms terms, kd_row_launch l) {
    KD_SHARED(kd_row_block<VEC>, shared, [1]);
    kd_row_block<VEC> &b = shared[0];
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP);
    int64_t rows = s.row_count && s.row_count[0] < s.rows ? s.row_count[0] : s.rows, base = s.ptr[0];
    int64_t all = kd_along({rows, s.ptr[rows]}, base), most_whole = l.items / KD_ROW_WARPS;
    int64_t items = l.items * l.most < all ? (all + l.most - 1) / l.most : l.items;
    int64_t col = ((int64_t)blockIdx.y * l.lanes + lane % l.lanes) * VEC;
    float *parts = l.parts + (int64_t)blockIdx.y * l.most * 2 * l.lanes * VEC;
    int64_t block = blockIdx.x;
    if (block * items >= all) return;
    if (warp < 2) {
        kd_path_place p = kd_block_begin(s, rows, (block + warp) * items, all, most_whole);
        if (lane == 0) b.place[warp * KD_ROW_WARPS] = p;
    }
    __syncthreads();
    kd_path_place begin = b.place[0], end = b.place[KD_ROW_WARPS];
    int64_t at = kd_along(begin, base), count = kd_along(end, base) - at;
    kd_path_place own = kd_find_on_path(s.ptr, at + count * warp / KD_ROW_WARPS, begin.row, end.row);
    __syncthreads();
    if (lane == 0) {
        b.place[warp] = own;
        b.open[warp] = own.row < rows && own.entry > s.ptr[own.row];
        if (warp == 0) b.open[KD_ROW_WARPS] = end.row < rows && end.entry > s.ptr[end.row];
    }
    __syncthreads();
    kd_sum_items<VEC>(s, terms, l.lanes, own, b.place[warp + 1], b.open[warp], col, b.ending[warp], b.going_on[warp]);
    __syncthreads();
    kd_join_warps<VEC>(s, b, l.lanes, col, parts + block * 2 * l.lanes * VEC);
    bool ends = b.open[0] && end.row > begin.row, goes_on = b.open[KD_ROW_WARPS];
    if (ends || goes_on) kd_join_blocks<VEC>(s, l, begin.row, end.row, ends, goes_on, items, col, &b);
}

/* Lanes of a slot: the most that leave at most a fifth of a slab idle; that is cheaper than many narrow slabs. */
static inline int kd_slot_lanes(int64_t pieces) {
    int best = 1;
    for (int lanes = 2; lanes <= KD_WARP; lanes *= 2)
        if ((pieces + lanes - 1) / lanes * lanes * 4 <= pieces * 5) best = lanes;
    return best;
}

/* Enqueues the sums of the rows of terms.x [COUNT] that terms.read names. */
template <int VEC, class Terms> static void kd_enqueue_row_sums(kd_ctx *ctx, const kd_row_sums &s, const Terms &terms) {
    /* items of a warp: narrow rows leave more warps; and where nobody knows how few entries there are: of as many
     * blocks */
    enum { MOST_ITEMS = 128, FEWEST_ITEMS = 8, BLOCKS = 512 };
    kd_cuda *cuda = kd_cuda_of(ctx);
    kd_row_launch l = {};
    l.lanes = kd_slot_lanes((s.y.cols + VEC - 1) / VEC);
    int64_t width = l.lanes * VEC, slabs = (s.y.cols + width - 1) / width, slots = KD_WARP / l.lanes;
    l.most = KD_ROW_PARTS / (slabs * 2 * width);
    if (l.most > KD_ROW_ARRIVALS / slabs) l.most = KD_ROW_ARRIVALS / slabs;
    l.items = KD_ROW_WARPS * (slots < MOST_ITEMS / KD_WARP ? KD_WARP * slots : (int64_t)MOST_ITEMS);
    if (s.entries == 0) {
        l.items = KD_ROW_WARPS * FEWEST_ITEMS;
        l.most = (BLOCKS + slabs - 1) / slabs;
    }
    l.parts = cuda->row_parts;
    l.arrivals = cuda->row_arrivals;
    int64_t blocks = s.entries > 0 ? (KD_ROW_END * s.rows + s.entries + l.items - 1) / l.items : l.most;
    dim3 grid((unsigned)(blocks < l.most ? blocks : l.most), (unsigned)slabs);
    KD_LAUNCH((kd_sum_rows<VEC, Terms>), grid, KD_BLOCK, 0, kd_stream(ctx), s, terms, l);
}

template <class Terms> static kd_status kd_launch_row_sums(kd_ctx *ctx, const kd_row_sums &s, const Terms &terms) {
    bool aligned = true;
    if (s.rows == 0 || s.y.cols == 0) return KD_OK;
    for (int t = 0; t < Terms::COUNT; t++) aligned = aligned && kd_is_aligned(terms.x[t]);
    if (aligned)
        kd_enqueue_row_sums<4>(ctx, s, terms);
    else
        kd_enqueue_row_sums<1>(ctx, s, terms);
    return kd_cuda_launched(__func__);
}

#endif
