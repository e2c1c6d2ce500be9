/* Denoising diffusion over rows of a sparse matrix: noise and dropout are drawn in registers and x0 is read from its
 * CSR rows, so that the dense batch is written once and nothing else of its size exists. */
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/random.h"
#include "kernels/cuda/reduce.h"

enum { WARPS = KD_BLOCK / KD_WARP, QUAD = 4, ROW_COLUMNS = KD_BLOCK * QUAD };

__global__ void __launch_bounds__(KD_BLOCK)
    draw_steps(int64_t n, const int32_t *row, uint32_t steps, kd_rng rng, int32_t *t) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (i >= n) return;
    uint32_t draw[4];
    rng = kd_rng_now(rng);
    kd_rng_draw4(&rng, (uint32_t)row[i], 0, draw);
    t[i] = (int32_t)kd_uniform_below(draw[0], steps);
}

extern "C" kd_status kd_cuda_diffusion_steps(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t steps,
                                             const kd_rng *rng, int32_t *t) {
    KD_LAUNCH(draw_steps, kd_blocks(n, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), n, row, (uint32_t)steps, *rng, t);
    return kd_cuda_launched(__func__);
}

/* The entries of a CSR row, walked along with ascending columns. */
struct row_entries {
    const kd_csr *a;
    int64_t at, end;
    __device__ row_entries(const kd_csr *matrix, int64_t row, int64_t col) : a(matrix), end(matrix->row_ptr[row + 1]) {
        at = kd_lower_bound(matrix->col, matrix->row_ptr[row], end, (int32_t)col);
    }
    /* The entry at `col`, or 0; columns asked for must ascend. */
    __device__ float value(int64_t col) {
        if (at >= end || a->col[at] != col) return 0.0f;
        return a->val ? a->val[at++] : (at++, 1.0f);
    }
};

/* A thread takes four neighbouring columns of a row: one draw of noise, one of dropout, one search in x0's row. Six
 * blocks are asked for, which every card from sm_80 on can hold: left to itself, ptxas spills to make room for eight.
 */
__global__ void __launch_bounds__(KD_BLOCK, 6) noise_rows(kd_q_sample_args a) {
    int64_t width = a.x0.cols, i = blockIdx.x, row = a.row[i];
    int64_t first = ((int64_t)blockIdx.y * KD_BLOCK + threadIdx.x) * QUAD;
    if (first >= width) return;
    kd_rng noise_rng = kd_rng_now(a.noise_rng), drop_rng = kd_rng_now(a.drop_rng);
    float signal = a.signal[a.t[i]], sigma = a.sigma[a.t[i]], shift = a.g ? a.g[row] : 0.0f, noise[QUAD];
    uint32_t drop[QUAD];
    row_entries x0(&a.x0, row, first);
    if (!a.noise) kd_normal4(&noise_rng, row, (a.first + first) / QUAD, noise);
    if (a.p > 0.0f) kd_rng_draw4(&drop_rng, (uint32_t)row, (uint32_t)((a.first + first) / QUAD), drop);
    for (int j = 0; j < QUAD && first + j < width; j++) {
        float value = sigma * (a.noise ? a.noise[i * width + first + j] : noise[j]) + shift;
        value += signal * x0.value(first + j);
        if (a.p > 0.0f) value *= kd_uniform(drop[j]) >= a.p ? 1.0f / (1.0f - a.p) : 0.0f;
        a.x.data[i * a.x.ld + first + j] = value;
    }
}

extern "C" kd_status kd_cuda_q_sample(kd_ctx *ctx, const kd_q_sample_args *args) {
    if (args->x.rows == 0 || args->x.cols == 0) return KD_OK;
    dim3 grid((unsigned)args->x.rows, kd_blocks(args->x.cols, ROW_COLUMNS));
    KD_LAUNCH(noise_rows, grid, KD_BLOCK, 0, kd_stream(ctx), *args);
    return kd_cuda_launched(__func__);
}

