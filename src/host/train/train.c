/* A whole run: plan, attention-aware graph, epochs, the best model. */
#define _POSIX_C_SOURCE 200809L
#include "host/train/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/attention/attention.h"
#include "host/base/memory.h"
#include "host/train/checkpoint.h"
#include "host/train/epoch.h"
#include "host/train/snapshot.h"

const char *kd_stage_name(kd_stage stage) {
    static const char *const name[KD_STAGE_COUNT] = {"attention", "denoise_modalities", "denoise_kg", "sample", "steps",
                                                     "evaluate"};
    return name[stage];
}

kd_status kd_train_plan(const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_memory_plan *plan) {
    kd_model model = {.comm = comm};
    *plan = (kd_memory_plan){0};
    kd_status status = kd_model_shape_of(config, data, &model);
    if (status == KD_OK) {
        kd_pool_init_counting(&model.pool, plan);
        status = kd_model_allocate(&model);
    }
    kd_model_free(&model);
    return status;
}

/* The attention-aware matrix and the model on the device. */
static kd_status set_up(kd_ctx *ctx, kd_model *m, double *attention_seconds) {
    kd_status status = KD_OK;
    kd_bipartite graph = {0};
    float *similarity = NULL;
    struct timespec begin, end;
    KD_TRY(kd_bipartite_build(m->data->users, m->data->items, &m->data->train, &graph));
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (m->config->use.attention) {
        KD_TRY(kd_host_alloc(&similarity, graph.row_ptr[graph.nodes], sizeof *similarity, "attention-aware matrix"));
        KD_TRY(kd_attention_matrix(ctx, m->comm, m->config, m->data, &graph, similarity));
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    *attention_seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
    m->ctx = ctx;
    kd_pool_init(&m->pool, ctx);
    KD_TRY(kd_model_allocate(m));
    KD_TRY(kd_model_fill(m, &graph, similarity));
cleanup:
    free(similarity);
    kd_bipartite_free(&graph);
    return status;
}

/* Recall at the largest cut-off of the split that selects; test where there is no validation split. */
static double selecting_recall(const kd_model *m, const kd_epoch_record *record) {
    bool valid = m->config->select_on == KD_SELECT_ON_VALID && m->data->valid.count > 0;
    const kd_metrics *metrics = valid || m->data->test.count == 0 ? &record->valid : &record->test;
    return metrics->users > 0 ? metrics->recall[metrics->topk_count - 1] : 0.0;
}

/* Of an epoch that begins, or goes on: then with the losses that it had come to. */
static kd_epoch_record new_record(const kd_model *m, int64_t epoch) {
    kd_epoch_record record = {.modality_count = 0};
    if (m->run.resuming) record = m->run.record;
    record.epoch = epoch;
    record.modality_count = m->shape.modalities;
    for (int64_t i = 0; i < m->shape.modalities; i++)
        snprintf(record.modality[i], sizeof record.modality[i], "%s", m->shape.modality[i]);
    return record;
}

/* Selects: the first of equals is the best. */
static kd_status select_epoch(kd_model *m, const kd_observer *observer, kd_epoch_record *record) {
    kd_run *run = &m->run;
    double recall = selecting_recall(m, record);
    if (!record->evaluated) return KD_OK;
    record->best = recall > run->best;
    run->since_best = record->best ? 0 : run->since_best + 1;
    if (!record->best) return KD_OK;
    run->best = recall;
    run->best_epoch = record->epoch;
    return kd_snapshot_hand_over(m, record->epoch, observer);
}

static kd_status run_epochs(kd_model *m, const kd_observer *observer, double attention_seconds) {
    kd_status status = KD_OK;
    kd_run *run = &m->run;
    const kd_checkpointing *c = run->checkpoints;
    kd_epoch_record *record = &run->record;
    bool stop = false;
    for (int64_t epoch = run->start.epoch; epoch < m->config->epochs && !stop; epoch++) {
        *record = new_record(m, epoch);
        if (epoch == 0) record->seconds[KD_STAGE_ATTENTION] = record->total_seconds = attention_seconds;
        KD_TRY(kd_train_epoch(m, epoch, observer, record));
        KD_TRY(select_epoch(m, observer, record));
        if (observer->epoch) KD_TRY(observer->epoch(observer->context, record));
        stop = m->config->patience > 0 && run->since_best >= m->config->patience;
        bool last = stop || epoch + 1 == m->config->epochs;
        if (c && (c->epochs > 0 ? (epoch + 1) % c->epochs == 0 || last : c->steps > 0 && last))
            KD_TRY(kd_checkpoint_save(m, (kd_position){epoch + 1, KD_STAGE_DENOISE_MODALITIES, 0, 0}));
    }
cleanup:
    return status;
}

kd_status kd_train(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, const kd_observer *observer,
                   const kd_checkpointing *checkpoints, kd_comm *comm) {
    kd_status status = KD_OK;
    kd_model model = {.comm = comm, .run = {.checkpoints = checkpoints, .best = -1.0, .best_epoch = -1}};
    double attention_seconds;
    KD_TRY(kd_model_shape_of(config, data, &model));
    if (observer->progress) observer->progress(observer->context, 0, KD_STAGE_ATTENTION, 0, 1);
    KD_TRY(set_up(ctx, &model, &attention_seconds));
    if (checkpoints && checkpoints->resume) {
        KD_TRY(kd_checkpoint_load(&model));
        if (observer->resumed)
            KD_TRY(observer->resumed(observer->context, model.run.start.epoch, model.run.best_epoch));
    }
    KD_TRY(run_epochs(&model, observer, attention_seconds));
cleanup:
    kd_model_free(&model);
    return status;
}
