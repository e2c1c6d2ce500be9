#include "kernels/cuda/cuda.h"

/* As many weights as there are modalities: one thread is enough. */
__global__ void softmax_weights(int64_t count, const float *w, float *s) {
    double largest = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, (double)w[i]);
    for (int64_t i = 0; i < count; i++) sum += exp((double)w[i] - largest);
    for (int64_t i = 0; i < count; i++) s[i] = (float)(exp((double)w[i] - largest) / sum);
}

extern "C" kd_status kd_cuda_softmax_forward(kd_ctx *ctx, int64_t count, const float *w, float *s) {
    KD_LAUNCH(softmax_weights, 1, 1, 0, kd_stream(ctx), count, w, s);
    return kd_cuda_launched(__func__);
}

__global__ void softmax_gradient(int64_t count, const float *s, const float *ds, float *dw) {
    double along = 0.0;
    for (int64_t i = 0; i < count; i++) along += (double)s[i] * (double)ds[i];
    for (int64_t i = 0; i < count; i++) dw[i] += (float)((double)s[i] * ((double)ds[i] - along));
}

extern "C" kd_status kd_cuda_softmax_backward(kd_ctx *ctx, int64_t count, const float *s, const float *ds, float *dw) {
    KD_LAUNCH(softmax_gradient, 1, 1, 0, kd_stream(ctx), count, s, ds, dw);
    return kd_cuda_launched(__func__);
}
