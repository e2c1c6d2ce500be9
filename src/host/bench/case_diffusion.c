/* A denoiser's batch: noised rows, hidden layer, reconstruction loss. */
#include <math.h>
#include <stdio.h>

#include "host/bench/cases.h"

enum { STEPS = 10, SAMPLES = 4096 };
static const float INPUT_DROPOUT = 0.5f;

typedef struct diffusion {
    int64_t batch, width;
    kd_csr x0; /* host copy of the rows */
    int32_t *row, *t, *row_at, *t_at;
    float *signal, *sigma, *weight, *signal_at, *sigma_at, *weight_at;
    kd_rng noise, drop;
    kd_mat p, table, out;
    float *hp, *htable, *row_loss;
    double *loss;
} diffusion;

/* Rows and steps of a batch over `width` columns; *entries = what x0 holds in those rows. */
static kd_status begin(kd_bench *b, int64_t width, diffusion **out, double *entries) {
    diffusion *s;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = *out = s;
    s->batch = b->setting->rows;
    s->width = width;
    KD_OR_RETURN(kd_bench_csr(b, b->setting->graphs.train, &s->x0));
    KD_OR_RETURN(kd_bench_host(b, s->batch, sizeof *s->row, &s->row));
    KD_OR_RETURN(kd_bench_host(b, s->batch, sizeof *s->t, &s->t));
    *entries = 0.0;
    for (int64_t i = 0; i < s->batch; i++) { /* a stride through the rows: each once, none in order */
        s->row[i] = (int32_t)(s->x0.rows - 1 - i * (s->x0.rows / s->batch));
        s->t[i] = (int32_t)kd_bench_below(b, STEPS);
        *entries += (double)(s->x0.row_ptr[s->row[i] + 1] - s->x0.row_ptr[s->row[i]]);
    }
    KD_OR_RETURN(kd_bench_upload(b, s->row, s->batch, sizeof *s->row, &s->row_at));
    KD_OR_RETURN(kd_bench_upload(b, s->t, s->batch, sizeof *s->t, &s->t_at));
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)s->batch, (long long)width);
    return KD_OK;
}

static float entry(const kd_csr *a, int64_t row, int64_t col) {
    for (int64_t k = a->row_ptr[row]; k < a->row_ptr[row + 1]; k++)
        if (a->col[k] == col) return 1.0f;
    return 0.0f;
}

/* Draw (row, col): block col / 4, word col % 4. */
static uint32_t drawn(const kd_rng *rng, int64_t row, int64_t col) {
    uint32_t draw[4];
    kd_rng_draw4(rng, (uint32_t)row, (uint32_t)(col / 4), draw);
    return draw[col % 4];
}

/* Box-Muller: columns 2i and 2i + 1 share a pair of draws. */
static double normal(const kd_rng *rng, int64_t row, int64_t col) {
    double u = ((double)(drawn(rng, row, col & ~INT64_C(1)) >> 8) + 1.0) * 0x1p-24;
    double angle = 6.283185307179586 * kd_uniform(drawn(rng, row, col | 1));
    return sqrt(-2.0 * log(u)) * (col % 2 ? sin(angle) : cos(angle));
}

static kd_status set_up_q_sample(kd_bench *b, int64_t parameter) {
    (void)parameter;
    diffusion *s;
    double entries;
    KD_OR_RETURN(begin(b, b->setting->data->items, &s, &entries));
    KD_OR_RETURN(kd_bench_host(b, STEPS, sizeof *s->signal, &s->signal));
    KD_OR_RETURN(kd_bench_host(b, STEPS, sizeof *s->sigma, &s->sigma));
    for (int t = 0; t < STEPS; t++) {
        s->sigma[t] = 0.1f * (float)(t + 1);
        s->signal[t] = 1.0f - 0.05f * (float)t;
    }
    KD_OR_RETURN(kd_bench_upload(b, s->signal, STEPS, sizeof *s->signal, &s->signal_at));
    KD_OR_RETURN(kd_bench_upload(b, s->sigma, STEPS, sizeof *s->sigma, &s->sigma_at));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->batch, s->width, "bench", &s->out));
    s->noise = (kd_rng){1, KD_RNG_NOISE, 0, 2, NULL};
    s->drop = (kd_rng){1, KD_RNG_INPUT_DROPOUT, 0, 2, NULL};
    b->nnz = (int64_t)entries;
    b->bytes = 4.0 * (double)s->batch * (double)s->width + 4.0 * entries + 24.0 * (double)s->batch;
    b->flops = 2.0 * (double)s->batch * (double)s->width;
    return KD_OK;
}

