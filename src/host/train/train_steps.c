/* The recommender's own steps: BPR and contrastive losses over every interaction once. */
#include "host/base/device.h"
#include "host/train/epoch.h"

static kd_status draw_epoch(kd_model *m, int64_t epoch) {
    int64_t n = m->data->train.count;
    kd_rng order = {m->config->seed, KD_RNG_SHUFFLE, 0, (uint32_t)epoch, NULL};
    kd_rng negative = {m->config->seed, KD_RNG_NEGATIVE, 0, (uint32_t)epoch, NULL};
    kd_status status = kd_permutation(m->ctx, n, &order, m->order);
    if (status != KD_OK) return status;
    return kd_sample_negatives(m->ctx, m->graphs.train, n, m->user, &negative, m->negative);
}

typedef struct batch_of {
    kd_model *model;
    int64_t count;
} batch_of;

/* Forward, losses, backward, update for the batch at the cursor. */
static kd_status train_step(kd_ctx *ctx, void *arg) {
    kd_status status = KD_OK;
    const batch_of *batch = arg;
    kd_model *m = batch->model;
    kd_cursor *at = m->cursor;
    kd_view_pass pass = {.training = true,
                         .main_kg = kd_model_train_kg(m),
                         .batch = {&m->losses.users, &m->losses.items},
                         .seed = m->config->seed,
                         .clock = &at->step};
    KD_TRY(kd_step_load(ctx, batch->count, &at->first, m->order, m->user, m->positive, m->negative, &m->losses));
    KD_TRY(kd_zero(ctx, m->params.gradient, m->params.count * (int64_t)sizeof(float)));
    KD_TRY(kd_views_forward(ctx, &m->params, &m->graphs, &pass, &m->views));
    KD_TRY(kd_step_losses_gradient(ctx, batch->count, &m->params, &m->views, &m->losses, m->step_loss));
    KD_TRY(kd_views_backward(ctx, &m->params, &m->graphs, &m->views));
    KD_TRY(kd_params_adam(ctx, m->config->lr, &at->step, &m->params));
    KD_TRY(kd_cursor_advance(ctx, batch->count, KD_LOSS_PARTS, m->step_loss, m->loss, at));
cleanup:
    return status;
}

/* Sums over the steps divided by floor(interactions / batch), as the published code logs them. */
static void fill_losses(const kd_model *m, const double sums[KD_LOSS_PARTS], kd_epoch_record *record) {
    int64_t whole = m->data->train.count / m->config->batch;
    double divisor = (double)(whole > 0 ? whole : 1);
    record->bpr = sums[KD_LOSS_BPR] / divisor;
    record->weight_decay = sums[KD_LOSS_WEIGHT_DECAY] / divisor;
    record->contrastive = sums[KD_LOSS_CONTRASTIVE] / divisor;
    record->loss = record->bpr + record->weight_decay + record->contrastive;
}

kd_status kd_train_steps(kd_model *m, int64_t epoch, const kd_observer *observer, kd_epoch_record *record) {
    kd_status status = KD_OK;
    int64_t n = m->data->train.count, batch = m->config->batch, steps = (n + batch - 1) / batch;
    int64_t first = kd_train_first_batch(m, KD_STAGE_STEPS, 0);
    double sums[KD_LOSS_PARTS];
    KD_TRY(draw_epoch(m, epoch));
    if (first == 0) KD_TRY(kd_cursor_begin(m->ctx, epoch, m->cursor));
    for (int64_t i = first; i < steps; i++) {
        batch_of of = {m, n - i * batch < batch ? n - i * batch : batch};
        KD_TRY(kd_train_pause(m, observer, (kd_position){epoch, KD_STAGE_STEPS, 0, i}, i, steps));
        kd_profile_step(m->ctx, epoch * steps + i);
        KD_TRY(kd_replay(m->ctx, train_step, &of, &m->step[of.count < batch]));
    }
    KD_TRY(kd_train_losses(m, KD_STAGE_STEPS, epoch, steps, KD_LOSS_PARTS, sums));
    fill_losses(m, sums, record);
cleanup:
    return status;
}
