#include <stdlib.h>

#include "kernels/ref/ref.h"

/* What u visited up to its edge k, and how many of it are marked. */
static int64_t length_of(const kd_visits *v, int64_t u, int64_t k) { return v->end[k] - v->ptr[u]; }
static int64_t marked(const kd_visits *v, int64_t u, int64_t k, const uint8_t *mark) {
    int64_t count = 0;
    for (int64_t i = v->ptr[u]; i < v->end[k]; i++) count += mark[v->node[i]];
    return count;
}

static int64_t edge_between(kd_csr graph, int64_t from, int64_t to) {
    int64_t k = graph.row_ptr[from];
    while (graph.col[k] != to) k++;
    return k;
}

kd_status kd_ref_prefix_jaccard(kd_ctx *ctx, kd_csr graph, int64_t first, int64_t count, const kd_visits *visits,
                                float *val) {
    (void)ctx;
    uint8_t *mark;
    KD_OR_RETURN(kd_ref_zeros(graph.rows, sizeof *mark, &mark));
    for (int64_t v = first; v < first + count; v++)
        for (int64_t k = graph.row_ptr[v]; k < graph.row_ptr[v + 1] && graph.col[k] < v; k++) {
            int64_t u = graph.col[k], back = edge_between(graph, u, v);
            for (int64_t i = visits->ptr[v]; i < visits->end[k]; i++) mark[visits->node[i]] = 1;
            int64_t both = marked(visits, u, back, mark);
            int64_t all = length_of(visits, v, k) + length_of(visits, u, back) - both;
            val[k] = val[back] = all > 0 ? (float)((double)both / (double)all) : 0.0f;
            for (int64_t i = visits->ptr[v]; i < visits->end[k]; i++) mark[visits->node[i]] = 0;
        }
    free(mark);
    return KD_OK;
}