static kd_status run_q_sample(kd_bench *b) {
    const diffusion *s = b->state;
    kd_q_sample_args q = {.x0 = b->setting->graphs.train,
                          .row = s->row_at,
                          .t = s->t_at,
                          .signal = s->signal_at,
                          .sigma = s->sigma_at,
                          .p = INPUT_DROPOUT,
                          .noise_rng = s->noise,
                          .drop_rng = s->drop,
                          .x = s->out};
    return kd_q_sample(b->ctx, &q);
}

static kd_status check_q_sample(kd_bench *b) {
    const diffusion *s = b->state;
    int64_t n = s->batch * s->width;
    float *x;
    kd_status status = kd_bench_read(b, s->out.data, n, sizeof *x, &x);
    for (int64_t k = 0; status == KD_OK && k < kd_bench_samples(n, SAMPLES); k++) {
        int64_t at = kd_bench_sample(b, k, n, SAMPLES), i = at / s->width, c = at % s->width, row = s->row[i];
        double value =
            s->signal[s->t[i]] * (double)entry(&s->x0, row, c) + s->sigma[s->t[i]] * normal(&s->noise, row, c);
        double kept = kd_uniform(drawn(&s->drop, row, c)) >= INPUT_DROPOUT ? 1.0 / (1.0 - INPUT_DROPOUT) : 0.0;
        kd_bench_real(b, x[at], value * kept, fmax(1.0, fabs(value * kept)), KD_BENCH_FLOAT32);
    }
    return status;
}

static kd_status set_up_hidden(kd_bench *b, int64_t parameter) {
    (void)parameter;
    diffusion *s;
    double entries;
    KD_OR_RETURN(begin(b, b->setting->config->hidden, &s, &entries));
    KD_OR_RETURN(kd_bench_mat(b, s->batch, s->width, 2.0f, &s->hp, &s->p));
    KD_OR_RETURN(kd_bench_mat(b, STEPS, s->width, 1.0f, &s->htable, &s->table));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->batch, s->width, "bench", &s->out));
    b->bytes = (8.0 * (double)s->batch + 4.0 * STEPS) * (double)s->width + 4.0 * (double)s->batch;
    b->flops = 2.0 * (double)s->batch * (double)s->width;
    return KD_OK;
}

static kd_status run_hidden(kd_bench *b) {
    const diffusion *s = b->state;
    return kd_hidden_forward(b->ctx, s->p, s->table, s->t_at, s->out);
}

static kd_status check_hidden(kd_bench *b) {
    const diffusion *s = b->state;
    int64_t n = s->batch * s->width;
    float *h;
    kd_status status = kd_bench_read(b, s->out.data, n, sizeof *h, &h);
    for (int64_t k = 0; status == KD_OK && k < kd_bench_samples(n, SAMPLES); k++) {
        int64_t at = kd_bench_sample(b, k, n, SAMPLES), i = at / s->width, c = at % s->width;
        kd_bench_real(b, h[at], tanh((double)s->hp[at] + s->htable[s->t[i] * s->width + c]), 1.0, KD_BENCH_FLOAT32);
    }
    return status;
}

