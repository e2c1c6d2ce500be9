#include <stdlib.h>
#include <string.h>

#include "host/bench/bench.h"
#include "host/data/synth.h"
#include "kernels/ref/ref.h"

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* From the context's own words, so that it is what was computed with and not what was asked for. */
static double dense_tolerance(const kd_ctx *ctx) {
    const char *device = kd_ctx_describe(ctx);
    return strstr(device, ", bf16") ? 1e-2 : strstr(device, ", tf32") ? 2e-3 : 1e-5;
}

static kd_status make_graphs(const kd_bench_setting *s, kd_ctx *ctx, kd_pool *pool, kd_graphs *out) {
    const kd_kdiffe_plan *plan = s->plan;
    kd_pool_init(pool, ctx);
    KD_OR_RETURN(kd_graphs_allocate(pool, &plan->shape, &plan->sizes, out));
    return kd_graphs_fill(ctx,
                          &(kd_graphs_source){.sizes = &plan->sizes,
                                              .graph = &s->graph,
                                              .users = s->data->users,
                                              .full = &plan->full,
                                              .capped = &plan->capped},
                          out);
}

/* The reference reads host memory. */
static kd_status open_reference(kd_bench_setting *s) {
    KD_OR_RETURN(kd_ref_open(&s->ref));
    if (kd_ctx_is_gpu(s->ctx)) return make_graphs(s, s->ref, &s->ref_pool, &s->ref_graphs);
    s->ref_graphs = s->graphs;
    return KD_OK;
}

kd_status kd_bench_setting_open(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, kd_bench_setting *out) {
    kd_status status = KD_OK;
    *out = (kd_bench_setting){.ctx = ctx, .config = config, .data = data};
    kd_plan *plan = NULL;
    status = kd_kdiffe_plan_make(config, data, NULL, &plan);
    out->plan = (kd_kdiffe_plan *)plan;
    if (status != KD_OK) goto cleanup;
    KD_TRY(kd_bipartite_build(data->users, data->items, &data->train, &out->graph));
    KD_TRY(make_graphs(out, ctx, &out->pool, &out->graphs));
    KD_TRY(open_reference(out));
    out->rows = smaller(config->batch, data->users);
    out->entries = smaller(config->batch, data->train.count);
    out->dense_tolerance = dense_tolerance(ctx);
cleanup:
    if (status != KD_OK) kd_bench_setting_close(out);
    return status;
}

void kd_bench_setting_close(kd_bench_setting *setting) {
    kd_kdiffe_plan_free(setting->plan ? &setting->plan->base : NULL);
    kd_bipartite_free(&setting->graph);
    kd_pool_free(&setting->pool);
    kd_pool_free(&setting->ref_pool);
    kd_ctx_close(setting->ref);
    *setting = (kd_bench_setting){0};
}

/* As measured on the published data (docs/bench.md): most users have two or three interactions and a few hundreds of
 * them, and nothing but three hubs stands in the knowledge graph. Of all shares so many are held out that a user of
 * three keeps two. */
static void tiktok_shape(kd_synth_config *c) {
    c->users = 9308;
    c->items = 6710;
    c->tastes = c->user_tastes = 5;
    c->popularity = 0.9;
    c->active_users = 103;
    c->activity = 0.12;
    c->interactions = 8.336;
    c->split[0] = 0.823;
    c->split[1] = 0.01;
    c->split[2] = 0.167;
    c->modality_count = 3;
    c->modality[0].width = 128;
    c->modality[1].width = 768;
    strcpy(c->modality[2].name, "audio");
    c->modality[2].width = 128;
    c->relations = 4;
    c->kg_informative = c->kg_noise = 0.0;
    c->kg_hubs = 3;
}

/* Features are as narrow as they may be: ops on them grow with items like those on embeddings. */
static void large_shape(kd_synth_config *c) {
    c->users = c->items = 1000000;
    c->tastes = 10000;
    c->interactions = 22.2;
    c->split[0] = 0.9;
    c->split[1] = c->split[2] = 0.05;
    c->modality_count = 1;
    c->modality[0].width = 64;
    c->relations = 20;
    c->attributes = 5;
    c->kg_informative = c->kg_noise = 10.0;
}

kd_status kd_bench_data(const char *shape, kd_dataset *out) {
    kd_synth_config c;
    uint8_t *informative;
    kd_synth_defaults(&c);
    if (strcmp(shape, "tiktok") == 0)
        tiktok_shape(&c);
    else if (strcmp(shape, "large") == 0)
        large_shape(&c);
    else
        return KD_FAIL(KD_ERR_ARGUMENT, "--shape: expected tiktok or large, got '%s'", shape);
    kd_status status = kd_synth_generate(&c, out, &informative);
    free(informative);
    return status;
}
