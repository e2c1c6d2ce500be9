/* An epoch, stage by stage (docs/model.md#an-epoch): the model's own stages, the steps, the evaluation. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "host/train/trainer.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One stage: named for profilers, timed, in its turn; left out where a resumed run had done it. Books the time since
 * *since, and waits for the stage's work unless it failed. */
#define STAGE_OR_RETURN(stage_of, work)                                          \
    do {                                                                         \
        if (t->progress.resuming && (stage_of) < t->progress.start.stage) break; \
        kd_range_push(t->ctx, kd_stage_name(stage_of));                          \
        KD_OR_RETURN(book(t, (stage_of), (work), &since));                       \
    } while (0)

static kd_status book(kd_trainer *t, kd_stage stage, kd_status status, double *since) {
    kd_epoch_record *record = &t->progress.record;
    if (status == KD_OK) status = kd_synchronize(t->ctx);
    kd_range_pop(t->ctx);
    double present = now();
    record->seconds[stage] += present - *since;
    record->total_seconds += present - *since;
    *since = present;
    t->progress.resuming = false;
    return status;
}

kd_status kd_train_epoch(kd_trainer *t, int64_t epoch) {
    const kd_model_kind *kind = t->plan->kind;
    double since = now();

    for (int64_t i = 0; i < kind->stages; i++)
        STAGE_OR_RETURN(kind->stage[i].stage, kind->stage[i].run(t->model, &t->loop, epoch));
    STAGE_OR_RETURN(KD_STAGE_STEPS, kd_train_steps(t, epoch));
    if ((epoch + 1) % t->config->eval_every == 0 || epoch + 1 == t->config->epochs) {
        KD_OR_RETURN(kd_progress_pause(&t->progress, (kd_position){epoch, KD_STAGE_EVALUATE, 0, 0}, 0, 1));
        STAGE_OR_RETURN(KD_STAGE_EVALUATE, kd_evaluate_epoch(t, epoch));
    }
    t->progress.resuming = false; /* also where eval_every has changed and there was nothing left to do */
    return KD_OK;
}

kd_status kd_evaluate_epoch(kd_trainer *t, int64_t epoch) {
    const kd_csr held_out[2] = {t->valid, t->test};
    kd_metrics metrics[2];
    kd_ranked ranked;
    KD_OR_RETURN(t->plan->kind->score(t->model, epoch, &ranked));
    KD_OR_RETURN(kd_ranker_metrics(t->ctx, &t->ranker, &ranked, held_out, metrics));
    t->progress.record.valid = metrics[0];
    t->progress.record.test = metrics[1];
    t->progress.record.evaluated = true;
    return KD_OK;
}
