/* The graphs that sampling rebuilds: a modality's adjacency, the generated knowledge graph. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/bench/cases.h"

typedef struct rebuilt {
    int64_t q;
    float keep;
    kd_rng rng;
    int32_t *htop, *top;
    kd_modality_graph graph;
    kd_kg kg;
    kd_kg_edges kept; /* what kg_generate should leave, in host blocks of the case */
} rebuilt;

static kd_status begin(kd_bench *b, int64_t rows, uint32_t stream, rebuilt **out) {
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof **out, out));
    b->state = *out;
    (*out)->q = b->setting->config->q;
    (*out)->keep = (float)b->setting->config->keep_rate;
    (*out)->rng = (kd_rng){1, stream, 0, 0, NULL};
    KD_OR_RETURN(kd_bench_host(b, rows * (*out)->q, sizeof(int32_t), &(*out)->htop));
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)rows, (long long)(*out)->q);
    return KD_OK;
}

static bool kept(const rebuilt *s, int64_t row, int64_t col) {
    uint32_t draw[4];
    kd_rng_draw4(&s->rng, (uint32_t)row, (uint32_t)col, draw);
    return kd_uniform(draw[0]) < s->keep;
}

static kd_status set_up_modality(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rebuilt *s;
    int64_t users = b->setting->data->users, items = b->setting->data->items;
    KD_OR_RETURN(begin(b, users, KD_RNG_THIN_MODALITY, &s));
    for (int64_t u = 0; u < users; u++) { /* distinct: neighbours of a random one */
        int64_t first = kd_bench_below(b, items);
        for (int64_t k = 0; k < s->q; k++) s->htop[u * s->q + k] = (int32_t)((first + k) % items);
    }
    KD_OR_RETURN(kd_bench_upload(b, s->htop, users * s->q, sizeof *s->top, &s->top));
    s->graph = (kd_modality_graph){.nodes = users + items, .users = users, .q = s->q};
    b->nnz = s->graph.nodes + 2 * users * s->q;
    KD_OR_RETURN(kd_bench_zeros(b, s->graph.nodes + 1, sizeof(int64_t), &s->graph.row_ptr));
    KD_OR_RETURN(kd_bench_zeros(b, b->nnz, sizeof(int32_t), &s->graph.col));
    KD_OR_RETURN(kd_bench_zeros(b, b->nnz, sizeof(float), &s->graph.val));
    KD_OR_RETURN(kd_bench_zeros(b, b->nnz, sizeof(float), &s->graph.val_transpose));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_modality_graph_workspace(s->graph.nodes)));
    b->bytes = 4.0 * (double)(users * s->q) + 8.0 * (double)(s->graph.nodes + 1) + 12.0 * (double)b->nnz;
    b->flops = 2.0 * (double)b->nnz;
    return KD_OK;
}

static kd_status run_modality(kd_bench *b) {
    rebuilt *s = b->state;
    return kd_modality_graph_build(b->ctx, s->top, s->keep, &s->rng, &s->graph);
}

/* Entry (row, col) should be the next stored one. */
static void check_entry(kd_bench *b, const kd_modality_graph *g, const int64_t *degree, int64_t row, int64_t col,
                        int64_t *at) {
    const rebuilt *s = b->state;
    double value = 1.0 / sqrt((double)degree[row] * (double)degree[col]) / s->keep;
    kd_bench_integer(b, g->col[*at], col);
    kd_bench_real(b, g->val[*at], kept(s, row, col) ? value : 0.0, value, KD_BENCH_FLOAT32);
    kd_bench_real(b, g->val_transpose[*at], kept(s, col, row) ? value : 0.0, value, KD_BENCH_FLOAT32);
    ++*at;
}

static bool chosen(const int32_t *list, int64_t n, int64_t wanted) {
    for (int64_t i = 0; i < n; i++)
        if (list[i] == wanted) return true;
    return false;
}

/* The smallest entry above `last`. */
static int64_t next_larger(const int32_t *list, int64_t n, int64_t last) {
    int64_t next = INT32_MAX;
    for (int64_t i = 0; i < n; i++)
        if (list[i] > last && list[i] < next) next = list[i];
    return next;
}

