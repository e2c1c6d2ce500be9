#include <string.h>

#include "kernels/cpu/cpu.h"

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
