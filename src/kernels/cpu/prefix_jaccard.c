#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* Position of column `wanted` in row r; it is there, since every edge is stored in both directions. */
static int64_t find(const kd_csr *graph, int64_t r, int32_t wanted) {
    int64_t low = graph->row_ptr[r], high = graph->row_ptr[r + 1] - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (graph->col[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* mark holds 1 + the place of each node in v's list; counts the first `others` of u's list that are among v's first
 * `own`. */
static int64_t common(const int32_t *other, int64_t others, const int32_t *mark, int64_t own) {
    int64_t shared = 0;
#pragma omp simd reduction(+ : shared)
    for (int64_t i = 0; i < others; i++) shared += (uint32_t)(mark[other[i]] - 1) < (uint32_t)own;
    return shared;
}

/* Every edge is taken once, from its higher node, whose list is marked once for all its edges. */
static void edges_of(const kd_csr *graph, const kd_visits *visits, int64_t v, int32_t *mark, float *val) {
    int64_t begin = graph->row_ptr[v], end = graph->row_ptr[v + 1];
    const int32_t *list = visits->node + visits->ptr[v];
    int64_t length = end > begin && graph->col[begin] < v ? visits->end[end - 1] - visits->ptr[v] : 0;
    for (int64_t i = 0; i < length; i++) mark[list[i]] = (int32_t)(i + 1);
    for (int64_t e = begin; e < end && graph->col[e] < v; e++) {
        int64_t u = graph->col[e], back = find(graph, u, (int32_t)v);
        int64_t own = visits->end[e] - visits->ptr[v], others = visits->end[back] - visits->ptr[u];
        int64_t shared = common(visits->node + visits->ptr[u], others, mark, own);
        int64_t all = own + others - shared;
        val[e] = val[back] = all > 0 ? (float)((double)shared / (double)all) : 0.0f;
    }
    for (int64_t i = 0; i < length; i++) mark[list[i]] = 0;
}

kd_status kd_cpu_prefix_jaccard(kd_ctx *ctx, kd_csr graph, int64_t first, int64_t count, const kd_visits *visits,
                                float *val) {
#pragma omp parallel num_threads(ctx->threads)
    {
        int32_t *mark = (int32_t *)ctx->workspace + graph.rows * omp_get_thread_num();
        memset(mark, 0, (size_t)graph.rows * sizeof *mark);
#pragma omp for schedule(dynamic, 8)
        for (int64_t v = first; v < first + count; v++) edges_of(&graph, visits, v, mark, val);
    }
    return KD_OK;
}
