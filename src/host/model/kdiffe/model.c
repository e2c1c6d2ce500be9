#include "host/model/kdiffe/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t steps_of(int64_t rows, int64_t batch) { return (rows + batch - 1) / batch; }

static bool linear_transform(int64_t trans, const char *modality) {
    return trans == 1 || (trans == 2 && strcmp(modality, "image") != 0);
}

/* Each rank holds some columns of the tables, and of the features the rows of the items whose columns the modality
 * denoisers have here. */
static kd_status divide_columns(kd_model *m) {
    kd_model_shape *s = &m->shape;
    int64_t ranks = kd_comm_ranks(m->comm);
    kd_range own = kd_comm_share(m->comm, kd_share_table(s->whole_dim, ranks));
    if (ranks > s->whole_dim)
        return KD_FAIL(KD_ERR_ARGUMENT, "shard: %lld ranks: at most one for each of dim's %lld columns",
                       (long long)ranks, (long long)s->whole_dim);
    s->column = own.first;
    s->dim = own.count;
    s->item = m->sizes.items;
    return KD_OK;
}

static int64_t count_in(kd_range columns, int64_t n, const int32_t *column) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += column[i] >= columns.first && column[i] < columns.first + columns.count;
    return count;
}

kd_status kd_model_shape_of(const kd_config *c, const kd_dataset *data, kd_model *m) {
    kd_status status = KD_OK;
    kd_model_shape *s = &m->shape;
    m->config = c;
    m->data = data;
    if (data->modality_count > KD_MAX_MODALITIES)
        return KD_FAIL(KD_ERR_ARGUMENT, "data: %lld modalities, at most %d", (long long)data->modality_count,
                       (int)KD_MAX_MODALITIES);
    if (c->kg_hops > KD_MAX_HOPS) return KD_FAIL(KD_ERR_ARGUMENT, "kg_hops: at most %d", (int)KD_MAX_HOPS);
    if (c->sampling_steps > c->steps)
        return KD_FAIL(KD_ERR_ARGUMENT, "sampling_steps: at most steps (%lld)", (long long)c->steps);
    if (c->q > data->items)
        return KD_FAIL(KD_ERR_ARGUMENT, "q: %lld, but there are %lld items", (long long)c->q, (long long)data->items);
    KD_TRY(c->use.kg ? kd_kg_edges_build(data, c->kg.id_space, &m->full) : kd_kg_edges_empty(data, &m->full));
    KD_TRY(kd_kg_edges_cap(&m->full, c->triplet_num, c->seed, &m->capped));
    *s = (kd_model_shape){.users = data->users,
                          .items = data->items,
                          .entities = m->full.entities,
                          .relations = m->full.relations,
                          .dim = c->dim,
                          .whole_dim = c->dim,
                          .item = {0, data->items},
                          .modalities = c->use.multimodal || c->use.contrastive ? data->modality_count : 0};
    for (int64_t i = 0; i < s->modalities; i++) {
        s->feature_width[i] = data->modalities[i].width;
        s->linear[i] = linear_transform(c->trans, data->modalities[i].name);
        snprintf(s->modality[i], sizeof s->modality[i], "%s", data->modalities[i].name);
    }
    m->sizes = (kd_graph_sizes){.interactions = data->train.count,
                                .kg_edges = m->full.count,
                                .kg_capped_edges = m->capped.count,
                                .q = c->q,
                                .items = kd_comm_share(m->comm, kd_share_columns(s->items)),
                                .entities = kd_comm_share(m->comm, kd_share_columns(s->entities))};
    if (c->shard && m->comm) KD_TRY(divide_columns(m));
    m->sizes.interactions_here = count_in(m->sizes.items, data->train.count, data->train.item);
    m->sizes.kg_edges_here = count_in(m->sizes.entities, m->full.count, m->full.tail);
    m->denoises_modalities = s->modalities > 0;
    m->denoises_kg = m->full.count > 0 && c->use.generated_kg;
cleanup:
    return status;
}

