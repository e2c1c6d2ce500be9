/* The products with the attention-aware adjacency, at the widths that stacked views make, and with a modality's graph,
 * of whose rows one is longer than all others. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct product {
    kd_csr a;
    kd_mat x, y;
} product;

static kd_status set_up(kd_bench *b, kd_csr matrix, int64_t entries, int64_t width) {
    product *s;
    double nodes = (double)matrix.rows, w = (double)width;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    s->a = matrix;
    b->nnz = entries;
    KD_OR_RETURN(kd_bench_mat(b, s->a.cols, width, 1.0f, &s->x));
    KD_OR_RETURN(kd_pool_mat(&b->pool, s->a.rows, width, "bench", &s->y));
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)s->a.rows, (long long)width);
    b->bytes = 8.0 * (double)b->nnz + 8.0 * (nodes + 1.0) + 8.0 * nodes * w;
    b->flops = 2.0 * (double)b->nnz * w;
    return KD_OK;
}

static kd_status set_up_adjacency(kd_bench *b, int64_t width) {
    const kd_bipartite *g = &b->setting->graph;
    return set_up(b, b->graphs->adjacency, g->row_ptr[g->nodes] + g->nodes, width);
}

/* Unthinned: products go through the entries that thinning leaves 0 as through the others. */
static kd_status set_up_modality(kd_bench *b, int64_t width) {
    kd_rng rng = {1, KD_RNG_THIN_MODALITY, 0, 0, NULL};
    int64_t q = b->setting->config->q;
    int32_t *top;
    kd_modality_graph graph;
    KD_OR_RETURN(kd_bench_modality_graph_make(b, q, &top, &graph));
    KD_OR_RETURN(kd_modality_graph_build(b->ctx, top, 1.0f, &rng, &graph));
    return set_up(b, kd_modality_adjacency(&graph, false), graph.nodes + 2 * graph.users * q, width);
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

static kd_status check_row(kd_bench *b, kd_bench *ref, int64_t r) {
    const product *s = b->state, *expected = ref->state;
    KD_OR_RETURN(multiply_rows(ref, r, 1));
    return kd_bench_same_mat(b, kd_mat_rows(s->y, r, 1), kd_mat_rows(expected->y, r, 1), KD_BENCH_FLOAT32);
}

/* The longest row, which a column may treat apart, and a sample. */
static kd_status check(kd_bench *b, kd_bench *ref) {
    enum { SAMPLES = 256 };
    const kd_csr *a = &((const product *)ref->state)->a;
    int64_t longest = 0;
    for (int64_t r = 1; r < a->rows; r++)
        if (a->row_ptr[r + 1] - a->row_ptr[r] > a->row_ptr[longest + 1] - a->row_ptr[longest]) longest = r;
    KD_OR_RETURN(check_row(b, ref, longest));
    for (int64_t i = 0; i < kd_bench_samples(a->rows, SAMPLES); i++)
        KD_OR_RETURN(check_row(b, ref, kd_bench_sample(b, i, a->rows, SAMPLES)));
    return KD_OK;
}

const kd_bench_case kd_bench_spmm_cases[] = {
    {"spmm_64", "spmm", false, 64, set_up_adjacency, run, check},
    {"spmm_192", "spmm", false, 192, set_up_adjacency, run, check},
    {"spmm_256", "spmm", false, 256, set_up_adjacency, run, check},
    {"spmm_modality_64", "spmm", false, 64, set_up_modality, run, check},
    {0},
};
