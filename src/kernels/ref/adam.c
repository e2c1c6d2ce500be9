#include <math.h>

#include "kernels/ref/ref.h"

kd_status kd_ref_adam(kd_ctx *ctx, const kd_adam_config *config, const int64_t *steps, int64_t n, float *p,
                      const float *g, float *m, float *v) {
    (void)ctx;
    double step = (double)(*steps + 1), b1 = config->beta1, b2 = config->beta2;
    for (int64_t i = 0; i < n; i++) {
        double first = b1 * m[i] + (1.0 - b1) * g[i], second = b2 * v[i] + (1.0 - b2) * g[i] * g[i];
        double rate = config->lr / (1.0 - pow(b1, step));
        p[i] = (float)(p[i] - rate * first / (sqrt(second / (1.0 - pow(b2, step))) + config->eps));
        m[i] = (float)first;
        v[i] = (float)second;
    }
    return KD_OK;
}
