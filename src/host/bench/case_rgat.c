/* A hop of relation-aware attention over the knowledge graph that message passing uses. */
#include <math.h>
#include <stdio.h>

#include "host/bench/cases.h"

static const float SLOPE = 0.2f;

typedef struct attention {
    const kd_kg_edges *kg; /* host */
    kd_mat e, rh, rt, agg, up, de, drh, drt;
    float *he, *hrh, *hrt, *hup, *hde, *hdrh, *hdrt;
    float *logit, *alpha, *hlogit, *halpha;
} attention;

static kd_status begin(kd_bench *b, attention **out) {
    attention *s;
    const kd_kg_edges *kg = &b->setting->plan->capped;
    int64_t d = b->setting->config->dim;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = *out = s;
    s->kg = kg;
    KD_OR_RETURN(kd_bench_mat(b, kg->entities, d, 1.0f, &s->he, &s->e));
    KD_OR_RETURN(kd_bench_mat(b, kg->relations, d, 0.3f, &s->hrh, &s->rh));
    KD_OR_RETURN(kd_bench_mat(b, kg->relations, d, 0.3f, &s->hrt, &s->rt));
    KD_OR_RETURN(kd_bench_zeros(b, kg->count, sizeof(float), &s->logit));
    KD_OR_RETURN(kd_bench_zeros(b, kg->count, sizeof(float), &s->alpha));
    snprintf(b->shape, sizeof b->shape, "%lldx%lldx%lld", (long long)kg->entities, (long long)kg->relations,
             (long long)d);
    b->nnz = kg->count;
    return KD_OK;
}

static kd_status set_up_forward(kd_bench *b, int64_t parameter) {
    (void)parameter;
    attention *s;
    KD_OR_RETURN(begin(b, &s));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->e.rows, s->e.cols, "bench", &s->agg));
    double n = (double)s->e.rows, d = (double)s->e.cols, r = (double)s->rh.rows, edges = (double)b->nnz;
    b->bytes = 16.0 * edges + 8.0 * (n + 1.0) + 8.0 * n * d + 8.0 * r * d;
    b->flops = 6.0 * d * edges;
    return KD_OK;
}

static kd_status run_forward(kd_bench *b) {
    const attention *s = b->state;
    return kd_rgat_forward(b->ctx, &(kd_rgat_forward_args){.kg = &b->setting->graphs.capped,
                                                           .slope = SLOPE,
                                                           .e = s->e,
                                                           .rh = s->rh,
                                                           .rt = s->rt,
                                                           .logit = s->logit,
                                                           .alpha = s->alpha,
                                                           .agg = s->agg});
}

static double dot(const float *x, const float *y, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * y[i];
    return sum;
}

static double logit_of(const attention *s, int64_t h, int64_t k) {
    int64_t d = s->e.cols, r = s->kg->relation[k];
    double x = dot(s->he + h * d, s->hrh + r * d, d) + dot(s->he + s->kg->tail[k] * d, s->hrt + r * d, d);
    return x > 0.0 ? x : SLOPE * x;
}

static kd_status check_forward(kd_bench *b) {
    enum { SAMPLES = 256 };
    const attention *s = b->state;
    int64_t d = s->e.cols;
    float *logit, *alpha, *agg;
    kd_bench_sum *row;
    KD_OR_RETURN(kd_bench_read(b, s->logit, b->nnz, sizeof *logit, &logit));
    KD_OR_RETURN(kd_bench_read(b, s->alpha, b->nnz, sizeof *alpha, &alpha));
    KD_OR_RETURN(kd_bench_read(b, s->agg.data, s->e.rows * d, sizeof *agg, &agg));
    KD_OR_RETURN(kd_bench_host(b, d, sizeof *row, &row));
    for (int64_t i = 0; i < kd_bench_samples(s->e.rows, SAMPLES); i++) {
        int64_t h = kd_bench_sample(b, i, s->e.rows, SAMPLES), first = s->kg->head_ptr[h],
                last = s->kg->head_ptr[h + 1];
        double largest = -INFINITY, sum = 0.0;
        for (int64_t k = first; k < last; k++) largest = fmax(largest, logit_of(s, h, k));
        for (int64_t k = first; k < last; k++) sum += exp(logit_of(s, h, k) - largest);
        for (int64_t c = 0; c < d; c++) {
            row[c] = (kd_bench_sum){0};
            kd_bench_add(&row[c], s->he[h * d + c]);
        }
        for (int64_t k = first; k < last; k++) {
            double share = exp(logit_of(s, h, k) - largest) / sum;
            kd_bench_real(b, logit[k], logit_of(s, h, k), fmax(1.0, fabs(logit_of(s, h, k))), KD_BENCH_FLOAT32);
            kd_bench_real(b, alpha[k], share, 1.0, KD_BENCH_FLOAT32);
            for (int64_t c = 0; c < d; c++) kd_bench_add(&row[c], share * s->he[s->kg->tail[k] * d + c]);
        }
        for (int64_t c = 0; c < d; c++)
            kd_bench_real(b, agg[h * d + c], row[c].value, row[c].magnitude, KD_BENCH_FLOAT32);
    }
    return KD_OK;
}

/* alpha and logit are given, as any forward pass might have left them: shares that sum to 1, logits of both signs. */
static kd_status give_forward(kd_bench *b, attention *s) {
    KD_OR_RETURN(kd_bench_host(b, b->nnz, sizeof *s->halpha, &s->halpha));
    KD_OR_RETURN(kd_bench_host(b, b->nnz, sizeof *s->hlogit, &s->hlogit));
    for (int64_t h = 0; h < s->e.rows; h++)
        for (int64_t k = s->kg->head_ptr[h]; k < s->kg->head_ptr[h + 1]; k++) {
            s->halpha[k] = (float)(1.0 / (double)(s->kg->head_ptr[h + 1] - s->kg->head_ptr[h]));
            s->hlogit[k] = kd_bench_below(b, 2) ? 0.5f : -0.1f;
        }
    KD_OR_RETURN(kd_upload(b->ctx, s->alpha, s->halpha, b->nnz * (int64_t)sizeof(float)));
    return kd_upload(b->ctx, s->logit, s->hlogit, b->nnz * (int64_t)sizeof(float));
}