static kd_status allocate_diffusion(kd_model *m) {
    kd_status status = KD_OK;
    const kd_config *c = m->config;
    const kd_model_shape *s = &m->shape;
    kd_denoiser_shape shape = {s->items, c->hidden, c->time_dim, c->steps}, widest = shape;
    int64_t rows = larger(s->users, s->entities);
    int64_t chosen;
    if (!m->denoises_modalities && !m->denoises_kg) return KD_OK;
    if (m->denoises_kg) widest.width = s->entities;
    KD_TRY(
        kd_diffusion_scratch_allocate(&m->pool, m->comm, c->batch, rows, &widest, s->whole_dim, c->q, &m->diffusion));
    for (int64_t i = 0; i < s->modalities; i++)
        KD_TRY(kd_denoiser_allocate(&m->pool, m->comm, &shape, &m->modality_denoiser[i]));
    shape.width = s->entities;
    if (m->denoises_kg) KD_TRY(kd_denoiser_allocate(&m->pool, m->comm, &shape, &m->kg_denoiser));
    KD_TRY(kd_pool_mat(&m->pool, larger(m->sizes.items.count, kd_comm_share(m->comm, kd_share_guided(s)).count),
                       s->whole_dim, "guidance", &m->guidance.projection));
    if (kd_is_divided(s)) KD_TRY(kd_pool_mat(&m->pool, s->items, s->dim, "guidance", &m->guidance.item_sum));
    KD_TRY(kd_pool_mat(&m->pool, s->users, s->dim, "guidance", &m->guidance.target));
    KD_TRY(kd_pool_alloc(&m->pool, s->users, sizeof(float), "guidance", &m->guidance.user_mean));
    KD_TRY(kd_pool_alloc(&m->pool, s->entities, sizeof(float), "guidance", &m->guidance.entity_mean));
    if (__builtin_mul_overflow(rows, c->q, &chosen))
        KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "sampled columns: do not fit in any memory");
    KD_TRY(kd_pool_alloc(&m->pool, chosen, sizeof(int32_t), "sampled columns", &m->top));
    KD_TRY(kd_pool_alloc(&m->pool, rows, sizeof(int32_t), "sampled columns", &m->row));
cleanup:
    return status;
}

/* The workspace is one block for all ops: as large as the hungriest of them. */
static int64_t workspace_bytes(const kd_model *m, const kd_loss_config *loss) {
    const kd_model_shape *s = &m->shape;
    int64_t bytes = kd_views_workspace(s, &m->sizes, loss->batch),
            rows = larger(m->data->train.count, larger(s->users, s->entities));
    bytes = larger(bytes, kd_step_losses_workspace(&m->losses));
    bytes = larger(bytes, kd_permutation_workspace(rows));
    bytes = larger(bytes, kd_modality_graph_workspace(s->users + s->items));
    bytes = larger(bytes, kd_kg_generate_workspace(m->sizes.kg_edges));
    return larger(bytes, kd_topk_rows_workspace(m->config->batch, m->config->q));
}

static kd_status allocate_batches(kd_model *m) {
    kd_status status = KD_OK;
    const kd_config *c = m->config;
    int64_t n = m->data->train.count, rows = larger(n, larger(m->shape.users, m->shape.entities));
    m->loss_steps = steps_of(rows, c->batch);
    KD_TRY(kd_pool_alloc(&m->pool, rows, sizeof(int32_t), "interactions", &m->order));
    KD_TRY(kd_pool_alloc(&m->pool, n, sizeof(int32_t), "interactions", &m->user));
    KD_TRY(kd_pool_alloc(&m->pool, n, sizeof(int32_t), "interactions", &m->positive));
    KD_TRY(kd_pool_alloc(&m->pool, n, sizeof(int32_t), "interactions", &m->negative));
    KD_TRY(kd_pool_alloc(&m->pool, 1, sizeof *m->cursor, "interactions", &m->cursor));
    KD_TRY(kd_pool_alloc(&m->pool, KD_LOSS_PARTS, sizeof(double), "interactions", &m->step_loss));
    KD_TRY(kd_pool_alloc(&m->pool, m->loss_steps * KD_LOSS_PARTS, sizeof(double), "interactions", &m->loss));
cleanup:
    return status;
}

