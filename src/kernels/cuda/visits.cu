/* Lists of visited nodes: from scores, and packed. */
#include "kernels/cuda/reduce.h"

/* A block a column of score: nodes at or above the threshold in ascending order, as many as fit. */
__global__ void __launch_bounds__(KD_BLOCK)
    list_above(kd_csr graph, int64_t first, kd_mat score, float threshold, kd_visits visits) {
    KD_SHARED(int, counts, [KD_BLOCK / KD_WARP]);
    int64_t u = first + blockIdx.x, at = visits.ptr[u - visits.first], room = visits.ptr[u - visits.first + 1];
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP);
    for (int64_t tile = 0; tile < score.rows; tile += KD_BLOCK) {
        int64_t x = tile + threadIdx.x;
        bool above = x < score.rows && score.data[x * score.ld + blockIdx.x] >= threshold;
        unsigned all = __ballot_sync(KD_FULL_WARP, above);
        if (lane == 0) counts[warp] = __popc(all);
        __syncthreads();
        int64_t to = at + __popc(all & ((1u << lane) - 1));
        for (int w = 0; w < KD_BLOCK / KD_WARP; w++) {
            if (w < warp) to += counts[w];
            at += counts[w];
        }
        if (above && to < room) visits.node[to] = (int32_t)x;
        __syncthreads();
    }
    if (at > room) at = room;
    for (int64_t k = graph.row_ptr[u] + threadIdx.x; k < graph.row_ptr[u + 1]; k += KD_BLOCK) visits.end[k] = at;
}

extern "C" kd_status kd_cuda_visits_above(kd_ctx *ctx, kd_csr graph, int64_t first, kd_mat score, float threshold,
                                          kd_visits *visits) {
    if (score.cols == 0) return KD_OK;
    KD_LAUNCH(list_above, (unsigned)score.cols, KD_BLOCK, 0, kd_stream(ctx), graph, first, score, threshold, *visits);
    return kd_cuda_launched(__func__);
}

/* A block a start. Its length is read before the ends, which may be overwritten in place. */
__global__ void __launch_bounds__(KD_BLOCK) pack_lists(kd_csr graph, kd_visits visits, kd_visits packed) {
    int64_t u = visits.first + blockIdx.x, begin = graph.row_ptr[u], end = graph.row_ptr[u + 1];
    int64_t from = visits.ptr[blockIdx.x], to = packed.ptr[u - packed.first];
    int64_t length = end > begin ? visits.end[end - 1] - from : 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < length; i += KD_BLOCK) packed.node[to + i] = visits.node[from + i];
    for (int64_t k = begin + threadIdx.x; k < end; k += KD_BLOCK) packed.end[k] = visits.end[k] - from + to;
}

extern "C" kd_status kd_cuda_visits_pack(kd_ctx *ctx, kd_csr graph, const kd_visits *visits, kd_visits *packed) {
    if (visits->starts == 0) return KD_OK;
    KD_LAUNCH(pack_lists, (unsigned)visits->starts, KD_BLOCK, 0, kd_stream(ctx), graph, *visits, *packed);
    return kd_cuda_launched(__func__);
}
