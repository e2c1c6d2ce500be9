#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"

static const double TURN = 6.283185307179586477;

kd_status kd_ref_diffusion_steps(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t steps, const kd_rng *rng,
                                 int32_t *t) {
    (void)ctx;
    for (int64_t i = 0; i < n; i++) t[i] = (int32_t)kd_uniform_below(kd_ref_draw(rng, row[i], 0), (uint32_t)steps);
    return KD_OK;
}

/* Box-Muller: columns 2i and 2i + 1 share one pair of draws, of which the first is taken from (0, 1]. */
static double normal(const kd_rng *rng, int64_t row, int64_t col) {
    double uniform = ((kd_ref_draw(rng, row, col / 2 * 2) >> 8) + 1.0) * 0x1p-24;
    double angle = TURN * kd_uniform(kd_ref_draw(rng, row, col / 2 * 2 + 1));
    return sqrt(-2.0 * log(uniform)) * (col % 2 ? sin(angle) : cos(angle));
}

kd_status kd_ref_q_sample(kd_ctx *ctx, const kd_q_sample_args *a) {
    (void)ctx;
    int64_t width = a->x0.cols;
    for (int64_t i = 0; i < a->x.rows; i++)
        for (int64_t c = 0; c < width; c++) {
            int64_t row = a->row[i], t = a->t[i], col = a->first + c;
            double noise = a->noise ? (double)a->noise[i * width + c] : normal(&a->noise_rng, row, col);
            double value = a->signal[t] * kd_ref_entry(a->x0, row, c) + a->sigma[t] * noise;
            if (a->g) value += a->g[row];
            *kd_ref_at(a->x, i, c) = (float)(value * kd_ref_dropout(&a->drop_rng, row, col, a->p));
        }
    return KD_OK;
}

kd_status kd_ref_hidden_forward(kd_ctx *ctx, kd_mat p, kd_mat table, const int32_t *t, kd_mat h) {
    (void)ctx;
    for (int64_t i = 0; i < h.rows; i++)
        for (int64_t c = 0; c < h.cols; c++)
            *kd_ref_at(h, i, c) = (float)tanh((double)*kd_ref_at(p, i, c) + *kd_ref_at(table, t ? t[i] : 0, c));
    return KD_OK;
}

kd_status kd_ref_hidden_backward(kd_ctx *ctx, kd_mat h, const int32_t *t, kd_mat dh, kd_mat dtable) {
    (void)ctx;
    double *sums;
    KD_OR_RETURN(kd_ref_widen(dtable, &sums));
    for (int64_t i = 0; i < h.rows; i++)
        for (int64_t c = 0; c < h.cols; c++) {
            double out = *kd_ref_at(h, i, c), gradient = *kd_ref_at(dh, i, c) * (1.0 - out * out);
            *kd_ref_at(dh, i, c) = (float)gradient;
            sums[t[i] * dtable.cols + c] += gradient;
        }
    kd_ref_narrow(sums, dtable);
    free(sums);
    return KD_OK;
}

kd_status kd_ref_denoise_loss(kd_ctx *ctx, const kd_denoise_loss_args *a) {
    (void)ctx;
    for (int64_t i = 0; i < a->out.rows; i++) {
        double sum = 0.0, share = a->weight[a->t[i]] / (double)a->width;
        for (int64_t c = 0; c < a->out.cols; c++) {
            double miss = *kd_ref_at(a->out, i, c) - kd_ref_entry(a->x0, a->row[i], c);
            sum += miss * miss;
            *kd_ref_at(a->out, i, c) = (float)(2.0 * share * miss / (double)a->out.rows);
        }
        a->row_loss[i] = (float)(share * sum);
        a->loss[0] += share * sum / (double)a->out.rows;
    }
    return KD_OK;
}

kd_status kd_ref_gram_loss(kd_ctx *ctx, const kd_gram_loss_args *a) {
    (void)ctx;
    for (int64_t i = 0; i < a->h.rows; i++) {
        double sum = 0.0, share = a->weight[a->t[i]] / (double)a->width, slope = 2.0 * share / (double)a->h.rows;
        for (int64_t e = a->x0.row_ptr[a->row[i]]; e < a->x0.row_ptr[a->row[i] + 1]; e++)
            sum += kd_ref_value(a->x0, e) * kd_ref_value(a->x0, e);
        for (int64_t c = 0; c < a->h.cols; c++) {
            double h = *kd_ref_at(a->h, i, c), dh = *kd_ref_at(a->dh, i, c), xw = *kd_ref_at(a->xw, i, c);
            sum += h * dh - 2.0 * h * xw;
            *kd_ref_at(a->dh, i, c) = (float)(slope * (dh - xw));
            *kd_ref_at(a->xw, i, c) = (float)(slope * h);
        }
        a->row_loss[i] = (float)(share * sum);
        a->loss[0] += share * sum / (double)a->h.rows;
    }
    return KD_OK;
}

kd_status kd_ref_guidance_loss(kd_ctx *ctx, const kd_guidance_loss_args *a) {
    (void)ctx;
    for (int64_t i = 0; i < a->y.rows; i++) {
        double sum = 0.0;
        for (int64_t c = 0; c < a->y.cols; c++) {
            double miss = (double)*kd_ref_at(a->y, i, c) - *kd_ref_at(a->target, a->row[i], c);
            sum += miss * miss;
            *kd_ref_at(a->y, i, c) = (float)(2.0 * a->weight * miss / ((double)a->width * (double)a->y.rows));
        }
        a->row_loss[i] = (float)(sum / (double)a->width);
        if (a->loss) a->loss[0] += a->weight * sum / ((double)a->width * (double)a->y.rows);
    }
    return KD_OK;
}
