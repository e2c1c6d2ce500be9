#include <math.h>

#include "kernels/ref/ref.h"

kd_status kd_ref_adam(kd_ctx *ctx, const kd_adam_args *a) {
    (void)ctx;
    float *p = a->p, *m = a->m, *v = a->v;
    const float *g = a->g;
    double step = (double)(*a->steps + 1), b1 = a->config->beta1, b2 = a->config->beta2;
    for (int64_t i = 0; i < a->n; i++) {
        double first = b1 * m[i] + (1.0 - b1) * g[i], second = b2 * v[i] + (1.0 - b2) * g[i] * g[i];
        double rate = a->config->lr / (1.0 - pow(b1, step));
        p[i] = (float)(p[i] - rate * first / (sqrt(second / (1.0 - pow(b2, step))) + a->config->eps));
        m[i] = (float)first;
        v[i] = (float)second;
    }
    return KD_OK;
}
