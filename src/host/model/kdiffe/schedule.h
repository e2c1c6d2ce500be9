/* The noise schedule (docs/model.md#noise-schedule), in double. */
#ifndef KD_KDIFFE_SCHEDULE_H
#define KD_KDIFFE_SCHEDULE_H

#include "host/base/error.h"

#include <stdint.h>

enum { KD_MAX_DIFFUSION_STEPS = 1000 };

typedef struct kd_schedule {
    int64_t steps;
    double beta[KD_MAX_DIFFUSION_STEPS];
    double alpha_bar[KD_MAX_DIFFUSION_STEPS];          /* prod over j <= i of (1 - beta_j) */
    double coef1[KD_MAX_DIFFUSION_STEPS];              /* of the predicted x0 in the posterior mean */
    double coef2[KD_MAX_DIFFUSION_STEPS];              /* of x_t in it */
    double posterior_variance[KD_MAX_DIFFUSION_STEPS]; /* beta_t (1 - abar_{t-1}) / (1 - abar_t) */
    double weight[KD_MAX_DIFFUSION_STEPS];             /* of the loss: 1, then SNR(t-1) - SNR(t) */
} kd_schedule;

/* v = linspace(scale*min, scale*max, steps); beta_0 = 1e-4, beta_i = min(1 - (1-v_i)/(1-v_{i-1}), 0.999).
 * KD_ERR_ARGUMENT unless 1 <= steps <= KD_MAX_DIFFUSION_STEPS and every abar lies in (0, 1). */
kd_status kd_schedule_make(int64_t steps, double scale, double min, double max, kd_schedule *out);

#endif
