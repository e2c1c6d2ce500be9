/* An epoch, stage by stage (MODEL section 6). */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/memory.h"
#include "host/base/signals.h"
#include "host/train/checkpoint.h"
#include "host/train/epoch.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Closes a stage: waits for its work, unless it failed, and books the time since *since. */
static kd_status book(kd_model *m, kd_stage stage, kd_status status, double *since, kd_epoch_record *record) {
    if (status == KD_OK) status = kd_synchronize(m->ctx);
    kd_range_pop(m->ctx);
    double t = now();
    record->seconds[stage] += t - *since;
    record->total_seconds += t - *since;
    *since = t;
    m->run.resuming = false;
    return status;
}

/* Whether a resumed run had done the stage. */
static bool behind(const kd_model *m, kd_stage stage) { return m->run.resuming && stage < m->run.start.stage; }

/* One stage: named for profilers, timed, in its turn. */
#define STAGE(stage, work)                                \
    do {                                                  \
        if (behind(m, (stage))) break;                    \
        kd_range_push(m->ctx, kd_stage_name(stage));      \
        KD_TRY(book(m, (stage), (work), &clock, record)); \
    } while (0)

kd_status kd_train_epoch(kd_model *m, int64_t epoch, const kd_observer *observer, kd_epoch_record *record) {
    kd_status status = KD_OK;
    double clock = now();

    STAGE(KD_STAGE_DENOISE_MODALITIES, kd_denoise_modalities(m, epoch, observer, record->denoise_modality));
    STAGE(KD_STAGE_DENOISE_KG, kd_denoise_kg(m, epoch, observer, &record->denoise_kg));
    STAGE(KD_STAGE_SAMPLE, kd_rebuild_graphs(m, epoch, observer));
    STAGE(KD_STAGE_STEPS, kd_train_steps(m, epoch, observer, record));
    if ((epoch + 1) % m->config->eval_every == 0 || epoch + 1 == m->config->epochs) {
        KD_TRY(kd_train_pause(m, observer, (kd_position){epoch, KD_STAGE_EVALUATE, 0, 0}, 0, 1));
        STAGE(KD_STAGE_EVALUATE, kd_evaluate_epoch(m, epoch, record));
    }
    m->run.resuming = false; /* also where eval_every has changed and there was nothing left to do */
cleanup:
    return status;
}

kd_status kd_evaluate_epoch(kd_model *m, int64_t epoch, kd_epoch_record *record) {
    kd_status status = KD_OK;
    kd_view_pass pass = {.training = false, .main_kg = kd_model_eval_kg(m), .seed = m->config->seed, .step = epoch};
    const kd_csr held_out[2] = {m->valid, m->test};
    kd_metrics metrics[2];
    kd_ranked ranked;
    KD_TRY(kd_views_forward(m->ctx, &m->params, &m->graphs, &pass, &m->views));
    KD_TRY(kd_model_ranked(m, &ranked));
    KD_TRY(kd_ranker_metrics(m->ctx, &m->ranker, &ranked, held_out, metrics));
    record->valid = metrics[0];
    record->test = metrics[1];
    record->evaluated = true;
cleanup:
    return status;
}

/* *caught = a signal that any rank has caught: it need not reach all of them between the same two steps. */
static kd_status agree_on_signal(kd_model *m, int *caught) {
    kd_status status = KD_OK;
    *caught = kd_signal_caught();
    KD_TRY(kd_comm_allreduce_max(m->comm, caught));
    kd_signal_note(*caught);
cleanup:
    return status;
}

kd_status kd_train_pause(kd_model *m, const kd_observer *observer, kd_position at, int64_t done, int64_t total) {
    kd_status status = KD_OK;
    const kd_checkpointing *c = m->run.checkpoints;
    bool due = c && c->steps > 0 && m->run.steps >= c->steps;
    int caught = 0;
    if (kd_comm_synchronizes_before(m->comm, m->run.pauses++)) KD_TRY(agree_on_signal(m, &caught));
    if (c && (due || caught)) KD_TRY(kd_checkpoint_save(m, at));
    m->run.steps++;
    if (observer->progress) observer->progress(observer->context, at.epoch, at.stage, done, total);
    if (caught)
        status = KD_FAIL(KD_ERR_INTERRUPTED, "stopped by signal %d in epoch %lld, stage %s", caught,
                         (long long)at.epoch, kd_stage_name(at.stage));
cleanup:
    return status;
}

int64_t kd_train_first_batch(kd_model *m, kd_stage stage, int64_t part) {
    const kd_position *start = &m->run.start;
    if (!m->run.resuming || stage != start->stage || part > start->part) return 0;
    return part < start->part ? -1 : start->batch;
}

kd_status kd_train_losses(kd_model *m, kd_stage stage, int64_t epoch, int64_t count, int64_t parts, double *sums) {
    kd_status status = KD_OK;
    double *loss = NULL;
    KD_TRY(kd_host_alloc(&loss, count * parts, sizeof *loss, "step losses"));
    KD_TRY(kd_comm_allreduce_f64(m->comm, m->ctx, count * parts, m->loss));
    KD_TRY(kd_download(m->ctx, loss, m->loss, count * parts * (int64_t)sizeof *loss));
    for (int64_t part = 0; part < parts; part++) sums[part] = 0.0;
    for (int64_t i = 0; i < count * parts; i++) {
        if (!isfinite(loss[i]))
            KD_FAIL_TO_CLEANUP(KD_ERR_NUMERIC,
                               "epoch %lld, stage %s, step %lld: the loss is not finite; lower lr, or look at the data",
                               (long long)epoch, kd_stage_name(stage), (long long)(i / parts));
        sums[i % parts] += loss[i];
    }
cleanup:
    free(loss);
    return status;
}
