/* Ops that touch each element once: bound by memory, so every one reads and writes its operands a single time. */
#include "kernels/cuda/elementwise.h"

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
    kd_for_each_element(ctx, y.rows, y.cols, add_scaled{x, y, alpha, beta, NULL});
    return kd_cuda_launched(__func__);
}

extern "C" kd_status kd_cuda_add_weighted(kd_ctx *ctx, float scale, const float *alpha, kd_mat x, float beta,
                                          kd_mat y) {
    kd_for_each_element(ctx, y.rows, y.cols, add_scaled{x, y, scale, beta, alpha});
    return kd_cuda_launched(__func__);
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
    kd_for_each_element(ctx, x.rows, x.cols, leaky_forward{x, slope});
    return kd_cuda_launched(__func__);
}

struct leaky_backward {
    kd_mat y, dy;
    float slope;
    __device__ void operator()(int64_t r, int64_t c) const {
        if (!(y.data[r * y.ld + c] > 0.0f)) dy.data[r * dy.ld + c] *= slope;
    }
};

extern "C" kd_status kd_cuda_leaky_relu_backward(kd_ctx *ctx, float slope, kd_mat y, kd_mat dy) {
    kd_for_each_element(ctx, dy.rows, dy.cols, leaky_backward{y, dy, slope});
    return kd_cuda_launched(__func__);
}

struct take {
    kd_groups groups;
    kd_mat x, y;
    __device__ void operator()(int64_t g, int64_t c) const {
        y.data[g * y.ld + c] = g < groups.count[0] ? x.data[groups.key[g] * x.ld + c] : 0.0f;
    }
};

extern "C" kd_status kd_cuda_take_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat x, kd_mat y) {
    kd_for_each_element(ctx, y.rows, y.cols, take{*groups, x, y});
    return kd_cuda_launched(__func__);
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
    kd_for_each_element(ctx, groups->capacity, y.cols, give{*groups, y, x});
    return kd_cuda_launched(__func__);
}
