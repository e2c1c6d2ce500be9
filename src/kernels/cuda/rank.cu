/* Top-k columns of rows and ranking metrics. */
#include <math.h>

#include "kernels/common/merge.h"
#include "kernels/cuda/reduce.h"

enum { QUAD = 4, NARROW = 256, WIDE = 1024, WIDE_ROW = 1 << 15, METRIC_THREADS = 1024, MOST_CUTS = 8 };

/* Columns are ordered by keys, the best least: its value turned round, then the column. */
static const uint64_t NO_KEY = ~UINT64_C(0); /* of NaN: never chosen, after every other key */

__device__ static inline uint64_t key_of(float x, int64_t col) {
    if (x != x) return NO_KEY;
    uint32_t bits = x == 0.0f ? 0u : __float_as_uint(x); /* -0 equals 0 */
    bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;      /* now they ascend with x */
    return (uint64_t)~bits << 32 | (uint32_t)col;
}

/* A row of X and the columns left out of it. */
typedef struct masked_row {
    const float *x;
    const int32_t *masked;
    int64_t cols, begin, end;
} masked_row;

__device__ static inline masked_row row_of(const kd_mat &x, const kd_csr &mask, int64_t r) {
    bool any = mask.row_ptr != NULL;
    return masked_row{x.data + r * x.ld, mask.col, x.cols, any ? mask.row_ptr[r] : 0, any ? mask.row_ptr[r + 1] : 0};
}

__device__ static inline bool is_masked(const masked_row &row, uint64_t key) {
    int32_t col = (int32_t)(uint32_t)key;
    int64_t at = kd_lower_bound(row.masked, row.begin, row.end, col);
    return at < row.end && row.masked[at] == col;
}

/* The thread's next columns, a block's width apart, so that their loads are under way together. */
__device__ static inline void load_keys(const masked_row &row, int64_t first, uint64_t key[QUAD]) {
    for (int j = 0; j < QUAD; j++) {
        int64_t col = first + (int64_t)j * blockDim.x + threadIdx.x;
        key[j] = col < row.cols ? key_of(row.x[col], col) : NO_KEY;
    }
}

/* list [blockDim.x] = the best key after `after` of each thread's columns, in order. */
__device__ static inline void best_of_threads(const masked_row &row, uint64_t after, bool all, uint64_t *list) {
    uint64_t best = NO_KEY, key[QUAD];
    for (int64_t first = 0; first < row.cols; first += (int64_t)QUAD * blockDim.x) {
        load_keys(row, first, key);
        for (int j = 0; j < QUAD; j++) /* few keys get as far as the mask */
            if (key[j] < best && (all || key[j] > after) && !is_masked(row, key[j])) best = key[j];
    }
    list[threadIdx.x] = best;
    __syncthreads();
    kd_block_sort(list, blockDim.x);
}

/* list [capacity] begins with the `want` best keys after `after` in order, or as many as there are: returns how many.
 * limit: none of them is greater. Where more keys than expected are below it, the list is sorted and cut on the way. */
__device__ static inline int gather_best(const masked_row &row, uint64_t after, bool all, uint64_t limit, int want,
                                         int capacity, uint64_t *list, int *count) {
    int tile = QUAD * (int)blockDim.x;
    if (threadIdx.x == 0) *count = 0;
    __syncthreads();
    for (int64_t first = 0; first < row.cols; first += tile) {
        uint64_t key[QUAD];
        bool full = false;
        load_keys(row, first, key);
        for (int j = 0; j < QUAD; j++)
            if (key[j] <= limit && key[j] != NO_KEY && (all || key[j] > after) && !is_masked(row, key[j])) {
                int place = atomicAdd(count, 1); /* the order does not matter: keys differ and are sorted */
                list[place] = key[j];
                full = full || place >= capacity - tile;
            }
        if (!__syncthreads_or(full)) continue;
        kd_block_sort(list, *count);
        limit = list[want - 1];
        if (threadIdx.x == 0) *count = want;
        __syncthreads();
    }
    int found = *count;
    kd_block_sort(list, found);
    return found < want ? found : want;
}

/* Shape: THREADS threads a block, a block a row. At most THREADS / 2 columns are found at a time: the want-th best of
 * the threads' own best is a limit that few other keys reach, so that the rest of the row is read once and hardly
 * sorted. Cost: two reads of the row (one for k = 1) for every THREADS / 2 columns wanted. */
template <int THREADS>
__global__ void __launch_bounds__(THREADS)
    best_columns(kd_mat x, kd_csr mask, int64_t k, int32_t *index, float *value) {
    enum { AT_ONCE = THREADS / 2, CAPACITY = AT_ONCE + QUAD * THREADS };
    KD_SHARED(uint64_t, list, [CAPACITY]);
    KD_SHARED(int, count, [1]);
    int64_t r = blockIdx.x, done = 0;
    masked_row row = row_of(x, mask, r);
    uint64_t after = 0;
    while (done < k) {
        int want = k - done < AT_ONCE ? (int)(k - done) : (int)AT_ONCE, found;
        best_of_threads(row, after, done == 0, list);
        uint64_t limit = list[want - 1], best = list[0];
        if (want == 1) {
            found = best != NO_KEY;
        } else {
            __syncthreads();
            found = gather_best(row, after, done == 0, limit, want, CAPACITY, list, count);
        }
        for (int i = (int)threadIdx.x; i < want; i += THREADS) {
            int32_t col = i < found ? (int32_t)(uint32_t)list[i] : -1;
            index[r * k + done + i] = col;
            if (value) value[r * k + done + i] = col < 0 ? -INFINITY : row.x[col];
        }
        after = found == want ? list[want - 1] : NO_KEY;
        done += want;
        __syncthreads();
    }
}

