#include "host/model/kdiffe/graphs.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/memory.h"
#include "host/model/blocks.h"

static kd_status allocate_kg(kd_pool *pool, const kd_model_shape *s, int64_t edges, kd_kg *out) {
    static const char what[] = "knowledge graphs";
    *out = (kd_kg){.entities = s->entities, .relations = s->relations, .capacity = edges};
    KD_OR_RETURN(kd_pool_alloc(pool, s->entities + 1, sizeof(int64_t), what, &out->head_ptr));
    KD_OR_RETURN(kd_pool_alloc(pool, s->entities + 1, sizeof(int64_t), what, &out->tail_ptr));
    KD_OR_RETURN(kd_pool_alloc(pool, edges, sizeof(int32_t), what, &out->tail));
    KD_OR_RETURN(kd_pool_alloc(pool, edges, sizeof(int32_t), what, &out->relation));
    KD_OR_RETURN(kd_pool_alloc(pool, edges, sizeof(int32_t), what, &out->in_head));
    return kd_pool_alloc(pool, edges, sizeof(int64_t), what, &out->in_edge);
}

static kd_status allocate_modality(kd_pool *pool, const kd_model_shape *s, int64_t q, kd_modality_graph *out) {
    static const char what[] = "generated modality graphs";
    int64_t entries;
    *out = (kd_modality_graph){.nodes = s->users + s->items, .users = s->users, .q = q};
    if (__builtin_mul_overflow(2 * s->users, q, &entries) || __builtin_add_overflow(entries, out->nodes, &entries))
        return KD_FAIL(KD_ERR_MEMORY, "%s: do not fit in any memory", what);
    KD_OR_RETURN(kd_pool_alloc(pool, out->nodes + 1, sizeof(int64_t), what, &out->row_ptr));
    KD_OR_RETURN(kd_pool_alloc(pool, entries, sizeof(int32_t), what, &out->col));
    KD_OR_RETURN(kd_pool_alloc(pool, entries, sizeof(float), what, &out->val));
    return kd_pool_alloc(pool, entries, sizeof(float), what, &out->val_transpose);
}

/* The denoisers' rows: with one rank train itself, and neighbours that are their own transpose. */
static kd_status allocate_rows(kd_pool *pool, const kd_model_shape *s, const kd_graph_sizes *sizes, kd_graphs *out) {
    static const char what[] = "rows of the denoisers";
    kd_range e = sizes->entities;
    out->user_rows = out->train;
    KD_OR_RETURN(kd_csr_allocate(pool, s->entities, e.count, sizes->local_kg_edges, false, what, &out->entity_rows));
    out->entity_rows_transpose = out->entity_rows;
    if (e.count < s->entities)
        KD_OR_RETURN(kd_csr_allocate(pool, e.count, s->entities, sizes->local_kg_edges, false, what,
                                     &out->entity_rows_transpose));
    if (sizes->items.count < s->items)
        KD_OR_RETURN(kd_csr_allocate(pool, s->users, sizes->items.count, sizes->local_interactions, false, what,
                                     &out->user_rows));
    out->user_rows_transpose = kd_csr_rows(out->train_transpose, sizes->items.first, sizes->items.count);
    return KD_OK;
}

kd_status kd_graphs_allocate(kd_pool *pool, const kd_model_shape *s, const kd_graph_sizes *sizes, kd_graphs *out) {
    static const char what[] = "interaction graphs";
    int64_t nodes = s->users + s->items, n = sizes->interactions;
    KD_OR_RETURN(kd_csr_allocate(pool, s->users, s->items, n, false, what, &out->train));
    KD_OR_RETURN(kd_csr_allocate(pool, s->items, s->users, n, true, what, &out->linked_mean));
    out->train_transpose = out->linked_mean;
    out->train_transpose.val = NULL;
    KD_OR_RETURN(kd_csr_allocate(pool, nodes, nodes, 2 * n + nodes, true, what, &out->adjacency));
    KD_OR_RETURN(allocate_rows(pool, s, sizes, out));
    KD_OR_RETURN(allocate_kg(pool, s, sizes->kg_edges, &out->full));
    KD_OR_RETURN(allocate_kg(pool, s, sizes->kg_capped_edges, &out->capped));
    KD_OR_RETURN(allocate_kg(pool, s, sizes->kg_edges, &out->generated));
    for (int64_t m = 0; m < s->modalities; m++) KD_OR_RETURN(allocate_modality(pool, s, sizes->q, &out->modality[m]));
    return KD_OK;
}

