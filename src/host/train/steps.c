/* The recommender's own steps: every interaction once, with a negative each. */
#include "host/train/trainer.h"

/* A step of the batch at the cursor, as kd_pass has it. */
static kd_status train_step(kd_ctx *ctx, void *context, int64_t count, const kd_loop *loop) {
    (void)ctx;
    const kd_trainer *t = context;
    kd_step_batch batch = {.count = count,
                           .first = &t->cursor->first,
                           .order = loop->order,
                           .user = t->user,
                           .positive = t->positive,
                           .negative = t->negative,
                           .clock = &t->cursor->step};
    return t->plan->kind->step(t->model, &batch, loop->step_loss);
}

/* Sums over the steps divided by floor(interactions / batch), as the published code logs them. */
static void fill_losses(const kd_trainer *t, const double sums[KD_LOSS_PARTS], kd_epoch_record *record) {
    int64_t whole = t->data->train.count / t->config->batch;
    double divisor = (double)(whole > 0 ? whole : 1);
    record->loss = 0.0;
    for (int i = 0; i < KD_LOSS_PARTS; i++) record->loss += record->loss_part[i] = sums[i] / divisor;
}

kd_status kd_train_steps(kd_trainer *t, int64_t epoch) {
    kd_rng negative = {t->config->seed, KD_RNG_NEGATIVE, 0, (uint32_t)epoch, NULL};
    kd_pass pass = {.stage = KD_STAGE_STEPS,
                    .rows = t->data->train.count,
                    .parts = KD_LOSS_PARTS,
                    .cursor = t->cursor,
                    .recording = t->step,
                    .step = train_step,
                    .context = t,
                    .total = kd_loop_steps(&t->loop, t->data->train.count)};
    double sums[KD_LOSS_PARTS];
    bool done;
    KD_OR_RETURN(kd_sample_negatives(t->ctx, t->model->train, pass.rows, t->user, &negative, t->negative));
    KD_OR_RETURN(kd_loop_run(&t->loop, epoch, &pass, sums, &done));
    if (!done) fill_losses(t, sums, &t->progress.record);
    return KD_OK;
}
