/* A denoiser's batch: noised rows, hidden layer, reconstruction loss. */
#include <stdio.h>

#include "host/bench/cases.h"

enum { STEPS = 10, SAMPLES = 16 };
static const float INPUT_DROPOUT = 0.5f;

typedef struct diffusion {
    int64_t batch, width;
    int32_t *row, *t; /* [batch] */
    float *signal, *sigma, *weight;
    kd_rng noise, drop;
    kd_mat p, table, out;
    float *row_loss;
    double *loss;
} diffusion;

/* Rows and steps of a batch over `width` columns; *entries = what its users have in those rows. */
static kd_status begin(kd_bench *b, int64_t width, diffusion **out, double *entries) {
    diffusion *s;
    int32_t *row, *t;
    int64_t users = b->setting->data->users, *row_ptr = b->setting->graph.row_ptr;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = *out = s;
    s->batch = b->setting->rows;
    s->width = width;
    KD_OR_RETURN(kd_bench_host(b, s->batch, sizeof *row, &row));
    KD_OR_RETURN(kd_bench_host(b, s->batch, sizeof *t, &t));
    *entries = 0.0;
    for (int64_t i = 0; i < s->batch; i++) { /* a stride through the rows: each once, none in order */
        row[i] = (int32_t)(users - 1 - i * (users / s->batch));
        t[i] = (int32_t)kd_bench_below(b, STEPS);
        *entries += (double)(row_ptr[row[i] + 1] - row_ptr[row[i]]);
    }
    KD_OR_RETURN(kd_bench_upload(b, row, s->batch, sizeof *row, &s->row));
    KD_OR_RETURN(kd_bench_upload(b, t, s->batch, sizeof *t, &s->t));
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)s->batch, (long long)width);
    return KD_OK;
}

static kd_status set_up_q_sample(kd_bench *b, int64_t parameter) {
    (void)parameter;
    diffusion *s;
    double entries;
    float signal[STEPS], sigma[STEPS];
    KD_OR_RETURN(begin(b, b->setting->data->items, &s, &entries));
    for (int t = 0; t < STEPS; t++) {
        sigma[t] = 0.1f * (float)(t + 1);
        signal[t] = 1.0f - 0.05f * (float)t;
    }
    KD_OR_RETURN(kd_bench_upload(b, signal, STEPS, sizeof *signal, &s->signal));
    KD_OR_RETURN(kd_bench_upload(b, sigma, STEPS, sizeof *sigma, &s->sigma));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->batch, s->width, "bench", &s->out));
    s->noise = (kd_rng){1, KD_RNG_NOISE, 0, 2, NULL};
    s->drop = (kd_rng){1, KD_RNG_INPUT_DROPOUT, 0, 2, NULL};
    b->nnz = (int64_t)entries;
    b->bytes = 4.0 * (double)s->batch * (double)s->width + 4.0 * entries + 24.0 * (double)s->batch;
    b->flops = 2.0 * (double)s->batch * (double)s->width;
    return KD_OK;
}

static kd_status set_up_hidden(kd_bench *b, int64_t parameter) {
    (void)parameter;
    diffusion *s;
    double entries;
    KD_OR_RETURN(begin(b, b->setting->config->hidden, &s, &entries));
    KD_OR_RETURN(kd_bench_mat(b, s->batch, s->width, 2.0f, &s->p));
    KD_OR_RETURN(kd_bench_mat(b, STEPS, s->width, 1.0f, &s->table));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->batch, s->width, "bench", &s->out));
    b->bytes = (8.0 * (double)s->batch + 4.0 * STEPS) * (double)s->width + 4.0 * (double)s->batch;
    b->flops = 2.0 * (double)s->batch * (double)s->width;
    return KD_OK;
}

static kd_status noise_rows(kd_bench *b, int64_t first, int64_t rows) {
    const diffusion *s = b->state;
    return kd_q_sample(b->ctx, &(kd_q_sample_args){.x0 = b->graphs->train,
                                                   .row = s->row + first,
                                                   .t = s->t + first,
                                                   .signal = s->signal,
                                                   .sigma = s->sigma,
                                                   .p = INPUT_DROPOUT,
                                                   .noise_rng = s->noise,
                                                   .drop_rng = s->drop,
                                                   .x = kd_mat_rows(s->out, first, rows)});
}

