/* InfoNCE of a batch's users, and of its positive items, against all of them. */
#include <math.h>
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct contrast {
    kd_bench_entries batch;
    kd_infonce_args args;
    float *a, *b, *da, *db; /* host, row g of a and da that of group g; da and db before the call */
    int64_t groups;
    int32_t *node, *members; /* [groups] by ascending node */
    double *scale;           /* [groups] weight of exp((a_g . b_j - 1) / temp) in the gradients */
} contrast;

/* Nodes of the batch and how often each is there. */
static kd_status count_nodes(kd_bench *b, int64_t rows, const int32_t *key, contrast *s) {
    int32_t *times;
    KD_OR_RETURN(kd_bench_host(b, rows, sizeof *times, &times));
    KD_OR_RETURN(kd_bench_host(b, s->batch.count, sizeof *s->node, &s->node));
    KD_OR_RETURN(kd_bench_host(b, s->batch.count, sizeof *s->members, &s->members));
    KD_OR_RETURN(kd_bench_host(b, s->batch.count, sizeof *s->scale, &s->scale));
    for (int64_t i = 0; i < s->batch.count; i++) times[key[i]]++;
    for (int64_t r = 0; r < rows; r++)
        if (times[r] > 0) {
            s->node[s->groups] = (int32_t)r;
            s->members[s->groups++] = times[r];
        }
    return KD_OK;
}

/* parameter 0: users, 1: items. A weight of the batch's size makes gradients of the size of their start. */
static kd_status set_up(kd_bench *b, int64_t items) {
    contrast *s;
    int64_t rows = items ? b->setting->data->items : b->setting->data->users, d = b->setting->config->dim, anchors;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    KD_OR_RETURN(kd_bench_entries_make(b, &s->batch));
    KD_OR_RETURN(count_nodes(b, rows, items ? s->batch.item : s->batch.user, s));
    s->args = (kd_infonce_args){.count = s->batch.count,
                                .temp = (float)b->setting->config->temp,
                                .weight = (float)s->batch.count,
                                .nodes = items ? s->batch.positives : s->batch.users};
    anchors = s->args.nodes.capacity;
    KD_OR_RETURN(kd_bench_unit_mat(b, anchors, d, &s->a, &s->args.a));
    KD_OR_RETURN(kd_bench_unit_mat(b, rows, d, &s->b, &s->args.b));
    KD_OR_RETURN(kd_bench_mat(b, anchors, d, 1.0f, &s->da, &s->args.da));
    KD_OR_RETURN(kd_bench_mat(b, rows, d, 1.0f, &s->db, &s->args.db));
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof *s->args.loss, &s->args.loss));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_infonce_workspace(s->batch.count, d)));
    snprintf(b->shape, sizeof b->shape, "%lldx%lldx%lld", (long long)s->groups, (long long)rows, (long long)d);
    b->nnz = s->batch.count;
    b->bytes = 12.0 * (double)(s->groups + rows) * (double)d + 4.0 * (double)s->batch.count;
    b->flops = 6.0 * (double)s->groups * (double)rows * (double)d;
    return KD_OK;
}

static kd_status run(kd_bench *b) {
    const contrast *s = b->state;
    return kd_infonce(b->ctx, &s->args);
}

static double dot(const float *x, const float *y, int64_t n) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * y[i];
    return sum;
}

static double exponential(const contrast *s, int64_t group, int64_t key) {
    int64_t d = s->args.b.cols;
    return exp((dot(s->a + group * d, s->b + key * d, d) - 1.0) / s->args.temp);
}

/* Fills s->scale; returns the loss. */
static double denominators(const contrast *s) {
    double loss = 0.0, share = s->args.weight / (double)s->args.count, temp = s->args.temp;
    int64_t d = s->args.b.cols;
    for (int64_t g = 0; g < s->groups; g++) {
        double sum = exponential(s, g, 0), positive = dot(s->a + g * d, s->b + s->node[g] * d, d);
        for (int64_t j = 1; j < s->args.b.rows; j++) sum += exponential(s, g, j);
        loss += share * s->members[g] * (log(sum) + (1.0 - positive) / temp);
        s->scale[g] = share * s->members[g] / (sum * temp);
    }
    return loss;
}

