/* Dense products, row and column operations. Source: docs/model.md#views, docs/model.md#diffusion. */
#ifndef KD_OPS_DENSE_H
#define KD_OPS_DENSE_H

#include "kernels/ops/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* C = alpha op(A) op(B) + beta C, op transposes where asked. C is not read when beta is 0. */
typedef struct kd_gemm_args {
    bool transpose_a, transpose_b;
    float alpha;
    kd_mat a; /* [m, k], or [k, m] to be transposed */
    kd_mat b; /* [k, n], or [n, k] */
    float beta;
    kd_mat c; /* [m, n], overwritten */
} kd_gemm_args;
typedef kd_status kd_gemm_fn(kd_ctx *ctx, const kd_gemm_args *args);

/* G [X.cols, X.cols] = X^T X, both triangles. */
typedef kd_status kd_gram_fn(kd_ctx *ctx, kd_mat x, kd_mat g);

/* Y = X op(W) + b; b [1, Y.cols] or data NULL for none. */
typedef kd_status kd_linear_fn(kd_ctx *ctx, bool transpose_w, kd_mat x, kd_mat w, kd_mat b, kd_mat y);

/* y = column sums of X + beta y; y [1, X.cols]. Rows are summed in a fixed order. */
typedef kd_status kd_column_sum_fn(kd_ctx *ctx, kd_mat x, float beta, kd_mat y);

/* Y = alpha X + beta Y. Y may be X. Y is not read when beta is 0. */
typedef kd_status kd_add_scaled_fn(kd_ctx *ctx, float alpha, kd_mat x, float beta, kd_mat y);

/* As kd_add_scaled with alpha read from the device: Y = scale alpha[0] X + beta Y. */
typedef kd_status kd_add_weighted_fn(kd_ctx *ctx, float scale, const float *alpha, kd_mat x, float beta, kd_mat y);

/* out[0] = sum X .* Y + beta out[0], summed in double in a fixed order. Shapes equal. */
typedef kd_status kd_matrix_dot_fn(kd_ctx *ctx, kd_mat x, kd_mat y, float beta, float *out);

/* out [X.rows] = mean of each row. */
typedef kd_status kd_row_mean_fn(kd_ctx *ctx, kd_mat x, float *out);

/* loss[0] += weight sum X^2; dX += 2 weight X (weight decay, docs/model.md#weight-decay). */
typedef kd_status kd_squared_norm_fn(kd_ctx *ctx, float weight, kd_mat x, kd_mat dx, double *loss);

/* Y = unit rows of drop(X): x / max(|x|, 1e-12), norm [rows] = max(|drop(x)|, 1e-12). drop keeps an element with
 * probability 1 - p and divides it by 1 - p, keyed (rng, row, column); p = 0: no dropout. Y may be X. Rows that are no
 * key of `only` are left alone, here and in norm; NULL: every row. split: |.| is over all ranks' columns, column the
 * one of the whole row; the sums of squares pass through norm, or, with `only`, packed by group through the workspace,
 * of which this case alone needs kd_unit_rows_workspace(only->capacity). */
typedef struct kd_unit_rows_forward_args {
    const kd_split *split; /* NULL: whole rows */
    const kd_groups *only; /* NULL: every row */
    kd_mat x;
    float p;
    const kd_rng *rng; /* NULL where p is 0 */
    kd_mat y;          /* shape of x, overwritten */
    float *norm;       /* [x.rows], overwritten */
} kd_unit_rows_forward_args;
typedef kd_status kd_unit_rows_forward_fn(kd_ctx *ctx, const kd_unit_rows_forward_args *args);

/* dX = alpha drop'( (dY - Y (Y . dY)) / norm ) + beta dX, with Y and norm from the forward pass. dX may be dY or Y.
 * A row whose norm stood at the floor of 1e-12 was divided by a constant: its Y . dY counts as 0.
 * Rows that are no key of `only` are left alone. split: Y . dY is over all ranks' columns; it passes through the
 * workspace, packed by group with `only`: kd_unit_rows_workspace of Y.rows or only->capacity. None is needed without
 * split. */
typedef struct kd_unit_rows_backward_args {
    const kd_split *split; /* NULL: whole rows */
    const kd_groups *only; /* NULL: every row */
    float alpha;
    kd_mat y;          /* of the forward pass */
    const float *norm; /* [y.rows], of the forward pass */
    kd_mat dy;         /* shape of y */
    float p;
    const kd_rng *rng; /* as in the forward pass */
    float beta;
    kd_mat dx; /* shape of y, overwritten */
} kd_unit_rows_backward_args;
typedef kd_status kd_unit_rows_backward_fn(kd_ctx *ctx, const kd_unit_rows_backward_args *args);
/* Of `sums` rows whose sums the ranks add up. */
int64_t kd_unit_rows_workspace(int64_t sums);

/* Y [groups->capacity or more rows, X.cols]: row g = row groups->key[g] of X for each group g, 0 in the rows beyond. */
typedef kd_status kd_take_rows_fn(kd_ctx *ctx, const kd_groups *groups, kd_mat x, kd_mat y);
/* Row groups->key[g] of X += row g of Y, Y as of kd_take_rows, for each group g; the other rows of X are left alone. */
typedef kd_status kd_give_rows_fn(kd_ctx *ctx, const kd_groups *groups, kd_mat y, kd_mat x);

/* X = X > 0 ? X : slope X, in place. */
typedef kd_status kd_leaky_relu_forward_fn(kd_ctx *ctx, float slope, kd_mat x);
/* dY = Y > 0 ? dY : slope dY, in place; Y the forward output. */
typedef kd_status kd_leaky_relu_backward_fn(kd_ctx *ctx, float slope, kd_mat y, kd_mat dy);

/* s [count] = softmax(w). */
typedef kd_status kd_softmax_forward_fn(kd_ctx *ctx, int64_t count, const float *w, float *s);
/* dw += s .* (ds - s . ds). */
typedef kd_status kd_softmax_backward_fn(kd_ctx *ctx, int64_t count, const float *s, const float *ds, float *dw);

/* One Adam step on flat arrays of n: m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
 * p -= lr / (1 - b1^step) * m / (sqrt(v / (1 - b2^step)) + eps). step = *steps + 1, *steps the
 * steps taken so far, on the device. Source: Kingma & Ba 2015. */
typedef struct kd_adam_config {
    double lr, beta1, beta2, eps;
} kd_adam_config;
typedef struct kd_adam_args {
    const kd_adam_config *config;
    const int64_t *steps; /* [1] */
    int64_t n;
    float *p;       /* [n] parameters, overwritten */
    const float *g; /* [n] their gradient */
    float *m, *v;   /* [n] moments, overwritten */
} kd_adam_args;
typedef kd_status kd_adam_fn(kd_ctx *ctx, const kd_adam_args *args);

#ifdef __cplusplus
}
#endif
#endif
