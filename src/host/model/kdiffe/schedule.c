#include "host/model/kdiffe/schedule.h"

#include <math.h>

static double snr(double alpha_bar) { return alpha_bar / (1.0 - alpha_bar); }

static void fill_betas(double scale, double min, double max, kd_schedule *s) {
    double previous = 0.0;
    for (int64_t i = 0; i < s->steps; i++) {
        double share = s->steps > 1 ? (double)i / (double)(s->steps - 1) : 0.0;
        double v = scale * (min + share * (max - min));
        s->beta[i] = i == 0 ? 1e-4 : fmin(1.0 - (1.0 - v) / (1.0 - previous), 0.999);
        previous = v;
    }
}

kd_status kd_schedule_make(int64_t steps, double scale, double min, double max, kd_schedule *out) {
    if (steps < 1 || steps > KD_MAX_DIFFUSION_STEPS)
        return KD_FAIL(KD_ERR_ARGUMENT, "steps: expected 1 to %d", KD_MAX_DIFFUSION_STEPS);
    *out = (kd_schedule){.steps = steps};
    fill_betas(scale, min, max, out);
    double before = 1.0;
    for (int64_t i = 0; i < steps; i++) {
        double now = before * (1.0 - out->beta[i]);
        if (!(now > 0.0 && now < 1.0))
            return KD_FAIL(KD_ERR_ARGUMENT, "noise_scale, noise_min, noise_max: step %lld leaves no signal or no noise",
                           (long long)i);
        out->alpha_bar[i] = now;
        out->coef1[i] = out->beta[i] * sqrt(before) / (1.0 - now);
        out->coef2[i] = (1.0 - before) * sqrt(1.0 - out->beta[i]) / (1.0 - now);
        out->posterior_variance[i] = out->beta[i] * (1.0 - before) / (1.0 - now);
        out->weight[i] = i == 0 ? 1.0 : snr(before) - snr(now);
        before = now;
    }
    return KD_OK;
}
