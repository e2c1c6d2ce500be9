#include <math.h>

#include "kernels/ref/ref.h"

kd_status kd_ref_softmax_forward(kd_ctx *ctx, int64_t count, const float *w, float *s) {
    (void)ctx;
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) sum += exp(w[i]);
    for (int64_t i = 0; i < count; i++) s[i] = (float)(exp(w[i]) / sum);
    return KD_OK;
}

kd_status kd_ref_softmax_backward(kd_ctx *ctx, int64_t count, const float *s, const float *ds, float *dw) {
    (void)ctx;
    double along = 0.0;
    for (int64_t i = 0; i < count; i++) along += (double)s[i] * ds[i];
    for (int64_t i = 0; i < count; i++) dw[i] = (float)(dw[i] + s[i] * (ds[i] - along));
    return KD_OK;
}
