/* Walks over the training interactions, and the similarity of what they visit. */
#include <stdio.h>

#include "host/bench/cases.h"

enum { SAMPLES = 64 };

typedef struct walked {
    kd_csr graph;
    kd_visits visits;
    kd_walk_config config;
    kd_rng rng;
    int64_t *ptr; /* host copy of visits.ptr */
    float *similarity;
} walked;

/* Room as a training run gives: no more than there are nodes, or moves. */
static kd_status begin(kd_bench *b, walked **out) {
    const kd_bipartite *g = &b->setting->graph;
    walked *s;
    int64_t edges = g->row_ptr[g->nodes], longest;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = *out = s;
    s->config = (kd_walk_config){b->setting->config->attention.walks, b->setting->config->attention.walk_steps, 0.0f};
    s->rng = (kd_rng){1, KD_RNG_WALK, 0, 0, NULL};
    s->graph = (kd_csr){.rows = g->nodes, .cols = g->nodes};
    s->visits = (kd_visits){.starts = g->nodes};
    longest = s->config.walks * kd_walk_longest(s->config.steps);
    KD_OR_RETURN(kd_bench_host(b, g->nodes + 1, sizeof *s->ptr, &s->ptr));
    for (int64_t u = 0; u < g->nodes; u++) {
        int64_t degree = g->row_ptr[u + 1] - g->row_ptr[u];
        s->ptr[u + 1] = s->ptr[u] + (degree > g->nodes / longest ? g->nodes : degree * longest);
    }
    KD_OR_RETURN(kd_bench_upload(b, g->row_ptr, g->nodes + 1, sizeof(int64_t), &s->graph.row_ptr));
    KD_OR_RETURN(kd_bench_upload(b, g->col, edges, sizeof(int32_t), &s->graph.col));
    KD_OR_RETURN(kd_bench_upload(b, s->ptr, g->nodes + 1, sizeof(int64_t), &s->visits.ptr));
    KD_OR_RETURN(kd_bench_zeros(b, s->ptr[g->nodes], sizeof(int32_t), &s->visits.node));
    KD_OR_RETURN(kd_bench_zeros(b, edges, sizeof(int64_t), &s->visits.end));
    KD_OR_RETURN(kd_bench_zeros(b, edges, sizeof(float), &s->similarity));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_walk_workspace(b->ctx, g->nodes, s->config.steps)));
    snprintf(b->shape, sizeof b->shape, "%lldx%lldx%lld", (long long)edges, (long long)s->config.walks,
             (long long)s->config.steps);
    b->nnz = edges;
    b->bytes = 8.0 * (double)(2 * g->nodes + 2) + 12.0 * (double)edges; /* and the lists, once their length is known */
    return KD_OK;
}

/* Adds the bytes of all lists. */
static kd_status count_visits(kd_bench *b) {
    const walked *s = b->state;
    const int64_t *row_ptr = b->setting->graph.row_ptr;
    int64_t *end;
    KD_OR_RETURN(kd_bench_host(b, b->nnz, sizeof *end, &end));
    KD_OR_RETURN(kd_download(b->ctx, end, s->visits.end, b->nnz * (int64_t)sizeof *end));
    for (int64_t u = 0; u < s->visits.starts; u++)
        if (row_ptr[u + 1] > row_ptr[u]) b->bytes += 4.0 * (double)(end[row_ptr[u + 1] - 1] - s->ptr[u]);
    return KD_OK;
}

static kd_status set_up_walks(kd_bench *b, int64_t parameter) {
    (void)parameter;
    walked *s;
    kd_status status = begin(b, &s);
    if (status == KD_OK) b->flops = (double)(b->nnz * s->config.walks * s->config.steps);
    return status;
}

static kd_status walk_from(kd_bench *b, int64_t first, int64_t starts) {
    const walked *s = b->state;
    kd_visits visits = s->visits;
    visits.first = first;
    visits.starts = starts;
    visits.ptr += first;
    return kd_walk_cumulative(b->ctx, s->graph, &s->config, &s->rng, &visits);
}

static kd_status run_walks(kd_bench *b) { return walk_from(b, 0, b->setting->graph.nodes); }

/* The list of start u and the ends of its ranks. */
static kd_status check_start(kd_bench *b, kd_bench *ref, int64_t u) {
    const kd_visits *v = &((const walked *)b->state)->visits, *e = &((const walked *)ref->state)->visits;
    int64_t first = b->setting->graph.row_ptr[u], degree = b->setting->graph.row_ptr[u + 1] - first, at = e->ptr[u];
    if (degree == 0) return KD_OK;
    KD_OR_RETURN(walk_from(ref, u, 1));
    KD_OR_RETURN(kd_bench_same_integers(b, v->end + first, e->end + first, degree, sizeof *v->end));
    return kd_bench_same_integers(b, v->node + at, e->node + at, e->end[first + degree - 1] - at, sizeof *v->node);
}

static kd_status check_walks(kd_bench *b, kd_bench *ref) {
    int64_t n = b->setting->graph.nodes;
    for (int64_t i = 0; i < kd_bench_samples(n, SAMPLES); i++)
        KD_OR_RETURN(check_start(b, ref, kd_bench_sample(b, i, n, SAMPLES)));
    return count_visits(b);
}

/* Walks of the device, which the reference is given. */
static kd_status set_up_jaccard(kd_bench *b, int64_t parameter) {
    (void)parameter;
    walked *s;
    KD_OR_RETURN(begin(b, &s));
    b->bytes += 4.0 * (double)b->nnz;
    return b->ctx == b->setting->ctx ? run_walks(b) : KD_OK;
}

/* Of edges to lower nodes, both ways. */
static kd_status compare_visits(kd_bench *b, int64_t first, int64_t nodes) {
    const walked *s = b->state;
    return kd_prefix_jaccard(b->ctx, s->graph, first, nodes, &s->visits, s->similarity);
}

static kd_status run_jaccard(kd_bench *b) { return compare_visits(b, 0, b->setting->graph.nodes); }

/* The reference writes some items' edges, both ways: what no similarity can be is what it has not written. */
static kd_status check_jaccard(kd_bench *b, kd_bench *ref) {
    const float NOT_WRITTEN = -1.0f;
    const walked *s = b->state, *e = ref->state;
    int64_t users = b->setting->data->users, items = b->setting->data->items, nodes = s->ptr[s->visits.starts];
    KD_OR_RETURN(kd_download(b->ctx, e->visits.node, s->visits.node, nodes * (int64_t)sizeof *s->visits.node));
    KD_OR_RETURN(kd_download(b->ctx, e->visits.end, s->visits.end, b->nnz * (int64_t)sizeof *s->visits.end));
    for (int64_t k = 0; k < b->nnz; k++) e->similarity[k] = NOT_WRITTEN;
    for (int64_t i = 0; i < kd_bench_samples(items, SAMPLES); i++)
        KD_OR_RETURN(compare_visits(ref, users + kd_bench_sample(b, i, items, SAMPLES), 1));
    for (int64_t k = 0; k < b->nnz; k++)
        if (e->similarity[k] != NOT_WRITTEN)
            KD_OR_RETURN(kd_bench_same_floats(b, s->similarity + k, e->similarity + k, 1, KD_BENCH_FLOAT32));
    return count_visits(b);
}

const kd_bench_case kd_bench_walk_cases[] = {
    {"walk_cumulative", "walk_cumulative", false, 0, set_up_walks, run_walks, check_walks},
    {"prefix_jaccard", "prefix_jaccard", false, 0, set_up_jaccard, run_jaccard, check_jaccard},
    {0},
};
