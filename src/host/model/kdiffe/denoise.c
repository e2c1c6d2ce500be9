/* Training of the denoisers and the graphs rebuilt from what they sample. */
#include "host/train/epoch.h"

static const double INPUT_DROPOUT = 0.5;

/* What one denoiser trains on. */
typedef struct denoising {
    kd_stage stage;
    kd_denoiser *denoiser;
    int64_t modality; /* whose denoiser it is; -1: the knowledge graph's */
    kd_csr x0, x0_transpose;
    const float *g;
    kd_denoiser_guidance guidance;
    int64_t done, total; /* batches, of all denoisers of the stage */
} denoising;

static int64_t batches(const kd_model *m, int64_t rows) { return (rows + m->config->batch - 1) / m->config->batch; }

/* A batch of `count` rows. */
typedef struct rows_of {
    kd_model *model;
    const denoising *what;
    int64_t count;
} rows_of;

static kd_status guide(kd_model *m, int64_t modality, kd_denoiser_guidance *out) {
    return modality < 0 ? kd_guide_kg(m, out) : kd_guide_modality(m, modality, out);
}

/* Forward, losses, backward, update for the rows at the cursor. */
static kd_status denoiser_step(kd_ctx *ctx, void *arg) {
    kd_status status = KD_OK;
    const rows_of *rows = arg;
    kd_model *m = rows->model;
    kd_denoiser *d = rows->what->denoiser;
    kd_denoiser_batch batch = {.x0 = rows->what->x0,
                               .x0_transpose = rows->what->x0_transpose,
                               .count = rows->count,
                               .row = d->scratch->row,
                               .g = rows->what->g,
                               .dropout = INPUT_DROPOUT,
                               .seed = m->config->seed,
                               .clock = &d->cursor->epoch};
    kd_denoiser_guidance guidance = rows->what->guidance;
    if (m->config->naive & KD_NAIVE_FEATURES) KD_TRY(guide(m, rows->what->modality, &guidance));
    KD_TRY(kd_gather(ctx, rows->count, &d->cursor->first, m->order, NULL, d->scratch->row));
    KD_TRY(kd_denoiser_gradient(ctx, &batch, &guidance, d, m->step_loss));
    KD_TRY(kd_denoiser_adam(ctx, m->config->lr, d));
    KD_TRY(kd_cursor_advance(ctx, rows->count, 1, m->step_loss, m->loss, d->cursor));
cleanup:
    return status;
}

/* Every row of x0 once, in a new order; *mean_loss = mean row loss. */
static kd_status train_denoiser(kd_model *m, int64_t epoch, const kd_observer *observer, denoising *what,
                                double *mean_loss) {
    kd_status status = KD_OK;
    const kd_config *c = m->config;
    int64_t rows = what->x0.rows, steps = batches(m, rows), part = what->modality < 0 ? 0 : what->modality;
    int64_t first = kd_train_first_batch(m, what->stage, part);
    kd_rng order = {c->seed, KD_RNG_SHUFFLE, 1 + what->denoiser->instance, (uint32_t)epoch, NULL};
    double sum = 0.0;
    what->done += first < 0 ? steps : first;
    if (first < 0) return KD_OK;
    KD_TRY(kd_permutation(m->ctx, rows, &order, m->order));
    if (first == 0) KD_TRY(kd_cursor_begin(m->ctx, epoch, what->denoiser->cursor));
    for (int64_t i = first; i < steps; i++) {
        rows_of of = {m, what, rows - i * c->batch < c->batch ? rows - i * c->batch : c->batch};
        KD_TRY(kd_train_pause(m, observer, (kd_position){epoch, what->stage, part, i}, what->done++, what->total));
        KD_TRY(kd_replay(m->ctx, denoiser_step, &of, &what->denoiser->step[of.count < c->batch]));
    }
    KD_TRY(kd_train_losses(m, what->stage, epoch, steps, 1, &sum));
    *mean_loss = sum / (double)steps;
cleanup:
    return status;
}

