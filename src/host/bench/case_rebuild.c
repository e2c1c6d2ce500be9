/* The graphs that sampling rebuilds: a modality's adjacency, the generated knowledge graph. */
#include <stdio.h>

#include "host/bench/cases.h"

/* In TikTok's first epoch about every second user has the same likeliest item, the others one of about a hundred; here
 * somewhat more have it. */
enum { PERCENT_OF_HUB = 70, NAMED = 100 };

typedef struct rebuilt {
    int64_t q;
    float keep;
    kd_rng rng;
    int32_t *top;
    kd_modality_graph graph;
    kd_kg kg;
} rebuilt;

static kd_status begin(kd_bench *b, int64_t rows, uint32_t stream, rebuilt **out) {
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof **out, out));
    b->state = *out;
    (*out)->q = b->setting->config->q;
    (*out)->keep = (float)b->setting->config->keep_rate;
    (*out)->rng = (kd_rng){1, stream, 0, 0, NULL};
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)rows, (long long)(*out)->q);
    return KD_OK;
}

kd_status kd_bench_modality_graph_make(kd_bench *b, int64_t q, int32_t **top, kd_modality_graph *out) {
    int64_t users = b->setting->data->users, items = b->setting->data->items, entries;
    int32_t *named;
    KD_OR_RETURN(kd_bench_host(b, users * q, sizeof *named, &named));
    for (int64_t u = 0; u < users; u++) { /* distinct: neighbours of the hub or of another such item */
        int64_t place = kd_bench_below(b, 100) < PERCENT_OF_HUB ? 0 : kd_bench_below(b, NAMED);
        int64_t first = place * items / NAMED;
        for (int64_t k = 0; k < q; k++) named[u * q + k] = (int32_t)((first + k) % items);
    }
    KD_OR_RETURN(kd_bench_upload(b, named, users * q, sizeof *named, top));
    *out = (kd_modality_graph){.nodes = users + items, .users = users, .q = q};
    entries = out->nodes + 2 * users * q;
    KD_OR_RETURN(kd_bench_zeros(b, out->nodes + 1, sizeof(int64_t), &out->row_ptr));
    KD_OR_RETURN(kd_bench_zeros(b, entries, sizeof(int32_t), &out->col));
    KD_OR_RETURN(kd_bench_zeros(b, entries, sizeof(float), &out->val));
    KD_OR_RETURN(kd_bench_zeros(b, entries, sizeof(float), &out->val_transpose));
    return kd_workspace_reserve(b->ctx, kd_modality_graph_workspace(out->nodes, out->users * out->q));
}

static kd_status set_up_modality(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rebuilt *s;
    int64_t users = b->setting->data->users;
    KD_OR_RETURN(begin(b, users, KD_RNG_THIN_MODALITY, &s));
    KD_OR_RETURN(kd_bench_modality_graph_make(b, s->q, &s->top, &s->graph));
    b->nnz = s->graph.nodes + 2 * users * s->q;
    b->bytes = 4.0 * (double)(users * s->q) + 8.0 * (double)(s->graph.nodes + 1) + 12.0 * (double)b->nnz;
    b->flops = 2.0 * (double)b->nnz;
    return KD_OK;
}

static kd_status run_modality(kd_bench *b) {
    rebuilt *s = b->state;
    return kd_modality_graph_build(b->ctx, s->top, s->keep, &s->rng, &s->graph);
}

static kd_status check_modality(kd_bench *b, kd_bench *ref) {
    const rebuilt *s = b->state, *expected = ref->state;
    const kd_modality_graph *g = &s->graph, *e = &expected->graph;
    KD_OR_RETURN(run_modality(ref));
    KD_OR_RETURN(kd_bench_same_integers(b, g->row_ptr, e->row_ptr, g->nodes + 1, sizeof *g->row_ptr));
    KD_OR_RETURN(kd_bench_same_integers(b, g->col, e->col, b->nnz, sizeof *g->col));
    KD_OR_RETURN(kd_bench_same_floats(b, g->val, e->val, b->nnz, KD_BENCH_FLOAT32));
    return kd_bench_same_floats(b, g->val_transpose, e->val_transpose, b->nnz, KD_BENCH_FLOAT32);
}

