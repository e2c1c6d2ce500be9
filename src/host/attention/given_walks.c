/* Visits of walks that somebody else drew: what ties the engine's Jaccard to the published walks. */
#include <stdlib.h>
#include <string.h>

#include "host/attention/attention.h"
#include "host/base/memory.h"

/* Appends the walk's nodes that its start has not visited before. seen [nodes * nodes] would be dense: a list is
 * searched, which is enough for the small graphs that given walks come with. */
static void collect(const int32_t *walk, int32_t *list, int64_t *count) {
    for (int32_t i = 0; i < walk[1]; i++) {
        int64_t at = 0;
        while (at < *count && list[at] != walk[2 + i]) at++;
        if (at == *count) list[(*count)++] = walk[2 + i];
    }
}

static kd_status check(const int32_t *walk, int64_t start, int64_t width, int64_t nodes, int64_t index) {
    if (walk[0] != start)
        return KD_FAIL(KD_ERR_FORMAT, "walk %lld: expected a walk from node %lld", (long long)index, (long long)start);
    if (walk[1] < 0 || walk[1] > width - 2)
        return KD_FAIL(KD_ERR_FORMAT, "walk %lld: expected a length of 0 to %lld", (long long)index,
                       (long long)(width - 2));
    for (int32_t i = 0; i < walk[1]; i++)
        if (walk[2 + i] < 0 || walk[2 + i] >= nodes)
            return KD_FAIL(KD_ERR_FORMAT, "walk %lld: expected nodes in 0 to %lld, not %d", (long long)index,
                           (long long)(nodes - 1), (int)walk[2 + i]);
    return KD_OK;
}

/* The list that is read, and how far its nodes' visits have come. */
typedef struct given_walks {
    const kd_bipartite *graph;
    const int32_t *walks; /* [2 per_edge edges, width] */
    int64_t per_edge, width;
    int64_t *count;     /* [nodes] visited so far */
    int64_t *next_edge; /* [nodes] position of each user's next edge */
} given_walks;

/* The walks of edge number `edge`, at position e of item row v, in place next_edge of its user's row. */
static kd_status take_edge(const given_walks *w, int64_t v, int64_t e, int64_t edge, kd_visits *out) {
    int64_t u = w->graph->col[e];
    for (int64_t n = 0; n < w->per_edge; n++) {
        int64_t index = (edge * w->per_edge + n) * 2;
        const int32_t *pair = w->walks + index * w->width;
        KD_OR_RETURN(check(pair, v, w->width, w->graph->nodes, index));
        KD_OR_RETURN(check(pair + w->width, u, w->width, w->graph->nodes, index + 1));
        collect(pair, out->node + out->ptr[v], &w->count[v]);
        collect(pair + w->width, out->node + out->ptr[u], &w->count[u]);
    }
    out->end[e] = out->ptr[v] + w->count[v];
    out->end[w->next_edge[u]++] = out->ptr[u] + w->count[u];
    return KD_OK;
}

kd_status kd_visits_from_walks(const kd_bipartite *g, int64_t users, int64_t count, int64_t width, const int32_t *walks,
                               kd_visits *out) {
    kd_status status = KD_OK;
    int64_t edges = g->row_ptr[users], edge = 0, room;
    given_walks w = {.graph = g, .walks = walks, .width = width};
    *out = (kd_visits){.starts = g->nodes};
    if (edges == 0 || width < 2 || count < 1 || count % (2 * edges) != 0)
        return KD_FAIL(KD_ERR_FORMAT, "walks: expected a multiple of %lld rows", (long long)(2 * edges));
    if (__builtin_mul_overflow(g->nodes, g->nodes, &room))
        return KD_FAIL(KD_ERR_MEMORY, "walks: %lld nodes are too many", (long long)g->nodes);
    KD_TRY(kd_host_alloc(&out->ptr, g->nodes + 1, sizeof *out->ptr, "walks"));
    KD_TRY(kd_host_alloc(&out->node, room, sizeof *out->node, "walks"));
    KD_TRY(kd_host_alloc(&out->end, 2 * edges, sizeof *out->end, "walks"));
    KD_TRY(kd_host_alloc(&w.count, g->nodes, sizeof *w.count, "walks"));
    KD_TRY(kd_host_alloc(&w.next_edge, g->nodes, sizeof *w.next_edge, "walks"));
    for (int64_t u = 0; u <= g->nodes; u++) out->ptr[u] = u * g->nodes;
    memcpy(w.next_edge, g->row_ptr, (size_t)g->nodes * sizeof *w.next_edge);
    w.per_edge = count / (2 * edges);
    for (int64_t v = users; v < g->nodes; v++)
        for (int64_t e = g->row_ptr[v]; e < g->row_ptr[v + 1]; e++) KD_TRY(take_edge(&w, v, e, edge++, out));
cleanup:
    free(w.count);
    free(w.next_edge);
    if (status != KD_OK) {
        free(out->ptr);
        free(out->node);
        free(out->end);
        *out = (kd_visits){0};
    }
    return status;
}
