/* Ops over rows and columns of dense matrices: sums, unit rows, small softmaxes. */
#include "kernels/cuda/random.h"
#include "kernels/cuda/reduce.h"

static const float SMALLEST_NORM = 1e-12f;

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
    if (col < x.cols)
        for (int64_t r = row; r < x.rows; r += STRIP_ROWS) sum += x.data[r * x.ld + col];
    part[row][threadIdx.x % STRIP] = sum;
    __syncthreads();
    if (row > 0 || col >= x.cols) return;
    for (int r = 1; r < STRIP_ROWS; r++) sum += part[r][threadIdx.x];
    y[col] = beta == 0.0f ? sum : sum + beta * y[col];
}

extern "C" kd_status kd_cuda_column_sum(kd_ctx *ctx, kd_mat x, float beta, kd_mat y) {
    KD_LAUNCH(column_sums, kd_blocks(x.cols, STRIP), KD_BLOCK, 0, kd_stream(ctx), x, beta, y.data);
    KD_CUDA_LAUNCHED();
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
    KD_CUDA_LAUNCHED();
}

extern "C" kd_status kd_cuda_squared_norm(kd_ctx *ctx, float weight, kd_mat x, kd_mat dx, double *loss) {
    double *part = kd_cuda_of(ctx)->partial;
    unsigned blocks = dot_blocks(x.rows);
    KD_LAUNCH(dot_parts, blocks, KD_BLOCK, 0, kd_stream(ctx), x, x, 2.0f * weight, dx, part);
    KD_LAUNCH(kd_add_sum, 1, KD_BLOCK, 0, kd_stream(ctx), (int64_t)blocks, part, (double)weight, loss);
    KD_CUDA_LAUNCHED();
}

/* A warp a row from here on. */
__device__ static inline int64_t warp_row() { return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / KD_WARP; }
static unsigned row_blocks(int64_t rows) { return kd_blocks(rows, KD_BLOCK / KD_WARP); }

__global__ void __launch_bounds__(KD_BLOCK) row_means(kd_mat x, float *out) {
    int64_t r = warp_row();
    if (r >= x.rows) return;
    double sum = 0.0;
    for (int64_t c = threadIdx.x % KD_WARP; c < x.cols; c += KD_WARP) sum += (double)x.data[r * x.ld + c];
    sum = kd_lanes_sum(sum);
    if (threadIdx.x % KD_WARP == 0) out[r] = (float)(sum / (double)x.cols);
}

extern "C" kd_status kd_cuda_row_mean(kd_ctx *ctx, kd_mat x, float *out) {
    KD_LAUNCH(row_means, row_blocks(x.rows), KD_BLOCK, 0, kd_stream(ctx), x, out);
    KD_CUDA_LAUNCHED();
}

/* The row of a warp among all rows or those that are keys of `only`; -1: none is left. */
static kd_groups all_or(const kd_groups *only) { return only ? *only : kd_groups{0, NULL, NULL, NULL, NULL}; }
static int64_t most_rows(const kd_groups *only, int64_t all) {
    return only && only->capacity < all ? only->capacity : all;
}
__device__ static inline int64_t warp_row_of(const kd_groups &only, int64_t all) {
    int64_t i = warp_row();
    if (!only.count) return i < all ? i : -1;
    return i < only.count[0] ? only.key[i] : -1;
}

/* Unit rows: what the launches of one op share. */
struct unit_pass {
    kd_groups only;
    int64_t column; /* of the whole row, that the first one here is */
    float p;
    kd_rng rng;
    float *sum; /* of the i-th of these rows: written by KD_SUMS, read by KD_REST */
};
static unit_pass unit_pass_of(const kd_split *split, const kd_groups *only, float p, const kd_rng *rng, float *sum) {
    return {all_or(only), split ? split->first : 0, p, rng ? *rng : kd_rng{0, 0, 0, 0, NULL}, sum};
}
/* How many the ranks add up: groups that a batch does not have are among them, as 0. */
static int64_t sums_of(const kd_groups *only, int64_t all) { return only ? only->capacity : all; }

/* Dropout's scale is drawn again for the second pass over the row rather than kept: Y may be X, and a row is short.
 * pass.sum: of squares; it may be norm. */
template <kd_stage STAGE>
__global__ void __launch_bounds__(KD_BLOCK) unit_rows(unit_pass pass, kd_mat x, kd_mat y, float *norm) {
    int64_t i = warp_row(), r = warp_row_of(pass.only, x.rows);
    if (r < 0) return;
    int lane = (int)(threadIdx.x % KD_WARP);
    double square = 0.0;
    kd_rng rng = kd_rng_now(pass.rng);
    for (int64_t c = lane; STAGE != KD_REST && c < x.cols; c += KD_WARP) {
        float value = x.data[r * x.ld + c] * kd_dropout_at(&rng, r, pass.column + c, pass.p);
        square += (double)value * (double)value;
    }
    square = STAGE == KD_REST ? (double)pass.sum[i] : kd_lanes_sum(square);
    if (STAGE == KD_SUMS) {
        if (lane == 0) pass.sum[i] = (float)square;
        return;
    }
    float length = fmaxf((float)sqrt(square), SMALLEST_NORM);
    for (int64_t c = lane; c < x.cols; c += KD_WARP)
        y.data[r * y.ld + c] = x.data[r * x.ld + c] * kd_dropout_at(&rng, r, pass.column + c, pass.p) / length;
    if (STAGE == KD_REST) __syncwarp(); /* every lane has read it */
    if (lane == 0) norm[r] = length;
}

