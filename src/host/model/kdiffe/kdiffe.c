/* Device memory of the model: laid out, filled, freed; the views that rank. */
#include "host/model/kdiffe/kdiffe.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static kd_status allocate_diffusion(kd_pool *pool, kd_kdiffe *m) {
    const kd_config *c = m->plan->base.config;
    const kd_model_shape *s = &m->plan->shape;
    kd_denoiser_shape shape = {s->items, c->hidden, c->time_dim, c->steps}, widest = shape;
    int64_t rows = larger(s->users, s->entities);
    int64_t chosen;
    if (!m->plan->denoises_modalities && !m->plan->denoises_kg) return KD_OK;
    if (m->plan->denoises_kg) widest.width = s->entities;
    kd_diffusion_scratch_shape scratch = {
        .batch = c->batch, .rows = rows, .widest = widest, .guidance_width = s->dim, .q = c->q};
    KD_OR_RETURN(kd_diffusion_scratch_allocate(pool, m->plan->base.comm, &scratch, &m->diffusion));
    for (int64_t i = 0; i < s->modalities; i++)
        KD_OR_RETURN(kd_denoiser_allocate(pool, m->plan->base.comm, &shape, &m->modality_denoiser[i]));
    shape.width = s->entities;
    if (m->plan->denoises_kg) KD_OR_RETURN(kd_denoiser_allocate(pool, m->plan->base.comm, &shape, &m->kg_denoiser));
    KD_OR_RETURN(kd_pool_mat(
        pool, larger(m->plan->sizes.items.count, kd_comm_share(m->plan->base.comm, kd_share_guided(s)).count), s->dim,
        "guidance", &m->guidance.projection));
    if (kd_is_divided(s)) KD_OR_RETURN(kd_pool_mat(pool, s->items, s->local_dim, "guidance", &m->guidance.item_sum));
    KD_OR_RETURN(kd_pool_mat(pool, s->users, s->local_dim, "guidance", &m->guidance.target));
    KD_OR_RETURN(kd_pool_alloc(pool, s->users, sizeof(float), "guidance", &m->guidance.user_mean));
    KD_OR_RETURN(kd_pool_alloc(pool, s->entities, sizeof(float), "guidance", &m->guidance.entity_mean));
    if (__builtin_mul_overflow(rows, c->q, &chosen))
        return KD_FAIL(KD_ERR_MEMORY, "sampled columns: do not fit in any memory");
    KD_OR_RETURN(kd_pool_alloc(pool, chosen, sizeof(int32_t), "sampled columns", &m->top));
    return kd_pool_alloc(pool, rows, sizeof(int32_t), "sampled columns", &m->row);
}

int64_t kd_kdiffe_workspace(const kd_model *model) {
    const kd_kdiffe *m = kd_kdiffe_of_const(model);
    const kd_model_shape *s = &m->plan->shape;
    const kd_config *c = m->plan->base.config;
    int64_t bytes = kd_views_workspace(s, &m->plan->sizes, c->batch);
    bytes = larger(bytes, kd_step_losses_workspace(&m->losses));
    bytes = larger(bytes, kd_modality_graph_workspace(s->users + s->items, s->users * c->q));
    bytes = larger(bytes, kd_kg_generate_workspace(m->plan->sizes.kg_edges));
    return larger(bytes, kd_topk_rows_workspace(c->batch, c->q));
}

static kd_status lay_out(kd_pool *pool, kd_kdiffe *m) {
    const kd_config *c = m->plan->base.config;
    const kd_model_shape *s = &m->plan->shape;
    const kd_graph_sizes *sizes = &m->plan->sizes;
    kd_comm *comm = m->plan->base.comm;
    kd_views_config views = kd_views_configure(c, s->modalities);
    kd_loss_config loss = {c->batch, c->cl_method, c->reg, c->ssl_reg, c->temp};
    KD_OR_RETURN(kd_params_allocate(pool, s, &m->params));
    KD_OR_RETURN(kd_graphs_allocate(pool, s, sizes, &m->graphs));
    KD_OR_RETURN(kd_views_allocate(pool, comm, s, sizes, &views, &m->views));
    KD_OR_RETURN(kd_step_losses_allocate(pool, &m->views, &loss, &m->losses));
    KD_OR_RETURN(allocate_diffusion(pool, m));
    m->base.layout = kd_is_divided(s) ? &m->views.layout : NULL;
    m->base.train = m->graphs.train;
    m->base.score_width = m->views.slots.score * s->dim;
    m->base.naive_scores = c->naive & KD_NAIVE_SCORES ? c->dim : 0;
    if (m->base.layout)
        KD_OR_RETURN(kd_pool_mat(pool, sizes->items.count, m->base.score_width, "ranking", &m->ranked_item));
    return KD_OK;
}