/* Weights are such that the gradient is +-(out - x0): the op works in place, and a factor other than one would carry
 * repeated calls to subnormal numbers or to infinity. */
static kd_status set_up_loss(kd_bench *b, int64_t parameter) {
    (void)parameter;
    diffusion *s;
    double entries, elements;
    KD_OR_RETURN(begin(b, b->setting->data->items, &s, &entries));
    elements = (double)s->batch * (double)s->width;
    KD_OR_RETURN(kd_bench_host(b, STEPS, sizeof *s->weight, &s->weight));
    for (int t = 0; t < STEPS; t++) s->weight[t] = (float)((t % 2 ? -0.5 : 0.5) * elements);
    KD_OR_RETURN(kd_bench_upload(b, s->weight, STEPS, sizeof *s->weight, &s->weight_at));
    KD_OR_RETURN(kd_bench_mat(b, s->batch, s->width, 1.0f, &s->hp, &s->out));
    KD_OR_RETURN(kd_bench_zeros(b, s->batch, sizeof *s->row_loss, &s->row_loss));
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof *s->loss, &s->loss));
    b->nnz = (int64_t)entries;
    b->bytes = 8.0 * elements + 4.0 * entries + 28.0 * (double)s->batch;
    b->flops = 4.0 * elements;
    return KD_OK;
}

static kd_status run_loss(kd_bench *b) {
    const diffusion *s = b->state;
    return kd_denoise_loss(b->ctx, &(kd_denoise_loss_args){.x0 = b->setting->graphs.train,
                                                           .row = s->row_at,
                                                           .t = s->t_at,
                                                           .weight = s->weight_at,
                                                           .width = s->width,
                                                           .out = s->out,
                                                           .row_loss = s->row_loss,
                                                           .loss = s->loss});
}

static kd_status check_loss(kd_bench *b) {
    const diffusion *s = b->state;
    double *loss, n = (double)s->batch, w = (double)s->width;
    kd_bench_sum total = {0};
    float *out, *row_loss, *target;
    KD_OR_RETURN(kd_bench_read(b, s->out.data, s->batch * s->width, sizeof *out, &out));
    KD_OR_RETURN(kd_bench_read(b, s->row_loss, s->batch, sizeof *row_loss, &row_loss));
    KD_OR_RETURN(kd_bench_read(b, s->loss, 1, sizeof *loss, &loss));
    KD_OR_RETURN(kd_bench_host(b, s->width, sizeof *target, &target));
    for (int64_t i = 0; i < s->batch; i++) {
        double weight = s->weight[s->t[i]], sum = 0.0;
        for (int64_t c = 0; c < s->width; c++) target[c] = 0.0f;
        for (int64_t k = s->x0.row_ptr[s->row[i]]; k < s->x0.row_ptr[s->row[i] + 1]; k++) target[s->x0.col[k]] = 1.0f;
        for (int64_t c = 0; c < s->width; c++) {
            double miss = (double)s->hp[i * s->width + c] - target[c];
            sum += miss * miss;
            if (i % 16 == 0)
                kd_bench_real(b, out[i * s->width + c], weight * 2.0 * miss / (w * n), 1.0, KD_BENCH_FLOAT32);
        }
        kd_bench_real(b, row_loss[i], weight * sum / w, fabs(weight * sum / w), KD_BENCH_FLOAT32);
        kd_bench_add(&total, weight * sum / w / n);
    }
    kd_bench_real(b, loss[0], total.value, total.magnitude, KD_BENCH_FLOAT32);
    return KD_OK;
}

const kd_bench_case kd_bench_diffusion_cases[] = {
    {"q_sample", "q_sample", false, 0, set_up_q_sample, run_q_sample, check_q_sample},
    {"hidden_forward", "hidden_forward", false, 0, set_up_hidden, run_hidden, check_hidden},
    {"denoise_loss", "denoise_loss", false, 0, set_up_loss, run_loss, check_loss},
    {0},
};
