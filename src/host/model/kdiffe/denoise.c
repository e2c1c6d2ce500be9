/* Training of the denoisers and the graphs rebuilt from what they sample. */
#include "host/config/load.h"
#include "host/model/kdiffe/kdiffe.h"

static const double INPUT_DROPOUT = 0.5;

/* What one denoiser trains on. */
typedef struct denoising {
    kd_kdiffe *model;
    kd_stage stage;
    kd_denoiser *denoiser;
    int64_t modality; /* whose denoiser it is; -1: the knowledge graph's */
    kd_csr x0, x0_transpose;
    const float *g;
    kd_denoiser_guidance guidance;
    int64_t done, total; /* batches, of all denoisers of the stage */
} denoising;

static int64_t batches(const kd_kdiffe *m, int64_t rows) {
    return (rows + m->plan->base.config->batch - 1) / m->plan->base.config->batch;
}

static kd_status guide(kd_kdiffe *m, int64_t modality, kd_denoiser_guidance *out) {
    return modality < 0 ? kd_guide_kg(m, out) : kd_guide_modality(m, modality, out);
}

/* A step of the rows at the cursor, as kd_pass has it. */
static kd_status denoiser_step(kd_ctx *ctx, void *context, int64_t count, const kd_loop *loop) {
    const denoising *what = context;
    kd_kdiffe *m = what->model;
    kd_denoiser *d = what->denoiser;
    kd_denoiser_batch batch = {.x0 = what->x0,
                               .x0_transpose = what->x0_transpose,
                               .count = count,
                               .row = d->scratch->row,
                               .g = what->g,
                               .dropout = INPUT_DROPOUT,
                               .seed = m->plan->base.config->seed,
                               .clock = &d->cursor->epoch};
    kd_denoiser_guidance guidance = what->guidance;
    if (m->plan->base.config->naive & KD_NAIVE_FEATURES) KD_OR_RETURN(guide(m, what->modality, &guidance));
    KD_OR_RETURN(kd_gather(ctx, count, &d->cursor->first, loop->order, NULL, d->scratch->row));
    KD_OR_RETURN(kd_denoiser_gradient(ctx, &batch, &guidance, d, loop->step_loss));
    return kd_denoiser_adam(ctx, m->plan->base.config->lr, d);
}

/* Every row of x0 once, in a new order; *mean_loss = mean row loss. */
static kd_status train_denoiser(kd_loop *loop, int64_t epoch, denoising *what, double *mean_loss) {
    kd_pass pass = {.stage = what->stage,
                    .part = what->modality < 0 ? 0 : what->modality,
                    .rows = what->x0.rows,
                    .instance = 1 + what->denoiser->instance,
                    .parts = 1,
                    .cursor = what->denoiser->cursor,
                    .recording = what->denoiser->step,
                    .step = denoiser_step,
                    .context = what,
                    .done = what->done,
                    .total = what->total};
    double sum;
    bool done;
    kd_status status = kd_loop_run(loop, epoch, &pass, &sum, &done);
    what->done = pass.done;
    if (status == KD_OK && !done) *mean_loss = sum / (double)kd_loop_steps(loop, pass.rows);
    return status;
}

kd_status kd_guide_modality(kd_kdiffe *m, int64_t i, kd_denoiser_guidance *out) {
    kd_mat none = {0}, projection = kd_mat_rows(m->guidance.projection, 0, m->plan->sizes.items.count);
    *out = (kd_denoiser_guidance){projection, m->guidance.target, m->plan->shape.column,
                                  kd_config_guidance_weight(m->plan->base.config, m->plan->shape.modality[i])};
    KD_OR_RETURN(kd_spmm(m->base.ctx, 1.0f, m->graphs.train, m->params.item, 0.0f, none, m->guidance.target));
    return kd_feature_transform(m->base.ctx, &m->params, &m->views, i, m->plan->sizes.items, projection);
}

kd_status kd_denoise_modalities(kd_model *model, kd_loop *loop, int64_t epoch) {
    kd_kdiffe *m = kd_kdiffe_of(model);
    denoising what = {.model = m,
                      .stage = KD_STAGE_DENOISE_MODALITIES,
                      .x0 = m->graphs.user_rows,
                      .x0_transpose = m->graphs.user_rows_transpose,
                      .total = m->plan->shape.modalities * batches(m, m->plan->shape.users)};
    for (int64_t i = 0; i < m->plan->shape.modalities; i++) {
        what.denoiser = &m->modality_denoiser[i];
        what.modality = i;
        KD_OR_RETURN(guide(m, i, &what.guidance));
        KD_OR_RETURN(train_denoiser(loop, epoch, &what, &loop->progress->record.denoise_modality[i]));
    }
    return KD_OK;
}

kd_status kd_guide_users(kd_kdiffe *m) {
    kd_mat mean = kd_mat_make(m->guidance.user_mean, 1, m->plan->shape.users);
    KD_OR_RETURN(kd_row_mean(m->base.ctx, m->params.user, mean.data));
    if (!kd_is_divided(&m->plan->shape)) return KD_OK;
    KD_OR_RETURN(kd_add_scaled(m->base.ctx, 0.0f, mean,
                               (float)((double)m->plan->shape.local_dim / (double)m->plan->shape.dim), mean));
    return kd_comm_allreduce_f32(m->plan->base.comm, m->base.ctx, mean.cols, mean.data);
}

/* g of every entity row: the mean of the user with the row's own number (published; 0 where there is none), or of the
 * users linked to the item (0 for entities without users). */