static kd_status hide_rows(kd_bench *b, int64_t first, int64_t rows) {
    const diffusion *s = b->state;
    return kd_hidden_forward(b->ctx, kd_mat_rows(s->p, first, rows), s->table, s->t + first,
                             kd_mat_rows(s->out, first, rows));
}

static kd_status run_q_sample(kd_bench *b) { return noise_rows(b, 0, b->setting->rows); }
static kd_status run_hidden(kd_bench *b) { return hide_rows(b, 0, b->setting->rows); }

/* Some rows of what an op makes row by row. */
static kd_status check_rows(kd_bench *b, kd_bench *ref, kd_status (*make)(kd_bench *b, int64_t first, int64_t rows)) {
    const diffusion *s = b->state, *expected = ref->state;
    for (int64_t i = 0; i < kd_bench_samples(s->batch, SAMPLES); i++) {
        int64_t r = kd_bench_sample(b, i, s->batch, SAMPLES);
        KD_OR_RETURN(make(ref, r, 1));
        KD_OR_RETURN(
            kd_bench_same_mat(b, kd_mat_rows(s->out, r, 1), kd_mat_rows(expected->out, r, 1), KD_BENCH_FLOAT32));
    }
    return KD_OK;
}

static kd_status check_q_sample(kd_bench *b, kd_bench *ref) { return check_rows(b, ref, noise_rows); }
static kd_status check_hidden(kd_bench *b, kd_bench *ref) { return check_rows(b, ref, hide_rows); }

/* Weights are such that the gradient is +-(out - x0): the op works in place, and a factor other than one would carry
 * repeated calls to subnormal numbers or to infinity. */
static kd_status set_up_loss(kd_bench *b, int64_t parameter) {
    (void)parameter;
    diffusion *s;
    double entries, elements;
    float weight[STEPS];
    KD_OR_RETURN(begin(b, b->setting->data->items, &s, &entries));
    elements = (double)s->batch * (double)s->width;
    for (int t = 0; t < STEPS; t++) weight[t] = (float)((t % 2 ? -0.5 : 0.5) * elements);
    KD_OR_RETURN(kd_bench_upload(b, weight, STEPS, sizeof *weight, &s->weight));
    KD_OR_RETURN(kd_bench_mat(b, s->batch, s->width, 1.0f, &s->out));
    KD_OR_RETURN(kd_bench_zeros(b, s->batch, sizeof *s->row_loss, &s->row_loss));
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof *s->loss, &s->loss));
    b->nnz = (int64_t)entries;
    b->bytes = 8.0 * elements + 4.0 * entries + 28.0 * (double)s->batch;
    b->flops = 4.0 * elements;
    return KD_OK;
}

static kd_status run_loss(kd_bench *b) {
    const diffusion *s = b->state;
    return kd_denoise_loss(b->ctx, &(kd_denoise_loss_args){.x0 = b->graphs->train,
                                                           .row = s->row,
                                                           .t = s->t,
                                                           .weight = s->weight,
                                                           .width = s->width,
                                                           .out = s->out,
                                                           .row_loss = s->row_loss,
                                                           .loss = s->loss});
}

static kd_status check_loss(kd_bench *b, kd_bench *ref) {
    const diffusion *s = b->state, *expected = ref->state;
    KD_OR_RETURN(run_loss(ref));
    KD_OR_RETURN(kd_bench_same_mat(b, s->out, expected->out, KD_BENCH_FLOAT32));
    KD_OR_RETURN(kd_bench_same_floats(b, s->row_loss, expected->row_loss, s->batch, KD_BENCH_FLOAT32));
    return kd_bench_same_loss(b, s->loss, expected->loss, KD_BENCH_FLOAT32);
}

const kd_bench_case kd_bench_diffusion_cases[] = {
    {"q_sample", "q_sample", false, 0, set_up_q_sample, run_q_sample, check_q_sample},
    {"hidden_forward", "hidden_forward", false, 0, set_up_hidden, run_hidden, check_hidden},
    {"denoise_loss", "denoise_loss", false, 0, set_up_loss, run_loss, check_loss},
    {0},
};
