/* Dense products at the denoisers' shapes. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct dense {
    bool transpose_a, transpose_b;
    float beta;
    kd_mat a, b, c, bias; /* bias: of kd_linear */
} dense;

/* C [rows, cols] = op(A) op(B) + beta C with `inner` terms each. */
static kd_status set_up(kd_bench *b, int64_t rows, int64_t inner, int64_t cols, bool ta, bool tb, float beta) {
    dense *s;
    double m = (double)rows, k = (double)inner, n = (double)cols;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    s->transpose_a = ta;
    s->transpose_b = tb;
    s->beta = beta;
    KD_OR_RETURN(kd_bench_mat(b, ta ? inner : rows, ta ? rows : inner, 1.0f, &s->a));
    KD_OR_RETURN(kd_bench_mat(b, tb ? cols : inner, tb ? inner : cols, 1.0f, &s->b));
    KD_OR_RETURN(kd_bench_mat(b, rows, cols, 1.0f, &s->c));
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
    KD_OR_RETURN(kd_bench_mat(b, 1, items, 1.0f, &s->bias));
    b->bytes += 4.0 * (double)items;
    return KD_OK;
}

static kd_status multiply(kd_ctx *ctx, const dense *s) {
    if (s->bias.data) return kd_linear(ctx, s->transpose_b, s->a, s->b, s->bias, s->c);
    return kd_gemm(ctx, &(kd_gemm_args){.transpose_a = s->transpose_a,
                                        .transpose_b = s->transpose_b,
                                        .alpha = 1.0f,
                                        .a = s->a,
                                        .b = s->b,
                                        .beta = s->beta,
                                        .c = s->c});
}

static kd_status run(kd_bench *b) { return multiply(b->ctx, b->state); }
static kd_status run_gram(kd_bench *b) {
    const dense *s = b->state;
    return kd_gram(b->ctx, s->a, s->c);
}

enum { EDGE = 8, TILES = 16 };

static int64_t within(int64_t first, int64_t n) { return n - first < EDGE ? n - first : EDGE; }

/* The product that makes the tile of C at (row, col) alone. */
static dense tile(const dense *s, int64_t row, int64_t col) {
    int64_t rows = within(row, s->c.rows), cols = within(col, s->c.cols);
    dense t = *s;
    t.a = s->transpose_a ? kd_mat_cols(s->a, row, rows) : kd_mat_rows(s->a, row, rows);
    t.b = s->transpose_b ? kd_mat_rows(s->b, col, cols) : kd_mat_cols(s->b, col, cols);
    t.c = kd_mat_cols(kd_mat_rows(s->c, row, rows), col, cols);
    if (s->bias.data) t.bias = kd_mat_cols(s->bias, col, cols);
    return t;
}

/* Some tiles; a Gram matrix is the product of its two arguments, which are one. */
static kd_status check(kd_bench *b, kd_bench *ref) {
    const dense *s = b->state;
    int64_t across = (s->c.cols + EDGE - 1) / EDGE, n = across * ((s->c.rows + EDGE - 1) / EDGE);
    double summed = kd_bench_float32(s->transpose_a ? s->a.rows : s->a.cols), rounded = b->setting->dense_tolerance;
    for (int64_t i = 0; i < kd_bench_samples(n, TILES); i++) {
        int64_t at = kd_bench_sample(b, i, n, TILES), row = at / across * EDGE, col = at % across * EDGE;
        dense actual = tile(s, row, col), expected = tile(ref->state, row, col);
        KD_OR_RETURN(multiply(ref->ctx, &expected));
        KD_OR_RETURN(kd_bench_same_mat(b, actual.c, expected.c, summed > rounded ? summed : rounded));
    }
    return KD_OK;
}

const kd_bench_case kd_bench_product_cases[] = {
    {"gemm_in", "gemm", false, 0, set_up_in, run, check},
    {"gemm_weight", "gemm", false, 0, set_up_weight, run, check},
    {"gemm_chain", "gemm", false, 0, set_up_chain, run, check},
    {"gemm_features", "gemm", false, 0, set_up_features, run, check},
    {"gemm_features_weight", "gemm", false, 1, set_up_features, run, check},
    {"gram", "gram", false, 0, set_up_gram, run_gram, check},
    {"linear", "linear", false, 0, set_up_linear, run, check},
    {0},
};
