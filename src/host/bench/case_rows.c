/* Row, column and element-wise ops: unit rows, weight decay, Adam, column sums. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct rows {
    kd_mat x, y, up; /* up: gradient of y, of which x holds that of x */
    float *norm;
    float dropout;
    kd_rng rng;
    double *loss;
    /* Adam */
    kd_adam_config adam;
    int64_t *steps;
    kd_mat p, g, m, v;
} rows;

enum { SAMPLES = 256 };

static kd_status begin(kd_bench *b, int64_t count, int64_t cols, rows **out) {
    kd_status status = kd_bench_host(b, 1, sizeof **out, out);
    b->state = *out;
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)count, (long long)cols);
    return status;
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
    KD_OR_RETURN(kd_bench_mat(b, b->setting->graph.nodes, b->setting->config->dim, 1.0f, &s->x));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->x.rows, s->x.cols, "bench", &s->y));
    b->bytes = 8.0 * (double)s->x.rows * (double)s->x.cols + 4.0 * (double)s->x.rows;
    b->flops = 3.0 * (double)s->x.rows * (double)s->x.cols;
    return KD_OK;
}

/* only NULL: of every row. */
static kd_status unit_rows(kd_bench *b, const kd_groups *only) {
    rows *s = b->state;
    return kd_unit_rows_forward(
        b->ctx, &(kd_unit_rows_forward_args){
                    .only = only, .x = s->x, .p = s->dropout, .rng = &s->rng, .y = s->y, .norm = s->norm});
}

static kd_status run_unit(kd_bench *b) { return unit_rows(b, NULL); }

static kd_status check_unit(kd_bench *b, kd_bench *ref) {
    const rows *s = b->state, *expected = ref->state;
    kd_groups some;
    KD_OR_RETURN(kd_bench_some_rows(ref, s->x.rows, SAMPLES, &some));
    KD_OR_RETURN(unit_rows(ref, &some));
    for (int64_t i = 0; i < some.capacity; i++) {
        int64_t r = some.key[i];
        KD_OR_RETURN(kd_bench_same_floats(b, s->norm + r, expected->norm + r, 1, KD_BENCH_FLOAT32));
        KD_OR_RETURN(kd_bench_same_mat(b, kd_mat_rows(s->y, r, 1), kd_mat_rows(expected->y, r, 1), KD_BENCH_FLOAT32));
    }
    return KD_OK;
}

/* Y given as unit rows and any norms: the formula asks for no more. */
static kd_status set_up_unit_backward(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rows *s;
    float *norm;
    int64_t n = b->setting->graph.nodes, d = b->setting->config->dim;
    KD_OR_RETURN(begin_unit(b, &s));
    KD_OR_RETURN(kd_bench_unit_mat(b, n, d, &s->y));
    KD_OR_RETURN(kd_bench_mat(b, n, d, 1.0f, &s->up));
    KD_OR_RETURN(kd_bench_mat(b, n, d, 1.0f, &s->x)); /* dX before the call */
    KD_OR_RETURN(kd_bench_host(b, n, sizeof *norm, &norm));
    for (int64_t r = 0; r < n; r++) norm[r] = 0.5f + (float)(r % 7);
    KD_OR_RETURN(kd_upload(b->ctx, s->norm, norm, n * (int64_t)sizeof *norm));
    b->bytes = 16.0 * (double)n * (double)d + 4.0 * (double)n;
    b->flops = 6.0 * (double)n * (double)d;
    return KD_OK;
}

static kd_status unit_rows_backward(kd_bench *b, const kd_groups *only) {
    rows *s = b->state;
    return kd_unit_rows_backward(b->ctx, &(kd_unit_rows_backward_args){.only = only,
                                                                       .alpha = 1.0f,
                                                                       .y = s->y,
                                                                       .norm = s->norm,
                                                                       .dy = s->up,
                                                                       .p = s->dropout,
                                                                       .rng = &s->rng,
                                                                       .beta = 1.0f,
                                                                       .dx = s->x});
}

static kd_status run_unit_backward(kd_bench *b) { return unit_rows_backward(b, NULL); }

static kd_status check_unit_backward(kd_bench *b, kd_bench *ref) {
    const rows *s = b->state, *expected = ref->state;
    kd_groups some;
    KD_OR_RETURN(kd_bench_some_rows(ref, s->x.rows, SAMPLES, &some));
    KD_OR_RETURN(unit_rows_backward(ref, &some));
    for (int64_t i = 0; i < some.capacity; i++) {
        int64_t r = some.key[i];
        KD_OR_RETURN(kd_bench_same_mat(b, kd_mat_rows(s->x, r, 1), kd_mat_rows(expected->x, r, 1), KD_BENCH_FLOAT32));
    }
    return KD_OK;
}