static kd_status fill_interactions(kd_ctx *ctx, const kd_bipartite *g, int64_t users, kd_graphs *out) {
    kd_status status = KD_OK;
    int64_t items = g->nodes - users, n = g->row_ptr[users];
    int64_t *ptr = NULL;
    int32_t *col = NULL;
    float *mean = NULL;
    KD_TRY(kd_host_alloc(&ptr, items + 1, sizeof *ptr, "interaction graph"));
    KD_TRY(kd_host_alloc(&col, n, sizeof *col, "interaction graph"));
    KD_TRY(kd_host_alloc(&mean, n, sizeof *mean, "interaction graph"));
    for (int64_t k = 0; k < n; k++) col[k] = (int32_t)(g->col[k] - users);
    KD_TRY(kd_fill(ctx, out->train.row_ptr, g->row_ptr, users + 1, sizeof *ptr));
    KD_TRY(kd_fill(ctx, out->train.col, col, n, sizeof *col));
    for (int64_t i = 0; i <= items; i++) ptr[i] = g->row_ptr[users + i] - n;
    for (int64_t i = 0; i < items; i++)
        for (int64_t k = ptr[i]; k < ptr[i + 1]; k++) mean[k] = (float)(1.0 / (double)(ptr[i + 1] - ptr[i]));
    KD_TRY(kd_fill(ctx, out->linked_mean.row_ptr, ptr, items + 1, sizeof *ptr));
    KD_TRY(kd_fill(ctx, out->linked_mean.col, g->col + n, n, sizeof *col));
    KD_TRY(kd_fill(ctx, out->linked_mean.val, mean, n, sizeof *mean));
cleanup:
    free(ptr);
    free(col);
    free(mean);
    return status;
}

/* Row r of A-hat: entries (1 + eps S) / sqrt(d_r d_c) and 1 / d_r on the diagonal, d = degree + 1, columns ascending.
 */
static void adjacency_row(const kd_bipartite *g, int64_t r, const float *similarity, double epsilon, int32_t *col,
                          float *val) {
    int64_t at = g->row_ptr[r] + r;
    double degree = (double)(g->row_ptr[r + 1] - g->row_ptr[r] + 1);
    bool diagonal = false;
    for (int64_t k = g->row_ptr[r]; k < g->row_ptr[r + 1]; k++) {
        int64_t c = g->col[k];
        double other = (double)(g->row_ptr[c + 1] - g->row_ptr[c] + 1);
        if (!diagonal && c > r) {
            col[at] = (int32_t)r;
            val[at++] = (float)(1.0 / degree);
            diagonal = true;
        }
        col[at] = (int32_t)c;
        val[at++] = (float)((1.0 + (similarity ? epsilon * similarity[k] : 0.0)) / sqrt(degree * other));
    }
    if (!diagonal) {
        col[at] = (int32_t)r;
        val[at] = (float)(1.0 / degree);
    }
}

static kd_status fill_adjacency(kd_ctx *ctx, const kd_bipartite *g, const float *similarity, double epsilon,
                                kd_csr *out) {
    kd_status status = KD_OK;
    int64_t nnz = g->row_ptr[g->nodes] + g->nodes;
    int64_t *ptr = NULL;
    int32_t *col = NULL;
    float *val = NULL;
    KD_TRY(kd_host_alloc(&ptr, g->nodes + 1, sizeof *ptr, "adjacency"));
    KD_TRY(kd_host_alloc(&col, nnz, sizeof *col, "adjacency"));
    KD_TRY(kd_host_alloc(&val, nnz, sizeof *val, "adjacency"));
    for (int64_t r = 0; r <= g->nodes; r++) ptr[r] = g->row_ptr[r] + r;
    for (int64_t r = 0; r < g->nodes; r++) adjacency_row(g, r, similarity, epsilon, col, val);
    KD_TRY(kd_fill(ctx, out->row_ptr, ptr, g->nodes + 1, sizeof *ptr));
    KD_TRY(kd_fill(ctx, out->col, col, nnz, sizeof *col));
    KD_TRY(kd_fill(ctx, out->val, val, nnz, sizeof *val));
cleanup:
    free(ptr);
    free(col);
    free(val);
    return status;
}

