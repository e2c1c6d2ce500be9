/* The losses of one batch (docs/model.md#losses): BPR and contrastive terms on the views, weight decay on the
 * embeddings. */
#ifndef KD_KDIFFE_LOSSES_H
#define KD_KDIFFE_LOSSES_H

#include "host/loop/progress.h"
#include "host/model/kdiffe/views.h"
#include "host/model/model.h"
#include "host/ranks/collectives.h"

typedef struct kd_loss_config {
    int64_t batch, cl_method;
    double reg, ssl_reg, temp;
} kd_loss_config;

typedef struct kd_step_losses {
    kd_comm *comm; /* NULL: one rank. With more, losses and gradients are a rank's share of them */
    kd_loss_config config;
    int32_t *user; /* [batch] */
    int32_t *item; /* [2 batch] positives, then negatives */
    kd_groups users, positives, items;
    kd_range user_keys, item_keys; /* which users and items are keys on this rank */
    kd_range key_slots;            /* which views are keys */
    kd_mat unit, dunit;            /* [local keys, key slots * dim] their unit rows, in whole rows, users first, and
                                    * gradients */
    float *norm;                   /* [key slots, local keys] */
    kd_mat anchor, danchor;        /* [batch, dim] unit rows of one view at the batch's nodes, and gradients */
    float *anchor_norm;            /* [batch] */
} kd_step_losses;

kd_status kd_step_losses_allocate(kd_pool *pool, const kd_views *views, const kd_loss_config *config,
                                  kd_step_losses *out);
int64_t kd_step_losses_workspace(const kd_step_losses *losses);

/* Takes a batch of triples from the epoch's arrays; its clock is not read. */
kd_status kd_step_load(kd_ctx *ctx, const kd_step_batch *batch, kd_step_losses *losses);

/* loss [KD_LOSS_PARTS] += the parts, weighted as they enter the sum; views->doutput = their gradients; gradients of
 * weight decay += into params. */
kd_status kd_step_losses_gradient(kd_ctx *ctx, int64_t count, const kd_params *params, kd_views *views,
                                  kd_step_losses *losses, double *loss);

#endif
