/* Jaccard similarities of the published walks. */
#include <stdlib.h>

#include "host/attention/attention.h"
#include "host/base/memory.h"
#include "published/golden.h"

/* The published matrix holds no zeros: COO entries in row order of the edges whose similarity is not zero. */
static void compare_coo(golden_case *c, const float *val) {
    const kd_bipartite *g = &c->graph;
    int64_t count = 0, edges = g->row_ptr[g->nodes];
    int32_t *row, *col;
    float *kept;
    golden_require(kd_host_alloc(&row, edges, sizeof *row, "test"), "test");
    golden_require(kd_host_alloc(&col, edges, sizeof *col, "test"), "test");
    golden_require(kd_host_alloc(&kept, edges, sizeof *kept, "test"), "test");
    for (int64_t u = 0; u < g->nodes; u++)
        for (int64_t k = g->row_ptr[u]; k < g->row_ptr[u + 1]; k++)
            if (val[k] != 0.0f) {
                row[count] = (int32_t)u;
                col[count] = g->col[k];
                kept[count++] = val[k];
            }
    golden_compare_ints(c, "walk_row", row, count);
    golden_compare_ints(c, "walk_col", col, count);
    golden_compare(c, "walk_val", kept, count);
    free(row);
    free(col);
    free(kept);
}

void golden_check_walks(golden_case *c) {
    const kd_bipartite *g = &c->graph;
    int64_t shape[4], edges = g->row_ptr[g->nodes];
    int32_t *walks = golden_ints(c, "walks", shape);
    kd_visits visits;
    kd_pool pool;
    kd_csr graph = {.rows = g->nodes, .cols = g->nodes};
    float *device, *val;
    if (!walks) return;
    c->inputs++;
    kd_pool_init(&pool, c->ctx);
    golden_require(kd_visits_from_walks(g, c->data.users, shape[0], shape[1], walks, &visits), "walks");
    kd_visits on_device = {.starts = visits.starts};
    golden_require(kd_pool_upload(&pool, g->row_ptr, g->nodes + 1, 8, "test", &graph.row_ptr), "walks");
    golden_require(kd_pool_upload(&pool, g->col, edges, 4, "test", &graph.col), "walks");
    golden_require(kd_pool_upload(&pool, visits.ptr, g->nodes + 1, 8, "test", &on_device.ptr), "walks");
    golden_require(kd_pool_upload(&pool, visits.node, g->nodes * g->nodes, 4, "test", &on_device.node), "walks");
    golden_require(kd_pool_upload(&pool, visits.end, edges, 8, "test", &on_device.end), "walks");
    golden_require(kd_pool_alloc(&pool, edges, sizeof(float), "test", &device), "walks");
    golden_require(kd_workspace_reserve(c->ctx, kd_walk_workspace(c->ctx, g->nodes, 0)), "walks");
    golden_require(kd_prefix_jaccard(c->ctx, graph, 0, g->nodes, &on_device, device), "walks");
    golden_require(kd_host_alloc(&val, edges, sizeof *val, "test"), "test");
    golden_require(kd_download(c->ctx, val, device, edges * (int64_t)sizeof *val), "walks");
    compare_coo(c, val);
    kd_pool_free(&pool);
    free(visits.ptr);
    free(visits.node);
    free(visits.end);
    free(walks);
    free(val);
}
