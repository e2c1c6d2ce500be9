#include "host/graph/bipartite.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

kd_status kd_bipartite_build(int64_t users, int64_t items, const kd_interactions *train, kd_bipartite *out) {
    kd_status status = KD_OK;
    int64_t *cursor = NULL;
    *out = (kd_bipartite){.nodes = users + items};
    if (out->nodes > INT32_MAX) return KD_FAIL(KD_ERR_FORMAT, "more than 2^31 - 1 users and items");
    KD_TRY(kd_host_alloc(&out->row_ptr, out->nodes + 1, sizeof *out->row_ptr, "interaction graph"));
    KD_TRY(kd_host_alloc(&out->col, 2 * train->count, sizeof *out->col, "interaction graph"));
    KD_TRY(kd_host_alloc(&cursor, out->nodes, sizeof *cursor, "interaction graph"));
    for (int64_t k = 0; k < train->count; k++) {
        out->row_ptr[train->user[k] + 1]++;
        out->row_ptr[users + train->item[k] + 1]++;
    }
    for (int64_t r = 0; r < out->nodes; r++) out->row_ptr[r + 1] += out->row_ptr[r];
    memcpy(cursor, out->row_ptr, (size_t)out->nodes * sizeof *cursor);
    for (int64_t k = 0; k < train->count; k++) { /* sorted by user, then item: both directions come out ascending */
        int64_t u = train->user[k], v = users + train->item[k];
        out->col[cursor[u]++] = (int32_t)v;
        out->col[cursor[v]++] = (int32_t)u;
    }
cleanup:
    free(cursor);
    if (status != KD_OK) kd_bipartite_free(out);
    return status;
}

void kd_bipartite_free(kd_bipartite *graph) {
    free(graph->row_ptr);
    free(graph->col);
    *graph = (kd_bipartite){0};
}
