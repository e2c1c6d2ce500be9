/* Top-k columns: one of a sampled row, twenty of a user's scores beside what the user has. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct ranking {
    int64_t k;
    kd_mat x;
    kd_csr mask; /* row_ptr NULL: none */
    int32_t *index;
} ranking;

static kd_status set_up(kd_bench *b, int64_t k) {
    ranking *s;
    int64_t rows = b->setting->rows, items = b->setting->data->items;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    s->k = k < items ? k : items;
    KD_OR_RETURN(kd_bench_mat(b, rows, items, 1.0f, &s->x));
    if (k > 1) { /* the first column of a sampled row takes no mask */
        s->mask = kd_csr_rows(b->graphs->train, 0, rows);
        b->nnz = b->setting->graph.row_ptr[rows];
    }
    KD_OR_RETURN(kd_bench_zeros(b, rows * s->k, sizeof *s->index, &s->index));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_topk_rows_workspace(rows, s->k)));
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)rows, (long long)items);
    b->bytes = 4.0 * ((double)rows * (double)items + (double)b->nnz + (double)rows * (double)s->k);
    return KD_OK;
}

static kd_status rank_rows(kd_bench *b, int64_t first, int64_t rows) {
    const ranking *s = b->state;
    kd_csr mask = s->mask.row_ptr ? kd_csr_rows(s->mask, first, rows) : s->mask;
    return kd_topk_rows(b->ctx, kd_mat_rows(s->x, first, rows), mask, s->k, s->index + first * s->k, NULL);
}

static kd_status run(kd_bench *b) {
    const ranking *s = b->state;
    return rank_rows(b, 0, s->x.rows);
}

static kd_status check(kd_bench *b, kd_bench *ref) {
    enum { SAMPLES = 32 };
    const ranking *s = b->state, *expected = ref->state;
    for (int64_t i = 0; i < kd_bench_samples(s->x.rows, SAMPLES); i++) {
        int64_t r = kd_bench_sample(b, i, s->x.rows, SAMPLES), at = r * s->k;
        KD_OR_RETURN(rank_rows(ref, r, 1));
        KD_OR_RETURN(kd_bench_same_integers(b, s->index + at, expected->index + at, s->k, sizeof *s->index));
    }
    return KD_OK;
}

const kd_bench_case kd_bench_rank_cases[] = {
    {"topk_1", "topk_rows", false, 1, set_up, run, check},
    {"topk_20", "topk_rows", false, 20, set_up, run, check},
    {0},
};
