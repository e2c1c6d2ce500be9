/* Sparse message passing, relation-aware attention and the graphs that sampling rebuilds. */
#ifndef KD_OPS_GRAPH_H
#define KD_OPS_GRAPH_H

#include "kernels/ops/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Y = alpha A X + beta C. C may be Y (accumulate) or data NULL with beta 0. X may not be Y. Rows without entries give
 * beta C. Entries of a row are summed in their order. */
typedef kd_status kd_spmm_fn(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y);

/* The same for the rows that are keys of `only`; the others of Y are left alone. */
typedef struct kd_spmm_rows_args {
    const kd_groups *only;
    float alpha;
    kd_csr a;
    kd_mat x; /* [a.cols, width] */
    float beta;
    kd_mat c; /* shape of y, or data NULL with beta 0 */
    kd_mat y; /* [a.rows, width], overwritten in those rows */
} kd_spmm_rows_args;
typedef kd_status kd_spmm_rows_fn(kd_ctx *ctx, const kd_spmm_rows_args *args);

/* place [rows] = the position of each row in row [n], whose rows are distinct; -1 for rows that are not in it. */
typedef kd_status kd_place_rows_fn(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t rows, int32_t *place);

/* The same product where only a batch of the rows is there, beta 0 or 1:
 *   row [Y.rows]:      Y = alpha A[row] X + beta Y            (place NULL)
 *   place [A.cols]:    Y = alpha A[:, batch] X + beta Y       (row NULL), row place[c] of X for column c, nothing at
 * -1. With A's transpose the second one carries gradients of the first back. */
typedef struct kd_spmm_batch_args {
    float alpha;
    kd_csr a;
    const int32_t *row;   /* [y.rows], or NULL */
    const int32_t *place; /* [a.cols], or NULL */
    kd_mat x;             /* [a.cols, width]; with place: the batch's rows */
    float beta;           /* 0 or 1 */
    kd_mat y;             /* [batch, width], overwritten; with place: [a.rows, width] */
} kd_spmm_batch_args;
typedef kd_status kd_spmm_batch_fn(kd_ctx *ctx, const kd_spmm_batch_args *args);

/* One hop of relation-aware attention (docs/model.md#relation-aware-attention). For each edge (h, r, t):
 *   logit = LeakyReLU_slope( e_h . rh_r + e_t . rt_r ),  rh = rE W_top^T, rt = rE W_bottom^T  [relations, d];
 *   alpha = softmax of the logits over the edges of h;
 *   agg_h = e_h + sum alpha e_t   (e_h alone for a head without edges).
 * Heads are the first agg.rows entities: a last hop needs the items only. logit [edges] = the logit, alpha [edges],
 * both of these heads' edges; agg [heads, d]. split: the dot products are over all ranks' columns and pass through
 * logit [kg->capacity], which is 0 beyond these heads' edges then; agg is of the local columns. Source:
 * rgat.agg of the published code. */
typedef struct kd_rgat_forward_args {
    const kd_split *split; /* NULL: whole rows */
    const kd_kg *kg;
    float slope;
    kd_mat e;             /* [entities, d] */
    kd_mat rh, rt;        /* [relations, d] */
    float *logit, *alpha; /* [kg->capacity], overwritten for the heads' edges */
    kd_mat agg;           /* [heads, d], overwritten */
} kd_rgat_forward_args;
typedef kd_status kd_rgat_forward_fn(kd_ctx *ctx, const kd_rgat_forward_args *args);

/* Gradients of one hop, dagg [heads, d]: de [entities, d] += , drh +=, drt += . logit and alpha from the forward pass;
 * logit is overwritten by its own gradient. Deterministic: gathers by tail, relation sums over fixed ranges.
 * d loss / d alpha = dagg_h . e_t stands in kg->capacity floats of the workspace; with a split it is over all ranks'
 * columns and passes through there; de, drh and drt are of this rank's columns, and whole. Workspace:
 * kd_rgat_backward_workspace. */
typedef struct kd_rgat_backward_args {
    const kd_split *split; /* NULL: whole rows */
    const kd_kg *kg;
    float slope;
    kd_mat e, rh, rt;   /* as in the forward pass */
    float *logit;       /* of the forward pass, overwritten */
    const float *alpha; /* of the forward pass */
    kd_mat dagg;        /* [heads, d] */
    kd_mat de;          /* [entities, d], added to */
    kd_mat drh, drt;    /* [relations, d], added to */
} kd_rgat_backward_args;
typedef kd_status kd_rgat_backward_fn(kd_ctx *ctx, const kd_rgat_backward_args *args);
/* edges: kg->capacity. */
int64_t kd_rgat_backward_workspace(int64_t relations, int64_t width, int64_t edges);

/* A_m from each user's q generated items top [users, q] (distinct within a user): both directions, plus I, D^-1/2 .
 * D^-1/2 by its own degrees; then each stored entry is kept with probability keep_rate and divided by it, else 0, keyed
 * (rng, row, column). Source: buildUIMatrix and edgeDrop of the published code. Workspace:
 * kd_modality_graph_workspace. */
typedef kd_status kd_modality_graph_build_fn(kd_ctx *ctx, const int32_t *top, float keep_rate, const kd_rng *rng,
                                             kd_modality_graph *out);
/* pairs: users * q. */
int64_t kd_modality_graph_workspace(int64_t nodes, int64_t pairs);

/* The generated knowledge graph: edges (h, t) of `full` with t among top[h] or h among top[t] (top [entities, q]), each
 * kept with probability keep_rate, keyed (rng, head, tail), not rescaled. Source:
 * docs/model.md#generated-knowledge-graph. Workspace: kd_kg_generate_workspace. */
typedef kd_status kd_kg_generate_fn(kd_ctx *ctx, const kd_kg *full, int64_t q, const int32_t *top, float keep_rate,
                                    const kd_rng *rng, kd_kg *out);
int64_t kd_kg_generate_workspace(int64_t capacity);

#ifdef __cplusplus
}
#endif
#endif
