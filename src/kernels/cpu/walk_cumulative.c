#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/walk.h"

enum { FIFTHS = 5 }; /* the restart probability grows by a fifth a move */

int64_t kd_walk_workspace(const kd_ctx *ctx, int64_t nodes, int64_t steps) {
    return ctx->threads * (nodes + steps) * (int64_t)sizeof(int32_t);
}

/* One walk into path; returns how many nodes are left in it. */
static int64_t walk(const kd_csr *graph, int64_t start, int64_t steps, kd_walk_draws *draws, int32_t *path) {
    int64_t length = 0, node = start;
    int fifths = 0;
    for (int64_t step = 0; step < steps; step++) {
        uint32_t draw = kd_walk_draw(draws);
        uint64_t threshold = (UINT64_C(1) << 32) * (uint64_t)fifths / FIFTHS;
        if (draw < threshold) {
            length--; /* the step after a restart always moves, so the list is never empty here */
            node = length > 0 ? path[length - 1] : start;
            fifths = 0;
        } else {
            double share = 1.0 / (double)((UINT64_C(1) << 32) - threshold);
            node = kd_walk_neighbour(graph, node, draw, threshold, share);
            path[length++] = (int32_t)node;
            fifths++;
        }
    }
    return length;
}

kd_status kd_cpu_walk_cumulative(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                 kd_visits *visits) {
#pragma omp parallel num_threads(ctx->threads)
    {
        kd_walk_scratch scratch = kd_walk_thread_scratch(ctx, graph.rows, config->steps, omp_get_thread_num());
        memset(scratch.mark, 0, (size_t)graph.rows * sizeof *scratch.mark);
#pragma omp for schedule(dynamic, 16)
        for (int64_t u = 0; u < graph.rows; u++) {
            int32_t *list = visits->node + visits->ptr[u];
            int64_t count = 0, degree = graph.row_ptr[u + 1] - graph.row_ptr[u];
            for (int64_t k = 0; k < degree; k++) {
                for (int64_t n = 0; n < config->walks; n++) {
                    kd_walk_draws draws = kd_walk_draws_of(rng, u, k * config->walks + n, config->steps);
                    int64_t length = walk(&graph, u, config->steps, &draws, scratch.path);
                    count = kd_walk_collect(scratch.path, length, (int32_t)(u + 1), scratch.mark, list, count);
                }
                visits->end[graph.row_ptr[u] + k] = visits->ptr[u] + count;
            }
        }
    }
    return KD_OK;
}
