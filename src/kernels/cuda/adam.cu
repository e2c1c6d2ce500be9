#include "kernels/cuda/cuda.h"

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

extern "C" kd_status kd_cuda_adam(kd_ctx *ctx, const kd_adam_args *args) {
    KD_LAUNCH(adam_update, kd_strided_blocks(ctx, args->n), KD_BLOCK, 0, kd_stream(ctx), *args->config, args->steps,
              args->n, args->p, args->g, args->m, args->v);
    return kd_cuda_launched(__func__);
}
