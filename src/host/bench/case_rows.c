/* Row, column and element-wise ops: unit rows, weight decay, Adam, column sums. */
#include <math.h>
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct rows {
    kd_mat x, y, up; /* up: gradient of y; dx lies in y where there is no other */
    float *hx, *hy, *hup, *hnorm, *norm;
    float dropout;
    kd_rng rng;
    double *loss;
    /* Adam */
    kd_adam_config adam;
    int64_t *steps;
    kd_mat p, g, m, v;
    float *hp, *hg, *hm, *hv;
} rows;

static kd_status begin(kd_bench *b, int64_t count, int64_t cols, rows **out) {
    kd_status status = kd_bench_host(b, 1, sizeof **out, out);
    b->state = *out;
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)count, (long long)cols);
    return status;
}

/* 1 / (1 - p) or 0 for one element, by the rule that every backend draws by. */
static double kept(const kd_rng *rng, float p, int64_t row, int64_t col) {
    uint32_t draw[4];
    kd_rng_draw4(rng, (uint32_t)row, (uint32_t)(col / 4), draw);
    return p == 0.0f ? 1.0 : kd_uniform(draw[col % 4]) >= p ? 1.0 / (1.0 - p) : 0.0;
}

static kd_status begin_unit(kd_bench *b, rows **out) {
    int64_t n = b->setting->graph.nodes, d = b->setting->config->dim;
    KD_OR_RETURN(begin(b, n, d, out));
    (*out)->dropout = (float)b->setting->config->mess_dropout;
    (*out)->rng = (kd_rng){1, KD_RNG_MESSAGE_DROPOUT, 0, 0, NULL};
    return kd_bench_zeros(b, n, sizeof(float), &(*out)->norm);
}

static kd_status set_up_unit(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rows *s;
    KD_OR_RETURN(begin_unit(b, &s));
    KD_OR_RETURN(kd_bench_mat(b, b->setting->graph.nodes, b->setting->config->dim, 1.0f, &s->hx, &s->x));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->x.rows, s->x.cols, "bench", &s->y));
    b->bytes = 8.0 * (double)s->x.rows * (double)s->x.cols + 4.0 * (double)s->x.rows;
    b->flops = 3.0 * (double)s->x.rows * (double)s->x.cols;
    return KD_OK;
}

static kd_status run_unit(kd_bench *b) {
    rows *s = b->state;
    return kd_unit_rows_forward(
        b->ctx, &(kd_unit_rows_forward_args){.x = s->x, .p = s->dropout, .rng = &s->rng, .y = s->y, .norm = s->norm});
}

static kd_status check_unit(kd_bench *b) {
    enum { SAMPLES = 256 };
    const rows *s = b->state;
    float *y, *norm;
    int64_t d = s->x.cols;
    KD_OR_RETURN(kd_bench_read(b, s->y.data, s->y.rows * d, sizeof *y, &y));
    KD_OR_RETURN(kd_bench_read(b, s->norm, s->y.rows, sizeof *norm, &norm));
    for (int64_t i = 0; i < kd_bench_samples(s->x.rows, SAMPLES); i++) {
        int64_t r = kd_bench_sample(b, i, s->x.rows, SAMPLES);
        double square = 0.0, length;
        for (int64_t c = 0; c < d; c++) square += pow(s->hx[r * d + c] * kept(&s->rng, s->dropout, r, c), 2.0);
        length = fmax(sqrt(square), 1e-12);
        kd_bench_real(b, norm[r], length, length, KD_BENCH_FLOAT32);
        for (int64_t c = 0; c < d; c++)
            kd_bench_real(b, y[r * d + c], s->hx[r * d + c] * kept(&s->rng, s->dropout, r, c) / length, 1.0,
                          KD_BENCH_FLOAT32);
    }
    return KD_OK;
}

/* Y given as unit rows and any norms: the formula asks for no more. */
static kd_status set_up_unit_backward(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rows *s;
    int64_t n = b->setting->graph.nodes, d = b->setting->config->dim;
    KD_OR_RETURN(begin_unit(b, &s));
    KD_OR_RETURN(kd_bench_unit_mat(b, n, d, &s->hy, &s->y));
    KD_OR_RETURN(kd_bench_mat(b, n, d, 1.0f, &s->hup, &s->up));
    KD_OR_RETURN(kd_bench_mat(b, n, d, 1.0f, &s->hx, &s->x)); /* dX before the call */
    KD_OR_RETURN(kd_bench_host(b, n, sizeof *s->hnorm, &s->hnorm));
    for (int64_t r = 0; r < n; r++) s->hnorm[r] = 0.5f + (float)(r % 7);
    KD_OR_RETURN(kd_upload(b->ctx, s->norm, s->hnorm, n * (int64_t)sizeof *s->hnorm));
    b->bytes = 16.0 * (double)n * (double)d + 4.0 * (double)n;
    b->flops = 6.0 * (double)n * (double)d;
    return KD_OK;
}

