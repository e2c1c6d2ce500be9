/* Dense products at the denoisers' shapes. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct dense {
    bool transpose_a, transpose_b;
    float beta;
    kd_mat a, b, c, bias;
    float *ha, *hb, *hc, *hbias; /* inputs; hc before the first call */
} dense;

static double term(const float *host, kd_mat m, bool transpose, int64_t row, int64_t col) {
    return transpose ? host[col * m.cols + row] : host[row * m.cols + col];
}

/* C [rows, cols] = op(A) op(B) + beta C with `inner` terms each. */
static kd_status set_up(kd_bench *b, int64_t rows, int64_t inner, int64_t cols, bool ta, bool tb, float beta) {
    dense *s;
    double m = (double)rows, k = (double)inner, n = (double)cols;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    s->transpose_a = ta;
    s->transpose_b = tb;
    s->beta = beta;
    KD_OR_RETURN(kd_bench_mat(b, ta ? inner : rows, ta ? rows : inner, 1.0f, &s->ha, &s->a));
    KD_OR_RETURN(kd_bench_mat(b, tb ? cols : inner, tb ? inner : cols, 1.0f, &s->hb, &s->b));
    KD_OR_RETURN(kd_bench_mat(b, rows, cols, 1.0f, &s->hc, &s->c));
    snprintf(b->shape, sizeof b->shape, "%lldx%lldx%lld", (long long)rows, (long long)inner, (long long)cols);
    b->bytes = 4.0 * (m * k + k * n + m * n * (beta != 0.0f ? 2.0 : 1.0));
    b->flops = 2.0 * m * k * n;
    return KD_OK;
}

/* P = X W1, X [rows, items], W1 [items, hidden]. */
static kd_status set_up_in(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_bench_setting *s = b->setting;
    return set_up(b, s->rows, s->data->items, s->config->hidden, false, false, 0.0f);
}
/* dW1 = X^T dP. */
static kd_status set_up_weight(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_bench_setting *s = b->setting;
    return set_up(b, s->data->items, s->rows, s->config->hidden, true, false, 0.0f);
}
/* P = H chain + c2 P, a step of the reverse chain. */
static kd_status set_up_chain(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_bench_setting *s = b->setting;
    return set_up(b, s->rows, s->config->hidden, s->config->hidden, false, false, 0.5f);
}
/* W2^T W2, W2 [items, hidden]. */
static kd_status set_up_gram(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_bench_setting *s = b->setting;
    int64_t inner = s->data->items, hidden = s->config->hidden;
    KD_OR_RETURN(set_up(b, hidden, inner, hidden, true, false, 0.0f));
    dense *d = b->state; /* check multiplies a by b: both are W2 */
    d->b = d->a;
    d->hb = d->ha;
    b->bytes = 4.0 * (double)(inner * hidden + hidden * hidden);
    b->flops = (double)(inner * hidden * (hidden + 1));
    return KD_OK;
}
/* The transform of the widest modality's features, F W with W [width, dim], and dW = F^T dY. */
static kd_status set_up_features(kd_bench *b, int64_t weight) {
    const kd_dataset *data = b->setting->data;
    int64_t width = 128;
    for (int64_t m = 0; m < data->modality_count; m++)
        if (m == 0 || data->modalities[m].width > width) width = data->modalities[m].width;
    return weight ? set_up(b, width, data->items, b->setting->config->dim, true, false, 1.0f)
                  : set_up(b, data->items, width, b->setting->config->dim, false, false, 0.0f);
}
/* out = H W2^T + b2, W2 [items, hidden]. */
static kd_status set_up_linear(kd_bench *b, int64_t parameter) {
    (void)parameter;
    int64_t items = b->setting->data->items;
    KD_OR_RETURN(set_up(b, b->setting->rows, b->setting->config->hidden, items, false, true, 0.0f));
    dense *s = b->state;
    KD_OR_RETURN(kd_bench_mat(b, 1, items, 1.0f, &s->hbias, &s->bias));
    b->bytes += 4.0 * (double)items;
    return KD_OK;
}

static kd_status run_gemm(kd_bench *b) {
    const dense *s = b->state;
    return kd_gemm(b->ctx, &(kd_gemm_args){.transpose_a = s->transpose_a,
                                           .transpose_b = s->transpose_b,
                                           .alpha = 1.0f,
                                           .a = s->a,
                                           .b = s->b,
                                           .beta = s->beta,
                                           .c = s->c});
}
static kd_status run_gram(kd_bench *b) {
    const dense *s = b->state;
    return kd_gram(b->ctx, s->a, s->c);
}
static kd_status run_linear(kd_bench *b) {
    const dense *s = b->state;
    return kd_linear(b->ctx, s->transpose_b, s->a, s->b, s->bias, s->c);
}

static kd_status check(kd_bench *b) {
    enum { SAMPLES = 512 };
    const dense *s = b->state;
    int64_t n = s->c.rows * s->c.cols, inner = s->transpose_a ? s->a.rows : s->a.cols;
    float *c;
    kd_status status = kd_bench_read(b, s->c.data, n, sizeof *c, &c);
    for (int64_t i = 0; status == KD_OK && i < kd_bench_samples(n, SAMPLES); i++) {
        int64_t at = kd_bench_sample(b, i, n, SAMPLES), row = at / s->c.cols, col = at % s->c.cols;
        kd_bench_sum sum = {0};
        for (int64_t k = 0; k < inner; k++)
            kd_bench_add(&sum, term(s->ha, s->a, s->transpose_a, row, k) * term(s->hb, s->b, s->transpose_b, k, col));
        kd_bench_add(&sum, s->hbias ? s->hbias[col] : s->beta * s->hc[at]);
        kd_bench_real(b, c[at], sum.value, sum.magnitude, b->setting->dense_tolerance);
    }
    return status;
}

const kd_bench_case kd_bench_product_cases[] = {
    {"gemm_in", "gemm", false, 0, set_up_in, run_gemm, check},
    {"gemm_weight", "gemm", false, 0, set_up_weight, run_gemm, check},
    {"gemm_chain", "gemm", false, 0, set_up_chain, run_gemm, check},
    {"gemm_features", "gemm", false, 0, set_up_features, run_gemm, check},
    {"gemm_features_weight", "gemm", false, 1, set_up_features, run_gemm, check},
    {"gram", "gram", false, 0, set_up_gram, run_gram, check},
    {"linear", "linear", false, 0, set_up_linear, run_linear, check},
    {0},
};
