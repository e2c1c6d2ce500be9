/* A hop of relation-aware attention over the knowledge graph that message passing uses. */
#include <stdio.h>

#include "host/bench/cases.h"

static const float SLOPE = 0.2f;

typedef struct attention {
    kd_mat e, rh, rt, agg, up, de, drh, drt;
    float *logit, *alpha;
} attention;

static kd_status begin(kd_bench *b, attention **out) {
    attention *s;
    const kd_kg_edges *kg = &b->setting->plan->capped;
    int64_t d = b->setting->config->dim;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = *out = s;
    KD_OR_RETURN(kd_bench_mat(b, kg->entities, d, 1.0f, &s->e));
    KD_OR_RETURN(kd_bench_mat(b, kg->relations, d, 0.3f, &s->rh));
    KD_OR_RETURN(kd_bench_mat(b, kg->relations, d, 0.3f, &s->rt));
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
    return kd_rgat_forward(b->ctx, &(kd_rgat_forward_args){.kg = &b->graphs->capped,
                                                           .slope = SLOPE,
                                                           .e = s->e,
                                                           .rh = s->rh,
                                                           .rt = s->rt,
                                                           .logit = s->logit,
                                                           .alpha = s->alpha,
                                                           .agg = s->agg});
}

static kd_status check_forward(kd_bench *b, kd_bench *ref) {
    const attention *s = b->state, *expected = ref->state;
    KD_OR_RETURN(run_forward(ref));
    KD_OR_RETURN(kd_bench_same_floats(b, s->logit, expected->logit, b->nnz, KD_BENCH_FLOAT32));
    KD_OR_RETURN(kd_bench_same_floats(b, s->alpha, expected->alpha, b->nnz, KD_BENCH_FLOAT32));
    return kd_bench_same_mat(b, s->agg, expected->agg, KD_BENCH_FLOAT32);
}

/* alpha and logit are given, as any forward pass might have left them: shares that sum to 1, logits of both signs. */
static kd_status give_forward(kd_bench *b, attention *s) {
    const kd_kg_edges *kg = &b->setting->plan->capped;
    float *alpha, *logit;
    KD_OR_RETURN(kd_bench_host(b, b->nnz, sizeof *alpha, &alpha));
    KD_OR_RETURN(kd_bench_host(b, b->nnz, sizeof *logit, &logit));
    for (int64_t h = 0; h < kg->entities; h++)
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++) {
            alpha[k] = (float)(1.0 / (double)(kg->head_ptr[h + 1] - kg->head_ptr[h]));
            logit[k] = kd_bench_below(b, 2) ? 0.5f : -0.1f;
        }
    KD_OR_RETURN(kd_upload(b->ctx, s->alpha, alpha, b->nnz * (int64_t)sizeof *alpha));
    return kd_upload(b->ctx, s->logit, logit, b->nnz * (int64_t)sizeof *logit);
}

static kd_status set_up_backward(kd_bench *b, int64_t parameter) {
    (void)parameter;
    attention *s;
    KD_OR_RETURN(begin(b, &s));
    KD_OR_RETURN(give_forward(b, s));
    KD_OR_RETURN(kd_bench_mat(b, s->e.rows, s->e.cols, 1.0f, &s->up));
    KD_OR_RETURN(kd_bench_mat(b, s->e.rows, s->e.cols, 1.0f, &s->de));
    KD_OR_RETURN(kd_bench_mat(b, s->rh.rows, s->e.cols, 1.0f, &s->drh));
    KD_OR_RETURN(kd_bench_mat(b, s->rh.rows, s->e.cols, 1.0f, &s->drt));
    KD_OR_RETURN(
        kd_workspace_reserve(b->ctx, kd_rgat_backward_workspace(s->rh.rows, s->e.cols, b->graphs->capped.capacity)));
    double n = (double)s->e.rows, d = (double)s->e.cols, r = (double)s->rh.rows, edges = (double)b->nnz;
    b->bytes = 32.0 * edges + 16.0 * (n + 1.0) + 16.0 * n * d + 24.0 * r * d;
    b->flops = 12.0 * d * edges;
    return KD_OK;
}

static kd_status run_backward(kd_bench *b) {
    const attention *s = b->state;
    return kd_rgat_backward(b->ctx, &(kd_rgat_backward_args){.kg = &b->graphs->capped,
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

static kd_status check_backward(kd_bench *b, kd_bench *ref) {
    const attention *s = b->state, *expected = ref->state;
    double over_edges = kd_bench_float32(b->nnz / s->rh.rows);
    KD_OR_RETURN(run_backward(ref));
    KD_OR_RETURN(kd_bench_same_floats(b, s->logit, expected->logit, b->nnz, KD_BENCH_FLOAT32));
    KD_OR_RETURN(kd_bench_same_mat(b, s->de, expected->de, KD_BENCH_FLOAT32));
    KD_OR_RETURN(kd_bench_same_mat(b, s->drh, expected->drh, over_edges));
    return kd_bench_same_mat(b, s->drt, expected->drt, over_edges);
}

const kd_bench_case kd_bench_rgat_cases[] = {
    {"rgat_forward", "rgat", true, 0, set_up_forward, run_forward, check_forward},
    {"rgat_backward", "rgat", true, 0, set_up_backward, run_backward, check_backward},
    {0},
};