static kd_status entity_guidance(kd_kdiffe *m) {
    const kd_model_shape *s = &m->plan->shape;
    kd_mat none = {0}, user = kd_mat_make(m->guidance.user_mean, s->users, 1);
    kd_mat entity = kd_mat_make(m->guidance.entity_mean, s->entities, 1);
    int64_t shared = s->users < s->entities ? s->users : s->entities;
    KD_OR_RETURN(kd_guide_users(m));
    KD_OR_RETURN(kd_zero(m->base.ctx, entity.data, s->entities * (int64_t)sizeof(float)));
    if (m->plan->base.config->guidance == KD_GUIDANCE_LINKED_USERS)
        KD_OR_RETURN(
            kd_spmm(m->base.ctx, 1.0f, m->graphs.linked_mean, user, 0.0f, none, kd_mat_rows(entity, 0, s->items)));
    else
        KD_OR_RETURN(
            kd_add_scaled(m->base.ctx, 1.0f, kd_mat_rows(user, 0, shared), 0.0f, kd_mat_rows(entity, 0, shared)));
    return KD_OK;
}

kd_status kd_guide_kg(kd_kdiffe *m, kd_denoiser_guidance *out) {
    kd_share guided = kd_share_guided(&m->plan->shape);
    kd_range local = kd_comm_share(m->plan->base.comm, guided);
    kd_mat none = {0}, projection = kd_mat_rows(m->guidance.projection, 0, local.count);
    *out = (kd_denoiser_guidance){projection, m->params.entity, m->plan->shape.column, m->plan->base.config->e_loss};
    KD_OR_RETURN(entity_guidance(m));
    if (!kd_is_divided(&m->plan->shape))
        return kd_spmm(m->base.ctx, 1.0f, kd_csr_rows(m->graphs.train_transpose, local.first, local.count),
                       m->params.user, 0.0f, none, projection);
    KD_OR_RETURN(
        kd_spmm(m->base.ctx, 1.0f, m->graphs.train_transpose, m->params.user, 0.0f, none, m->guidance.item_sum));
    return kd_layout_to_rows(m->base.ctx, &m->views.layout, guided, m->guidance.item_sum, projection);
}

kd_status kd_denoise_kg(kd_model *model, kd_loop *loop, int64_t epoch) {
    kd_kdiffe *m = kd_kdiffe_of(model);
    denoising what = {.model = m,
                      .stage = KD_STAGE_DENOISE_KG,
                      .denoiser = &m->kg_denoiser,
                      .modality = -1,
                      .x0 = m->graphs.entity_rows,
                      .x0_transpose = m->graphs.entity_rows_transpose,
                      .g = m->guidance.entity_mean,
                      .total = batches(m, m->plan->shape.entities)};
    if (!m->plan->denoises_kg) return KD_OK;
    KD_OR_RETURN(guide(m, -1, &what.guidance));
    return train_denoiser(loop, epoch, &what, &loop->progress->record.denoise_kg);
}

/* m->top = the q largest columns of every row at the end of the reverse chain. */
static kd_status sample_rows(kd_kdiffe *m, kd_loop *loop, int64_t epoch, denoising *what) {
    const kd_config *c = m->plan->base.config;
    kd_position start = {epoch, what->stage, 0, 0}; /* a run that is resumed samples all of it again */
    kd_reverse_rows rows = {.x0 = what->x0,
                            .row = m->row,
                            .g = what->g,
                            .sampling_steps = c->sampling_steps,
                            .seed = c->seed,
                            .epoch = epoch};
    KD_OR_RETURN(kd_reverse_prepare(m->base.ctx, what->denoiser));
    for (; rows.first < what->x0.rows; rows.first += rows.count) {
        kd_mat out;
        KD_OR_RETURN(kd_progress_pause(loop->progress, start, what->done++, what->total));
        rows.count = what->x0.rows - rows.first < c->batch ? what->x0.rows - rows.first : c->batch;
        KD_OR_RETURN(kd_reverse_chain(m->base.ctx, &rows, what->denoiser, &out));
        KD_OR_RETURN(kd_reverse_best(m->base.ctx, what->denoiser, out, c->q, m->top + rows.first * c->q));
    }
    return KD_OK;
}

kd_status kd_rebuild_graphs(kd_model *model, kd_loop *loop, int64_t epoch) {
    kd_kdiffe *m = kd_kdiffe_of(model);
    const kd_config *c = m->plan->base.config;
    float keep = (float)c->keep_rate;
    denoising what = {.model = m, .stage = KD_STAGE_SAMPLE, .x0 = m->graphs.user_rows, .g = m->guidance.user_mean};
    what.total = m->plan->shape.modalities * batches(m, m->plan->shape.users) +
                 (m->plan->denoises_kg ? batches(m, m->plan->shape.entities) : 0);
    if (m->plan->denoises_modalities) KD_OR_RETURN(kd_guide_users(m));
    for (int64_t i = 0; i < m->plan->shape.modalities; i++) {
        kd_rng rng = {c->seed, KD_RNG_THIN_MODALITY, (uint32_t)i, (uint32_t)epoch, NULL};
        what.denoiser = &m->modality_denoiser[i];
        KD_OR_RETURN(sample_rows(m, loop, epoch, &what));
        KD_OR_RETURN(kd_modality_graph_build(m->base.ctx, m->top, keep, &rng, &m->graphs.modality[i]));
    }
    if (m->plan->denoises_kg) {
        kd_rng rng = {c->seed, KD_RNG_THIN_KG, 0, (uint32_t)epoch, NULL};
        what.denoiser = &m->kg_denoiser;
        what.x0 = m->graphs.entity_rows;
        what.g = m->guidance.entity_mean;
        KD_OR_RETURN(sample_rows(m, loop, epoch, &what));
        KD_OR_RETURN(kd_kg_generate(m->base.ctx, &m->graphs.full, c->q, m->top, keep, &rng, &m->graphs.generated));
    }
    return KD_OK;
}