kd_status kd_guide_modality(kd_model *m, int64_t i, kd_denoiser_guidance *out) {
    kd_mat none = {0}, projection = kd_mat_rows(m->guidance.projection, 0, m->sizes.items.count);
    *out = (kd_denoiser_guidance){projection, m->guidance.target, m->shape.column,
                                  kd_config_guidance_weight(m->config, m->shape.modality[i])};
    kd_status status = kd_spmm(m->ctx, 1.0f, m->graphs.train, m->params.item, 0.0f, none, m->guidance.target);
    if (status != KD_OK) return status;
    return kd_feature_transform(m->ctx, &m->params, &m->views, i, m->sizes.items, projection);
}

kd_status kd_denoise_modalities(kd_model *m, int64_t epoch, const kd_observer *observer, double *mean_loss) {
    kd_status status = KD_OK;
    denoising what = {.stage = KD_STAGE_DENOISE_MODALITIES,
                      .x0 = m->graphs.user_rows,
                      .x0_transpose = m->graphs.user_rows_transpose,
                      .total = m->shape.modalities * batches(m, m->shape.users)};
    for (int64_t i = 0; i < m->shape.modalities; i++) {
        what.denoiser = &m->modality_denoiser[i];
        what.modality = i;
        KD_TRY(guide(m, i, &what.guidance));
        KD_TRY(train_denoiser(m, epoch, observer, &what, &mean_loss[i]));
    }
cleanup:
    return status;
}

kd_status kd_guide_users(kd_model *m) {
    kd_mat mean = kd_mat_make(m->guidance.user_mean, 1, m->shape.users);
    kd_status status = kd_row_mean(m->ctx, m->params.user, mean.data);
    if (status != KD_OK || !kd_is_divided(&m->shape)) return status;
    status = kd_add_scaled(m->ctx, 0.0f, mean, (float)((double)m->shape.dim / (double)m->shape.whole_dim), mean);
    if (status != KD_OK) return status;
    return kd_comm_allreduce_f32(m->comm, m->ctx, mean.cols, mean.data);
}

/* g of every entity row: the mean of the user with the row's own number (published; 0 where there is none), or of the
 * users linked to the item (0 for entities without users). */
static kd_status entity_guidance(kd_model *m) {
    kd_status status = KD_OK;
    const kd_model_shape *s = &m->shape;
    kd_mat none = {0}, user = kd_mat_make(m->guidance.user_mean, s->users, 1);
    kd_mat entity = kd_mat_make(m->guidance.entity_mean, s->entities, 1);
    int64_t shared = s->users < s->entities ? s->users : s->entities;
    KD_TRY(kd_guide_users(m));
    KD_TRY(kd_zero(m->ctx, entity.data, s->entities * (int64_t)sizeof(float)));
    if (m->config->guidance == KD_GUIDANCE_LINKED_USERS)
        KD_TRY(kd_spmm(m->ctx, 1.0f, m->graphs.linked_mean, user, 0.0f, none, kd_mat_rows(entity, 0, s->items)));
    else
        KD_TRY(kd_add_scaled(m->ctx, 1.0f, kd_mat_rows(user, 0, shared), 0.0f, kd_mat_rows(entity, 0, shared)));
cleanup:
    return status;
}

kd_status kd_guide_kg(kd_model *m, kd_denoiser_guidance *out) {
    kd_share guided = kd_share_guided(&m->shape);
    kd_range here = kd_comm_share(m->comm, guided);
    kd_mat none = {0}, projection = kd_mat_rows(m->guidance.projection, 0, here.count);
    *out = (kd_denoiser_guidance){projection, m->params.entity, m->shape.column, m->config->e_loss};
    kd_status status = entity_guidance(m);
    if (status != KD_OK) return status;
    if (!kd_is_divided(&m->shape))
        return kd_spmm(m->ctx, 1.0f, kd_csr_rows(m->graphs.train_transpose, here.first, here.count), m->params.user,
                       0.0f, none, projection);
    status = kd_spmm(m->ctx, 1.0f, m->graphs.train_transpose, m->params.user, 0.0f, none, m->guidance.item_sum);
    if (status != KD_OK) return status;
    return kd_layout_to_rows(m->ctx, &m->views.layout, guided, m->guidance.item_sum, projection);
}