/* Every second head names tails of its own, the others any entity. */
static void choose_tails(kd_bench *b, const kd_kg_edges *full, int64_t q, int32_t *top) {
    for (int64_t h = 0; h < full->entities; h++)
        for (int64_t k = 0; k < q; k++) {
            int64_t degree = full->head_ptr[h + 1] - full->head_ptr[h];
            top[h * q + k] = h % 2 && degree > 0 ? full->tail[full->head_ptr[h] + kd_bench_below(b, degree)]
                                                 : (int32_t)kd_bench_below(b, full->entities);
        }
}

static kd_status set_up_kg(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_kg_edges *full = &b->setting->plan->full;
    rebuilt *s;
    int64_t n = full->entities;
    int32_t *top;
    KD_OR_RETURN(begin(b, n, KD_RNG_THIN_KG, &s));
    KD_OR_RETURN(kd_bench_host(b, n * s->q, sizeof *top, &top));
    choose_tails(b, full, s->q, top);
    KD_OR_RETURN(kd_bench_upload(b, top, n * s->q, sizeof *top, &s->top));
    s->kg = (kd_kg){.entities = n, .relations = full->relations, .capacity = full->count};
    KD_OR_RETURN(kd_bench_zeros(b, n + 1, sizeof(int64_t), &s->kg.head_ptr));
    KD_OR_RETURN(kd_bench_zeros(b, n + 1, sizeof(int64_t), &s->kg.tail_ptr));
    KD_OR_RETURN(kd_bench_zeros(b, full->count, sizeof(int32_t), &s->kg.tail));
    KD_OR_RETURN(kd_bench_zeros(b, full->count, sizeof(int32_t), &s->kg.relation));
    KD_OR_RETURN(kd_bench_zeros(b, full->count, sizeof(int32_t), &s->kg.in_head));
    KD_OR_RETURN(kd_bench_zeros(b, full->count, sizeof(int64_t), &s->kg.in_edge));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_kg_generate_workspace(full->count)));
    b->nnz = full->count;
    b->bytes = 24.0 * (double)(n + 1) + 4.0 * (double)(n * s->q) + 4.0 * (double)full->count; /* and what is kept */
    return KD_OK;
}

static kd_status run_kg(kd_bench *b) {
    rebuilt *s = b->state;
    return kd_kg_generate(b->ctx, &b->graphs->full, s->q, s->top, s->keep, &s->rng, &s->kg);
}

static kd_status check_kg(kd_bench *b, kd_bench *ref) {
    const rebuilt *s = b->state, *expected = ref->state;
    const kd_kg *g = &s->kg, *e = &expected->kg;
    KD_OR_RETURN(run_kg(ref));
    int64_t n = e->entities, edges = e->head_ptr[n];
    b->bytes += 24.0 * (double)edges;
    KD_OR_RETURN(kd_bench_same_integers(b, g->head_ptr, e->head_ptr, n + 1, sizeof *g->head_ptr));
    KD_OR_RETURN(kd_bench_same_integers(b, g->tail, e->tail, edges, sizeof *g->tail));
    KD_OR_RETURN(kd_bench_same_integers(b, g->relation, e->relation, edges, sizeof *g->relation));
    KD_OR_RETURN(kd_bench_same_integers(b, g->tail_ptr, e->tail_ptr, n + 1, sizeof *g->tail_ptr));
    KD_OR_RETURN(kd_bench_same_integers(b, g->in_head, e->in_head, edges, sizeof *g->in_head));
    return kd_bench_same_integers(b, g->in_edge, e->in_edge, edges, sizeof *g->in_edge);
}

const kd_bench_case kd_bench_rebuild_cases[] = {
    {"modality_graph_build", "modality_graph_build", false, 0, set_up_modality, run_modality, check_modality},
    {"kg_generate", "kg_generate", true, 0, set_up_kg, run_kg, check_kg},
    {0},
};
