/* Full-ranking evaluation and top-K lists from a pair of view tables: score(u, i) = dot(user_view[u], item_view[i]). */
#ifndef KD_EVAL_EVALUATE_H
#define KD_EVAL_EVALUATE_H

#include "host/config/config.h"
#include "host/data/dataset.h"
#include "kdiffe/record.h"

typedef struct kd_ctx kd_ctx;

/* View tables in host memory: users x width and items x width, row-major. */
typedef struct kd_views_host {
    int64_t users, items, width;
    const float *user, *item;
} kd_views_host;

/* Top `k` items of each listed user by descending score (lower item id first among equals), training items left out.
 * KD_ERR_ARGUMENT if a user is out of range or the view tables do not fit the data set. */
typedef struct kd_rank_args {
    const kd_views_host *views;
    const kd_dataset *data;
    int64_t count;
    const int32_t *user; /* [count] */
    int64_t k;
    int32_t *item; /* [count * k], overwritten; -1 where fewer than k items are left */
    float *score;  /* [count * k], overwritten */
} kd_rank_args;
kd_status kd_rank(kd_ctx *ctx, const kd_rank_args *args);

/* Recall = hits/held-out, Precision = hits/K, NDCG with min(held-out, K) ideal hits (docs/model.md#evaluation) of
 * `held_out`. */
kd_status kd_evaluate(kd_ctx *ctx, const kd_views_host *views, const kd_dataset *data, const kd_interactions *held_out,
                      int64_t topk_count, const int64_t *topk, kd_metrics *out);

#endif
