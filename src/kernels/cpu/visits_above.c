#include "kernels/cpu/cpu.h"

enum { SLICE = 16 }; /* columns that share a cache line go to one thread, so every line is read once */

kd_status kd_cpu_visits_above(kd_ctx *ctx, kd_csr graph, int64_t first, kd_mat score, float threshold,
                              kd_visits *visits) {
#pragma omp parallel for num_threads(ctx->threads) schedule(static)
    for (int64_t slice = 0; slice < score.cols; slice += SLICE) {
        int64_t at[SLICE], width = score.cols - slice < SLICE ? score.cols - slice : SLICE;
        const int64_t *room = visits->ptr + (first - visits->first) + slice;
        for (int64_t s = 0; s < width; s++) at[s] = room[s];
        for (int64_t x = 0; x < score.rows; x++)
            for (int64_t s = 0; s < width; s++)
                if (score.data[x * score.ld + slice + s] >= threshold && at[s] < room[s + 1])
                    visits->node[at[s]++] = (int32_t)x;
        for (int64_t s = 0; s < width; s++) {
            int64_t u = first + slice + s;
            for (int64_t k = graph.row_ptr[u]; k < graph.row_ptr[u + 1]; k++) visits->end[k] = at[s];
        }
    }
    return KD_OK;
}