kd_status kd_kdiffe_allocate(const kd_plan *plan, kd_pool *pool, kd_model **out) {
    kd_kdiffe *m;
    *out = NULL;
    KD_OR_RETURN(kd_host_alloc(&m, 1, sizeof *m, "model"));
    m->base = (kd_model){.plan = plan, .ctx = pool->ctx};
    m->plan = kd_kdiffe_plan_of(plan);
    *out = &m->base;
    return lay_out(pool, m);
}

static kd_status fill_denoisers(kd_kdiffe *m) {
    kd_status status = KD_OK;
    const kd_model_shape *s = &m->plan->shape;
    int64_t rows = larger(s->users, s->entities);
    int32_t *row = NULL;
    if (!m->plan->denoises_modalities && !m->plan->denoises_kg) return KD_OK;
    KD_TRY(kd_host_alloc(&row, rows, sizeof *row, "rows"));
    for (int64_t i = 0; i < rows; i++) row[i] = (int32_t)i;
    KD_TRY(kd_upload(m->base.ctx, m->row, row, rows * (int64_t)sizeof *row));
    KD_TRY(kd_diffusion_scratch_fill(m->base.ctx, m->plan->base.config->hidden, &m->diffusion));
    for (int64_t i = 0; i < s->modalities; i++)
        KD_TRY(
            kd_denoiser_init(m->base.ctx, m->plan->base.config, (uint32_t)i, &m->diffusion, &m->modality_denoiser[i]));
    if (m->plan->denoises_kg)
        KD_TRY(kd_denoiser_init(m->base.ctx, m->plan->base.config, KD_MAX_MODALITIES, &m->diffusion, &m->kg_denoiser));
cleanup:
    free(row);
    return status;
}

kd_status kd_kdiffe_fill(kd_model *model, const kd_bipartite *graph, const float *similarity) {
    kd_kdiffe *m = kd_kdiffe_of(model);
    const kd_dataset *d = m->plan->base.data;
    kd_graphs_source source = {.sizes = &m->plan->sizes,
                               .graph = graph,
                               .users = m->plan->shape.users,
                               .similarity = similarity,
                               .epsilon = m->plan->base.config->epsilon,
                               .full = &m->plan->full,
                               .capped = &m->plan->capped};
    KD_OR_RETURN(kd_params_init(m->base.ctx, m->plan->base.config->seed, &m->plan->shape, &m->params));
    KD_OR_RETURN(kd_graphs_fill(m->base.ctx, &source, &m->graphs));
    for (int64_t i = 0; i < m->plan->shape.modalities; i++)
        KD_OR_RETURN(kd_mat_upload(
            m->base.ctx, d->modalities[i].values + m->plan->shape.item.first * m->plan->shape.feature_width[i],
            m->views.modality[i].feature));
    return fill_denoisers(m);
}

void kd_kdiffe_free(kd_model *model) {
    kd_kdiffe *m = kd_kdiffe_of(model);
    if (!m) return;
    for (int rest = 0; rest < 2 && m->base.ctx; rest++) {
        kd_recording_free(m->base.ctx, &m->kg_denoiser.step[rest]);
        for (int64_t i = 0; i < m->plan->shape.modalities; i++)
            kd_recording_free(m->base.ctx, &m->modality_denoiser[i].step[rest]);
    }
    free(m);
}

const kd_kg *kd_kdiffe_eval_kg(const kd_kdiffe *m) {
    return m->plan->denoises_kg ? &m->graphs.generated : &m->graphs.capped;
}

const kd_kg *kd_kdiffe_train_kg(const kd_kdiffe *m) {
    return m->plan->base.config->kg.train_view == KD_TRAIN_VIEW_GENERATED ? kd_kdiffe_eval_kg(m) : &m->graphs.capped;
}

static kd_mat score_view(const kd_kdiffe *m) { return kd_score_of(&m->views, m->views.output); }

static kd_mat user_view(const kd_kdiffe *m) { return kd_mat_rows(score_view(m), 0, m->plan->shape.users); }
static kd_mat item_view(const kd_kdiffe *m) {
    return kd_mat_rows(score_view(m), m->plan->shape.users, m->plan->shape.items);
}

kd_status kd_kdiffe_ranked(const kd_kdiffe *m, kd_ranked *out) {
    const kd_model_shape *s = &m->plan->shape;
    *out = (kd_ranked){user_view(m), item_view(m), m->graphs.train};
    if (!kd_is_divided(s)) return KD_OK;
    for (int64_t i = 0; i < m->views.slots.score; i++)
        KD_OR_RETURN(kd_layout_to_rows(m->base.ctx, &m->views.layout, kd_share_columns(s->items),
                                       kd_mat_cols(out->item, i * s->local_dim, s->local_dim),
                                       kd_mat_cols(m->ranked_item, i * s->dim, s->dim)));
    out->item = m->ranked_item;
    out->train = m->graphs.user_rows;
    return KD_OK;
}
