/* Batches, BPR and InfoNCE (docs/model.md#losses). Losses are added to doubles on the device. */
#ifndef KD_OPS_LOSS_H
#define KD_OPS_LOSS_H

#include "kernels/ops/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* order [n] = a permutation of 0..n-1, by ascending 64-bit draw keyed (rng, i), ties by i. Workspace:
 * kd_permutation_workspace. */
typedef kd_status kd_permutation_fn(kd_ctx *ctx, int64_t n, const kd_rng *rng, int32_t *order);
int64_t kd_permutation_workspace(int64_t n);

/* negative [n] = a uniform item outside row user[i] of `train` for each i, by rejection; attempt a of entry i is keyed
 * (rng, i, a). No user may have every item (checked when the data set is loaded). */
typedef kd_status kd_sample_negatives_fn(kd_ctx *ctx, kd_csr train, int64_t n, const int32_t *user, const kd_rng *rng,
                                         int32_t *negative);

/* out[i] = values[order[*first + i]] for i < n; first NULL: 0; values NULL: order[*first + i] itself. */
typedef kd_status kd_gather_fn(kd_ctx *ctx, int64_t n, const int64_t *first, const int32_t *order,
                               const int32_t *values, int32_t *out);

/* Groups key [n] (n <= out->capacity) by value. Workspace: kd_group_workspace. */
typedef kd_status kd_group_fn(kd_ctx *ctx, int64_t n, const int32_t *key, kd_groups *out);
int64_t kd_group_workspace(int64_t n);

/* BPR of `count` triples: x_b = u_b . (p_b - n_b) with rows of user_view [U, w] and item_view [I, w];
 * loss[0] += -(1/batch) sum log sigmoid(x_b); gradients += into duser, ditem. users: user[] grouped; items: positive[]
 * followed by negative[] grouped (member i < count is a positive, i >= count a negative). Workspace:
 * kd_bpr_workspace. Source: docs/model.md#bpr.
 *
 * split: x_b is over all ranks' columns, so that every rank knows the whole loss; gradients are of this rank's
 * columns, and whole. loss may be NULL then, and is not added to. */
typedef struct kd_bpr_args {
    const kd_split *split; /* NULL: whole rows */
    int64_t count;
    double batch; /* B, the configured batch, also for a short one */
    const int32_t *user, *positive, *negative;
    kd_groups users, items;
    kd_mat user_view, item_view, duser, ditem;
    double *loss;
} kd_bpr_args;
typedef kd_status kd_bpr_fn(kd_ctx *ctx, const kd_bpr_args *args);
int64_t kd_bpr_workspace(int64_t count);

/* Adds x [n], on the device, up over the ranks of a job, in the order of the context's stream. */
typedef kd_status kd_rank_sum_fn(void *context, kd_ctx *ctx, int64_t n, double *x);

/* InfoNCE of the grouped nodes: with unit rows a (anchors) and b (keys), and m_g the size of group g of node k_g,
 * loss[0] += weight * (1/count) sum_g m_g ( log sum_j exp(a_g . b_j / temp) - a_g . b_k / temp ), k = k_g; da +=, db +=
 * (gradients with respect to the unit rows). b and db [keys, d] are of all nodes; a and da [nodes.capacity or more
 * rows, d] of the anchors alone: row g is that of node k_g (kd_take_rows makes such a table, kd_give_rows gives da
 * back), and rows beyond the groups are left alone. Logits are never stored: memory is O(count d). The logits are at
 * most 1/temp in magnitude since rows are unit, so 1/temp is subtracted in place of a running maximum. Workspace:
 * kd_infonce_workspace. Source: docs/model.md#infonce.
 *
 * Over several ranks each takes a range of keys: b and db are rows first_key .. first_key + b.rows - 1 of the tables,
 * at most most_keys on any rank, the denominators pass through `sum`, and loss, da and db are the rank's share: those
 * of the positives among its keys, and of its keys' exponentials. */
typedef struct kd_infonce_args {
    int64_t count; /* batch entries, repeats counted */
    float temp, weight;
    kd_groups nodes;
    kd_mat a, b, da, db;
    double *loss;
    int64_t first_key, most_keys; /* most_keys 0: b.rows */
    kd_rank_sum_fn *sum;          /* NULL: one rank */
    void *sum_context;
} kd_infonce_args;
typedef kd_status kd_infonce_fn(kd_ctx *ctx, const kd_infonce_args *args);
int64_t kd_infonce_workspace(int64_t count, int64_t width);

#ifdef __cplusplus
}
#endif
#endif
