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
    float *passed;
    KD_OR_RETURN(kd_ref_zeros(sums, sizeof *passed, &passed));
    for (int64_t i = 0; i < rows; i++) passed[i] = (float)sum[i];
    kd_status status = kd_split_sum(split, ctx, sums, passed);
    for (int64_t i = 0; i < rows; i++) sum[i] = passed[i];
    free(passed);
    return status;
}

kd_status kd_ref_unit_rows_forward(kd_ctx *ctx, const kd_unit_rows_forward_args *a) {
    int64_t rows = rows_of(a->only, a->x.rows), first = a->split ? a->split->first : 0;
    double *square;
    KD_OR_RETURN(kd_ref_zeros(rows, sizeof *square, &square));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < a->x.cols; c++) {
            int64_t r = row_of(a->only, i);
            double value = *kd_ref_at(a->x, r, c) * kd_ref_dropout(a->rng, r, first + c, a->p);
            square[i] += value * value;
        }
    kd_status status = over_ranks(ctx, a->split, rows, a->only ? a->only->capacity : rows, square);
    for (int64_t i = 0; i < rows; i++) {
        int64_t r = row_of(a->only, i);
        double length = fmax(sqrt(square[i]), FLOOR);
        for (int64_t c = 0; c < a->x.cols; c++)
            *kd_ref_at(a->y, r, c) =
                (float)(*kd_ref_at(a->x, r, c) * kd_ref_dropout(a->rng, r, first + c, a->p) / length);
        a->norm[r] = (float)length;
    }
    free(square);
    return status;
}

kd_status kd_ref_unit_rows_backward(kd_ctx *ctx, const kd_unit_rows_backward_args *a) {
    int64_t rows = rows_of(a->only, a->y.rows), first = a->split ? a->split->first : 0;
    double *along;
    KD_OR_RETURN(kd_ref_zeros(rows, sizeof *along, &along));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < a->y.cols; c++)
            along[i] += (double)*kd_ref_at(a->y, row_of(a->only, i), c) * *kd_ref_at(a->dy, row_of(a->only, i), c);
    kd_status status = over_ranks(ctx, a->split, rows, a->only ? a->only->capacity : rows, along);
    for (int64_t i = 0; i < rows; i++) {
        int64_t r = row_of(a->only, i);
        double inner = a->norm[r] > FLOOR ? along[i] : 0.0;
        for (int64_t c = 0; c < a->y.cols; c++) {
            double gradient = (*kd_ref_at(a->dy, r, c) - *kd_ref_at(a->y, r, c) * inner) / a->norm[r];
            double before = a->beta != 0.0f ? (double)a->beta * *kd_ref_at(a->dx, r, c) : 0.0;
            *kd_ref_at(a->dx, r, c) =
                (float)(a->alpha * gradient * kd_ref_dropout(a->rng, r, first + c, a->p) + before);
        }
    }
    free(along);
    return status;
}
