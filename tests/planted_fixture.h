/* What tests of whole trainings share: small planted data, a small model, what a training came to. */
#ifndef KD_TESTS_PLANTED_FIXTURE_H
#define KD_TESTS_PLANTED_FIXTURE_H

#include "op_fixture.h"

#include "host/config/load.h"
#include "host/data/synth.h"
#include "host/train/train.h"

/* Small and quick, but with structure that a few epochs can find. */
static inline kd_synth_config small_data(void) {
    kd_synth_config c;
    kd_synth_defaults(&c);
    c.users = 400;
    c.items = 240;
    c.tastes = 12;
    c.interactions = 8;
    c.modality_count = 1;
    c.modality[0].width = 16;
    return c;
}

static inline kd_config small_model(void) {
    kd_config c;
    kd_config_defaults(&c);
    c.epochs = 8;
    c.batch = 128;
    c.dim = 32;
    c.hidden = 64;
    c.lr = 5e-3;
    c.trans = 1;
    c.cl_method = 1;
    c.attention.walks = 2;
    c.attention.walk_steps = 20;
    c.kg.train_view = KD_TRAIN_VIEW_GENERATED;
    c.guidance = KD_GUIDANCE_LINKED_USERS;
    return c;
}

/* A few users, up to 4 modalities, with or without a knowledge graph; layers, hops, transforms, contrastive method, q
 * and sampling steps follow from both. */
static inline void vary(int64_t modalities, bool kg, kd_synth_config *s, kd_config *c) {
    const char *const names[] = {"smell", "image", "text", "taste"};
    *s = small_data();
    *c = small_model();
    s->users = 60;
    s->items = 50;
    s->tastes = 5;
    s->interactions = 5;
    if (!kg) s->kg_informative = s->kg_noise = 0.0;
    s->modality_count = modalities;
    for (int64_t m = 0; m < modalities; m++) {
        snprintf(s->modality[m].name, sizeof s->modality[m].name, "%s", names[m]);
        s->modality[m].width = 3 + m;
    }
    c->epochs = 2;
    c->gnn_layers = modalities;
    c->kg_hops = 1 + modalities % 3;
    c->trans = modalities % 3;
    c->cl_method = kg;
    c->q = 1 + modalities;
    c->sampling_steps = kg ? 0 : 2;
}

typedef struct outcome {
    double first_loss, last_loss, best_recall;
    int64_t epochs;
    double losses[64];
    bool snapshot;
} outcome;

static inline kd_status on_epoch(void *context, const kd_epoch_record *r) {
    outcome *o = context;
    if (r->epoch == 0) o->first_loss = r->loss;
    o->last_loss = r->loss;
    if (o->epochs < 64) o->losses[o->epochs++] = r->loss;
    if (r->evaluated && r->test.recall[0] > o->best_recall) o->best_recall = r->test.recall[0];
    return KD_OK;
}

static inline kd_status on_best(void *context, int64_t epoch, const kd_snapshot *snapshot) {
    (void)epoch;
    ((outcome *)context)->snapshot = snapshot->count > 0;
    return KD_OK;
}

static inline outcome train(kd_ctx *ctx, const kd_config *c, const kd_dataset *data) {
    outcome o = {0};
    kd_observer observer = {.context = &o, .epoch = on_epoch, .best = on_best};
    assert_ok(kd_train(ctx, c, data, &observer, NULL, NULL));
    return o;
}

static inline kd_dataset make_data(const kd_synth_config *c) {
    kd_dataset d;
    uint8_t *informative;
    assert_ok(kd_synth_generate(c, &d, &informative));
    free(informative);
    return d;
}

#endif