kd_status kd_denoise_kg(kd_model *m, int64_t epoch, const kd_observer *observer, double *mean_loss) {
    kd_status status = KD_OK;
    denoising what = {.stage = KD_STAGE_DENOISE_KG,
                      .denoiser = &m->kg_denoiser,
                      .modality = -1,
                      .x0 = m->graphs.entity_rows,
                      .x0_transpose = m->graphs.entity_rows_transpose,
                      .g = m->guidance.entity_mean,
                      .total = batches(m, m->shape.entities)};
    if (!m->denoises_kg) return KD_OK;
    KD_TRY(guide(m, -1, &what.guidance));
    KD_TRY(train_denoiser(m, epoch, observer, &what, mean_loss));
cleanup:
    return status;
}

/* m->top = the q largest columns of every row at the end of the reverse chain. */
static kd_status sample_rows(kd_model *m, int64_t epoch, const kd_observer *observer, denoising *what) {
    kd_status status = KD_OK;
    const kd_config *c = m->config;
    kd_position start = {epoch, what->stage, 0, 0}; /* a run that is resumed samples all of it again */
    kd_reverse_rows rows = {.x0 = what->x0,
                            .row = m->row,
                            .g = what->g,
                            .sampling_steps = c->sampling_steps,
                            .seed = c->seed,
                            .epoch = epoch};
    KD_TRY(kd_reverse_prepare(m->ctx, what->denoiser));
    for (; rows.first < what->x0.rows; rows.first += rows.count) {
        kd_mat out;
        KD_TRY(kd_train_pause(m, observer, start, what->done++, what->total));
        rows.count = what->x0.rows - rows.first < c->batch ? what->x0.rows - rows.first : c->batch;
        KD_TRY(kd_reverse_chain(m->ctx, &rows, what->denoiser, &out));
        KD_TRY(kd_reverse_best(m->ctx, what->denoiser, out, c->q, m->top + rows.first * c->q));
    }
cleanup:
    return status;
}

kd_status kd_rebuild_graphs(kd_model *m, int64_t epoch, const kd_observer *observer) {
    kd_status status = KD_OK;
    const kd_config *c = m->config;
    float keep = (float)c->keep_rate;
    denoising what = {.stage = KD_STAGE_SAMPLE, .x0 = m->graphs.user_rows, .g = m->guidance.user_mean};
    what.total =
        m->shape.modalities * batches(m, m->shape.users) + (m->denoises_kg ? batches(m, m->shape.entities) : 0);
    if (m->denoises_modalities) KD_TRY(kd_guide_users(m));
    for (int64_t i = 0; i < m->shape.modalities; i++) {
        kd_rng rng = {c->seed, KD_RNG_THIN_MODALITY, (uint32_t)i, (uint32_t)epoch, NULL};
        what.denoiser = &m->modality_denoiser[i];
        KD_TRY(sample_rows(m, epoch, observer, &what));
        KD_TRY(kd_modality_graph_build(m->ctx, m->top, keep, &rng, &m->graphs.modality[i]));
    }
    if (m->denoises_kg) {
        kd_rng rng = {c->seed, KD_RNG_THIN_KG, 0, (uint32_t)epoch, NULL};
        what.denoiser = &m->kg_denoiser;
        what.x0 = m->graphs.entity_rows;
        what.g = m->guidance.entity_mean;
        KD_TRY(sample_rows(m, epoch, observer, &what));
        KD_TRY(kd_kg_generate(m->ctx, &m->graphs.full, c->q, m->top, keep, &rng, &m->graphs.generated));
    }
cleanup:
    return status;
}
