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

/* The walks of the edge at position e of item row v, in place k of user u's row. */
static kd_status take_edge(const kd_bipartite *g, int64_t v, int64_t e, int64_t *next_edge, int64_t per_edge,
                           int64_t width, const int32_t *walks, int64_t edge, int64_t *count, kd_visits *out) {
    int64_t u = g->col[e];
    for (int64_t n = 0; n < per_edge; n++) {
        int64_t index = (edge * per_edge + n) * 2;
        const int32_t *pair = walks + index * width;
        KD_OR_RETURN(check(pair, v, width, g->nodes, index));
        KD_OR_RETURN(check(pair + width, u, width, g->nodes, index + 1));
        collect(pair, out->node + out->ptr[v], &count[v]);
        collect(pair + width, out->node + out->ptr[u], &count[u]);
    }
    out->end[e] = out->ptr[v] + count[v];
    out->end[next_edge[u]++] = out->ptr[u] + count[u];
    return KD_OK;
}

kd_status kd_visits_from_walks(const kd_bipartite *g, int64_t users, int64_t count, int64_t width, const int32_t *walks,
                               kd_visits *out) {
    kd_status status = KD_OK;
    int64_t edges = g->row_ptr[users], edge = 0, room, *found = NULL, *next_edge = NULL;
    *out = (kd_visits){.starts = g->nodes};
    if (edges == 0 || width < 2 || count < 1 || count % (2 * edges) != 0)
        return KD_FAIL(KD_ERR_FORMAT, "walks: expected a multiple of %lld rows", (long long)(2 * edges));
    if (__builtin_mul_overflow(g->nodes, g->nodes, &room))
        return KD_FAIL(KD_ERR_MEMORY, "walks: %lld nodes are too many", (long long)g->nodes);
    KD_TRY(kd_host_alloc(&out->ptr, g->nodes + 1, sizeof *out->ptr, "walks"));
    KD_TRY(kd_host_alloc(&out->node, room, sizeof *out->node, "walks"));
    KD_TRY(kd_host_alloc(&out->end, 2 * edges, sizeof *out->end, "walks"));
    KD_TRY(kd_host_alloc(&found, g->nodes, sizeof *found, "walks"));
    KD_TRY(kd_host_alloc(&next_edge, g->nodes, sizeof *next_edge, "walks"));
    for (int64_t u = 0; u <= g->nodes; u++) out->ptr[u] = u * g->nodes;
    memcpy(next_edge, g->row_ptr, (size_t)g->nodes * sizeof *next_edge);
    for (int64_t v = users; v < g->nodes; v++)
        for (int64_t e = g->row_ptr[v]; e < g->row_ptr[v + 1]; e++)
            KD_TRY(take_edge(g, v, e, next_edge, count / (2 * edges), width, walks, edge++, found, out));
cleanup:
    free(found);
    free(next_edge);
    if (status != KD_OK) {
        free(out->ptr);
        free(out->node);
        free(out->end);
        *out = (kd_visits){0};
    }
    return status;
}
