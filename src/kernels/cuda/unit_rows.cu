/* Rows of length 1 after dropout, a warp a row. */
#include "kernels/cuda/random.h"
#include "kernels/cuda/reduce.h"

static const float SMALLEST_NORM = 1e-12f;

/* The row of a warp among all rows or those that are keys of `only`; -1: none is left. */
static kd_groups all_or(const kd_groups *only) { return only ? *only : kd_groups{0, NULL, NULL, NULL, NULL}; }
static int64_t most_rows(const kd_groups *only, int64_t all) {
    return only && only->capacity < all ? only->capacity : all;
}
__device__ static inline int64_t warp_row_of(const kd_groups &only, int64_t all) {
    int64_t i = kd_warp_row();
    if (!only.count) return i < all ? i : -1;
    return i < only.count[0] ? only.key[i] : -1;
}

/* Unit rows: what the launches of one op share. */
struct unit_pass {
    kd_groups only;
    int64_t column; /* of the whole row, that the first local one is */
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
template <kd_sum_part PART>
__global__ void __launch_bounds__(KD_BLOCK) unit_rows(unit_pass pass, kd_mat x, kd_mat y, float *norm) {
    int64_t i = kd_warp_row(), r = warp_row_of(pass.only, x.rows);
    if (r < 0) return;
    int lane = (int)(threadIdx.x % KD_WARP);
    double square = 0.0;
    kd_rng rng = kd_rng_now(pass.rng);
    for (int64_t c = lane; PART != KD_REST && c < x.cols; c += KD_WARP) {
        float value = x.data[r * x.ld + c] * kd_dropout_at(&rng, r, pass.column + c, pass.p);
        square += (double)value * (double)value;
    }
    square = PART == KD_REST ? (double)pass.sum[i] : kd_lanes_sum(square);
    if (PART == KD_SUMS) {
        if (lane == 0) pass.sum[i] = (float)square;
        return;
    }
    float length = fmaxf((float)sqrt(square), SMALLEST_NORM);
    for (int64_t c = lane; c < x.cols; c += KD_WARP)
        y.data[r * y.ld + c] = x.data[r * x.ld + c] * kd_dropout_at(&rng, r, pass.column + c, pass.p) / length;
    if (PART == KD_REST) __syncwarp(); /* every lane has read it */
    if (lane == 0) norm[r] = length;
}

extern "C" kd_status kd_cuda_unit_rows_forward(kd_ctx *ctx, const kd_unit_rows_forward_args *args) {
    unit_pass pass =
        unit_pass_of(args->split, args->only, args->p, args->rng, args->only ? (float *)ctx->workspace : args->norm);
    unsigned blocks = kd_row_blocks(most_rows(args->only, args->x.rows));
    int64_t sums = sums_of(args->only, args->x.rows);
    if (!args->split) {
        KD_LAUNCH(unit_rows<KD_WHOLE>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, args->x, args->y, args->norm);
        return kd_cuda_launched(__func__);
    }
    if (args->only) KD_CUDA_OR_RETURN(cudaMemsetAsync(pass.sum, 0, (size_t)sums * sizeof *pass.sum, kd_stream(ctx)));
    KD_LAUNCH(unit_rows<KD_SUMS>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, args->x, args->y, args->norm);
    KD_OR_RETURN(kd_split_sum(args->split, ctx, sums, pass.sum));
    KD_LAUNCH(unit_rows<KD_REST>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, args->x, args->y, args->norm);
    return kd_cuda_launched(__func__);
}

/* pass.sum: of Y .* dY. */
template <kd_sum_part PART>
__global__ void __launch_bounds__(KD_BLOCK)
    unit_rows_gradient(unit_pass pass, float alpha, kd_mat y, const float *norm, kd_mat dy, float beta, kd_mat dx) {
    int64_t i = kd_warp_row(), r = warp_row_of(pass.only, y.rows);
    if (r < 0) return;
    int lane = (int)(threadIdx.x % KD_WARP);
    double along = 0.0;
    for (int64_t c = lane; PART != KD_REST && c < y.cols; c += KD_WARP)
        along += (double)y.data[r * y.ld + c] * (double)dy.data[r * dy.ld + c];
    along = PART == KD_REST ? (double)pass.sum[i] : kd_lanes_sum(along);
    if (PART == KD_SUMS) {
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

extern "C" kd_status kd_cuda_unit_rows_backward(kd_ctx *ctx, const kd_unit_rows_backward_args *args) {
    unit_pass pass = unit_pass_of(args->split, args->only, args->p, args->rng, (float *)ctx->workspace);
    unsigned blocks = kd_row_blocks(most_rows(args->only, args->y.rows));
    int64_t sums = sums_of(args->only, args->y.rows);
    if (!args->split) {
        KD_LAUNCH(unit_rows_gradient<KD_WHOLE>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, args->alpha, args->y,
                  args->norm, args->dy, args->beta, args->dx);
        return kd_cuda_launched(__func__);
    }
    if (args->only) KD_CUDA_OR_RETURN(cudaMemsetAsync(pass.sum, 0, (size_t)sums * sizeof *pass.sum, kd_stream(ctx)));
    KD_LAUNCH(unit_rows_gradient<KD_SUMS>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, args->alpha, args->y, args->norm,
              args->dy, args->beta, args->dx);
    KD_OR_RETURN(kd_split_sum(args->split, ctx, sums, pass.sum));
    KD_LAUNCH(unit_rows_gradient<KD_REST>, blocks, KD_BLOCK, 0, kd_stream(ctx), pass, args->alpha, args->y, args->norm,
              args->dy, args->beta, args->dx);
    return kd_cuda_launched(__func__);
}