static kd_status check_modality(kd_bench *b) {
    const rebuilt *s = b->state;
    kd_modality_graph g = s->graph;
    int64_t users = g.users, at = 0, *degree, *first, *user;
    KD_OR_RETURN(kd_bench_read(b, s->graph.row_ptr, g.nodes + 1, sizeof *g.row_ptr, &g.row_ptr));
    KD_OR_RETURN(kd_bench_read(b, s->graph.col, b->nnz, sizeof *g.col, &g.col));
    KD_OR_RETURN(kd_bench_read(b, s->graph.val, b->nnz, sizeof *g.val, &g.val));
    KD_OR_RETURN(kd_bench_read(b, s->graph.val_transpose, b->nnz, sizeof *g.val, &g.val_transpose));
    KD_OR_RETURN(kd_bench_host(b, g.nodes, sizeof *degree, &degree));
    KD_OR_RETURN(kd_bench_host(b, g.nodes + 1, sizeof *first, &first));
    KD_OR_RETURN(kd_bench_host(b, users * s->q, sizeof *user, &user));
    for (int64_t r = 0; r < g.nodes; r++) degree[r] = r < users ? s->q + 1 : 1;
    for (int64_t k = 0; k < users * s->q; k++) degree[users + s->htop[k]]++;
    for (int64_t i = users; i < g.nodes; i++) first[i + 1] = first[i] + degree[i] - 1;
    for (int64_t k = 0; k < users * s->q; k++) user[first[users + s->htop[k]]++] = k / s->q;
    for (int64_t r = 0; r < g.nodes; r++) {
        kd_bench_integer(b, g.row_ptr[r], at);
        if (r < users) check_entry(b, &g, degree, r, r, &at);
        for (int64_t k = 0, item = -1; r < users && k < s->q; k++) {
            item = next_larger(s->htop + r * s->q, s->q, item);
            check_entry(b, &g, degree, r, users + item, &at);
        }
        if (r >= users) {
            for (int64_t k = first[r] - degree[r] + 1; k < first[r]; k++) check_entry(b, &g, degree, r, user[k], &at);
            check_entry(b, &g, degree, r, r, &at);
        }
    }
    kd_bench_integer(b, g.row_ptr[g.nodes], b->nnz);
    return KD_OK;
}

/* Every second head names tails of its own, the others any entity. */
static void choose_tails(kd_bench *b, const kd_kg_edges *full, rebuilt *s) {
    for (int64_t h = 0; h < full->entities; h++)
        for (int64_t k = 0; k < s->q; k++) {
            int64_t degree = full->head_ptr[h + 1] - full->head_ptr[h];
            s->htop[h * s->q + k] = h % 2 && degree > 0 ? full->tail[full->head_ptr[h] + kd_bench_below(b, degree)]
                                                        : (int32_t)kd_bench_below(b, full->entities);
        }
}

static kd_status select_edges(kd_bench *b, const kd_kg_edges *full, rebuilt *s) {
    s->kept = (kd_kg_edges){.entities = full->entities, .relations = full->relations};
    KD_OR_RETURN(kd_bench_host(b, full->entities + 1, sizeof(int64_t), &s->kept.head_ptr));
    KD_OR_RETURN(kd_bench_host(b, full->count, sizeof(int32_t), &s->kept.tail));
    KD_OR_RETURN(kd_bench_host(b, full->count, sizeof(int32_t), &s->kept.relation));
    for (int64_t h = 0; h < full->entities; h++) {
        for (int64_t k = full->head_ptr[h]; k < full->head_ptr[h + 1]; k++) {
            int64_t t = full->tail[k];
            if (!kept(s, h, t) || !(chosen(s->htop + h * s->q, s->q, t) || chosen(s->htop + t * s->q, s->q, h)))
                continue;
            s->kept.tail[s->kept.count] = full->tail[k];
            s->kept.relation[s->kept.count++] = full->relation[k];
        }
        s->kept.head_ptr[h + 1] = s->kept.count;
    }
    return KD_OK;
}