static kd_status fill_kg(kd_ctx *ctx, const kd_kg_edges *edges, kd_kg *out) {
    kd_status status = KD_OK;
    int64_t *tail_ptr = NULL, *in_edge = NULL;
    int32_t *in_head = NULL;
    KD_TRY(kd_host_alloc(&tail_ptr, edges->entities + 1, sizeof *tail_ptr, "knowledge graph"));
    KD_TRY(kd_host_alloc(&in_edge, edges->count, sizeof *in_edge, "knowledge graph"));
    KD_TRY(kd_host_alloc(&in_head, edges->count, sizeof *in_head, "knowledge graph"));
    kd_kg_edges_by_tail(edges, tail_ptr, in_head, in_edge);
    KD_TRY(kd_fill(ctx, out->head_ptr, edges->head_ptr, edges->entities + 1, sizeof(int64_t)));
    KD_TRY(kd_fill(ctx, out->tail, edges->tail, edges->count, sizeof(int32_t)));
    KD_TRY(kd_fill(ctx, out->relation, edges->relation, edges->count, sizeof(int32_t)));
    KD_TRY(kd_fill(ctx, out->tail_ptr, tail_ptr, edges->entities + 1, sizeof(int64_t)));
    KD_TRY(kd_fill(ctx, out->in_head, in_head, edges->count, sizeof(int32_t)));
    KD_TRY(kd_fill(ctx, out->in_edge, in_edge, edges->count, sizeof(int64_t)));
cleanup:
    free(tail_ptr);
    free(in_edge);
    free(in_head);
    return status;
}

static kd_status fill_rows(kd_ctx *ctx, const kd_graph_sizes *sizes, const kd_bipartite *graph, int64_t users,
                           const kd_kg_edges *full, kd_graphs *out) {
    kd_status status = KD_OK;
    kd_range all = {0, full->entities};
    int32_t *neighbour = NULL;
    KD_TRY(kd_host_alloc(&neighbour, full->count, sizeof *neighbour, "neighbour rows"));
    kd_kg_edges_rows(full, neighbour);
    KD_TRY(kd_csr_fill_part(ctx, full->head_ptr, neighbour, 0, all, sizes->entities, &out->entity_rows));
    if (out->entity_rows_transpose.row_ptr != out->entity_rows.row_ptr)
        KD_TRY(kd_csr_fill_part(ctx, full->head_ptr, neighbour, 0, sizes->entities, all, &out->entity_rows_transpose));
    if (out->user_rows.row_ptr != out->train.row_ptr)
        KD_TRY(kd_csr_fill_part(ctx, graph->row_ptr, graph->col, users, (kd_range){0, users}, sizes->items,
                                &out->user_rows));
cleanup:
    free(neighbour);
    return status;
}

kd_status kd_graphs_fill(kd_ctx *ctx, const kd_graphs_source *s, kd_graphs *out) {
    KD_OR_RETURN(fill_interactions(ctx, s->graph, s->users, out));
    KD_OR_RETURN(fill_adjacency(ctx, s->graph, s->similarity, s->epsilon, &out->adjacency));
    KD_OR_RETURN(fill_kg(ctx, s->full, &out->full));
    KD_OR_RETURN(fill_kg(ctx, s->capped, &out->capped));
    return fill_rows(ctx, s->sizes, s->graph, s->users, s->full, out);
}

kd_csr kd_modality_adjacency(const kd_modality_graph *g, bool transpose) {
    return (kd_csr){
        g->nodes, g->nodes, g->row_ptr, g->col, transpose ? g->val_transpose : g->val, g->nodes + 2 * g->users * g->q};
}
