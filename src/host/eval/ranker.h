/* Full ranking on the device: score, mask, top-K and metrics, a tile of users at a time; never users x items. */
#ifndef KD_EVAL_RANKER_H
#define KD_EVAL_RANKER_H

#include "host/dist/comm.h"
#include "host/eval/evaluate.h"
#include "host/util/pool.h"

typedef struct kd_ranker {
    kd_comm *comm;              /* over whose ranks metrics are split; NULL: one */
    int64_t users, items, tile; /* tile: users scored at once */
    int64_t depth;              /* columns of the views multiplied at once; 0: all, one product */
    int64_t topk_count, topk[KD_MAX_TOPK];
    float *score;  /* [tile, items] */
    int32_t *list; /* [tile, largest K] */
    float *value;  /* [tile, largest K] scores of the list */
    double *sums;  /* [2, 3 topk_count + 1] metric sums of up to two splits */
} kd_ranker;

/* 0/1 rows of a split: row_ptr and col on the device, [users, items]. */
kd_status kd_interactions_csr(kd_pool *pool, int64_t users, int64_t items, const kd_interactions *split,
                              const char *what, kd_csr *out);

kd_status kd_ranker_allocate(kd_pool *pool, int64_t users, int64_t items, int64_t topk_count, const int64_t *topk,
                             kd_ranker *out);

/* Users scored at once where there are so many items, and how ranks divide the users. */
int64_t kd_ranker_tile(int64_t items);
kd_share kd_ranker_share(int64_t users, int64_t items);

/* Lists of up to `tile` users into ranker->list and ranker->value: score = user_view row . item_view row, the user's
 * row of train left out, K the largest cut-off. */
kd_status kd_ranker_lists(kd_ctx *ctx, const kd_ranker *ranker, kd_mat user_view, kd_mat item_view, kd_csr train);

/* Metrics of up to two held-out splits over one ranking; a split without rows (row_ptr NULL) gets users = 0. user_view:
 * this rank's users by kd_ranker_share. Waits. */
kd_status kd_ranker_metrics(kd_ctx *ctx, const kd_ranker *ranker, kd_mat user_view, kd_mat item_view, kd_csr train,
                            const kd_csr held_out[2], kd_metrics out[2]);

#endif
