/* Denoising diffusion over rows of a sparse 0/1 matrix (docs/model.md#diffusion). */
#ifndef KD_OPS_DIFFUSION_H
#define KD_OPS_DIFFUSION_H

#include "kernels/ops/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* t [n] = uniform in 0..steps-1, keyed (rng, row[i]). */
typedef kd_status kd_diffusion_steps_fn(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t steps, const kd_rng *rng,
                                        int32_t *t);

/* X [n, x0.cols] = drop( signal[t_i] x0[row_i] + sigma[t_i] noise + g[row_i] ) for each batch row i.
 * Noise: normal, keyed (noise_rng, row, column), or `noise` [n, x0.cols] where it is given. drop keeps with probability
 * 1 - p and divides by it, keyed (drop_rng, row, column); p = 0: none. g NULL: none. x0 is expanded on the fly. Of rows
 * that are split over ranks x0 and X hold columns first, first + 1, ...; keys count from the rows' beginning. */
typedef struct kd_q_sample_args {
    kd_csr x0;
    const int32_t *row;          /* [n] */
    const int32_t *t;            /* [n] */
    const float *signal, *sigma; /* [steps]: sqrt(abar), sqrt(1 - abar) */
    const float *g;              /* [x0.rows] or NULL */
    const float *noise;          /* [n, x0.cols] or NULL */
    float p;
    int64_t first; /* a multiple of four: draws come by fours */
    kd_rng noise_rng, drop_rng;
    kd_mat x;
} kd_q_sample_args;
typedef kd_status kd_q_sample_fn(kd_ctx *ctx, const kd_q_sample_args *args);

/* H = tanh(P + table[t_i]) row by row; table [steps, width]; t NULL: row 0 of table for all. H may be P. */
typedef kd_status kd_hidden_forward_fn(kd_ctx *ctx, kd_mat p, kd_mat table, const int32_t *t, kd_mat h);

/* dH = dH .* (1 - H^2) in place; dtable[t_i] += its rows, summed in batch order. */
typedef kd_status kd_hidden_backward_fn(kd_ctx *ctx, kd_mat h, const int32_t *t, kd_mat dh, kd_mat dtable);

/* Reconstruction of n rows: row_loss[i] = weight[t_i] / width sum_c (x0[row_i] - out_i)^2; loss[0] += (1/n) sum_i
 * row_loss[i]; out <- d loss / d out = weight[t_i] * 2 (out - x0) / (width n), in place. width: columns of whole rows,
 * of which x0 and out hold all, or one rank's: then the losses are its share. */
typedef struct kd_denoise_loss_args {
    kd_csr x0;
    const int32_t *row, *t; /* [n] */
    const float *weight;    /* [steps] */
    int64_t width;
    kd_mat out;      /* [n, x0.cols], overwritten by the gradient */
    float *row_loss; /* [n], overwritten */
    double *loss;    /* [1], added to */
} kd_denoise_loss_args;
typedef kd_status kd_denoise_loss_fn(kd_ctx *ctx, const kd_denoise_loss_args *args);

/* kd_denoise_loss without the output: out = H W^T, and only H, dH = H W^T W and XW = x0[row] W are there, since
 *   |out - x0|^2 = h . (h W^T W) - 2 h . (x0 W) + |x0|^2.
 * row_loss and loss as kd_denoise_loss. dH <- d loss / d H = s_i (dH - XW), s_i = weight[t_i] * 2 / (width n); XW
 * <- s_i H, from which the caller makes d loss / d W = W (H^T S H) - x0^T S H. A difference of products: for float32
 * and TF32. */
typedef struct kd_gram_loss_args {
    kd_csr x0;
    const int32_t *row, *t;
    const float *weight; /* [steps] */
    int64_t width;       /* as of kd_denoise_loss */
    kd_mat h, dh, xw;    /* [n, width of H] */
    float *row_loss;
    double *loss;
} kd_gram_loss_args;
typedef kd_status kd_gram_loss_fn(kd_ctx *ctx, const kd_gram_loss_args *args);

/* Guidance of n rows: row_loss[i] = (1/width) sum_c (y_i - target[row_i])^2; loss[0] += (weight / n) sum_i row_loss[i],
 * unless loss is NULL: another rank adds it; y <- d loss / d y = weight * 2 (y - target) / (width n), in place. width
 * as of kd_denoise_loss. */
typedef struct kd_guidance_loss_args {
    kd_mat target;
    const int32_t *row; /* [n] rows of target */
    float weight;
    int64_t width;
    kd_mat y;        /* [n, target.cols], overwritten by the gradient */
    float *row_loss; /* [n], overwritten */
    double *loss;    /* [1], added to, or NULL */
} kd_guidance_loss_args;
typedef kd_status kd_guidance_loss_fn(kd_ctx *ctx, const kd_guidance_loss_args *args);

#ifdef __cplusplus
}
#endif
#endif