static kd_status set_up_kg(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_kg_edges *full = &b->setting->plan->full;
    rebuilt *s;
    int64_t n = full->entities;
    KD_OR_RETURN(begin(b, n, KD_RNG_THIN_KG, &s));
    choose_tails(b, full, s);
    KD_OR_RETURN(select_edges(b, full, s));
    KD_OR_RETURN(kd_bench_upload(b, s->htop, n * s->q, sizeof *s->top, &s->top));
    s->kg = (kd_kg){.entities = n, .relations = full->relations, .capacity = full->count};
    KD_OR_RETURN(kd_bench_zeros(b, n + 1, sizeof(int64_t), &s->kg.head_ptr));
    KD_OR_RETURN(kd_bench_zeros(b, n + 1, sizeof(int64_t), &s->kg.tail_ptr));
    KD_OR_RETURN(kd_bench_zeros(b, full->count, sizeof(int32_t), &s->kg.tail));
    KD_OR_RETURN(kd_bench_zeros(b, full->count, sizeof(int32_t), &s->kg.relation));
    KD_OR_RETURN(kd_bench_zeros(b, full->count, sizeof(int32_t), &s->kg.in_head));
    KD_OR_RETURN(kd_bench_zeros(b, full->count, sizeof(int64_t), &s->kg.in_edge));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_kg_generate_workspace(full->count)));
    b->nnz = full->count;
    b->bytes =
        24.0 * (double)(n + 1) + 4.0 * (double)(n * s->q) + 4.0 * (double)full->count + 24.0 * (double)s->kept.count;
    return KD_OK;
}

static kd_status run_kg(kd_bench *b) {
    rebuilt *s = b->state;
    return kd_kg_generate(b->ctx, &b->setting->graphs.full, s->q, s->top, s->keep, &s->rng, &s->kg);
}

static kd_status check_int32(kd_bench *b, const int32_t *device, const int32_t *expected, int64_t n) {
    int32_t *actual;
    kd_status status = kd_bench_read(b, device, n, sizeof *actual, &actual);
    for (int64_t i = 0; status == KD_OK && i < n; i++) kd_bench_integer(b, actual[i], expected[i]);
    return status;
}

static kd_status check_int64(kd_bench *b, const int64_t *device, const int64_t *expected, int64_t n) {
    int64_t *actual;
    kd_status status = kd_bench_read(b, device, n, sizeof *actual, &actual);
    for (int64_t i = 0; status == KD_OK && i < n; i++) kd_bench_integer(b, actual[i], expected[i]);
    return status;
}

static kd_status check_kg(kd_bench *b) {
    const rebuilt *s = b->state;
    int64_t n = s->kept.entities, *tail_ptr, *in_edge;
    int32_t *in_head;
    KD_OR_RETURN(kd_bench_host(b, n + 1, sizeof *tail_ptr, &tail_ptr));
    KD_OR_RETURN(kd_bench_host(b, s->kept.count, sizeof *in_edge, &in_edge));
    KD_OR_RETURN(kd_bench_host(b, s->kept.count, sizeof *in_head, &in_head));
    kd_kg_edges_by_tail(&s->kept, tail_ptr, in_head, in_edge);
    KD_OR_RETURN(check_int64(b, s->kg.head_ptr, s->kept.head_ptr, n + 1));
    KD_OR_RETURN(check_int32(b, s->kg.tail, s->kept.tail, s->kept.count));
    KD_OR_RETURN(check_int32(b, s->kg.relation, s->kept.relation, s->kept.count));
    KD_OR_RETURN(check_int64(b, s->kg.tail_ptr, tail_ptr, n + 1));
    KD_OR_RETURN(check_int32(b, s->kg.in_head, in_head, s->kept.count));
    return check_int64(b, s->kg.in_edge, in_edge, s->kept.count);
}

const kd_bench_case kd_bench_rebuild_cases[] = {
    {"modality_graph_build", "modality_graph_build", false, 0, set_up_modality, run_modality, check_modality},
    {"kg_generate", "kg_generate", true, 0, set_up_kg, run_kg, check_kg},
    {0},
};