struct tanh_of_sum {
    kd_mat p, table, h;
    const int32_t *t; /* NULL: row 0 of table for all */
    __device__ void operator()(int64_t r, int64_t c) const {
        h.data[r * h.ld + c] = tanhf(p.data[r * p.ld + c] + table.data[(t ? t[r] : 0) * table.ld + c]);
    }
};

extern "C" kd_status kd_cuda_hidden_forward(kd_ctx *ctx, kd_mat p, kd_mat table, const int32_t *t, kd_mat h) {
    kd_for_each_element(ctx, p.rows, p.cols, tanh_of_sum{p, table, h, t});
    return kd_cuda_launched(__func__);
}

__global__ void __launch_bounds__(KD_BLOCK) tanh_gradient(kd_mat h, kd_mat dh) {
    int64_t n = h.rows * h.cols, stride = (int64_t)gridDim.x * KD_BLOCK;
    for (int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x; i < n; i += stride) {
        int64_t r = i / h.cols, c = i % h.cols;
        float out = h.data[r * h.ld + c];
        dh.data[r * dh.ld + c] *= 1.0f - out * out;
    }
}

/* dtable[step] += the rows of that step in batch order: a block takes a step and KD_BLOCK columns. */
__global__ void __launch_bounds__(KD_BLOCK) add_by_step(const int32_t *t, kd_mat dh, kd_mat dtable) {
    KD_SHARED(int32_t, steps, [KD_BLOCK]);
    int64_t c = (int64_t)blockIdx.y * KD_BLOCK + threadIdx.x;
    int32_t step = (int32_t)blockIdx.x;
    float sum = 0.0f;
    for (int64_t first = 0; first < dh.rows; first += KD_BLOCK) {
        if (first + threadIdx.x < dh.rows) steps[threadIdx.x] = t[first + threadIdx.x];
        __syncthreads();
        for (int64_t r = first; r < first + KD_BLOCK && r < dh.rows; r++)
            if (steps[r - first] == step && c < dh.cols) sum += dh.data[r * dh.ld + c];
        __syncthreads();
    }
    if (c < dh.cols) dtable.data[step * dtable.ld + c] += sum;
}

extern "C" kd_status kd_cuda_hidden_backward(kd_ctx *ctx, kd_mat h, const int32_t *t, kd_mat dh, kd_mat dtable) {
    dim3 grid((unsigned)dtable.rows, kd_blocks(dh.cols, KD_BLOCK));
    KD_LAUNCH(tanh_gradient, kd_strided_blocks(ctx, h.rows * h.cols), KD_BLOCK, 0, kd_stream(ctx), h, dh);
    KD_LAUNCH(add_by_step, grid, KD_BLOCK, 0, kd_stream(ctx), t, dh, dtable);
    return kd_cuda_launched(__func__);
}

/* A block a row: squares summed and the gradient left in their place in one pass. */
__global__ void __launch_bounds__(KD_BLOCK, 4)
    reconstruction(kd_csr x0, const int32_t *row, const int32_t *t, const float *weight, int64_t width, kd_mat out,
                   float *row_loss) {
    KD_SHARED(double, part, [KD_WARP]);
    int64_t i = blockIdx.x;
    float w = weight[t[i]], scale = (float)(2.0 * (double)w / ((double)width * (double)out.rows));
    double sum = 0.0;
    for (int64_t first = (int64_t)threadIdx.x * QUAD; first < out.cols; first += ROW_COLUMNS) {
        row_entries target(&x0, row[i], first);
        for (int j = 0; j < QUAD && first + j < out.cols; j++) {
            float *o = out.data + i * out.ld + first + j, miss = *o - target.value(first + j);
            sum += (double)miss * (double)miss;
            *o = scale * miss;
        }
    }
    sum = kd_block_sum(sum, part);
    if (threadIdx.x == 0) row_loss[i] = (float)((double)w * sum / (double)width);
}