/* Weight decay of the user and item tables. */
static kd_status set_up_squared_norm(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rows *s;
    int64_t n = b->setting->graph.nodes, d = b->setting->config->dim;
    KD_OR_RETURN(begin(b, n, d, &s));
    KD_OR_RETURN(kd_bench_mat(b, n, d, 1.0f, &s->x));
    KD_OR_RETURN(kd_bench_mat(b, n, d, 1.0f, &s->y));
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

static kd_status check_squared_norm(kd_bench *b, kd_bench *ref) {
    const rows *s = b->state, *expected = ref->state;
    KD_OR_RETURN(run_squared_norm(ref));
    KD_OR_RETURN(kd_bench_same_loss(b, s->loss, expected->loss, KD_BENCH_FLOAT32));
    return kd_bench_same_mat(b, s->y, expected->y, KD_BENCH_FLOAT32);
}

/* Column sums of W1, which the reverse chain starts from. */
static kd_status set_up_column_sum(kd_bench *b, int64_t parameter) {
    (void)parameter;
    rows *s;
    int64_t n = b->setting->data->items, h = b->setting->config->hidden;
    KD_OR_RETURN(begin(b, n, h, &s));
    KD_OR_RETURN(kd_bench_mat(b, n, h, 1.0f, &s->x));
    KD_OR_RETURN(kd_pool_mat(&b->pool, 1, h, "bench", &s->y));
    b->bytes = 4.0 * (double)(n + 1) * (double)h;
    b->flops = (double)n * (double)h;
    return KD_OK;
}

static kd_status run_column_sum(kd_bench *b) {
    const rows *s = b->state;
    return kd_column_sum(b->ctx, s->x, 0.0f, s->y);
}

static kd_status check_column_sum(kd_bench *b, kd_bench *ref) {
    const rows *s = b->state, *expected = ref->state;
    KD_OR_RETURN(run_column_sum(ref));
    return kd_bench_same_mat(b, s->y, expected->y, kd_bench_float32(s->x.rows));
}

/* All parameters of a modality's denoiser. */
static kd_status set_up_adam(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_config *c = b->setting->config;
    int64_t items = b->setting->data->items, t = c->time_dim;
    int64_t n = 2 * items * c->hidden + items + (t + 1) * c->hidden + (t + 1) * t;
    rows *s;
    KD_OR_RETURN(begin(b, 1, n, &s));
    KD_OR_RETURN(kd_bench_mat(b, 1, n, 1.0f, &s->p));
    KD_OR_RETURN(kd_bench_mat(b, 1, n, 1.0f, &s->g));
    KD_OR_RETURN(kd_bench_mat(b, 1, n, 1.0f, &s->m));
    KD_OR_RETURN(kd_bench_positive_mat(b, 1, n, &s->v));
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof *s->steps, &s->steps));
    s->adam = (kd_adam_config){1e-3, 0.9, 0.999, 1e-8};
    b->bytes = 28.0 * (double)n;
    b->flops = 11.0 * (double)n;
    return KD_OK;
}

static kd_status step(kd_bench *b, int64_t first, int64_t n) {
    const rows *s = b->state;
    return kd_adam(b->ctx, &(kd_adam_args){.config = &s->adam,
                                           .steps = s->steps,
                                           .n = n,
                                           .p = s->p.data + first,
                                           .g = s->g.data + first,
                                           .m = s->m.data + first,
                                           .v = s->v.data + first});
}

static kd_status run_adam(kd_bench *b) {
    const rows *s = b->state;
    return step(b, 0, s->p.cols);
}

/* Some pieces of the parameters. */
static kd_status check_adam(kd_bench *b, kd_bench *ref) {
    enum { PIECE = 64 };
    const rows *s = b->state, *e = ref->state;
    int64_t pieces = (s->p.cols + PIECE - 1) / PIECE;
    for (int64_t i = 0; i < kd_bench_samples(pieces, SAMPLES); i++) {
        int64_t first = PIECE * kd_bench_sample(b, i, pieces, SAMPLES);
        int64_t n = s->p.cols - first < PIECE ? s->p.cols - first : PIECE;
        KD_OR_RETURN(step(ref, first, n));
        KD_OR_RETURN(kd_bench_same_floats(b, s->p.data + first, e->p.data + first, n, KD_BENCH_FLOAT32));
        KD_OR_RETURN(kd_bench_same_floats(b, s->m.data + first, e->m.data + first, n, KD_BENCH_FLOAT32));
        KD_OR_RETURN(kd_bench_same_floats(b, s->v.data + first, e->v.data + first, n, KD_BENCH_FLOAT32));
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
