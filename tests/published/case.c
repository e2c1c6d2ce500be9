/* A case: its data set, configuration and model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/config/load.h"
#include "host/data/pairs.h"
#include "published/golden.h"

static char *read_text(const char *path) {
    FILE *f = fopen(path, "rb");
    long size = -1;
    char *text = NULL;
    if (f && fseek(f, 0, SEEK_END) == 0) size = ftell(f);
    if (size >= 0) {
        rewind(f);
        golden_require(kd_host_alloc(&text, size + 1, 1, path), path);
        if (fread(text, 1, (size_t)size, f) != (size_t)size) size = -1;
    }
    if (f) fclose(f);
    if (size < 0) {
        fprintf(stderr, "golden: %s: cannot be read\n", path);
        exit(1);
    }
    return text;
}

static double number(const golden_case *c, const char *key) {
    cJSON *config = cJSON_GetObjectItemCaseSensitive(c->manifest, "config");
    cJSON *item = cJSON_GetObjectItemCaseSensitive(config, key);
    if (!cJSON_IsNumber(item)) {
        fprintf(stderr, "golden: %s/manifest.json: config.%s: expected a number\n", c->folder, key);
        exit(1);
    }
    return item->valuedouble;
}

static void configure(golden_case *c) {
    kd_config *k = &c->config;
    kd_config_defaults(k);
    k->dim = (int64_t)number(c, "dim");
    k->hidden = (int64_t)number(c, "hidden");
    k->time_dim = (int64_t)number(c, "time_dim");
    k->gnn_layers = (int64_t)number(c, "gnn_layers");
    k->kg_hops = (int64_t)number(c, "kg_hops");
    k->trans = (int64_t)number(c, "trans");
    k->steps = (int64_t)number(c, "steps");
    k->epsilon = number(c, "epsilon");
    k->temp = number(c, "temp");
    k->res_lambda = number(c, "res_lambda");
    k->ris_adj_lambda = number(c, "ris_adj_lambda");
    k->ssl_reg = number(c, "ssl_reg");
    k->reg = number(c, "reg");
    k->batch = (int64_t)number(c, "batch");
    k->e_loss = number(c, "e_loss");
    k->q = (int64_t)number(c, "q");
    k->noise_scale = number(c, "noise_scale");
    k->noise_min = number(c, "noise_min");
    k->noise_max = number(c, "noise_max");
    k->triplet_num = -1;
    k->mess_dropout = 0.0;
    k->keep_rate = 1.0;
}

static void load_interactions(golden_case *c, const char *split, kd_interactions *out) {
    int64_t shape[4];
    out->user = golden_ints(c, golden_name("%s_user", split), shape);
    out->item = golden_ints(c, golden_name("%s_item", split), shape);
    if (!out->user || !out->item) exit(1);
    out->count = shape[0];
    golden_require(kd_pairs_sort(c->data.users, c->data.items, out->count, out->user, out->item, NULL), split);
    c->inputs += 2;
}

static void load_kg(golden_case *c, kd_triples *out) {
    int64_t shape[4];
    int32_t *triples = golden_ints(c, "kg_triples", shape);
    if (!triples) exit(1);
    out->count = shape[0];
    golden_require(kd_host_alloc(&out->head, shape[0], sizeof(int32_t), "triples"), "triples");
    golden_require(kd_host_alloc(&out->relation, shape[0], sizeof(int32_t), "triples"), "triples");
    golden_require(kd_host_alloc(&out->tail, shape[0], sizeof(int32_t), "triples"), "triples");
    for (int64_t i = 0; i < shape[0]; i++) {
        out->head[i] = triples[3 * i];
        out->relation[i] = triples[3 * i + 1];
        out->tail[i] = triples[3 * i + 2];
    }
    c->inputs++;
    free(triples);
}

static void load_features(golden_case *c) {
    cJSON *config = cJSON_GetObjectItemCaseSensitive(c->manifest, "config");
    cJSON *names = cJSON_GetObjectItemCaseSensitive(config, "modalities"), *name;
    golden_require(kd_host_alloc(&c->data.modalities, cJSON_GetArraySize(names), sizeof(kd_modality), "features"), "");
    cJSON_ArrayForEach(name, names) {
        int64_t shape[4];
        kd_modality *m = &c->data.modalities[c->data.modality_count++];
        snprintf(m->name, sizeof m->name, "%s", name->valuestring);
        m->values = golden_floats(c, golden_name("feat_%s", m->name), shape);
        if (!m->values) exit(1);
        m->width = shape[1];
        c->inputs++;
    }
}

/* S of the manifest's COO entries on the graph's edges. */
static void load_similarity(golden_case *c) {
    int64_t shape[4];
    int32_t *row = golden_ints(c, "attn_row", shape), *col = golden_ints(c, "attn_col", shape);
    float *val = golden_floats(c, "attn_val", shape);
    const kd_bipartite *g = &c->graph;
    if (!row || !col || !val) exit(1);
    golden_require(kd_host_alloc(&c->similarity, g->row_ptr[g->nodes], sizeof(float), "attention"), "attention");
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t k = g->row_ptr[row[i]]; k < g->row_ptr[row[i] + 1]; k++)
            if (g->col[k] == col[i]) c->similarity[k] = val[i];
    c->inputs += 3;
    free(row);
    free(col);
    free(val);
}

