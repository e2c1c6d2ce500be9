/* The similarity of what walks visited. */
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/walk.h"

/* Every edge is taken once, from its higher node v, whose list the block marks once for all its edges: mark[x] = 1 +
 * the place of x in the list. A warp an edge counts which of the other node's first visits are among v's first. */
__global__ void __launch_bounds__(KD_BLOCK)
    jaccard_edges(kd_csr graph, int64_t first, int64_t count, kd_visits visits, int32_t *marks, float *val) {
    int32_t *mark = marks + (int64_t)blockIdx.x * graph.rows;
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP);
    for (int64_t x = threadIdx.x; x < graph.rows; x += KD_BLOCK) mark[x] = 0;
    __syncthreads();
    for (int64_t v = first + blockIdx.x; v < first + count; v += gridDim.x) {
        int64_t begin = graph.row_ptr[v], end = graph.row_ptr[v + 1];
        const int32_t *list = visits.node + visits.ptr[v];
        int64_t length = end > begin && graph.col[begin] < v ? visits.end[end - 1] - visits.ptr[v] : 0;
        for (int64_t i = threadIdx.x; i < length; i += KD_BLOCK) mark[list[i]] = (int32_t)(i + 1);
        __syncthreads();
        for (int64_t e = begin + warp; e < end && graph.col[e] < v; e += KD_BLOCK / KD_WARP) {
            int64_t u = graph.col[e],
                    back = kd_lower_bound(graph.col, graph.row_ptr[u], graph.row_ptr[u + 1], (int32_t)v);
            int64_t own = visits.end[e] - visits.ptr[v], others = visits.end[back] - visits.ptr[u], shared = 0;
            const int32_t *other = visits.node + visits.ptr[u];
            for (int64_t i = lane; i < others; i += KD_WARP) shared += (uint32_t)(mark[other[i]] - 1) < (uint64_t)own;
            shared = kd_lanes_sum(shared);
            int64_t all = own + others - shared;
            if (lane == 0) val[e] = val[back] = all > 0 ? (float)((double)shared / (double)all) : 0.0f;
        }
        __syncthreads();
        for (int64_t i = threadIdx.x; i < length; i += KD_BLOCK) mark[list[i]] = 0;
        __syncthreads();
    }
}

extern "C" kd_status kd_cuda_prefix_jaccard(kd_ctx *ctx, kd_csr graph, int64_t first, int64_t count,
                                            const kd_visits *visits, float *val) {
    if (count == 0) return KD_OK;
    KD_LAUNCH(jaccard_edges, (unsigned)kd_starts_at_once(ctx, graph.rows), KD_BLOCK, 0, kd_stream(ctx), graph, first,
              count, *visits, (int32_t *)ctx->workspace, val);
    return kd_cuda_launched(__func__);
}