static kd_status run_unit_backward(kd_bench *b) {
    rows *s = b->state;
    return kd_unit_rows_backward(b->ctx, &(kd_unit_rows_backward_args){.alpha = 1.0f,
                                                                       .y = s->y,
                                                                       .norm = s->norm,
                                                                       .dy = s->up,
                                                                       .p = s->dropout,
                                                                       .rng = &s->rng,
                                                                       .beta = 1.0f,
                                                                       .dx = s->x});
}

static kd_status check_unit_backward(kd_bench *b) {
    enum { SAMPLES = 256 };
    const rows *s = b->state;
    int64_t d = s->x.cols;
    float *dx;
    KD_OR_RETURN(kd_bench_read(b, s->x.data, s->x.rows * d, sizeof *dx, &dx));
    for (int64_t i = 0; i < kd_bench_samples(s->x.rows, SAMPLES); i++) {
        int64_t r = kd_bench_sample(b, i, s->x.rows, SAMPLES);
        const float *y = s->hy + r * d, *up = s->hup + r * d;
        kd_bench_sum along = {0};
        for (int64_t c = 0; c < d; c++) kd_bench_add(&along, (double)y[c] * up[c]);
        for (int64_t c = 0; c < d; c++) {
            double drop = kept(&s->rng, s->dropout, r, c), old = s->hx[r * d + c];
            kd_bench_real(b, dx[r * d + c], (up[c] - y[c] * along.value) / s->hnorm[r] * drop + old,
                          fabs(old) + (fabs(up[c]) + along.magnitude) / s->hnorm[r], KD_BENCH_FLOAT32);
        }
    }
    return KD_OK;
}

/* Weight decay of the user and item tables. */
static kd_status set_up_squared_norm(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rows *s;
    int64_t n = b->setting->graph.nodes, d = b->setting->config->dim;
    KD_OR_RETURN(begin(b, n, d, &s));
    KD_OR_RETURN(kd_bench_mat(b, n, d, 1.0f, &s->hx, &s->x));
    KD_OR_RETURN(kd_bench_mat(b, n, d, 1.0f, &s->hy, &s->y));
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof *s->loss, &s->loss));
    b->bytes = 12.0 * (double)n * (double)d;
    b->flops = 4.0 * (double)n * (double)d;
    return KD_OK;
}

static const float DECAY = 0.25f;

static kd_status run_squared_norm(kd_bench *b) {
    const rows *s = b->state;
    return kd_squared_norm(b->ctx, DECAY, s->x, s->y, s->loss);
}

static kd_status check_squared_norm(kd_bench *b) {
    enum { SAMPLES = 4096 };
    const rows *s = b->state;
    int64_t n = s->x.rows * s->x.cols;
    double *loss, sum = 0.0;
    float *dx;
    KD_OR_RETURN(kd_bench_read(b, s->y.data, n, sizeof *dx, &dx));
    KD_OR_RETURN(kd_bench_read(b, s->loss, 1, sizeof *loss, &loss));
    for (int64_t i = 0; i < n; i++) sum += DECAY * (double)s->hx[i] * s->hx[i];
    kd_bench_real(b, loss[0], sum, sum, KD_BENCH_FLOAT32);
    for (int64_t i = 0; i < kd_bench_samples(n, SAMPLES); i++) {
        int64_t at = kd_bench_sample(b, i, n, SAMPLES);
        kd_bench_real(b, dx[at], s->hy[at] + 2.0 * DECAY * s->hx[at], 2.0, KD_BENCH_FLOAT32);
    }
    return KD_OK;
}

/* Column sums of W1, which the reverse chain starts from. */
static kd_status set_up_column_sum(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rows *s;
    int64_t n = b->setting->data->items, h = b->setting->config->hidden;
    KD_OR_RETURN(begin(b, n, h, &s));
    KD_OR_RETURN(kd_bench_mat(b, n, h, 1.0f, &s->hx, &s->x));
    KD_OR_RETURN(kd_pool_mat(&b->pool, 1, h, "bench", &s->y));
    b->bytes = 4.0 * (double)(n + 1) * (double)h;
    b->flops = (double)n * (double)h;
    return KD_OK;
}

