#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"

static const float FLOOR = 1e-12f;

/* The rows that an op takes: all, or the keys of `only`. */
static int64_t rows_of(const kd_groups *only, int64_t all) { return only ? only->count[0] : all; }
static int64_t row_of(const kd_groups *only, int64_t i) { return only ? only->key[i] : i; }

/* sum [rows] over the columns of all ranks: where rows are divided these go through a float32 each, as the ranks add
 * them. */
static kd_status over_ranks(kd_ctx *ctx, const kd_split *split, int64_t rows, int64_t sums, double *sum) {
    if (!split) return KD_OK;
    float *passed = kd_ref_zeros(sums, sizeof *passed);
    for (int64_t i = 0; i < rows; i++) passed[i] = (float)sum[i];
    kd_status status = kd_split_sum(split, ctx, sums, passed);
    for (int64_t i = 0; i < rows; i++) sum[i] = passed[i];
    free(passed);
    return status;
}

kd_status kd_ref_unit_rows_forward(kd_ctx *ctx, const kd_split *split, const kd_groups *only, kd_mat x, float p,
                                   const kd_rng *rng, kd_mat y, float *norm) {
    int64_t rows = rows_of(only, x.rows), first = split ? split->first : 0;
    double *square = kd_ref_zeros(rows, sizeof *square);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < x.cols; c++) {
            int64_t r = row_of(only, i);
            double value = *kd_ref_at(x, r, c) * kd_ref_dropout(rng, r, first + c, p);
            square[i] += value * value;
        }
    kd_status status = over_ranks(ctx, split, rows, only ? only->capacity : rows, square);
    for (int64_t i = 0; i < rows; i++) {
        int64_t r = row_of(only, i);
        double length = fmax(sqrt(square[i]), FLOOR);
        for (int64_t c = 0; c < x.cols; c++)
            *kd_ref_at(y, r, c) = (float)(*kd_ref_at(x, r, c) * kd_ref_dropout(rng, r, first + c, p) / length);
        norm[r] = (float)length;
    }
    free(square);
    return status;
}

kd_status kd_ref_unit_rows_backward(kd_ctx *ctx, const kd_split *split, const kd_groups *only, float alpha, kd_mat y,
                                    const float *norm, kd_mat dy, float p, const kd_rng *rng, float beta, kd_mat dx) {
    int64_t rows = rows_of(only, y.rows), first = split ? split->first : 0;
    double *along = kd_ref_zeros(rows, sizeof *along);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < y.cols; c++)
            along[i] += (double)*kd_ref_at(y, row_of(only, i), c) * *kd_ref_at(dy, row_of(only, i), c);
    kd_status status = over_ranks(ctx, split, rows, only ? only->capacity : rows, along);
    for (int64_t i = 0; i < rows; i++) {
        int64_t r = row_of(only, i);
        double inner = norm[r] > FLOOR ? along[i] : 0.0;
        for (int64_t c = 0; c < y.cols; c++) {
            double gradient = (*kd_ref_at(dy, r, c) - *kd_ref_at(y, r, c) * inner) / norm[r];
            double before = beta != 0.0f ? (double)beta * *kd_ref_at(dx, r, c) : 0.0;
            *kd_ref_at(dx, r, c) = (float)(alpha * gradient * kd_ref_dropout(rng, r, first + c, p) + before);
        }
    }
    free(along);
    return status;
}
