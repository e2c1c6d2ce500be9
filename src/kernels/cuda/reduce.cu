/* Sums over columns, rows and whole matrices, in orders that are always the same. */
#include "kernels/cuda/reduce.h"

__global__ void __launch_bounds__(KD_BLOCK) kd_add_sum(int64_t n, const double *part, double scale, double *out) {
    KD_SHARED(double, sums, [KD_WARP]);
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += part[i];
    sum = kd_block_sum(sum, sums);
    if (threadIdx.x == 0) out[0] += scale * sum;
}

__global__ void __launch_bounds__(KD_BLOCK) kd_add_row_sum(int64_t n, const float *part, double scale, double *out) {
    KD_SHARED(double, sums, [KD_WARP]);
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += (double)part[i];
    sum = kd_block_sum(sum, sums);
    if (threadIdx.x == 0) out[0] += scale * sum;
}

/* A block takes STRIP neighbouring columns (a 32-byte sector of every row) and all rows; its lanes' sums are added in
 * order. */
enum { STRIP = 8, STRIP_ROWS = KD_BLOCK / STRIP };

__global__ void __launch_bounds__(KD_BLOCK) column_sums(kd_mat x, float beta, float *y) {
    KD_SHARED(float, part, [STRIP_ROWS][STRIP]);
    int64_t col = (int64_t)blockIdx.x * STRIP + threadIdx.x % STRIP;
    int row = (int)(threadIdx.x / STRIP);
    float sum = 0.0f;
    if (col < x.cols) {
        KD_UNROLL(8)
        for (int64_t r = row; r < x.rows; r += STRIP_ROWS) sum += x.data[r * x.ld + col];
    }
    part[row][threadIdx.x % STRIP] = sum;
    __syncthreads();
    if (row > 0 || col >= x.cols) return;
    for (int r = 1; r < STRIP_ROWS; r++) sum += part[r][threadIdx.x];
    y[col] = beta == 0.0f ? sum : sum + beta * y[col];
}

extern "C" kd_status kd_cuda_column_sum(kd_ctx *ctx, kd_mat x, float beta, kd_mat y) {
    KD_LAUNCH(column_sums, kd_blocks(x.cols, STRIP), KD_BLOCK, 0, kd_stream(ctx), x, beta, y.data);
    return kd_cuda_launched(__func__);
}

/* part[block] = the block's share of sum X .* Y; where dx is given, dX += slope X on the way. */
__global__ void __launch_bounds__(KD_BLOCK) dot_parts(kd_mat x, kd_mat y, float slope, kd_mat dx, double *part) {
    KD_SHARED(double, sums, [KD_WARP]);
    double sum = 0.0;
    int64_t warps = (int64_t)gridDim.x * (KD_BLOCK / KD_WARP);
    for (int64_t r = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP; r < x.rows; r += warps)
        for (int64_t c = threadIdx.x % KD_WARP; c < x.cols; c += KD_WARP) {
            float value = x.data[r * x.ld + c];
            sum += (double)value * (double)y.data[r * y.ld + c];
            if (dx.data) dx.data[r * dx.ld + c] += slope * value;
        }
    sum = kd_block_sum(sum, sums);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(KD_BLOCK) finish_dot(int n, const double *part, float beta, float *out) {
    KD_SHARED(double, sums, [KD_WARP]);
    double sum = 0.0;
    for (int i = threadIdx.x; i < n; i += KD_BLOCK) sum += part[i];
    sum = kd_block_sum(sum, sums);
    if (threadIdx.x == 0) out[0] = (float)(sum + (beta != 0.0f ? (double)beta * out[0] : 0.0));
}

/* Blocks of a sum over rows: by the shape alone, so that the order is the same on every device. */
static unsigned dot_blocks(int64_t rows) {
    int64_t blocks = (rows + 31) / 32;
    return (unsigned)(blocks < 1 ? 1 : blocks > KD_PARTIALS ? (int64_t)KD_PARTIALS : blocks);
}

extern "C" kd_status kd_cuda_matrix_dot(kd_ctx *ctx, kd_mat x, kd_mat y, float beta, float *out) {
    double *part = kd_cuda_of(ctx)->partial;
    unsigned blocks = dot_blocks(x.rows);
    kd_mat none = {NULL, 0, 0, 0};
    KD_LAUNCH(dot_parts, blocks, KD_BLOCK, 0, kd_stream(ctx), x, y, 0.0f, none, part);
    KD_LAUNCH(finish_dot, 1, KD_BLOCK, 0, kd_stream(ctx), (int)blocks, part, beta, out);
    return kd_cuda_launched(__func__);
}

extern "C" kd_status kd_cuda_squared_norm(kd_ctx *ctx, float weight, kd_mat x, kd_mat dx, double *loss) {
    double *part = kd_cuda_of(ctx)->partial;
    unsigned blocks = dot_blocks(x.rows);
    KD_LAUNCH(dot_parts, blocks, KD_BLOCK, 0, kd_stream(ctx), x, x, 2.0f * weight, dx, part);
    KD_LAUNCH(kd_add_sum, 1, KD_BLOCK, 0, kd_stream(ctx), (int64_t)blocks, part, (double)weight, loss);
    return kd_cuda_launched(__func__);
}

__global__ void __launch_bounds__(KD_BLOCK) row_means(kd_mat x, float *out) {
    int64_t r = kd_warp_row();
    if (r >= x.rows) return;
    double sum = 0.0;
    for (int64_t c = threadIdx.x % KD_WARP; c < x.cols; c += KD_WARP) sum += (double)x.data[r * x.ld + c];
    sum = kd_lanes_sum(sum);
    if (threadIdx.x % KD_WARP == 0) out[r] = (float)(sum / (double)x.cols);
}

extern "C" kd_status kd_cuda_row_mean(kd_ctx *ctx, kd_mat x, float *out) {
    KD_LAUNCH(row_means, kd_row_blocks(x.rows), KD_BLOCK, 0, kd_stream(ctx), x, out);
    return kd_cuda_launched(__func__);
}
