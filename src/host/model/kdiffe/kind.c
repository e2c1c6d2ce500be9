/* KDiffE as the trainer sees it. */
#include <stdio.h>
#include <string.h>

#include "host/model/kdiffe/kdiffe.h"

static kd_status step(kd_model *model, const kd_step_batch *b, double *loss) {
    kd_kdiffe *m = kd_kdiffe_of(model);
    const kd_config *c = model->plan->config;
    kd_ctx *ctx = model->ctx;
    kd_view_pass pass = {.training = true,
                         .main_kg = kd_kdiffe_train_kg(m),
                         .batch = {&m->losses.users, &m->losses.items},
                         .seed = c->seed,
                         .clock = b->clock};
    KD_OR_RETURN(kd_step_load(ctx, b, &m->losses));
    KD_OR_RETURN(kd_zero(ctx, m->params.gradient, m->params.count * (int64_t)sizeof(float)));
    KD_OR_RETURN(kd_views_forward(ctx, &m->params, &m->graphs, &pass, &m->views));
    KD_OR_RETURN(kd_step_losses_gradient(ctx, b->count, &m->params, &m->views, &m->losses, loss));
    KD_OR_RETURN(kd_views_backward(ctx, &m->params, &m->graphs, &m->views));
    return kd_params_adam(ctx, c->lr, b->clock, &m->params);
}

static kd_status score(kd_model *model, int64_t epoch, kd_ranked *out) {
    kd_kdiffe *m = kd_kdiffe_of(model);
    kd_view_pass pass = {
        .training = false, .main_kg = kd_kdiffe_eval_kg(m), .seed = model->plan->config->seed, .step = epoch};
    kd_status status = kd_views_forward(model->ctx, &m->params, &m->graphs, &pass, &m->views);
    return status == KD_OK ? kd_kdiffe_ranked(m, out) : status;
}

static void add(kd_named_matrices *out, const char *name, kd_mat value, bool divided) {
    const char *suffix = strstr(name, "_trans.weight");
    int64_t i = out->count++;
    out->entry[i].name = name;
    out->entry[i].value = value;
    out->entry[i].divided = divided;
    /* linear transforms are [F, local_dim] in memory and [local_dim, F] under the published names */
    out->entry[i].transposed = suffix && suffix[strlen("_trans.weight")] == '\0';
}

static void matrices(const kd_model *model, kd_named_matrices *out) {
    const kd_kdiffe *m = kd_kdiffe_of_const(model);
    bool divided = kd_is_divided(&m->plan->shape);
    kd_mat view = kd_score_of(&m->views, m->views.output);
    out->count = 0;
    for (int64_t i = 0; i < m->params.entries; i++)
        add(out, m->params.entry[i].name, m->params.entry[i].value, m->params.entry[i].divided);
    add(out, "view.user", kd_users_of(&m->views, view), divided);
    add(out, "view.item", kd_items_of(&m->views, view), divided);
}

static void begin_record(const kd_model *model, kd_epoch_record *record) {
    const kd_model_shape *s = &kd_kdiffe_of_const(model)->plan->shape;
    record->modality_count = s->modalities;
    for (int64_t i = 0; i < s->modalities; i++)
        snprintf(record->modality[i], sizeof record->modality[i], "%s", s->modality[i]);
}

/* Denoisers go over users and entities. */
static int64_t rows(const kd_plan *plan) {
    const kd_model_shape *s = &kd_kdiffe_plan_of(plan)->shape;
    return s->users > s->entities ? s->users : s->entities;
}

static const kd_model_stage STAGES[] = {{KD_STAGE_DENOISE_MODALITIES, kd_denoise_modalities},
                                        {KD_STAGE_DENOISE_KG, kd_denoise_kg},
                                        {KD_STAGE_SAMPLE, kd_rebuild_graphs}};

const kd_model_kind kd_kdiffe_kind = {.name = "kdiffe",
                                      .attention = true,
                                      .plan = kd_kdiffe_plan_make,
                                      .plan_free = kd_kdiffe_plan_free,
                                      .allocate = kd_kdiffe_allocate,
                                      .free_model = kd_kdiffe_free,
                                      .rows = rows,
                                      .workspace = kd_kdiffe_workspace,
                                      .fill = kd_kdiffe_fill,
                                      .stages = sizeof STAGES / sizeof STAGES[0],
                                      .stage = STAGES,
                                      .step = step,
                                      .score = score,
                                      .matrices = matrices,
                                      .arrays = kd_kdiffe_arrays,
                                      .begin_record = begin_record};
