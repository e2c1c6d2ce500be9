/* Lists of visited nodes: from scores, and packed. */
#include <string.h>

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

kd_status kd_cpu_visits_pack(kd_ctx *ctx, kd_csr graph, const kd_visits *visits, kd_visits *packed) {
#pragma omp parallel for num_threads(ctx->threads) schedule(dynamic, 64)
    for (int64_t u = visits->first; u < visits->first + visits->starts; u++) {
        int64_t begin = graph.row_ptr[u], end = graph.row_ptr[u + 1];
        int64_t from = visits->ptr[u - visits->first], to = packed->ptr[u - packed->first];
        if (begin == end) continue;
        memcpy(packed->node + to, visits->node + from, (size_t)(visits->end[end - 1] - from) * sizeof *packed->node);
        for (int64_t k = begin; k < end; k++) packed->end[k] = visits->end[k] - from + to;
    }
    return KD_OK;
}
