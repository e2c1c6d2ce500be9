#include <math.h>
#include <stddef.h>

#include "kernels/common/merge.h"
#include "kernels/cpu/cpu.h"

/* true if (x, i) ranks before (y, j): larger value, then lower column. */
static bool before(float x, int32_t i, float y, int32_t j) { return x > y || (x == y && i < j); }

/* Min-heap by rank: the root is the last of the k best so far. */
static void sift_down(int64_t n, float *value, int32_t *index, int64_t at) {
    for (;;) {
        int64_t worst = at, left = 2 * at + 1, right = left + 1;
        if (left < n && before(value[worst], index[worst], value[left], index[left])) worst = left;
        if (right < n && before(value[worst], index[worst], value[right], index[right])) worst = right;
        if (worst == at) return;
        float v = value[at];
        int32_t i = index[at];
        value[at] = value[worst];
        index[at] = index[worst];
        value[worst] = v;
        index[worst] = i;
        at = worst;
    }
}

static void topk_row(const float *x, int64_t cols, const int32_t *masked, const int32_t *masked_end, int64_t k,
                     int32_t *index, float *value) {
    for (int64_t j = 0; j < k; j++) {
        value[j] = -INFINITY;
        index[j] = INT32_MAX; /* ranks after every column */
    }
    for (int64_t c = 0; c < cols; c++) {
        while (masked < masked_end && *masked < c) masked++;
        if (masked < masked_end && *masked == c) continue;
        if (!before(x[c], (int32_t)c, value[0], index[0])) continue;
        value[0] = x[c];
        index[0] = (int32_t)c;
        sift_down(k, value, index, 0);
    }
    for (int64_t n = k - 1; n > 0; n--) { /* heap sort: the worst goes to the end */
        float v = value[0];
        int32_t i = index[0];
        value[0] = value[n];
        index[0] = index[n];
        value[n] = v;
        index[n] = i;
        sift_down(n, value, index, 0);
    }
    for (int64_t j = 0; j < k; j++)
        if (index[j] == INT32_MAX) index[j] = -1;
}

kd_status kd_cpu_topk_rows(kd_ctx *ctx, kd_mat x, kd_csr mask, int64_t k, int32_t *index, float *value) {
    float *scratch = ctx->workspace;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t r = 0; r < x.rows; r++) {
        const int32_t *begin = mask.row_ptr ? mask.col + mask.row_ptr[r] : NULL;
        const int32_t *end = mask.row_ptr ? mask.col + mask.row_ptr[r + 1] : NULL;
        topk_row(x.data + r * x.ld, x.cols, begin, end, k, index + r * k, (value ? value : scratch) + r * k);
    }
    return KD_OK;
}

kd_status kd_cpu_merge_top(kd_ctx *ctx, const kd_merge_top_args *a) {
    (void)ctx;
    int64_t rows = a->rows, k = a->k, parts = a->parts;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t p = 0; p < parts; p++)
            for (int64_t j = 0; j < k; j++) {
                int32_t column = a->index[(p * rows + r) * k + j];
                int64_t place = kd_merged_place(a->value, parts, rows * k, r * k, k, p, j);
                if (place < k) a->top[r * k + place] = column < 0 ? -1 : a->first[p] + column;
            }
    return KD_OK;
}

static bool held(kd_csr held_out, int64_t row, int32_t item) {
    for (int64_t e = held_out.row_ptr[row]; e < held_out.row_ptr[row + 1]; e++)
        if (held_out.col[e] == item) return true;
    return false;
}

static void add_row(int64_t k, const int32_t *list, kd_csr held_out, int64_t row, int64_t topk_count,
                    const int64_t *topk, double *sums) {
    int64_t size = held_out.row_ptr[row + 1] - held_out.row_ptr[row], hits = 0, at = 0;
    double gain = 0.0, ideal = 0.0;
    for (int64_t rank = 0; rank < k; rank++) {
        double share = 1.0 / log2((double)rank + 2.0);
        if (rank < size) ideal += share;
        if (list[rank] >= 0 && held(held_out, row, list[rank])) {
            hits++;
            gain += share;
        }
        for (; at < topk_count && topk[at] == rank + 1; at++) {
            sums[3 * at] += (double)hits / (double)size;
            sums[3 * at + 1] += gain / ideal;
            sums[3 * at + 2] += (double)hits / (double)topk[at];
        }
    }
    sums[3 * topk_count] += 1.0;
}

kd_status kd_cpu_rank_metrics(kd_ctx *ctx, const kd_rank_metrics_args *a) {
    (void)ctx;
    for (int64_t r = 0; r < a->rows; r++)
        if (a->held_out.row_ptr[r + 1] > a->held_out.row_ptr[r])
            add_row(a->k, a->index + r * a->k, a->held_out, r, a->topk_count, a->topk, a->sums);
    return KD_OK;
}
