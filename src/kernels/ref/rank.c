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
static double value_of(int64_t r, int64_t rows, int64_t k, int64_t parts, const int32_t *first, const int32_t *index,
                       const float *value, int64_t column) {
    for (int64_t p = 0; p < parts; p++)
        for (int64_t j = 0; j < k; j++) {
            int64_t at = (p * rows + r) * k + j;
            if (index[at] >= 0 && first[p] + index[at] == column) return value[at];
        }
    return NAN;
}

kd_status kd_ref_merge_top(kd_ctx *ctx, int64_t rows, int64_t k, int64_t parts, const int32_t *first,
                           const int32_t *index, const float *value, int32_t *top) {
    (void)ctx;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t place = 0; place < k; place++) {
            int64_t best = -1;
            double largest = -INFINITY;
            for (int64_t p = 0; p < parts; p++)
                for (int64_t j = 0; j < k; j++) {
                    int64_t at = (p * rows + r) * k + j, column = first[p] + index[at];
                    if (index[at] < 0 || kd_ref_holds(top + r * k, place, column)) continue;
                    double here = value_of(r, rows, k, parts, first, index, value, column);
                    if (best >= 0 && !(here > largest || (here == largest && column < best))) continue;
                    best = column;
                    largest = here;
                }
            top[r * k + place] = (int32_t)best;
        }
    return KD_OK;
}

kd_status kd_ref_rank_metrics(kd_ctx *ctx, int64_t rows, int64_t k, const int32_t *index, kd_csr held_out,
                              int64_t topk_count, const int64_t *topk, double *sums) {
    (void)ctx;
    for (int64_t r = 0; r < rows; r++) {
        int64_t begin = held_out.row_ptr[r], held = held_out.row_ptr[r + 1] - begin;
        if (held == 0) continue;
        for (int64_t j = 0; j < topk_count; j++) {
            double hits = 0.0, gain = 0.0, ideal = 0.0;
            for (int64_t rank = 0; rank < topk[j]; rank++) {
                double share = 1.0 / log2((double)rank + 2.0);
                bool hit = kd_ref_holds(held_out.col + begin, held, index[r * k + rank]);
                hits += hit;
                gain += hit ? share : 0.0;
                ideal += rank < held ? share : 0.0;
            }
            sums[3 * j] += hits / (double)held;
            sums[3 * j + 1] += gain / ideal;
            sums[3 * j + 2] += hits / (double)topk[j];
        }
        sums[3 * topk_count] += 1.0;
    }
    return KD_OK;
}