extern "C" kd_status kd_cuda_unit_rows_forward(kd_ctx *ctx, const kd_split *split, const kd_groups *only, kd_mat x,
                                               float p, const kd_rng *rng, kd_mat y, float *norm) {
    unit_pass pass = unit_pass_of(split, only, p, rng, only ? (float *)ctx->workspace : norm);
    unsigned blocks = row_blocks(most_rows(only, x.rows));
    int64_t sums = sums_of(only, x.rows);
    if (!split) {
        KD_LAUNCH(unit_rows<KD_WHOLE>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, x, y, norm);
        KD_CUDA_LAUNCHED();
    }
    if (only) KD_CUDA_TRY(cudaMemsetAsync(pass.sum, 0, (size_t)sums * sizeof *pass.sum, kd_stream(ctx)));
    KD_LAUNCH(unit_rows<KD_SUMS>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, x, y, norm);
    kd_status status = kd_split_sum(split, ctx, sums, pass.sum);
    if (status != KD_OK) return status;
    KD_LAUNCH(unit_rows<KD_REST>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, x, y, norm);
    KD_CUDA_LAUNCHED();
}

/* pass.sum: of Y .* dY. */
template <kd_stage STAGE>
__global__ void __launch_bounds__(KD_BLOCK)
    unit_rows_gradient(unit_pass pass, float alpha, kd_mat y, const float *norm, kd_mat dy, float beta, kd_mat dx) {
    int64_t i = warp_row(), r = warp_row_of(pass.only, y.rows);
    if (r < 0) return;
    int lane = (int)(threadIdx.x % KD_WARP);
    double along = 0.0;
    for (int64_t c = lane; STAGE != KD_REST && c < y.cols; c += KD_WARP)
        along += (double)y.data[r * y.ld + c] * (double)dy.data[r * dy.ld + c];
    along = STAGE == KD_REST ? (double)pass.sum[i] : kd_lanes_sum(along);
    if (STAGE == KD_SUMS) {
        if (lane == 0) pass.sum[i] = (float)along;
        return;
    }
    kd_rng rng = kd_rng_now(pass.rng);
    float shrink = alpha / norm[r], inner = norm[r] > SMALLEST_NORM ? (float)along : 0.0f;
    for (int64_t c = lane; c < y.cols; c += KD_WARP) {
        float gradient = (dy.data[r * dy.ld + c] - y.data[r * y.ld + c] * inner) * shrink *
                         kd_dropout_at(&rng, r, pass.column + c, pass.p);
        float *to = dx.data + r * dx.ld + c;
        *to = beta == 0.0f ? gradient : gradient + beta * *to;
    }
}

extern "C" kd_status kd_cuda_unit_rows_backward(kd_ctx *ctx, const kd_split *split, const kd_groups *only, float alpha,
                                                kd_mat y, const float *norm, kd_mat dy, float p, const kd_rng *rng,
                                                float beta, kd_mat dx) {
    unit_pass pass = unit_pass_of(split, only, p, rng, (float *)ctx->workspace);
    unsigned blocks = row_blocks(most_rows(only, y.rows));
    int64_t sums = sums_of(only, y.rows);
    if (!split) {
        KD_LAUNCH(unit_rows_gradient<KD_WHOLE>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, alpha, y, norm, dy, beta,
                  dx);
        KD_CUDA_LAUNCHED();
    }
    if (only) KD_CUDA_TRY(cudaMemsetAsync(pass.sum, 0, (size_t)sums * sizeof *pass.sum, kd_stream(ctx)));
    KD_LAUNCH(unit_rows_gradient<KD_SUMS>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, alpha, y, norm, dy, beta, dx);
    kd_status status = kd_split_sum(split, ctx, sums, pass.sum);
    if (status != KD_OK) return status;
    KD_LAUNCH(unit_rows_gradient<KD_REST>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, alpha, y, norm, dy, beta, dx);
    KD_CUDA_LAUNCHED();
}

/* As many weights as there are modalities: one thread is enough. */
__global__ void softmax_weights(int64_t count, const float *w, float *s) {
    double largest = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, (double)w[i]);
    for (int64_t i = 0; i < count; i++) sum += exp((double)w[i] - largest);
    for (int64_t i = 0; i < count; i++) s[i] = (float)(exp((double)w[i] - largest) / sum);
}

extern "C" kd_status kd_cuda_softmax_forward(kd_ctx *ctx, int64_t count, const float *w, float *s) {
    KD_LAUNCH(softmax_weights, 1, 1, 0, kd_stream(ctx), count, w, s);
    KD_CUDA_LAUNCHED();
}

__global__ void softmax_gradient(int64_t count, const float *s, const float *ds, float *dw) {
    double along = 0.0;
    for (int64_t i = 0; i < count; i++) along += (double)s[i] * (double)ds[i];
    for (int64_t i = 0; i < count; i++) dw[i] += (float)((double)s[i] * ((double)ds[i] - along));
}

extern "C" kd_status kd_cuda_softmax_backward(kd_ctx *ctx, int64_t count, const float *s, const float *ds, float *dw) {
    KD_LAUNCH(softmax_gradient, 1, 1, 0, kd_stream(ctx), count, s, ds, dw);
    KD_CUDA_LAUNCHED();
}
