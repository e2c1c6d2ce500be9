/* Full ranking on the device: score, mask, top-K and metrics, a tile of users at a time; never users x items. */
#ifndef KD_EVAL_RANKER_H
#define KD_EVAL_RANKER_H

#include "host/data/dataset.h"
#include "host/ranks/collectives.h"
#include "host/ranks/layout.h"
#include "kdiffe/record.h"
#include "kernels/pool.h"

typedef struct kd_ranker {
    kd_comm *comm;              /* over whose ranks metrics are split; NULL: one */
    int64_t users, items, tile; /* tile: users scored at once */
    int64_t naive_scores;       /* columns of a view where each is multiplied by itself; 0: one product for all */
    int64_t topk_count, topk[KD_MAX_TOPK];
    float *score;  /* [tile, local items] */
    int32_t *list; /* [tile, largest K] */
    float *value;  /* [tile, largest K] scores of the list */
    double *sums;  /* [2, 3 topk_count + 1] metric sums of up to two splits */
    /* where the views' columns are divided over ranks, which then divide the items: */
    const kd_layout *layout; /* NULL: they are not */
    kd_mat rows;             /* [tile, width] whole rows of a tile's users */
    int32_t *first_item;     /* [ranks] */
    int32_t *ranks_list;     /* [ranks, tile, largest K] the best of each rank's items, */
    float *ranks_value;      /* and their scores */
} kd_ranker;

/* What is ranked. Divided: of the users' views this rank's columns, a block for each view that scores; of the items'
 * and of train the local ones by kd_share_columns, in whole rows. */
typedef struct kd_ranked {
    kd_mat user, item; /* [users, width], [items, width] */
    kd_csr train;      /* [users, items] left out */
} kd_ranked;

/* 0/1 rows of a split: row_ptr and col on the device, [users, items]. */
kd_status kd_interactions_csr(kd_pool *pool, int64_t users, int64_t items, const kd_interactions *split,
                              const char *what, kd_csr *out);

typedef struct kd_ranker_shape {
    const kd_layout *layout; /* of views whose columns are divided; NULL: whole views */
    int64_t width;           /* with layout: columns in whole rows */
    int64_t users, items, topk_count;
    const int64_t *topk; /* [topk_count], ascending */
} kd_ranker_shape;
kd_status kd_ranker_allocate(kd_pool *pool, const kd_ranker_shape *shape, kd_ranker *out);

/* Lists of up to `tile` users into ranker->list and ranker->value: score = user_view row . item_view row, the user's
 * row of train left out, K the largest cut-off. Whole rows, of all items or of some, whose number is what lists hold.
 */
kd_status kd_ranker_lists(kd_ctx *ctx, const kd_ranker *ranker, kd_mat user_view, kd_mat item_view, kd_csr train);

/* Metrics of up to two held-out splits over one ranking; a split without rows (row_ptr NULL) gets users = 0. Ranks
 * divide the users, or, of divided views, the items. Waits. */
kd_status kd_ranker_metrics(kd_ctx *ctx, const kd_ranker *ranker, const kd_ranked *views, const kd_csr held_out[2],
                            kd_metrics out[2]);

#endif
