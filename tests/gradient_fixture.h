/* A small model with dropout and thinning on, one batch loaded: masks and noise are functions of their keys, so that
 * losses and gradients are functions of the parameters alone. */
#ifndef KD_TESTS_GRADIENT_FIXTURE_H
#define KD_TESTS_GRADIENT_FIXTURE_H

#include "op_fixture.h"

#include "host/config/load.h"
#include "host/data/synth.h"
#include "host/model/kdiffe/kdiffe.h"
#include "host/train/trainer.h"

typedef struct gradient_case {
    kd_dataset data;
    kd_config config;
    kd_bipartite graph;
    kd_trainer trainer;
    kd_kdiffe *model; /* the trainer's */
    int64_t count;    /* of the batch */
} gradient_case;

static inline void open_case(op_fixture *f, int64_t cl_method, int64_t trans, uint32_t naive, gradient_case *g) {
    kd_synth_config s;
    uint8_t *informative;
    kd_synth_defaults(&s);
    *g = (gradient_case){.count = 24};
    s.users = 40;
    s.items = 30;
    s.tastes = 4;
    s.interactions = 5;
    s.modality[0].width = 6;
    s.modality[1].width = 5;
    kd_config_defaults(&g->config);
    g->config.batch = 32;
    g->config.dim = 8;
    g->config.hidden = 12;
    g->config.gnn_layers = g->config.kg_hops = 2;
    g->config.cl_method = cl_method;
    g->config.trans = trans;
    g->config.naive = naive;
    g->config.ssl_reg = 0.3;
    g->config.reg = 1e-2;
    g->config.mess_dropout = 0.2;
    g->config.kg.train_view = KD_TRAIN_VIEW_GENERATED;
    assert_ok(kd_synth_generate(&s, &g->data, &informative));
    free(informative);
    assert_ok(kd_bipartite_build(g->data.users, g->data.items, &g->data.train, &g->graph));
    assert_ok(kd_trainer_open(f->ctx, &g->config, &g->data, NULL, NULL, &g->trainer));
    assert_ok(kd_trainer_fill(&g->trainer, &g->graph, NULL));
    g->model = kd_kdiffe_of(g->trainer.model);
    assert_ok(kd_guide_kg(g->model, &(kd_denoiser_guidance){0}));
    assert_ok(kd_rebuild_graphs(g->trainer.model, &g->trainer.loop, 0));
}

static inline void close_case(gradient_case *g) {
    kd_trainer_close(&g->trainer);
    kd_bipartite_free(&g->graph);
    kd_dataset_free(&g->data);
}

static inline double step_loss(op_fixture *f, gradient_case *g, bool backward) {
    kd_kdiffe *m = g->model;
    kd_view_pass pass = {.training = true,
                         .main_kg = kd_kdiffe_train_kg(m),
                         .batch = {&m->losses.users, &m->losses.items},
                         .seed = 5,
                         .step = 3};
    double parts[KD_LOSS_PARTS];
    assert_ok(kd_zero(f->ctx, g->trainer.loop.loss, KD_LOSS_PARTS * (int64_t)sizeof(double)));
    assert_ok(kd_zero(f->ctx, m->params.gradient, m->params.count * (int64_t)sizeof(float)));
    assert_ok(kd_views_forward(f->ctx, &m->params, &m->graphs, &pass, &m->views));
    assert_ok(kd_step_losses_gradient(f->ctx, g->count, &m->params, &m->views, &m->losses, g->trainer.loop.loss));
    if (backward) assert_ok(kd_views_backward(f->ctx, &m->params, &m->graphs, &m->views));
    assert_ok(kd_download(f->ctx, parts, g->trainer.loop.loss, sizeof parts));
    double loss = 0.0;
    for (int i = 0; i < KD_LOSS_PARTS; i++) loss += parts[i];
    return loss;
}

static inline void load_batch(op_fixture *f, gradient_case *g) {
    kd_kdiffe *m = g->model;
    kd_rng order = {1, KD_RNG_SHUFFLE, 0, 0, NULL}, negative = {1, KD_RNG_NEGATIVE, 0, 0, NULL};
    assert_ok(kd_permutation(f->ctx, g->data.train.count, &order, g->trainer.loop.order));
    assert_ok(kd_sample_negatives(f->ctx, m->graphs.train, g->data.train.count, g->trainer.user, &negative,
                                  g->trainer.negative));
    kd_step_batch batch = {.count = g->count,
                           .order = g->trainer.loop.order,
                           .user = g->trainer.user,
                           .positive = g->trainer.positive,
                           .negative = g->trainer.negative};
    assert_ok(kd_step_load(f->ctx, &batch, &m->losses));
}

static inline double denoiser_loss(op_fixture *f, gradient_case *g, kd_denoiser *d, const kd_denoiser_batch *batch,
                                   const kd_denoiser_guidance *guidance) {
    double loss;
    assert_ok(kd_zero(f->ctx, g->trainer.loop.loss, sizeof loss));
    assert_ok(kd_denoiser_gradient(f->ctx, batch, guidance, d, g->trainer.loop.loss));
    assert_ok(kd_download(f->ctx, &loss, g->trainer.loop.loss, sizeof loss));
    return loss;
}

#endif
