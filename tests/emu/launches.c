/* usage: launches DATA [--key=value ...], on the stand-in: one step of each kind of an epoch, so that loads.cc can
 * count what their kernels load (docs/kernels.md). What a step is given is what a run gives it, but for the sampled
 * columns, which a model that has learnt nothing would not draw as one does. */
#include <stdio.h>
#include <stdlib.h>

#include "emu/loads.h"
#include "host/base/memory.h"
#include "host/config/load.h"
#include "host/data/format.h"
#include "host/model/kdiffe/kdiffe.h"
#include "host/train/trainer.h"
#include "kernels/device.h"
#include "kernels/ops.h"

/* The first step of a stage, and no other. */
static bool first_alone(void *context, int64_t epoch, kd_stage stage, int64_t done, int64_t total) {
    (void)context, (void)epoch, (void)stage, (void)total;
    return done == 0;
}

static void begin(kd_trainer *t, const char *step) {
    kdiffe_emu_step(step);
    t->progress.asked_to_stop = false;
}

/* All work of the step is done, be it that the stage had one step alone or that it was stopped after the first. */
static kd_status end(kd_trainer *t, kd_status status) {
    return status == KD_OK || status == KD_ERR_INTERRUPTED ? kd_synchronize(t->ctx) : status;
}

static kd_status upload_top(kd_kdiffe *m, int64_t n, const int32_t *top) {
    return kd_upload(m->base.ctx, m->top, top, n * m->plan->base.config->q * (int64_t)sizeof *top);
}

/* What denoisers draw from TikTok: seven users of ten name one item and the others one of a hundred, and of an item's
 * neighbours seven of ten name the first and the others the second. docs/bench.md#tiktoks-shape has the figures. */
static kd_status rebuild(kd_kdiffe *m) {
    kd_status status = KD_OK;
    const kd_kg_edges *full = &m->plan->full;
    int64_t q = m->plan->base.config->q, users = m->plan->shape.users, items = m->plan->shape.items;
    float keep = (float)m->plan->base.config->keep_rate;
    int32_t *top = NULL;
    KD_TRY(kd_host_alloc(&top, (users > full->entities ? users : full->entities) * q, sizeof *top, "columns"));
    for (int64_t u = 0; u < users; u++)
        for (int64_t k = 0; k < q; k++)
            top[u * q + k] = (int32_t)(((u % 10 < 7 ? 0 : u / 10 % 100 * items / 100) + k) % items);
    KD_TRY(upload_top(m, users, top));
    for (int64_t i = 0; i < m->plan->shape.modalities; i++) {
        kd_rng rng = {1, KD_RNG_THIN_MODALITY, (uint32_t)i, 0, NULL};
        KD_TRY(kd_modality_graph_build(m->base.ctx, m->top, keep, &rng, &m->graphs.modality[i]));
    }
    if (!m->plan->denoises_kg) goto cleanup;
    for (int64_t h = 0; h < full->entities; h++)
        for (int64_t k = 0; k < q; k++) {
            int64_t degree = full->head_ptr[h + 1] - full->head_ptr[h], place = (h % 10 < 7 ? 0 : 1) + k;
            top[h * q + k] = place < degree ? full->tail[full->head_ptr[h] + place] : (int32_t)h;
        }
    KD_TRY(upload_top(m, full->entities, top));
    kd_rng rng = {1, KD_RNG_THIN_KG, 0, 0, NULL};
    KD_TRY(kd_kg_generate(m->base.ctx, &m->graphs.full, q, m->top, keep, &rng, &m->graphs.generated));
cleanup:
    free(top);
    return status;
}

static kd_status take_steps(kd_trainer *t) {
    kd_kdiffe *m = kd_kdiffe_of(t->model);
    begin(t, "modality denoiser");
    KD_OR_RETURN(end(t, kd_denoise_modalities(t->model, &t->loop, 0)));
    begin(t, "graph denoiser");
    KD_OR_RETURN(end(t, kd_denoise_kg(t->model, &t->loop, 0)));
    begin(t, "sampling");
    KD_OR_RETURN(end(t, kd_rebuild_graphs(t->model, &t->loop, 0)));
    begin(t, "rebuilding");
    KD_OR_RETURN(end(t, rebuild(m)));
    begin(t, "training");
    KD_OR_RETURN(end(t, kd_train_steps(t, 0)));
    begin(t, "evaluation");
    return end(t, kd_evaluate_epoch(t, 0));
}

static kd_status run(const char *folder, int64_t keys, const char *const *key) {
    kd_status status = KD_OK;
    kd_config config = {0};
    kd_dataset data = {0};
    kd_bipartite graph = {0};
    kd_ctx *ctx = NULL;
    kd_trainer t = {0};
    const kd_observer observer = {.progress = first_alone};
    KD_TRY(kd_config_load(NULL, keys, key, &config));
    KD_TRY(kd_dataset_load(folder, &data));
    KD_TRY(kd_ctx_open(kd_compute_of(&config), &ctx));
    KD_TRY(kd_bipartite_build(data.users, data.items, &data.train, &graph));
    kdiffe_emu_step("start");
    KD_TRY(kd_trainer_open(ctx, &config, &data, NULL, NULL, &t));
    t.progress.observer = &observer;
    KD_TRY(kd_trainer_fill(&t, &graph, NULL));
    KD_TRY(kd_synchronize(ctx));
    KD_TRY(take_steps(&t));
cleanup:
    kd_trainer_close(&t);
    kd_ctx_close(ctx);
    kd_bipartite_free(&graph);
    kd_dataset_free(&data);
    return status;
}

int main(int argc, char **argv) {
    enum { MOST = 32 };
    const char *key[MOST];
    int64_t keys = 0;
    if (argc < 2 || argc - 2 > MOST) {
        fprintf(stderr, "usage: launches DATA [--key=value ...]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) key[keys++] = argv[i] + 2;
    if (run(argv[1], keys, key) == KD_OK) return 0;
    fprintf(stderr, "launches: %s\n", kd_last_error());
    return 1;
}
