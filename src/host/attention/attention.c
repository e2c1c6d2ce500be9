#include "host/attention/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/attention/walked.h"
#include "host/base/memory.h"
#include "host/data/similarity.h"

enum { BLOCK = 64 }; /* starts whose probabilities `power` takes side by side */

/* Shares of about as many walks; for `power` of whole blocks, so that products are the same as on one rank. */
static int64_t first_start(const kd_config *c, const kd_bipartite *g, int64_t rank, int64_t ranks) {
    int64_t first = 0;
    switch (c->attention.method) {
    case KD_ATTENTION_CUMULATIVE: first = kd_walked_first(g->row_ptr, g->nodes, rank, ranks); break;
    case KD_ATTENTION_NODE: first = kd_share_first(g->nodes, rank, ranks); break;
    case KD_ATTENTION_POWER: first = kd_share_first((g->nodes + BLOCK - 1) / BLOCK, rank, ranks) * BLOCK; break;
    }
    return first < g->nodes ? first : g->nodes;
}

static kd_status share_starts(const kd_comm *comm, const kd_config *c, const kd_bipartite *g, kd_walked *w) {
    int64_t rank = kd_comm_rank(comm), ranks = kd_comm_ranks(comm);
    KD_OR_RETURN(kd_host_alloc(&w->share, ranks + 1, sizeof *w->share, "walks"));
    for (int64_t r = 0; r <= ranks; r++) w->share[r] = first_start(c, g, r, ranks);
    w->visits = (kd_visits){.first = w->share[rank], .starts = w->share[rank + 1] - w->share[rank]};
    return KD_OK;
}

/* Room for the visits of each start: its walks can visit no more nodes than there are, or than they have moves. */
static kd_status lay_out(kd_ctx *ctx, const kd_config *c, const kd_bipartite *g, kd_walked *w) {
    bool cumulative = c->attention.method == KD_ATTENTION_CUMULATIVE;
    int64_t longest = cumulative ? kd_walk_longest(c->attention.walk_steps) : c->attention.walk_steps;
    int64_t per_edge, starts = w->visits.starts;
    w->edges = g->row_ptr[g->nodes];
    w->graph = (kd_csr){.rows = g->nodes, .cols = g->nodes};
    if (__builtin_mul_overflow(c->attention.walks, longest, &per_edge))
        return KD_FAIL(KD_ERR_ARGUMENT, "attention.walks * attention.walk_steps: too large");
    KD_OR_RETURN(kd_host_alloc(&w->room, starts + 1, sizeof *w->room, "walks"));
    for (int64_t i = 0; i < starts; i++) {
        const int64_t *row = g->row_ptr + w->visits.first + i;
        int64_t degree = row[1] - row[0], walks = cumulative ? degree : degree > 0;
        int64_t room = walks > g->nodes / per_edge ? g->nodes : walks * per_edge;
        w->room[i + 1] = w->room[i] + room;
    }
    KD_OR_RETURN(kd_pool_upload(&w->pool, g->row_ptr, g->nodes + 1, sizeof *g->row_ptr, "walks", &w->graph.row_ptr));
    KD_OR_RETURN(kd_pool_upload(&w->pool, g->col, w->edges, sizeof *g->col, "walks", &w->graph.col));
    KD_OR_RETURN(kd_pool_upload(&w->walking, w->room, starts + 1, sizeof *w->room, "walks", &w->visits.ptr));
    KD_OR_RETURN(kd_pool_alloc(&w->pool, w->edges, sizeof *w->visits.end, "walks", &w->visits.end));
    KD_OR_RETURN(kd_pool_alloc(&w->pool, w->edges, sizeof *w->similarity, "walks", &w->similarity));
    if (kd_pool_alloc(&w->walking, w->room[starts], sizeof(int32_t), "walks", &w->visits.node) != KD_OK)
        return KD_FAIL(KD_ERR_MEMORY,
                       "attention: the walks' lists may need %.1f GB, which are not to be had; lower "
                       "attention.walks or attention.walk_steps, or take attention.method=node or power",
                       (double)w->room[starts] * sizeof(int32_t) * 1e-9);
    return kd_workspace_reserve(ctx, kd_walk_workspace(ctx, g->nodes, c->attention.walk_steps));
}

/* P^T of the walk: entry (v, u) = 1 / degree(u), so that P^T p moves probability along the edges. */
static kd_status transition(const kd_bipartite *g, kd_walked *w, kd_csr *out) {
    float *val;
    KD_OR_RETURN(kd_host_alloc(&val, w->edges, sizeof *val, "walks"));
    for (int64_t k = 0; k < w->edges; k++) {
        int64_t u = g->col[k];
        val[k] = (float)(1.0 / (double)(g->row_ptr[u + 1] - g->row_ptr[u]));
    }
    *out = w->graph;
    kd_status status = kd_pool_upload(&w->walking, val, w->edges, sizeof *val, "walks", &out->val);
    free(val);
    return status;
}

/* Iterations after which what has not restarted is below 1e-6, at most the steps of a walk. */
static int64_t iterations(const kd_config *c) {
    double left = log(1e-6) / log(1.0 - c->attention.restart);
    return left < (double)c->attention.walk_steps ? (int64_t)ceil(left) : c->attention.walk_steps;
}

