/* Top-k columns: one of a sampled row, twenty of a user's scores beside what the user has. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct ranking {
    int64_t k;
    kd_mat x;
    kd_csr mask, hmask;
    float *hx;
    int32_t *index;
} ranking;

static kd_status set_up(kd_bench *b, int64_t k) {
    ranking *s;
    int64_t rows = b->setting->rows, items = b->setting->data->items;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    s->k = k < items ? k : items;
    KD_OR_RETURN(kd_bench_mat(b, rows, items, 1.0f, &s->hx, &s->x));
    if (k > 1) { /* the first column of a sampled row takes no mask */
        s->mask = kd_csr_rows(b->setting->graphs.train, 0, rows);
        KD_OR_RETURN(kd_bench_csr(b, s->mask, &s->hmask));
        b->nnz = s->hmask.row_ptr[rows];
    }
    KD_OR_RETURN(kd_bench_zeros(b, rows * s->k, sizeof *s->index, &s->index));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_topk_rows_workspace(rows, s->k)));
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)rows, (long long)items);
    b->bytes = 4.0 * ((double)rows * (double)items + (double)b->nnz + (double)rows * (double)s->k);
    return KD_OK;
}

static kd_status run(kd_bench *b) {
    const ranking *s = b->state;
    return kd_topk_rows(b->ctx, s->x, s->mask, s->k, s->index, NULL);
}

static kd_status check(kd_bench *b) {
    enum { SAMPLES = 64 };
    const ranking *s = b->state;
    int64_t cols = s->x.cols;
    int32_t *index;
    uint8_t *taken;
    KD_OR_RETURN(kd_bench_read(b, s->index, s->x.rows * s->k, sizeof *index, &index));
    KD_OR_RETURN(kd_bench_host(b, cols, 1, &taken));
    for (int64_t i = 0; i < kd_bench_samples(s->x.rows, SAMPLES); i++) {
        int64_t r = kd_bench_sample(b, i, s->x.rows, SAMPLES);
        for (int64_t c = 0; c < cols; c++) taken[c] = 0;
        if (s->hmask.row_ptr)
            for (int64_t e = s->hmask.row_ptr[r]; e < s->hmask.row_ptr[r + 1]; e++) taken[s->hmask.col[e]] = 1;
        for (int64_t j = 0; j < s->k; j++) {
            int64_t best = -1;
            for (int64_t c = 0; c < cols; c++)
                if (!taken[c] && (best < 0 || s->hx[r * cols + c] > s->hx[r * cols + best])) best = c;
            kd_bench_integer(b, index[r * s->k + j], best);
            if (best >= 0) taken[best] = 1;
        }
    }
    return KD_OK;
}

const kd_bench_case kd_bench_rank_cases[] = {
    {"topk_1", "topk_rows", false, 1, set_up, run, check},
    {"topk_20", "topk_rows", false, 20, set_up, run, check},
    {0},
};
