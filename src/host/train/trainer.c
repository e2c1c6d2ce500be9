/* A run's memory: laid out, filled, closed. */
#include "host/train/trainer.h"

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* The most rows that any pass goes over. */
static int64_t most_rows(const kd_trainer *t) {
    return larger(t->data->train.count, t->plan->kind->rows ? t->plan->kind->rows(t->plan) : 0);
}

static kd_status allocate_interactions(kd_trainer *t) {
    int64_t n = t->data->train.count;
    KD_OR_RETURN(kd_loop_allocate(&t->pool, most_rows(t), t->config->batch, &t->loop));
    KD_OR_RETURN(kd_pool_alloc(&t->pool, n, sizeof(int32_t), "interactions", &t->user));
    KD_OR_RETURN(kd_pool_alloc(&t->pool, n, sizeof(int32_t), "interactions", &t->positive));
    KD_OR_RETURN(kd_pool_alloc(&t->pool, n, sizeof(int32_t), "interactions", &t->negative));
    return kd_pool_alloc(&t->pool, 1, sizeof *t->cursor, "interactions", &t->cursor);
}

static kd_status allocate_ranker(kd_trainer *t) {
    const kd_config *c = t->config;
    kd_ranker_shape shape = {.layout = t->model->layout,
                             .width = t->model->score_width,
                             .users = t->data->users,
                             .items = t->data->items,
                             .topk_count = c->topk_count,
                             .topk = c->topk};
    kd_status status = kd_ranker_allocate(&t->pool, &shape, &t->ranker);
    if (t->model->naive_scores > 0) t->ranker.naive_scores = t->model->naive_scores;
    t->ranker.comm = t->comm;
    return status;
}

/* The workspace is one block for all ops: as large as the hungriest of them. */
static kd_status reserve_workspace(kd_trainer *t) {
    void *counted;
    int64_t bytes = larger(t->plan->kind->workspace(t->model), kd_loop_workspace(most_rows(t)));
    if (t->ctx) return kd_workspace_reserve(t->ctx, bytes);
    return kd_pool_alloc(&t->pool, bytes, 1, "workspace", &counted);
}

kd_status kd_trainer_open(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, kd_comm *comm,
                          kd_memory_plan *memory, kd_trainer *t) {
    const kd_model_kind *kind = kd_model_kind_of(config);
    *t = (kd_trainer){.ctx = ctx, .comm = comm, .config = config, .data = data};
    t->progress = (kd_progress){.comm = comm, .best = -1.0, .best_epoch = -1};
    t->loop = (kd_loop){.ctx = ctx, .comm = comm, .progress = &t->progress, .seed = config->seed};
    if (ctx)
        kd_pool_init(&t->pool, ctx);
    else
        kd_pool_init_counting(&t->pool, memory);
    KD_OR_RETURN(kind->plan(config, data, comm, &t->plan));
    KD_OR_RETURN(kind->allocate(t->plan, &t->pool, &t->model));
    KD_OR_RETURN(allocate_interactions(t));
    KD_OR_RETURN(allocate_ranker(t));
    return reserve_workspace(t);
}

kd_status kd_trainer_fill(kd_trainer *t, const kd_bipartite *graph, const float *similarity) {
    const kd_dataset *d = t->data;
    int64_t bytes = d->train.count * (int64_t)sizeof(int32_t);
    if (t->model->layout) KD_OR_RETURN(kd_comm_connect(t->comm, t->ctx)); /* before steps are recorded */
    KD_OR_RETURN(t->plan->kind->fill(t->model, graph, similarity));
    KD_OR_RETURN(kd_upload(t->ctx, t->user, d->train.user, bytes));
    KD_OR_RETURN(kd_upload(t->ctx, t->positive, d->train.item, bytes));
    if (d->valid.count > 0)
        KD_OR_RETURN(kd_interactions_csr(&t->pool, d->users, d->items, &d->valid, "held-out interactions", &t->valid));
    if (d->test.count > 0)
        KD_OR_RETURN(kd_interactions_csr(&t->pool, d->users, d->items, &d->test, "held-out interactions", &t->test));
    return KD_OK;
}

void kd_trainer_close(kd_trainer *t) {
    for (int rest = 0; rest < 2 && t->ctx; rest++) kd_recording_free(t->ctx, &t->step[rest]);
    if (t->model) t->plan->kind->free_model(t->model);
    if (t->plan) t->plan->kind->plan_free(t->plan);
    if (t->ctx) kd_pool_free(&t->pool);
    *t = (kd_trainer){0};
}