static kd_status set_up_backward(kd_bench *b, int64_t parameter) {
    (void)parameter;
    attention *s;
    KD_OR_RETURN(begin(b, &s));
    KD_OR_RETURN(give_forward(b, s));
    KD_OR_RETURN(kd_bench_mat(b, s->e.rows, s->e.cols, 1.0f, &s->hup, &s->up));
    KD_OR_RETURN(kd_bench_mat(b, s->e.rows, s->e.cols, 1.0f, &s->hde, &s->de));
    KD_OR_RETURN(kd_bench_mat(b, s->rh.rows, s->e.cols, 1.0f, &s->hdrh, &s->drh));
    KD_OR_RETURN(kd_bench_mat(b, s->rh.rows, s->e.cols, 1.0f, &s->hdrt, &s->drt));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_rgat_backward_workspace(s->rh.rows, s->e.cols, 0)));
    double n = (double)s->e.rows, d = (double)s->e.cols, r = (double)s->rh.rows, edges = (double)b->nnz;
    b->bytes = 32.0 * edges + 16.0 * (n + 1.0) + 16.0 * n * d + 24.0 * r * d;
    b->flops = 12.0 * d * edges;
    return KD_OK;
}

static kd_status run_backward(kd_bench *b) {
    const attention *s = b->state;
    return kd_rgat_backward(b->ctx, &(kd_rgat_backward_args){.kg = &b->setting->graphs.capped,
                                                             .slope = SLOPE,
                                                             .e = s->e,
                                                             .rh = s->rh,
                                                             .rt = s->rt,
                                                             .logit = s->logit,
                                                             .alpha = s->alpha,
                                                             .dagg = s->up,
                                                             .de = s->de,
                                                             .drh = s->drh,
                                                             .drt = s->drt});
}

/* Sums that begin with what the gradient was before the call. */
static kd_status sums(kd_bench *b, kd_mat m, const float *before, kd_bench_sum **out) {
    kd_status status = kd_bench_host(b, m.rows * m.cols, sizeof **out, out);
    for (int64_t i = 0; status == KD_OK && i < m.rows * m.cols; i++) kd_bench_add(&(*out)[i], before[i]);
    return status;
}

static kd_status compare(kd_bench *b, kd_mat device, const kd_bench_sum *expected) {
    float *actual;
    int64_t n = device.rows * device.cols;
    kd_status status = kd_bench_read(b, device.data, n, sizeof *actual, &actual);
    for (int64_t i = 0; status == KD_OK && i < n; i++)
        kd_bench_real(b, actual[i], expected[i].value, expected[i].magnitude, KD_BENCH_FLOAT32);
    return status;
}

/* What the edges of one head give to everything that they touch. */
static void head_gradients(kd_bench *b, int64_t h, const float *logit, kd_bench_sum *de, kd_bench_sum *drh,
                           kd_bench_sum *drt) {
    const attention *s = b->state;
    int64_t d = s->e.cols, first = s->kg->head_ptr[h], last = s->kg->head_ptr[h + 1];
    const float *up = s->hup + h * d;
    double mean = 0.0;
    for (int64_t c = 0; c < d; c++) kd_bench_add(&de[h * d + c], up[c]);
    for (int64_t k = first; k < last; k++) mean += s->halpha[k] * dot(up, s->he + s->kg->tail[k] * d, d);
    for (int64_t k = first; k < last; k++) {
        int64_t t = s->kg->tail[k] * d, r = s->kg->relation[k] * d;
        double slope = s->hlogit[k] > 0.0f ? 1.0 : SLOPE;
        double dlogit = slope * s->halpha[k] * (dot(up, s->he + t, d) - mean);
        kd_bench_real(b, logit[k], dlogit, fmax(1.0, fabs(dlogit)), KD_BENCH_FLOAT32);
        for (int64_t c = 0; c < d; c++) {
            kd_bench_add(&de[h * d + c], dlogit * s->hrh[r + c]);
            kd_bench_add(&de[t + c], s->halpha[k] * up[c] + dlogit * s->hrt[r + c]);
            kd_bench_add(&drh[r + c], dlogit * s->he[h * d + c]);
            kd_bench_add(&drt[r + c], dlogit * s->he[t + c]);
        }
    }
}

static kd_status check_backward(kd_bench *b) {
    const attention *s = b->state;
    kd_bench_sum *de, *drh, *drt;
    float *logit;
    KD_OR_RETURN(kd_bench_read(b, s->logit, b->nnz, sizeof *logit, &logit));
    KD_OR_RETURN(sums(b, s->de, s->hde, &de));
    KD_OR_RETURN(sums(b, s->drh, s->hdrh, &drh));
    KD_OR_RETURN(sums(b, s->drt, s->hdrt, &drt));
    for (int64_t h = 0; h < s->e.rows; h++) head_gradients(b, h, logit, de, drh, drt);
    KD_OR_RETURN(compare(b, s->de, de));
    KD_OR_RETURN(compare(b, s->drh, drh));
    return compare(b, s->drt, drt);
}

const kd_bench_case kd_bench_rgat_cases[] = {
    {"rgat_forward", "rgat", true, 0, set_up_forward, run_forward, check_forward},
    {"rgat_backward", "rgat", true, 0, set_up_backward, run_backward, check_backward},
    {0},
};