static kd_status run_column_sum(kd_bench *b) {
    const rows *s = b->state;
    return kd_column_sum(b->ctx, s->x, 0.0f, s->y);
}

static kd_status check_column_sum(kd_bench *b) {
    const rows *s = b->state;
    float *y;
    kd_status status = kd_bench_read(b, s->y.data, s->y.cols, sizeof *y, &y);
    for (int64_t c = 0; status == KD_OK && c < s->x.cols; c++) {
        kd_bench_sum sum = {0};
        for (int64_t r = 0; r < s->x.rows; r++) kd_bench_add(&sum, s->hx[r * s->x.cols + c]);
        kd_bench_real(b, y[c], sum.value, sum.magnitude, KD_BENCH_FLOAT32);
    }
    return status;
}

/* All parameters of a modality's denoiser. */
static kd_status set_up_adam(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_config *c = b->setting->config;
    int64_t items = b->setting->data->items, t = c->time_dim;
    int64_t n = 2 * items * c->hidden + items + (t + 1) * c->hidden + (t + 1) * t;
    rows *s;
    KD_OR_RETURN(begin(b, 1, n, &s));
    KD_OR_RETURN(kd_bench_mat(b, 1, n, 1.0f, &s->hp, &s->p));
    KD_OR_RETURN(kd_bench_mat(b, 1, n, 1.0f, &s->hg, &s->g));
    KD_OR_RETURN(kd_bench_mat(b, 1, n, 1.0f, &s->hm, &s->m));
    KD_OR_RETURN(kd_bench_mat(b, 1, n, 1.0f, &s->hv, &s->v));
    for (int64_t i = 0; i < n; i++) s->hv[i] = fabsf(s->hv[i]);
    KD_OR_RETURN(kd_mat_upload(b->ctx, s->hv, s->v));
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof *s->steps, &s->steps));
    s->adam = (kd_adam_config){1e-3, 0.9, 0.999, 1e-8};
    b->bytes = 28.0 * (double)n;
    b->flops = 11.0 * (double)n;
    return KD_OK;
}

static kd_status run_adam(kd_bench *b) {
    const rows *s = b->state;
    return kd_adam(b->ctx, &(kd_adam_args){.config = &s->adam,
                                           .steps = s->steps,
                                           .n = s->p.cols,
                                           .p = s->p.data,
                                           .g = s->g.data,
                                           .m = s->m.data,
                                           .v = s->v.data});
}

static kd_status check_adam(kd_bench *b) {
    enum { SAMPLES = 4096 };
    const rows *s = b->state;
    int64_t n = s->p.cols;
    float *p, *m, *v;
    KD_OR_RETURN(kd_bench_read(b, s->p.data, n, sizeof *p, &p));
    KD_OR_RETURN(kd_bench_read(b, s->m.data, n, sizeof *m, &m));
    KD_OR_RETURN(kd_bench_read(b, s->v.data, n, sizeof *v, &v));
    for (int64_t i = 0; i < kd_bench_samples(n, SAMPLES); i++) {
        int64_t at = kd_bench_sample(b, i, n, SAMPLES);
        double g = s->hg[at], moment = s->adam.beta1 * s->hm[at] + (1.0 - s->adam.beta1) * g;
        double square = s->adam.beta2 * s->hv[at] + (1.0 - s->adam.beta2) * g * g;
        double step =
            s->adam.lr / (1.0 - s->adam.beta1) * moment / (sqrt(square / (1.0 - s->adam.beta2)) + s->adam.eps);
        kd_bench_real(b, m[at], moment, 1.0, KD_BENCH_FLOAT32);
        kd_bench_real(b, v[at], square, 1.0, KD_BENCH_FLOAT32);
        kd_bench_real(b, p[at], s->hp[at] - step, 1.0, KD_BENCH_FLOAT32);
    }
    return KD_OK;
}

const kd_bench_case kd_bench_row_cases[] = {
    {"unit_rows_forward", "unit_rows", false, 0, set_up_unit, run_unit, check_unit},
    {"unit_rows_backward", "unit_rows", false, 0, set_up_unit_backward, run_unit_backward, check_unit_backward},
    {"squared_norm", "squared_norm", false, 0, set_up_squared_norm, run_squared_norm, check_squared_norm},
    {"column_sum", "column_sum", false, 0, set_up_column_sum, run_column_sum, check_column_sum},
    {"adam", "adam", false, 0, set_up_adam, run_adam, check_adam},
    {0},
};
