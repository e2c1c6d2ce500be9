#include "kernels/ref/ref.h"

kd_status kd_ref_visits_above(kd_ctx *ctx, kd_csr graph, int64_t first, kd_mat score, float threshold,
                              kd_visits *visits) {
    (void)ctx;
    for (int64_t s = 0; s < score.cols; s++) {
        int64_t u = first + s, i = u - visits->first, at = visits->ptr[i];
        for (int64_t x = 0; x < score.rows; x++)
            if (*kd_ref_at(score, x, s) >= threshold && at < visits->ptr[i + 1]) visits->node[at++] = (int32_t)x;
        for (int64_t k = graph.row_ptr[u]; k < graph.row_ptr[u + 1]; k++) visits->end[k] = at;
    }
    return KD_OK;
}

kd_status kd_ref_visits_pack(kd_ctx *ctx, kd_csr graph, const kd_visits *visits, kd_visits *packed) {
    (void)ctx;
    for (int64_t u = visits->first; u < visits->first + visits->starts; u++) {
        int64_t from = visits->ptr[u - visits->first], to = packed->ptr[u - packed->first];
        int64_t begin = graph.row_ptr[u], end = graph.row_ptr[u + 1];
        for (int64_t i = from; end > begin && i < visits->end[end - 1]; i++)
            packed->node[to + i - from] = visits->node[i];
        for (int64_t k = begin; k < end; k++) packed->end[k] = visits->end[k] - from + to;
    }
    return KD_OK;
}
