#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/walk.h"

kd_status kd_cpu_walk_node(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                           kd_visits *visits) {
    uint64_t threshold = (uint64_t)((double)config->restart * 0x1p32);
    double share = 1.0 / (0x1p32 - (double)threshold);
#pragma omp parallel num_threads(ctx->threads)
    {
        kd_walk_scratch scratch = kd_walk_thread_scratch(ctx, graph.rows, config->steps, omp_get_thread_num());
        memset(scratch.mark, 0, (size_t)graph.rows * sizeof *scratch.mark);
#pragma omp for schedule(dynamic, 64)
        for (int64_t u = 0; u < graph.rows; u++) {
            int32_t *list = visits->node + visits->ptr[u];
            int64_t count = 0, degree = graph.row_ptr[u + 1] - graph.row_ptr[u];
            for (int64_t n = 0; n < config->walks && degree > 0; n++) {
                kd_walk_draws draws = kd_walk_draws_of(rng, u, n, config->steps);
                int64_t node = u, length = 0;
                for (int64_t step = 0; step < config->steps; step++) {
                    uint32_t draw = kd_walk_draw(&draws);
                    if (draw < threshold) {
                        node = u;
                        continue;
                    }
                    node = kd_walk_neighbour(&graph, node, draw, threshold, share);
                    scratch.path[length++] = (int32_t)node;
                }
                count = kd_walk_collect(scratch.path, length, 1, (int32_t)(u + 1), scratch.mark, list, count);
            }
            for (int64_t k = graph.row_ptr[u]; k < graph.row_ptr[u + 1]; k++) visits->end[k] = visits->ptr[u] + count;
        }
    }
    return KD_OK;
}
