#include <math.h>

#include "kernels/ref/ref.h"

/* The best column that is neither masked nor in list [taken]; -1: none. The first of equals is the lowest. */
static int32_t best_column(kd_mat x, int64_t r, kd_csr mask, const int32_t *list, int64_t taken) {
    int32_t best = -1;
    for (int64_t c = 0; c < x.cols; c++) {
        int64_t begin = mask.row_ptr ? mask.row_ptr[r] : 0, length = mask.row_ptr ? mask.row_ptr[r + 1] - begin : 0;
        if (isnan(*kd_ref_at(x, r, c)) || kd_ref_holds(list, taken, c)) continue;
        if (length > 0 && kd_ref_holds(mask.col + begin, length, c)) continue;
        if (best < 0 || *kd_ref_at(x, r, c) > *kd_ref_at(x, r, best)) best = (int32_t)c;
    }
    return best;
}

kd_status kd_ref_topk_rows(kd_ctx *ctx, kd_mat x, kd_csr mask, int64_t k, int32_t *index, float *value) {
    (void)ctx;
    for (int64_t r = 0; r < x.rows; r++)
        for (int64_t j = 0; j < k; j++) {
            int32_t best = best_column(x, r, mask, index + r * k, j);
            index[r * k + j] = best;
            if (value) value[r * k + j] = best < 0 ? -INFINITY : *kd_ref_at(x, r, best);
        }
    return KD_OK;
}

/* A column of the whole row and its value in the parts' lists; NaN where it is in none. */
static double value_of(const kd_merge_top_args *a, int64_t r, int64_t column) {
    for (int64_t p = 0; p < a->parts; p++)
        for (int64_t j = 0; j < a->k; j++) {
            int64_t at = (p * a->rows + r) * a->k + j;
            if (a->index[at] >= 0 && a->first[p] + a->index[at] == column) return a->value[at];
        }
    return NAN;
}

kd_status kd_ref_merge_top(kd_ctx *ctx, const kd_merge_top_args *a) {
    (void)ctx;
    int64_t rows = a->rows, k = a->k, parts = a->parts;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t place = 0; place < k; place++) {
            int64_t best = -1;
            double largest = -INFINITY;
            for (int64_t p = 0; p < parts; p++)
                for (int64_t j = 0; j < k; j++) {
                    int64_t at = (p * rows + r) * k + j, column = a->first[p] + a->index[at];
                    if (a->index[at] < 0 || kd_ref_holds(a->top + r * k, place, column)) continue;
                    double here = value_of(a, r, column);
                    if (best >= 0 && !(here > largest || (here == largest && column < best))) continue;
                    best = column;
                    largest = here;
                }
            a->top[r * k + place] = (int32_t)best;
        }
    return KD_OK;
}

kd_status kd_ref_rank_metrics(kd_ctx *ctx, const kd_rank_metrics_args *a) {
    (void)ctx;
    for (int64_t r = 0; r < a->rows; r++) {
        int64_t begin = a->held_out.row_ptr[r], held = a->held_out.row_ptr[r + 1] - begin;
        if (held == 0) continue;
        for (int64_t j = 0; j < a->topk_count; j++) {
            double hits = 0.0, gain = 0.0, ideal = 0.0;
            for (int64_t rank = 0; rank < a->topk[j]; rank++) {
                double share = 1.0 / log2((double)rank + 2.0);
                bool hit = kd_ref_holds(a->held_out.col + begin, held, a->index[r * a->k + rank]);
                hits += hit;
                gain += hit ? share : 0.0;
                ideal += rank < held ? share : 0.0;
            }
            a->sums[3 * j] += hits / (double)held;
            a->sums[3 * j + 1] += gain / ideal;
            a->sums[3 * j + 2] += hits / (double)a->topk[j];
        }
        a->sums[3 * a->topk_count] += 1.0;
    }
    return KD_OK;
}