void golden_open(const char *folder, kd_ctx *ctx, kd_comm *comm, golden_case *c) {
    *c = (golden_case){.folder = folder, .ctx = ctx, .comm = comm};
    char *text = read_text(golden_name("%s/manifest.json", folder));
    c->manifest = cJSON_Parse(text);
    free(text);
    c->files = cJSON_GetObjectItemCaseSensitive(c->manifest, "files");
    if (!c->files) {
        fprintf(stderr, "golden: %s/manifest.json: expected a JSON object with \"files\"\n", folder);
        exit(1);
    }
    printf("# %s\n", folder);
    configure(c);
    c->data.users = (int64_t)number(c, "users");
    c->data.items = (int64_t)number(c, "items");
    c->data.entities = (int64_t)number(c, "entities");
    c->data.relations = (int64_t)number(c, "relations_with_inverse") / 2;
    load_interactions(c, "train", &c->data.train);
    load_interactions(c, "test", &c->data.test);
    load_kg(c, &c->data.kg);
    load_features(c);
    golden_require(kd_bipartite_build(c->data.users, c->data.items, &c->data.train, &c->graph), "graph");
    load_similarity(c);
}

void golden_close(golden_case *c) {
    cJSON *entry;
    cJSON_ArrayForEach(entry, c->files) {
        if (cJSON_HasObjectItem(entry, "used")) continue;
        printf("%-44s not covered FAIL\n", entry->string);
        c->failed++;
    }
    printf("# %s, %s%s: %lld arrays compared, %lld taken as inputs, %lld failed\n", c->folder,
           c->config.naive ? "naive" : "fused", c->config.shard ? ", divided" : "", (long long)c->compared,
           (long long)c->inputs, (long long)c->failed);
    cJSON_Delete(c->manifest);
    kd_dataset_free(&c->data);
    kd_kg_edges_free(&c->published_edges);
    kd_bipartite_free(&c->graph);
    free(c->similarity);
}

static void load_params(golden_case *c, kd_kdiffe *m) {
    const kd_params *p = &m->params;
    golden_upload_columns(c, m, "param_uEmbeds", p->user);
    golden_upload_columns(c, m, "param_iEmbeds", p->item);
    golden_upload_columns(c, m, "param_eEmbeds", p->entity);
    golden_upload(c, "param_rEmbeds", p->relation, false);
    golden_upload(c, "param_rgat_W", p->rgat_w, false);
    golden_upload(c, "param_modal_weight", p->modal_weight, false);
    for (int64_t i = 0; i < m->plan->shape.modalities; i++) {
        const char *name = m->plan->shape.modality[i];
        if (m->plan->shape.linear[i]) {
            golden_upload(c, golden_name("param_%s_trans_weight", name), p->feature_w[i], true);
            golden_upload(c, golden_name("param_%s_trans_bias", name), p->feature_b[i], false);
        } else {
            golden_upload(c, golden_name("param_%s_trans", name), p->feature_w[i], false);
        }
    }
}

/* Each modality's graph from the manifest's sampled items, not thinned. */
static void rebuild_graphs(golden_case *c, kd_kdiffe *m) {
    kd_rng rng = {0};
    int64_t shape[4];
    for (int64_t i = 0; i < m->plan->shape.modalities; i++) {
        int32_t *items = golden_ints(c, golden_name("gen_%s_items", m->plan->shape.modality[i]), shape);
        if (!items) exit(1);
        golden_require(kd_upload(c->ctx, m->top, items, shape[0] * shape[1] * (int64_t)sizeof *items), "top");
        golden_require(kd_modality_graph_build(c->ctx, m->top, 1.0f, &rng, &m->graphs.modality[i]), "modality graph");
        free(items);
    }
}

kd_kdiffe *golden_model(golden_case *c, int64_t cl_method) {
    kd_trainer *t = &c->trainer;
    c->config.cl_method = cl_method;
    golden_require(kd_trainer_open(c->ctx, &c->config, &c->data, c->comm, NULL, t), "allocate");
    golden_require(kd_trainer_fill(t, &c->graph, c->similarity), "fill");
    kd_kdiffe *m = kd_kdiffe_of(t->model);
    load_params(c, m);
    rebuild_graphs(c, m);
    golden_thin_kg(c, m);
    return m;
}
