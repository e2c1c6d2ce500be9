/* Ops that touch each element once: bound by memory, so every one reads and writes its operands a single time. */
#include "kernels/cuda/reduce.h"

/* f(row, column) for every element; Index is 32 bits wide where that holds them all, since it is divided by. */
template <class Index, class F> __global__ void __launch_bounds__(KD_BLOCK) each_element(Index n, Index cols, F f) {
    Index stride = (Index)gridDim.x * blockDim.x;
    for (Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) f(i / cols, i % cols);
}

template <class F> static void for_each_element(kd_ctx *ctx, int64_t rows, int64_t cols, F f) {
    int64_t n = rows * cols;
    unsigned blocks = kd_strided_blocks(ctx, n);
    if (n == 0) return;
    if (n < INT64_C(1) << 31)
        KD_LAUNCH((each_element<uint32_t, F>), blocks, KD_BLOCK, 0, kd_stream(ctx), (uint32_t)n, (uint32_t)cols, f);
    else
        KD_LAUNCH((each_element<int64_t, F>), blocks, KD_BLOCK, 0, kd_stream(ctx), n, cols, f);
}

struct add_scaled {
    kd_mat x, y;
    float scale, beta;
    const float *alpha; /* NULL: 1 */
    __device__ void operator()(int64_t r, int64_t c) const {
        float *to = y.data + r * y.ld + c;
        float value = scale * (alpha ? alpha[0] : 1.0f) * x.data[r * x.ld + c];
        *to = beta == 0.0f ? value : value + beta * *to;
    }
};

extern "C" kd_status kd_cuda_add_scaled(kd_ctx *ctx, float alpha, kd_mat x, float beta, kd_mat y) {
    for_each_element(ctx, y.rows, y.cols, add_scaled{x, y, alpha, beta, NULL});
    KD_CUDA_LAUNCHED();
}

extern "C" kd_status kd_cuda_add_weighted(kd_ctx *ctx, float scale, const float *alpha, kd_mat x, float beta,
                                          kd_mat y) {
    for_each_element(ctx, y.rows, y.cols, add_scaled{x, y, scale, beta, alpha});
    KD_CUDA_LAUNCHED();
}

struct leaky_forward {
    kd_mat x;
    float slope;
    __device__ void operator()(int64_t r, int64_t c) const {
        float *at = x.data + r * x.ld + c;
        if (!(*at > 0.0f)) *at *= slope;
    }
};

extern "C" kd_status kd_cuda_leaky_relu_forward(kd_ctx *ctx, float slope, kd_mat x) {
    for_each_element(ctx, x.rows, x.cols, leaky_forward{x, slope});
    KD_CUDA_LAUNCHED();
}

struct leaky_backward {
    kd_mat y, dy;
    float slope;
    __device__ void operator()(int64_t r, int64_t c) const {
        if (!(y.data[r * y.ld + c] > 0.0f)) dy.data[r * dy.ld + c] *= slope;
    }
};

extern "C" kd_status kd_cuda_leaky_relu_backward(kd_ctx *ctx, float slope, kd_mat y, kd_mat dy) {
    for_each_element(ctx, dy.rows, dy.cols, leaky_backward{y, dy, slope});
    KD_CUDA_LAUNCHED();
}

struct take {
    kd_groups groups;
    kd_mat x, y;
    __device__ void operator()(int64_t g, int64_t c) const {
        y.data[g * y.ld + c] = g < groups.count[0] ? x.data[groups.key[g] * x.ld + c] : 0.0f;
    }
};

extern "C" kd_status kd_cuda_take_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat x, kd_mat y) {
    for_each_element(ctx, y.rows, y.cols, take{*groups, x, y});
    KD_CUDA_LAUNCHED();
}

/* Keys are distinct, so that each element has one thread. */
struct give {
    kd_groups groups;
    kd_mat y, x;
    __device__ void operator()(int64_t g, int64_t c) const {
        if (g < groups.count[0]) x.data[groups.key[g] * x.ld + c] += y.data[g * y.ld + c];
    }
};

extern "C" kd_status kd_cuda_give_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat y, kd_mat x) {
    for_each_element(ctx, groups->capacity, y.cols, give{*groups, y, x});
    KD_CUDA_LAUNCHED();
}

struct tanh_of_sum {
    kd_mat p, table, h;
    const int32_t *t; /* NULL: row 0 of table for all */
    __device__ void operator()(int64_t r, int64_t c) const {
        h.data[r * h.ld + c] = tanhf(p.data[r * p.ld + c] + table.data[(t ? t[r] : 0) * table.ld + c]);
    }
};

extern "C" kd_status kd_cuda_hidden_forward(kd_ctx *ctx, kd_mat p, kd_mat table, const int32_t *t, kd_mat h) {
    for_each_element(ctx, p.rows, p.cols, tanh_of_sum{p, table, h, t});
    KD_CUDA_LAUNCHED();
}

/* One launch for all tensors: they lie in one flat buffer. The bias corrections are the same for a whole block. */
__global__ void __launch_bounds__(KD_BLOCK)
    adam_update(kd_adam_config config, const int64_t *steps, int64_t n, float *p, const float *g, float *m, float *v) {
    KD_SHARED(float, correction, [2]);
    if (threadIdx.x == 0) {
        double step = (double)(*steps + 1);
        correction[0] = (float)(config.lr / (1.0 - pow(config.beta1, step)));
        correction[1] = (float)(1.0 / sqrt(1.0 - pow(config.beta2, step)));
    }
    __syncthreads();
    float b1 = (float)config.beta1, b2 = (float)config.beta2, eps = (float)config.eps;
    float rest1 = (float)(1.0 - config.beta1), rest2 = (float)(1.0 - config.beta2);
    float rate = correction[0], root = correction[1];
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) {
        float gradient = g[i], first = b1 * m[i] + rest1 * gradient, second = b2 * v[i] + rest2 * gradient * gradient;
        m[i] = first;
        v[i] = second;
        p[i] -= rate * first / (sqrtf(second) * root + eps);
    }
}

extern "C" kd_status kd_cuda_adam(kd_ctx *ctx, const kd_adam_config *config, const int64_t *steps, int64_t n, float *p,
                                  const float *g, float *m, float *v) {
    KD_LAUNCH(adam_update, kd_strided_blocks(ctx, n), KD_BLOCK, 0, kd_stream(ctx), *config, steps, n, p, g, m, v);
    KD_CUDA_LAUNCHED();
}