extern "C" kd_status kd_cuda_topk_rows(kd_ctx *ctx, kd_mat x, kd_csr mask, int64_t k, int32_t *index, float *value) {
    if (x.rows == 0) return KD_OK;
    if (x.cols < WIDE_ROW) {
        KD_LAUNCH(best_columns<NARROW>, (unsigned)x.rows, NARROW, 0, kd_stream(ctx), x, mask, k, index, value);
    } else {
        KD_LAUNCH(best_columns<WIDE>, (unsigned)x.rows, WIDE, 0, kd_stream(ctx), x, mask, k, index, value);
    }
    return kd_cuda_launched(__func__);
}

/* A thread an entry: it finds its own place by a search in each of the other lists. */
__global__ void __launch_bounds__(KD_BLOCK) merge_lists(int64_t rows, int64_t k, int64_t parts, const int32_t *first,
                                                        const int32_t *index, const float *value, int32_t *top) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x, p = i / (rows * k), r = i / k % rows, j = i % k;
    if (i >= parts * rows * k) return;
    int64_t place = kd_merged_place(value, parts, rows * k, r * k, k, p, j);
    if (place < k) top[r * k + place] = index[i] < 0 ? -1 : first[p] + index[i];
}

extern "C" kd_status kd_cuda_merge_top(kd_ctx *ctx, const kd_merge_top_args *args) {
    int64_t rows = args->rows, k = args->k, parts = args->parts;
    if (rows == 0) return KD_OK;
    KD_LAUNCH(merge_lists, kd_blocks(parts * rows * k, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), rows, k, parts,
              args->first, args->index, args->value, args->top);
    return kd_cuda_launched(__func__);
}

typedef struct cut_offs {
    int64_t k[MOST_CUTS];
} cut_offs;

/* Hits of a row's first `cut` ranks, what they gain and what ideal ranks would. */
__device__ static inline int64_t hits_of(const int32_t *list, int64_t cut, const kd_csr &held_out, int64_t begin,
                                         int64_t end, double *gain, double *ideal) {
    int64_t hits = 0;
    *gain = *ideal = 0.0;
    for (int64_t rank = 0; rank < cut; rank++) {
        double share = 1.0 / log2((double)rank + 2.0);
        if (rank < end - begin) *ideal += share;
        if (list[rank] < 0) continue;
        int64_t at = kd_lower_bound(held_out.col, begin, end, list[rank]);
        if (at == end || held_out.col[at] != list[rank]) continue;
        hits++;
        *gain += share;
    }
    return hits;
}

/* Shape: METRIC_THREADS threads a block, a thread a row, grid: the cut-offs, so that sums come out in a fixed order.
 * Cost: rows * cut-off look-ups among a row's held-out columns. */
__global__ void __launch_bounds__(METRIC_THREADS)
    add_metrics(int64_t rows, int64_t k, const int32_t *index, kd_csr held_out, cut_offs cuts, double *sums) {
    KD_SHARED(double, part, [KD_WARP]);
    int64_t j = blockIdx.x, cut = cuts.k[j];
    double recall = 0.0, ndcg = 0.0, precision = 0.0, seen = 0.0, gain, ideal;
    for (int64_t r = threadIdx.x; r < rows; r += METRIC_THREADS) {
        int64_t begin = held_out.row_ptr[r], end = held_out.row_ptr[r + 1];
        if (begin == end) continue;
        double hits = (double)hits_of(index + r * k, cut, held_out, begin, end, &gain, &ideal);
        recall += hits / (double)(end - begin);
        ndcg += gain / ideal;
        precision += hits / (double)cut;
        seen += 1.0;
    }
    recall = kd_block_sum(recall, part);
    ndcg = kd_block_sum(ndcg, part);
    precision = kd_block_sum(precision, part);
    seen = kd_block_sum(seen, part);
    if (threadIdx.x != 0) return;
    sums[3 * j] += recall;
    sums[3 * j + 1] += ndcg;
    sums[3 * j + 2] += precision;
    if (j == 0) sums[3 * (int64_t)gridDim.x] += seen;
}

extern "C" kd_status kd_cuda_rank_metrics(kd_ctx *ctx, const kd_rank_metrics_args *args) {
    cut_offs cuts = {};
    if (args->topk_count > MOST_CUTS)
        return KD_FAIL(KD_ERR_ARGUMENT, "%s: at most %d cut-offs at once", __func__, (int)MOST_CUTS);
    for (int64_t j = 0; j < args->topk_count; j++) cuts.k[j] = args->topk[j];
    KD_LAUNCH(add_metrics, (unsigned)args->topk_count, METRIC_THREADS, 0, kd_stream(ctx), args->rows, args->k,
              args->index, args->held_out, cuts, args->sums);
    return kd_cuda_launched(__func__);
}