kd_status kd_model_allocate(kd_model *m) {
    kd_status status = KD_OK;
    const kd_config *c = m->config;
    kd_views_config views = kd_views_configure(c, m->shape.modalities);
    kd_loss_config loss = {c->batch, c->cl_method, c->reg, c->ssl_reg, c->temp};
    void *counted;
    KD_TRY(kd_params_allocate(&m->pool, &m->shape, &m->params));
    KD_TRY(kd_graphs_allocate(&m->pool, &m->shape, &m->sizes, &m->graphs));
    KD_TRY(kd_views_allocate(&m->pool, m->comm, &m->shape, &m->sizes, &views, &m->views));
    KD_TRY(kd_step_losses_allocate(&m->pool, &m->views, &loss, &m->losses));
    KD_TRY(allocate_diffusion(m));
    KD_TRY(allocate_batches(m));
    bool divided = kd_is_divided(&m->shape);
    int64_t width = m->views.slots.score * m->shape.whole_dim;
    KD_TRY(kd_ranker_allocate(&m->pool, divided ? &m->views.layout : NULL, width, m->shape.users, m->shape.items,
                              c->topk_count, c->topk, &m->ranker));
    if (divided) KD_TRY(kd_pool_mat(&m->pool, m->sizes.items.count, width, "ranking", &m->ranked_item));
    if (c->naive & KD_NAIVE_SCORES) m->ranker.depth = c->dim;
    m->ranker.comm = m->comm;
    if (m->ctx)
        KD_TRY(kd_workspace_reserve(m->ctx, workspace_bytes(m, &loss)));
    else
        KD_TRY(kd_pool_alloc(&m->pool, workspace_bytes(m, &loss), 1, "workspace", &counted));
cleanup:
    return status;
}

static kd_status fill_denoisers(kd_model *m) {
    kd_status status = KD_OK;
    const kd_model_shape *s = &m->shape;
    int64_t rows = larger(s->users, s->entities);
    int32_t *row = NULL;
    if (!m->denoises_modalities && !m->denoises_kg) return KD_OK;
    KD_TRY(kd_host_alloc(&row, rows, sizeof *row, "rows"));
    for (int64_t i = 0; i < rows; i++) row[i] = (int32_t)i;
    KD_TRY(kd_upload(m->ctx, m->row, row, rows * (int64_t)sizeof *row));
    KD_TRY(kd_diffusion_scratch_fill(m->ctx, m->config->hidden, &m->diffusion));
    for (int64_t i = 0; i < s->modalities; i++)
        KD_TRY(kd_denoiser_init(m->ctx, m->config, (uint32_t)i, &m->diffusion, &m->modality_denoiser[i]));
    if (m->denoises_kg) KD_TRY(kd_denoiser_init(m->ctx, m->config, KD_MAX_MODALITIES, &m->diffusion, &m->kg_denoiser));
cleanup:
    free(row);
    return status;
}

kd_status kd_model_fill(kd_model *m, const kd_bipartite *graph, const float *similarity) {
    kd_status status = KD_OK;
    const kd_dataset *d = m->data;
    int64_t bytes = d->train.count * (int64_t)sizeof(int32_t);
    if (kd_is_divided(&m->shape)) KD_TRY(kd_comm_connect(m->comm, m->ctx)); /* before steps are recorded */
    KD_TRY(kd_params_init(m->ctx, m->config->seed, &m->shape, &m->params));
    KD_TRY(kd_graphs_fill(m->ctx, &m->sizes, graph, m->shape.users, similarity, m->config->epsilon, &m->full,
                          &m->capped, &m->graphs));
    for (int64_t i = 0; i < m->shape.modalities; i++)
        KD_TRY(kd_mat_upload(m->ctx, d->modalities[i].values + m->shape.item.first * m->shape.feature_width[i],
                             m->views.modality[i].feature));
    KD_TRY(kd_upload(m->ctx, m->user, d->train.user, bytes));
    KD_TRY(kd_upload(m->ctx, m->positive, d->train.item, bytes));
    if (d->valid.count > 0)
        KD_TRY(kd_interactions_csr(&m->pool, d->users, d->items, &d->valid, "held-out interactions", &m->valid));
    if (d->test.count > 0)
        KD_TRY(kd_interactions_csr(&m->pool, d->users, d->items, &d->test, "held-out interactions", &m->test));
    KD_TRY(fill_denoisers(m));
cleanup:
    return status;
}