/* p <- c q + (1-c) P^T p for blocks of start nodes: the visit probabilities that walks with restart approach. */
static kd_status power(kd_ctx *ctx, const kd_config *c, const kd_bipartite *g, kd_walked *w) {
    kd_status status = KD_OK;
    int64_t last = w->visits.first + w->visits.starts;
    kd_csr step;
    kd_mat p, next, q;
    float *start = NULL, threshold = (float)(1.0 / ((double)c->attention.walks * (double)c->attention.walk_steps));
    KD_TRY(transition(g, w, &step));
    KD_TRY(kd_pool_mat(&w->walking, g->nodes, BLOCK, "walks", &p));
    KD_TRY(kd_pool_mat(&w->walking, g->nodes, BLOCK, "walks", &next));
    KD_TRY(kd_pool_mat(&w->walking, g->nodes, BLOCK, "walks", &q));
    KD_TRY(kd_host_alloc(&start, g->nodes * BLOCK, sizeof *start, "walks"));
    for (int64_t first = w->visits.first; first < last; first += BLOCK) {
        int64_t count = last - first < BLOCK ? last - first : BLOCK;
        for (int64_t s = 0; s < count; s++) start[(first + s) * BLOCK + s] = 1.0f;
        KD_TRY(kd_upload(ctx, q.data, start, g->nodes * BLOCK * (int64_t)sizeof *start));
        for (int64_t s = 0; s < count; s++) start[(first + s) * BLOCK + s] = 0.0f;
        KD_TRY(kd_add_scaled(ctx, 1.0f, q, 0.0f, p));
        for (int64_t i = 0; i < iterations(c); i++) {
            kd_mat swap = p;
            KD_TRY(kd_spmm(ctx, (float)(1.0 - c->attention.restart), step, p, (float)c->attention.restart, q, next));
            p = next;
            next = swap;
        }
        KD_TRY(kd_visits_above(ctx, w->graph, first, kd_mat_cols(p, 0, count), threshold, &w->visits));
    }
cleanup:
    free(start);
    return status;
}

static kd_status from_walks(kd_ctx *ctx, kd_comm *comm, const kd_config *c, const kd_bipartite *g, float *similarity) {
    kd_status status = KD_OK;
    kd_walked w = {0};
    kd_walk_config walk = {c->attention.walks, c->attention.walk_steps, (float)c->attention.restart};
    kd_rng rng = {c->seed, KD_RNG_WALK, 0, 0, NULL};
    kd_pool_init(&w.pool, ctx);
    kd_pool_init(&w.walking, ctx);
    KD_TRY(share_starts(comm, c, g, &w));
    KD_TRY(lay_out(ctx, c, g, &w));
    switch (c->attention.method) {
    case KD_ATTENTION_CUMULATIVE: KD_TRY(kd_walk_cumulative(ctx, w.graph, &walk, &rng, &w.visits)); break;
    case KD_ATTENTION_NODE: KD_TRY(kd_walk_node(ctx, w.graph, &walk, &rng, &w.visits)); break;
    case KD_ATTENTION_POWER: KD_TRY(power(ctx, c, g, &w)); break;
    }
    KD_TRY(kd_walked_gather(ctx, comm, g, &w));
    KD_TRY(kd_walked_compare(ctx, comm, g, &w));
    KD_TRY(kd_download(ctx, similarity, w.similarity, w.edges * (int64_t)sizeof *similarity));
cleanup:
    kd_pool_free(&w.walking);
    kd_pool_free(&w.pool);
    free(w.room);
    free(w.share);
    free(w.place);
    return status;
}

static int compare_columns(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Where the graph has the edge from `row` to `col`, -1 if it has none. */
static int64_t edge_at(const kd_bipartite *g, int32_t row, int32_t col) {
    int64_t begin = g->row_ptr[row], end = g->row_ptr[row + 1];
    const int32_t *at = bsearch(&col, g->col + begin, (size_t)(end - begin), sizeof *at, compare_columns);
    return at ? at - g->col : -1;
}

/* The gradients take A-hat for its own transpose, so both directions of an edge need one value. Decimals of six digits
 * may differ by 1e-5 of it, and gradients are no more exact than that in float32. */
static kd_status expect_symmetric(const char *path, const kd_bipartite *g, int64_t users, const float *similarity) {
    for (int32_t u = 0; u < users; u++)
        for (int64_t k = g->row_ptr[u]; k < g->row_ptr[u + 1]; k++) {
            float there = similarity[k], back = similarity[edge_at(g, g->col[k], u)];
            if (!(fabsf(there - back) <= 1e-5f * fmaxf(fabsf(there), fabsf(back))))
                return KD_FAIL(KD_ERR_FORMAT,
                               "%s: entry (%d, %d) is %.9g and entry (%d, %d) is %.9g; expected the same value in both "
                               "directions of an edge",
                               path, (int)u, (int)g->col[k], (double)there, (int)g->col[k], (int)u, (double)back);
        }
    return KD_OK;
}

static kd_status from_file(const kd_config *c, const kd_dataset *data, const kd_bipartite *g, float *similarity) {
    kd_similarity file;
    kd_status status = kd_similarity_load(c->attention.file, data->users, data->items, &file);
    if (status != KD_OK) return status;
    memset(similarity, 0, (size_t)g->row_ptr[g->nodes] * sizeof *similarity);
    for (int64_t i = 0; i < file.count; i++) {
        int64_t at = edge_at(g, file.row[i], file.col[i]);
        if (at < 0)
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: entry (%d, %d): expected an edge of the training interactions",
                               c->attention.file, (int)file.row[i], (int)file.col[i]);
        similarity[at] = file.value[i];
    }
    KD_TRY(expect_symmetric(c->attention.file, g, data->users, similarity));
cleanup:
    kd_similarity_free(&file);
    return status;
}

kd_status kd_attention_matrix(kd_ctx *ctx, kd_comm *comm, const kd_config *config, const kd_dataset *data,
                              const kd_bipartite *graph, float *similarity) {
    if (config->attention.file[0]) return from_file(config, data, graph, similarity);
    return from_walks(ctx, comm, config, graph, similarity);
}
