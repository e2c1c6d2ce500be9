#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/random.h"
#include "kernels/cpu/vector_math.h"

kd_status kd_cpu_diffusion_steps(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t steps, const kd_rng *rng,
                                 int32_t *t) {
    (void)ctx;
    kd_rng now = kd_rng_now(*rng);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        uint32_t draw[4];
        kd_rng_draw4(&now, (uint32_t)row[i], 0, draw);
        t[i] = (int32_t)kd_uniform_below(draw[0], (uint32_t)steps);
    }
    return KD_OK;
}

/* One row of x_t in strips of 64 columns: noise, the sparse x0 entries of the strip, guidance, dropout. */
static void q_sample_row(const kd_q_sample_args *a, int64_t i) {
    int64_t row = a->row[i], width = a->x0.cols, entry = a->x0.row_ptr[row], end = a->x0.row_ptr[row + 1];
    float signal = a->signal[a->t[i]], sigma = a->sigma[a->t[i]], shift = a->g ? a->g[row] : 0.0f;
    float *out = a->x.data + i * a->x.ld;
    for (int64_t first = 0; first < width; first += KD_RANDOM_WIDTH) {
        int64_t count = width - first < KD_RANDOM_WIDTH ? width - first : KD_RANDOM_WIDTH;
        float strip[KD_RANDOM_WIDTH];
        if (a->noise)
            memcpy(strip, a->noise + i * width + first, (size_t)count * sizeof(float));
        else
            kd_normal_row(&a->noise_rng, (uint32_t)row, (uint32_t)(a->first + first), strip);
        for (int64_t c = 0; c < count; c++) strip[c] = sigma * strip[c] + shift;
        for (; entry < end && a->x0.col[entry] < first + count; entry++)
            strip[a->x0.col[entry] - first] += signal * (a->x0.val ? a->x0.val[entry] : 1.0f);
        if (a->p > 0.0f) {
            float scale[KD_RANDOM_WIDTH];
            kd_dropout_scale(&a->drop_rng, (uint32_t)row, (uint32_t)(a->first + first), a->p, scale);
            for (int64_t c = 0; c < count; c++) strip[c] *= scale[c];
        }
        memcpy(out + first, strip, (size_t)count * sizeof(float));
    }
}

kd_status kd_cpu_q_sample(kd_ctx *ctx, const kd_q_sample_args *args) {
    (void)ctx;
    kd_q_sample_args now = *args;
    now.noise_rng = kd_rng_now(args->noise_rng);
    now.drop_rng = kd_rng_now(args->drop_rng);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < args->x.rows; i++) q_sample_row(&now, i);
    return KD_OK;
}

kd_status kd_cpu_hidden_forward(kd_ctx *ctx, kd_mat p, kd_mat table, const int32_t *t, kd_mat h) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < p.rows; r++) {
        const float *from = p.data + r * p.ld, *shift = table.data + (t ? t[r] : 0) * table.ld;
        float *to = h.data + r * h.ld;
#pragma omp simd
        for (int64_t c = 0; c < p.cols; c++) to[c] = kd_tanhf(from[c] + shift[c]);
    }
    return KD_OK;
}

kd_status kd_cpu_hidden_backward(kd_ctx *ctx, kd_mat h, const int32_t *t, kd_mat dh, kd_mat dtable) {
    (void)ctx;
    enum { STRIP = 64 };
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < h.cols; first += STRIP) {
        int64_t last = first + STRIP < h.cols ? first + STRIP : h.cols;
        for (int64_t r = 0; r < h.rows; r++) {
            const float *out = h.data + r * h.ld;
            float *up = dh.data + r * dh.ld, *to = dtable.data + t[r] * dtable.ld;
            for (int64_t c = first; c < last; c++) {
                up[c] *= 1.0f - out[c] * out[c];
                to[c] += up[c];
            }
        }
    }
    return KD_OK;
}

/* A row's loss sum is kept in double; the batch mean is added in row order. */
static void add_mean(const float *row_loss, int64_t n, double weight, double *loss) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += row_loss[i];
    loss[0] += weight * sum / (double)n;
}

/* out <- scale * (out - target) over a run of columns where x0 is 0; returns the sum of squares. */
static double zeros_run(float *out, int64_t from, int64_t to, float scale) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = from; c < to; c++) {
        sum += (double)(out[c] * out[c]);
        out[c] *= scale;
    }
    return sum;
}

kd_status kd_cpu_denoise_loss(kd_ctx *ctx, const kd_denoise_loss_args *a) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->out.rows; i++) {
        float *o = a->out.data + i * a->out.ld, w = a->weight[a->t[i]];
        float scale = (float)(2.0 * w / ((double)a->width * (double)a->out.rows));
        double sum = 0.0;
        int64_t next = 0;
        for (int64_t e = a->x0.row_ptr[a->row[i]]; e < a->x0.row_ptr[a->row[i] + 1]; e++) {
            int64_t c = a->x0.col[e];
            sum += zeros_run(o, next, c, scale);
            float miss = o[c] - (a->x0.val ? a->x0.val[e] : 1.0f);
            sum += (double)miss * miss;
            o[c] = scale * miss;
            next = c + 1;
        }
        sum += zeros_run(o, next, a->out.cols, scale);
        a->row_loss[i] = (float)(w * sum / (double)a->width);
    }
    add_mean(a->row_loss, a->out.rows, 1.0, a->loss);
    return KD_OK;
}

/* One row of kd_gram_loss, its products in double: they nearly cancel. */
static void gram_loss_row(const kd_gram_loss_args *a, int64_t i) {
    int64_t row = a->row[i];
    float *h = a->h.data + i * a->h.ld, *dh = a->dh.data + i * a->dh.ld, *xw = a->xw.data + i * a->xw.ld;
    float w = a->weight[a->t[i]], scale = (float)(2.0 * w / ((double)a->width * (double)a->h.rows));
    double sum = 0.0;
    for (int64_t e = a->x0.row_ptr[row]; e < a->x0.row_ptr[row + 1]; e++)
        sum += a->x0.val ? (double)a->x0.val[e] * a->x0.val[e] : 1.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < a->h.cols; c++) {
        sum += (double)h[c] * ((double)dh[c] - 2.0 * (double)xw[c]);
        dh[c] = scale * (dh[c] - xw[c]);
        xw[c] = scale * h[c];
    }
    a->row_loss[i] = (float)(w * sum / (double)a->width);
}

kd_status kd_cpu_gram_loss(kd_ctx *ctx, const kd_gram_loss_args *a) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->h.rows; i++) gram_loss_row(a, i);
    add_mean(a->row_loss, a->h.rows, 1.0, a->loss);
    return KD_OK;
}

kd_status kd_cpu_guidance_loss(kd_ctx *ctx, const kd_guidance_loss_args *a) {
    (void)ctx;
    float scale = (float)(2.0 * a->weight / ((double)a->width * (double)a->y.rows));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->y.rows; i++) {
        float *out = a->y.data + i * a->y.ld;
        const float *want = a->target.data + a->row[i] * a->target.ld;
        double sum = 0.0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < a->y.cols; c++) {
            float miss = out[c] - want[c];
            sum += (double)(miss * miss);
            out[c] = scale * miss;
        }
        a->row_loss[i] = (float)(sum / (double)a->width);
    }
    if (a->loss) add_mean(a->row_loss, a->y.rows, a->weight, a->loss);
    return KD_OK;
}
