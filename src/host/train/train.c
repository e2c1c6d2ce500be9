/* A whole run: plan, attention-aware graph, epochs, the best model. */
#define _POSIX_C_SOURCE 200809L
#include "host/train/train.h"

#include <stdlib.h>
#include <time.h>

#include "host/attention/attention.h"
#include "host/base/memory.h"
#include "host/train/checkpoint.h"
#include "host/train/snapshot.h"
#include "host/train/trainer.h"

kd_status kd_train_plan(const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_memory_plan *plan) {
    kd_trainer trainer;
    *plan = (kd_memory_plan){0};
    kd_status status = kd_trainer_open(NULL, config, data, comm, plan, &trainer);
    kd_trainer_close(&trainer);
    return status;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The attention-aware matrix, whose memory is given back before the model takes its own, and the filled model. */
static kd_status set_up(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_trainer *t,
                        double *attention_seconds) {
    kd_status status = KD_OK;
    kd_bipartite graph = {0};
    float *similarity = NULL;
    KD_TRY(kd_bipartite_build(data->users, data->items, &data->train, &graph));
    double begin = now();
    if (config->use.attention && kd_model_kind_of(config)->attention) {
        KD_TRY(kd_host_alloc(&similarity, graph.row_ptr[graph.nodes], sizeof *similarity, "attention-aware matrix"));
        KD_TRY(kd_attention_matrix(ctx, comm, config, data, &graph, similarity));
    }
    *attention_seconds = now() - begin;
    KD_TRY(kd_trainer_open(ctx, config, data, comm, NULL, t));
    KD_TRY(kd_trainer_fill(t, &graph, similarity));
cleanup:
    free(similarity);
    kd_bipartite_free(&graph);
    return status;
}

/* Recall at the largest cut-off of the split that selects; test where there is no validation split. */
static double selecting_recall(const kd_trainer *m, const kd_epoch_record *record) {
    bool valid = m->config->select_on == KD_SELECT_ON_VALID && m->data->valid.count > 0;
    const kd_metrics *metrics = valid || m->data->test.count == 0 ? &record->valid : &record->test;
    return metrics->users > 0 ? metrics->recall[metrics->topk_count - 1] : 0.0;
}

/* Of an epoch that begins, or goes on: then with the losses that it had come to. */
static void begin_record(kd_trainer *m, int64_t epoch) {
    kd_epoch_record *record = &m->progress.record;
    if (!m->progress.resuming) *record = (kd_epoch_record){.modality_count = 0};
    record->epoch = epoch;
    if (m->plan->kind->begin_record) m->plan->kind->begin_record(m->model, record);
}

/* Selects: the first of equals is the best. */
static kd_status select_epoch(kd_trainer *m, const kd_observer *observer, kd_epoch_record *record) {
    kd_progress *run = &m->progress;
    double recall = selecting_recall(m, record);
    if (!record->evaluated) return KD_OK;
    record->best = recall > run->best;
    run->since_best = record->best ? 0 : run->since_best + 1;
    if (!record->best) return KD_OK;
    run->best = recall;
    run->best_epoch = record->epoch;
    return kd_snapshot_hand_over(m->model, record->epoch, observer);
}

/* *stop is set where any rank's observer has had enough. */
static kd_status agree_on_enough(kd_comm *comm, const kd_observer *observer, bool *stop) {
    int enough = observer->enough && observer->enough(observer->context);
    KD_OR_RETURN(kd_comm_allreduce_max(comm, &enough));
    *stop |= enough > 0;
    return KD_OK;
}

static kd_status run_epochs(kd_trainer *m, const kd_observer *observer, double attention_seconds) {
    kd_progress *run = &m->progress;
    const kd_checkpointing *c = run->checkpoints;
    kd_epoch_record *record = &run->record;
    bool stop = false;
    for (int64_t epoch = run->start.epoch; epoch < m->config->epochs && !stop; epoch++) {
        begin_record(m, epoch);
        if (epoch == 0) record->seconds[KD_STAGE_ATTENTION] = record->total_seconds = attention_seconds;
        KD_OR_RETURN(kd_train_epoch(m, epoch));
        KD_OR_RETURN(kd_comm_confirm(m->comm)); /* no record of an epoch in which a rank was lost */
        KD_OR_RETURN(select_epoch(m, observer, record));
        if (observer->epoch) KD_OR_RETURN(observer->epoch(observer->context, record));
        stop = m->config->patience > 0 && run->since_best >= m->config->patience;
        KD_OR_RETURN(agree_on_enough(m->comm, observer, &stop));
        bool last = stop || epoch + 1 == m->config->epochs;
        if (c && (c->epochs > 0 ? (epoch + 1) % c->epochs == 0 || last : c->steps > 0 && last))
            KD_OR_RETURN(kd_checkpoint_save(m, (kd_position){epoch + 1, KD_STAGE_DENOISE_MODALITIES, 0, 0}));
    }
    return KD_OK;
}

/* The attention-aware matrix is one long step, before which there is nothing to keep. */
static kd_status ask_before_attention(kd_comm *comm, const kd_observer *observer) {
    int stop = observer->progress && !observer->progress(observer->context, 0, KD_STAGE_ATTENTION, 0, 1);
    KD_OR_RETURN(kd_comm_allreduce_max(comm, &stop));
    return stop ? KD_FAIL(KD_ERR_INTERRUPTED, "stopped as asked before the first epoch") : KD_OK;
}

static kd_status keep(void *keeper, kd_position at) { return kd_checkpoint_save(keeper, at); }

kd_status kd_train(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, const kd_observer *observer,
                   const kd_checkpointing *checkpoints, kd_comm *comm) {
    kd_status status = KD_OK;
    kd_trainer trainer = {0};
    kd_progress *progress = &trainer.progress;
    double attention_seconds;
    KD_OR_RETURN(ask_before_attention(comm, observer));
    KD_TRY(set_up(ctx, config, data, comm, &trainer, &attention_seconds));
    progress->observer = observer;
    progress->checkpoints = checkpoints;
    progress->keep = keep;
    progress->keeper = &trainer;
    if (checkpoints && checkpoints->resume) {
        KD_TRY(kd_checkpoint_load(&trainer));
        if (observer->resumed)
            KD_TRY(observer->resumed(observer->context, progress->start.epoch, progress->best_epoch));
    }
    KD_TRY(run_epochs(&trainer, observer, attention_seconds));
cleanup:
    kd_trainer_close(&trainer);
    return status;
}
