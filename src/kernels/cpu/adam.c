#include <math.h>

#include "kernels/cpu/cpu.h"

kd_status kd_cpu_adam(kd_ctx *ctx, const kd_adam_config *config, const int64_t *steps, int64_t n, float *p,
                      const float *g, float *m, float *v) {
    (void)ctx;
    double step = (double)(*steps + 1);
    float b1 = (float)config->beta1, b2 = (float)config->beta2, eps = (float)config->eps;
    float rest1 = (float)(1.0 - config->beta1), rest2 = (float)(1.0 - config->beta2);
    float rate = (float)(config->lr / (1.0 - pow(config->beta1, step)));
    float root = (float)(1.0 / sqrt(1.0 - pow(config->beta2, step)));
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + rest1 * g[i];
        v[i] = b2 * v[i] + rest2 * g[i] * g[i];
        p[i] -= rate * m[i] / (sqrtf(v[i]) * root + eps);
    }
    return KD_OK;
}
