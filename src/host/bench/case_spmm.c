/* The product with the attention-aware adjacency, at the widths that stacked views make. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct product {
    kd_csr a;
    kd_mat x, y;
} product;

static kd_status set_up(kd_bench *b, int64_t width) {
    product *s;
    double nodes = (double)b->setting->graph.nodes, w = (double)width;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    s->a = b->graphs->adjacency;
    b->nnz = b->setting->graph.row_ptr[s->a.rows] + s->a.rows;
    KD_OR_RETURN(kd_bench_mat(b, s->a.cols, width, 1.0f, &s->x));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->a.rows, width, "bench", &s->y));
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)s->a.rows, (long long)width);
    b->bytes = 8.0 * (double)b->nnz + 8.0 * (nodes + 1.0) + 8.0 * nodes * w;
    b->flops = 2.0 * (double)b->nnz * w;
    return KD_OK;
}

static kd_status multiply_rows(kd_bench *b, int64_t first, int64_t rows) {
    const product *s = b->state;
    kd_mat none = {0};
    return kd_spmm(b->ctx, 1.0f, kd_csr_rows(s->a, first, rows), s->x, 0.0f, none, kd_mat_rows(s->y, first, rows));
}

static kd_status run(kd_bench *b) {
    const product *s = b->state;
    return multiply_rows(b, 0, s->a.rows);
}

static kd_status check(kd_bench *b, kd_bench *ref) {
    enum { SAMPLES = 256 };
    const product *s = b->state, *expected = ref->state;
    for (int64_t i = 0; i < kd_bench_samples(s->a.rows, SAMPLES); i++) {
        int64_t r = kd_bench_sample(b, i, s->a.rows, SAMPLES);
        KD_OR_RETURN(multiply_rows(ref, r, 1));
        KD_OR_RETURN(kd_bench_same_mat(b, kd_mat_rows(s->y, r, 1), kd_mat_rows(expected->y, r, 1), KD_BENCH_FLOAT32));
    }
    return KD_OK;
}

const kd_bench_case kd_bench_spmm_cases[] = {
    {"spmm_64", "spmm", false, 64, set_up, run, check},
    {"spmm_192", "spmm", false, 192, set_up, run, check},
    {"spmm_256", "spmm", false, 256, set_up, run, check},
    {0},
};
