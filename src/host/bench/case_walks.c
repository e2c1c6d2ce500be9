/* Walks over the training interactions, and the similarity of what they visit. */
#include <math.h>
#include <stdio.h>
#include <string.h>

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

static kd_status read_visits(kd_bench *b, int32_t **node, int64_t **end) {
    const walked *s = b->state;
    kd_status status = kd_bench_read(b, s->visits.node, s->ptr[s->visits.starts], sizeof **node, node);
    return status == KD_OK ? kd_bench_read(b, s->visits.end, b->nnz, sizeof **end, end) : status;
}

/* Nodes in all lists. */
static int64_t visited(const kd_bench *b, const int64_t *end) {
    const walked *s = b->state;
    const int64_t *row_ptr = b->setting->graph.row_ptr;
    int64_t total = 0;
    for (int64_t u = 0; u < s->visits.starts; u++)
        if (row_ptr[u + 1] > row_ptr[u]) total += end[row_ptr[u + 1] - 1] - s->ptr[u];
    return total;
}

static kd_status set_up_walks(kd_bench *b, int64_t parameter) {
    (void)parameter;
    walked *s;
    kd_status status = begin(b, &s);
    if (status == KD_OK) b->flops = (double)(b->nnz * s->config.walks * s->config.steps);
    return status;
}

static kd_status run_walks(kd_bench *b) {
    walked *s = b->state;
    return kd_walk_cumulative(b->ctx, s->graph, &s->config, &s->rng, &s->visits);
}

/* One walk from u by the contract's rules; returns how many nodes are left in `list`. */
static int64_t walk(const kd_bench *b, int64_t u, int64_t number, int32_t *list) {
    const walked *s = b->state;
    const kd_bipartite *g = &b->setting->graph;
    int64_t node = u, previous = u, length = 0, moves = 0, blocks = (s->config.steps + 3) / 4;
    for (int64_t i = 0; i < s->config.steps; i++) {
        uint32_t draw[4];
        int64_t next, degree = g->row_ptr[node + 1] - g->row_ptr[node];
        kd_rng_draw4(&s->rng, (uint32_t)u, (uint32_t)(number * blocks + i / 4), draw);
        if ((int64_t)(5.0 * draw[i % 4] / 0x1p32) < moves) {
            next = previous;
            length--;
            moves = 0;
        } else {
            next = g->col[g->row_ptr[node] + (int64_t)(fmod(5.0 * draw[i % 4], 0x1p32) * (double)degree / 0x1p32)];
            list[length++] = (int32_t)next;
            moves++;
        }
        previous = node;
        node = next;
    }
    return length;
}

/* The walks of start u against its list and the ends of its ranks. */
static void check_start(kd_bench *b, int64_t u, const int32_t *node, const int64_t *end, int32_t *list, uint8_t *seen) {
    const walked *s = b->state;
    const int64_t *row_ptr = b->setting->graph.row_ptr;
    int64_t at = s->ptr[u];
    memset(seen, 0, (size_t)s->graph.rows);
    for (int64_t k = row_ptr[u]; k < row_ptr[u + 1]; k++) {
        for (int64_t n = 0; n < s->config.walks; n++) {
            int64_t length = walk(b, u, (k - row_ptr[u]) * s->config.walks + n, list);
            for (int64_t i = 0; i < length; i++) {
                if (seen[list[i]]) continue;
                seen[list[i]] = 1;
                kd_bench_integer(b, node[at++], list[i]);
            }
        }
        kd_bench_integer(b, end[k], at);
    }
}

static kd_status check_walks(kd_bench *b) {
    const walked *s = b->state;
    int32_t *node, *list;
    int64_t *end;
    uint8_t *seen;
    KD_OR_RETURN(read_visits(b, &node, &end));
    KD_OR_RETURN(kd_bench_host(b, s->config.steps, sizeof *list, &list));
    KD_OR_RETURN(kd_bench_host(b, s->graph.rows, 1, &seen));
    for (int64_t i = 0; i < kd_bench_samples(s->graph.rows, SAMPLES); i++)
        check_start(b, kd_bench_sample(b, i, s->graph.rows, SAMPLES), node, end, list, seen);
    b->bytes += 4.0 * (double)visited(b, end);
    return KD_OK;
}

static kd_status set_up_jaccard(kd_bench *b, int64_t parameter) {
    (void)parameter;
    walked *s;
    kd_status status = begin(b, &s);
    if (status == KD_OK) status = run_walks(b);
    b->bytes += 4.0 * (double)b->nnz;
    return status;
}

static kd_status run_jaccard(kd_bench *b) {
    const walked *s = b->state;
    return kd_prefix_jaccard(b->ctx, s->graph, 0, s->graph.rows, &s->visits, s->similarity);
}

/* Place of `col` in row `row`. */
static int64_t edge_of(const kd_bipartite *g, int64_t row, int64_t col) {
    int64_t k = g->row_ptr[row];
    while (g->col[k] != col) k++;
    return k;
}

static kd_status check_jaccard(kd_bench *b) {
    const walked *s = b->state;
    const kd_bipartite *g = &b->setting->graph;
    int32_t *node;
    int64_t *end;
    float *similarity;
    uint8_t *seen;
    KD_OR_RETURN(read_visits(b, &node, &end));
    KD_OR_RETURN(kd_bench_read(b, s->similarity, b->nnz, sizeof *similarity, &similarity));
    KD_OR_RETURN(kd_bench_host(b, g->nodes, 1, &seen));
    for (int64_t i = 0; i < kd_bench_samples(g->nodes, SAMPLES); i++) {
        int64_t u = kd_bench_sample(b, i, g->nodes, SAMPLES);
        for (int64_t k = g->row_ptr[u]; k < g->row_ptr[u + 1]; k++) {
            int64_t v = g->col[k], l = edge_of(g, v, u), both = 0;
            for (int64_t j = s->ptr[u]; j < end[k]; j++) seen[node[j]] = 1;
            for (int64_t j = s->ptr[v]; j < end[l]; j++) both += seen[node[j]];
            for (int64_t j = s->ptr[u]; j < end[k]; j++) seen[node[j]] = 0;
            int64_t either = end[k] - s->ptr[u] + end[l] - s->ptr[v] - both;
            kd_bench_real(b, similarity[k], either > 0 ? (double)both / (double)either : 0.0, 1.0, KD_BENCH_FLOAT32);
        }
    }
    b->bytes += 4.0 * (double)visited(b, end);
    return KD_OK;
}

const kd_bench_case kd_bench_walk_cases[] = {
    {"walk_cumulative", "walk_cumulative", false, 0, set_up_walks, run_walks, check_walks},
    {"prefix_jaccard", "prefix_jaccard", false, 0, set_up_jaccard, run_jaccard, check_jaccard},
    {0},
};