void kd_model_free(kd_model *m) {
    kd_kg_edges_free(&m->full);
    kd_kg_edges_free(&m->capped);
    if (!m->ctx) return;
    for (int rest = 0; rest < 2; rest++) {
        kd_recording_free(m->ctx, &m->step[rest]);
        kd_recording_free(m->ctx, &m->kg_denoiser.step[rest]);
        for (int64_t i = 0; i < m->shape.modalities; i++)
            kd_recording_free(m->ctx, &m->modality_denoiser[i].step[rest]);
    }
    kd_pool_free(&m->pool);
}

const kd_kg *kd_model_eval_kg(const kd_model *m) { return m->denoises_kg ? &m->graphs.generated : &m->graphs.capped; }

const kd_kg *kd_model_train_kg(const kd_model *m) {
    return m->config->kg.train_view == KD_TRAIN_VIEW_GENERATED ? kd_model_eval_kg(m) : &m->graphs.capped;
}

static kd_mat score_view(const kd_model *m) { return kd_score_of(&m->views, m->views.output); }

kd_mat kd_model_user_view(const kd_model *m) { return kd_mat_rows(score_view(m), 0, m->shape.users); }
kd_mat kd_model_item_view(const kd_model *m) { return kd_mat_rows(score_view(m), m->shape.users, m->shape.items); }

kd_status kd_model_ranked(const kd_model *m, kd_ranked *out) {
    kd_status status = KD_OK;
    const kd_model_shape *s = &m->shape;
    *out = (kd_ranked){kd_model_user_view(m), kd_model_item_view(m), m->graphs.train};
    if (!kd_is_divided(s)) return KD_OK;
    for (int64_t i = 0; i < m->views.slots.score; i++)
        KD_TRY(kd_layout_to_rows(m->ctx, &m->views.layout, kd_share_columns(s->items),
                                 kd_mat_cols(out->item, i * s->dim, s->dim),
                                 kd_mat_cols(m->ranked_item, i * s->whole_dim, s->whole_dim)));
    out->item = m->ranked_item;
    out->train = m->graphs.user_rows;
cleanup:
    return status;
}

kd_status kd_model_download(const kd_model *m, kd_mat value, bool divided, float *host) {
    kd_status status = KD_OK;
    int64_t dim = m->shape.dim, whole = m->shape.whole_dim, blocks = value.cols / dim;
    if (!divided) return host ? kd_mat_download(m->ctx, value, host) : KD_OK;
    for (int64_t i = 0; i < blocks && status == KD_OK; i++)
        status = kd_layout_download(m->ctx, &m->views.layout, kd_mat_cols(value, i * dim, dim), 0, value.rows,
                                    host ? host + i * whole : NULL, blocks * whole);
    return status;
}

kd_status kd_model_read(const kd_model *m, kd_mat value, bool divided, int64_t first, int64_t bytes, void *to) {
    kd_status status = KD_OK;
    int64_t cols = divided ? value.cols / m->shape.dim * m->shape.whole_dim : value.cols;
    int64_t row = cols * (int64_t)sizeof(float), begin = first / row, end = (first + bytes + row - 1) / row;
    float *room = NULL;
    if (to) KD_TRY(kd_host_alloc(&room, (end - begin) * cols, sizeof *room, "rows of all ranks"));
    KD_TRY(kd_model_download(m, kd_mat_rows(value, begin, end - begin), divided, room));
    if (to) memcpy(to, (const char *)room + (first - begin * row), (size_t)bytes);
cleanup:
    free(room);
    return status;
}