extern "C" kd_status kd_cuda_denoise_loss(kd_ctx *ctx, const kd_denoise_loss_args *args) {
    if (args->out.rows == 0) return KD_OK;
    KD_LAUNCH(reconstruction, (unsigned)args->out.rows, KD_BLOCK, 0, kd_stream(ctx), args->x0, args->row, args->t,
              args->weight, args->width, args->out, args->row_loss);
    KD_LAUNCH(kd_add_row_sum, 1, KD_BLOCK, 0, kd_stream(ctx), args->out.rows, args->row_loss,
              1.0 / (double)args->out.rows, args->loss);
    return kd_cuda_launched(__func__);
}

/* A block a row; the products are summed in double: they nearly cancel. */
__global__ void __launch_bounds__(KD_BLOCK) hidden_reconstruction(kd_gram_loss_args a) {
    KD_SHARED(double, part, [KD_WARP]);
    int64_t i = blockIdx.x, row = a.row[i], first = a.x0.row_ptr[row], end = a.x0.row_ptr[row + 1];
    float w = a.weight[a.t[i]], scale = (float)(2.0 * (double)w / ((double)a.width * (double)a.h.rows));
    double sum = 0.0;
    if (!a.x0.val)
        sum = threadIdx.x == 0 ? (double)(end - first) : 0.0;
    else
        for (int64_t e = first + threadIdx.x; e < end; e += KD_BLOCK) sum += (double)a.x0.val[e] * a.x0.val[e];
    for (int64_t c = threadIdx.x; c < a.h.cols; c += KD_BLOCK) {
        float h = a.h.data[i * a.h.ld + c], *dh = a.dh.data + i * a.dh.ld + c, *xw = a.xw.data + i * a.xw.ld + c;
        sum += (double)h * ((double)*dh - 2.0 * (double)*xw);
        *dh = scale * (*dh - *xw);
        *xw = scale * h;
    }
    sum = kd_block_sum(sum, part);
    if (threadIdx.x == 0) a.row_loss[i] = (float)((double)w * sum / (double)a.width);
}

extern "C" kd_status kd_cuda_gram_loss(kd_ctx *ctx, const kd_gram_loss_args *args) {
    int64_t n = args->h.rows;
    KD_LAUNCH(hidden_reconstruction, (unsigned)n, KD_BLOCK, 0, kd_stream(ctx), *args);
    KD_LAUNCH(kd_add_row_sum, 1, KD_BLOCK, 0, kd_stream(ctx), n, args->row_loss, 1.0 / (double)n, args->loss);
    return kd_cuda_launched(__func__);
}

/* A warp a row. */
__global__ void __launch_bounds__(KD_BLOCK)
    guidance(kd_mat target, const int32_t *row, float scale, int64_t width, kd_mat y, float *row_loss) {
    int64_t i = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP;
    if (i >= y.rows) return;
    double sum = 0.0;
    for (int64_t c = threadIdx.x % KD_WARP; c < y.cols; c += KD_WARP) {
        float miss = y.data[i * y.ld + c] - target.data[row[i] * target.ld + c];
        sum += (double)miss * (double)miss;
        y.data[i * y.ld + c] = scale * miss;
    }
    sum = kd_lanes_sum(sum);
    if (threadIdx.x % KD_WARP == 0) row_loss[i] = (float)(sum / (double)width);
}

extern "C" kd_status kd_cuda_guidance_loss(kd_ctx *ctx, const kd_guidance_loss_args *args) {
    if (args->y.rows == 0) return KD_OK;
    float scale = (float)(2.0 * (double)args->weight / ((double)args->width * (double)args->y.rows));
    KD_LAUNCH(guidance, kd_blocks(args->y.rows, WARPS), KD_BLOCK, 0, kd_stream(ctx), args->target, args->row, scale,
              args->width, args->y, args->row_loss);
    if (args->loss)
        KD_LAUNCH(kd_add_row_sum, 1, KD_BLOCK, 0, kd_stream(ctx), args->y.rows, args->row_loss,
                  (double)args->weight / (double)args->y.rows, args->loss);
    return kd_cuda_launched(__func__);
}