/* Gradient of anchor g, or of key j, one column at a time in out [d]. */
static void anchor_gradient(const contrast *s, int64_t g, kd_bench_sum *out) {
    int64_t d = s->args.b.cols, node = s->node[g];
    double pull = s->args.weight * s->members[g] / ((double)s->args.count * s->args.temp);
    for (int64_t c = 0; c < d; c++) out[c] = (kd_bench_sum){0};
    for (int64_t j = 0; j < s->args.b.rows; j++) {
        double e = s->scale[g] * exponential(s, g, j);
        for (int64_t c = 0; c < d; c++) kd_bench_add(&out[c], e * s->b[j * d + c]);
    }
    for (int64_t c = 0; c < d; c++) {
        kd_bench_add(&out[c], -pull * s->b[node * d + c]);
        kd_bench_add(&out[c], s->da[g * d + c]);
    }
}

static void key_gradient(const contrast *s, int64_t j, kd_bench_sum *out) {
    int64_t d = s->args.b.cols;
    for (int64_t c = 0; c < d; c++) out[c] = (kd_bench_sum){0};
    for (int64_t g = 0; g < s->groups; g++) {
        double e = s->scale[g] * exponential(s, g, j);
        double pull = s->node[g] == j ? s->args.weight * s->members[g] / ((double)s->args.count * s->args.temp) : 0.0;
        for (int64_t c = 0; c < d; c++) kd_bench_add(&out[c], (e - pull) * s->a[g * d + c]);
    }
    for (int64_t c = 0; c < d; c++) kd_bench_add(&out[c], s->db[j * d + c]);
}

static kd_status check(kd_bench *b) {
    enum { SAMPLES = 64 };
    const contrast *s = b->state;
    int64_t d = s->args.b.cols, rows = s->args.b.rows;
    double *loss, tolerance = b->setting->dense_tolerance, expected = denominators(s);
    float *da, *db;
    kd_bench_sum *gradient;
    KD_OR_RETURN(kd_bench_read(b, s->args.da.data, s->groups * d, sizeof *da, &da));
    KD_OR_RETURN(kd_bench_read(b, s->args.db.data, rows * d, sizeof *db, &db));
    KD_OR_RETURN(kd_bench_read(b, s->args.loss, 1, sizeof *loss, &loss));
    KD_OR_RETURN(kd_bench_host(b, d, sizeof *gradient, &gradient));
    kd_bench_real(b, loss[0], expected, fabs(expected), tolerance);
    for (int64_t i = 0; i < kd_bench_samples(s->groups, SAMPLES); i++) {
        int64_t g = kd_bench_sample(b, i, s->groups, SAMPLES);
        anchor_gradient(s, g, gradient);
        for (int64_t c = 0; c < d; c++)
            kd_bench_real(b, da[g * d + c], gradient[c].value, gradient[c].magnitude, tolerance);
    }
    for (int64_t i = 0; i < kd_bench_samples(rows, SAMPLES); i++) {
        int64_t j = i % 2 ? s->node[kd_bench_below(b, s->groups)] : kd_bench_sample(b, i, rows, SAMPLES);
        key_gradient(s, j, gradient);
        for (int64_t c = 0; c < d; c++)
            kd_bench_real(b, db[j * d + c], gradient[c].value, gradient[c].magnitude, tolerance);
    }
    return KD_OK;
}

const kd_bench_case kd_bench_infonce_cases[] = {
    {"infonce_users", "infonce", false, 0, set_up, run, check},
    {"infonce_items", "infonce", false, 1, set_up, run, check},
    {0},
};
