#include <math.h>

#include "kernels/cpu/cpu.h"

kd_status kd_cpu_adam(kd_ctx *ctx, const kd_adam_args *a) {
    (void)ctx;
    float *p = a->p, *m = a->m, *v = a->v;
    const float *g = a->g;
    double step = (double)(*a->steps + 1);
    float b1 = (float)a->config->beta1, b2 = (float)a->config->beta2, eps = (float)a->config->eps;
    float rest1 = (float)(1.0 - a->config->beta1), rest2 = (float)(1.0 - a->config->beta2);
    float rate = (float)(a->config->lr / (1.0 - pow(a->config->beta1, step)));
    float root = (float)(1.0 / sqrt(1.0 - pow(a->config->beta2, step)));
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < a->n; i++) {
        m[i] = b1 * m[i] + rest1 * g[i];
        v[i] = b2 * v[i] + rest2 * g[i] * g[i];
        p[i] -= rate * m[i] / (sqrtf(v[i]) * root + eps);
    }
    return KD_OK;
}
