/* InfoNCE of a batch's users, and of its positive items, against all of them. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct contrast {
    kd_bench_entries batch;
    kd_infonce_args args;
    int64_t groups;
} contrast;

/* parameter 0: users, 1: items. A weight of the batch's size makes gradients of the size of their start. */
static kd_status set_up(kd_bench *b, int64_t items) {
    contrast *s;
    int64_t rows = items ? b->setting->data->items : b->setting->data->users, d = b->setting->config->dim, anchors;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    KD_OR_RETURN(kd_bench_entries_make(b, &s->batch));
    s->args = (kd_infonce_args){.count = s->batch.count,
                                .temp = (float)b->setting->config->temp,
                                .weight = (float)s->batch.count,
                                .nodes = items ? s->batch.positives : s->batch.users};
    anchors = s->args.nodes.capacity;
    KD_OR_RETURN(kd_bench_groups_count(b, &s->args.nodes, &s->groups));
    KD_OR_RETURN(kd_bench_unit_mat(b, anchors, d, &s->args.a));
    KD_OR_RETURN(kd_bench_unit_mat(b, rows, d, &s->args.b));
    KD_OR_RETURN(kd_bench_mat(b, anchors, d, 1.0f, &s->args.da));
    KD_OR_RETURN(kd_bench_mat(b, rows, d, 1.0f, &s->args.db));
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

/* Factors of logits that the reference goes through in seconds; where there are more it is asked for some anchors. */
static const double FEW = 4e9;

static kd_status check_all(kd_bench *b, kd_bench *ref) {
    const contrast *s = b->state, *expected = ref->state;
    double tolerance = b->setting->dense_tolerance;
    KD_OR_RETURN(run(ref));
    KD_OR_RETURN(kd_bench_same_loss(b, s->args.loss, expected->args.loss, tolerance));
    KD_OR_RETURN(kd_bench_same_mat(b, s->args.da, expected->args.da, tolerance));
    return kd_bench_same_mat(b, s->args.db, expected->args.db, tolerance);
}

/* The gradient of anchor g, which is that of a batch whose other anchors weigh nothing. */
static kd_status check_anchor(kd_bench *b, kd_bench *ref, int64_t g) {
    const contrast *s = b->state, *expected = ref->state;
    int64_t one = 1;
    kd_infonce_args a = expected->args;
    a.weight /= (float)a.count;
    a.count = 1;
    a.nodes.capacity = 1;
    a.nodes.count = &one;
    a.nodes.key += g;
    a.nodes.ptr += g;
    a.a = kd_mat_rows(a.a, g, 1);
    a.da = kd_mat_rows(a.da, g, 1);
    KD_OR_RETURN(kd_infonce(ref->ctx, &a));
    return kd_bench_same_mat(b, kd_mat_rows(s->args.da, g, 1), a.da, b->setting->dense_tolerance);
}

static kd_status check(kd_bench *b, kd_bench *ref) {
    enum { SAMPLES = 16 };
    const contrast *s = b->state;
    if ((double)s->groups * (double)s->args.b.rows * (double)s->args.b.cols < FEW) return check_all(b, ref);
    for (int64_t i = 0; i < kd_bench_samples(s->groups, SAMPLES); i++)
        KD_OR_RETURN(check_anchor(b, ref, kd_bench_sample(b, i, s->groups, SAMPLES)));
    return KD_OK;
}

const kd_bench_case kd_bench_infonce_cases[] = {
    {"infonce_users", "infonce", false, 0, set_up, run, check},
    {"infonce_items", "infonce", false, 1, set_up, run, check},
    {0},
};
