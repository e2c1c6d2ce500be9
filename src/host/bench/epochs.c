/* Whole epochs: each stage beside the floor of its dense products. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/memory.h"
#include "host/bench/bench.h"

typedef struct timings {
    int64_t epochs; /* recorded so far, the first one not among them */
    double attention;
    double *seconds[KD_BENCH_STAGES]; /* [epochs]; the last: the whole epoch */
} timings;

static kd_status on_epoch(void *context, const kd_epoch_record *record) {
    timings *t = context;
    if (record->epoch == 0) {
        t->attention = record->seconds[KD_STAGE_ATTENTION];
        return KD_OK;
    }
    for (int s = 0; s < KD_STAGE_COUNT; s++) t->seconds[s][t->epochs] = record->seconds[s];
    t->seconds[KD_STAGE_COUNT][t->epochs++] = record->total_seconds;
    return KD_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Dense operations of training a denoiser of width n on all rows once: x W1 and its gradient, and the output layer's
 * gradients in whichever way a batch takes fewer, the Gram matrix as the symmetric product that it is. */
static double denoiser_operations(const kd_config *c, double rows, double n, double seen) {
    double hidden = (double)c->hidden, d = (double)c->dim, flops = 0.0;
    for (double first = 0.0; first < rows; first += (double)c->batch) {
        double count = fmin(rows - first, (double)c->batch);
        double direct = 6.0 * count * n * hidden + 4.0 * count * seen * d;
        double gram = 3.0 * n * hidden * hidden + 4.0 * count * hidden * hidden + 4.0 * (seen + count) * hidden * d;
        flops += 4.0 * count * n * hidden + fmin(direct, gram);
    }
    return flops;
}

/* Operations of the dense products of each stage of an epoch. InfoNCE counts every entry of a batch as an anchor. */
static void count_operations(const kd_kdiffe_plan *m, double flops[KD_BENCH_STAGES]) {
    const kd_config *c = m->base.config;
    const kd_model_shape *s = &m->shape;
    double users = (double)s->users, items = (double)s->items, entities = m->denoises_kg ? (double)s->entities : 0.0;
    double hidden = (double)c->hidden, d = (double)c->dim, modalities = (double)s->modalities;
    double chain = 2.0 * (double)(c->steps - 1) * hidden * hidden;
    double terms = c->cl_method == 1 ? modalities + 1.0 : modalities * (modalities - 1.0) / 2.0;
    for (int i = 0; i < KD_BENCH_STAGES; i++) flops[i] = 0.0;
    flops[KD_STAGE_DENOISE_MODALITIES] = modalities * denoiser_operations(c, users, items, items);
    flops[KD_STAGE_DENOISE_KG] = denoiser_operations(c, entities, entities, items);
    flops[KD_STAGE_SAMPLE] =
        modalities * users * (chain + 2.0 * items * hidden) + entities * (chain + 2.0 * entities * hidden);
    if (c->use.contrastive)
        flops[KD_STAGE_STEPS] = 6.0 * terms * (double)m->base.data->train.count * (users + items) * d;
    flops[KD_STAGE_EVALUATE] = 2.0 * users * items * 2.0 * d / (double)c->eval_every;
    for (int i = 0; i < KD_STAGE_COUNT; i++) flops[KD_STAGE_COUNT] += flops[i];
}

static void summarise(int64_t n, double *seconds, kd_bench_result *out) {
    qsort(seconds, (size_t)n, sizeof *seconds, ascending);
    out->iterations = n;
    out->min = 1e6 * seconds[0];
    out->median = 1e6 * (n % 2 ? seconds[n / 2] : 0.5 * (seconds[n / 2 - 1] + seconds[n / 2]));
    out->p99 = 1e6 * seconds[n - 1];
}

/* The stages that took any time, and the whole. */
static void collect(const kd_kdiffe_plan *m, timings *t, int64_t *count, kd_bench_result *out) {
    double flops[KD_BENCH_STAGES];
    count_operations(m, flops);
    for (int s = 0; s < KD_BENCH_STAGES; s++) {
        kd_bench_result *r = &out[*count];
        double *seconds = s == KD_STAGE_ATTENTION ? &t->attention : t->seconds[s];
        *r = (kd_bench_result){.nnz = m->base.data->train.count, .flops = flops[s], .max_err = -1.0};
        summarise(s == KD_STAGE_ATTENTION ? 1 : t->epochs, seconds, r);
        snprintf(r->name, sizeof r->name, "epoch_%s", s < KD_STAGE_COUNT ? kd_stage_name((kd_stage)s) : "total");
        snprintf(r->shape, sizeof r->shape, "%lldx%lld", (long long)m->shape.users, (long long)m->shape.items);
        *count += r->median > 0.0;
    }
}

kd_status kd_bench_epochs(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, int64_t epochs, int64_t *count,
                          kd_bench_result out[KD_BENCH_STAGES]) {
    kd_status status = KD_OK;
    kd_config c = *config;
    kd_plan *plan = NULL;
    timings t = {0};
    kd_observer observer = {.context = &t, .epoch = on_epoch};
    *count = 0;
    c.epochs = epochs + 1;
    c.patience = 0;
    for (int s = 0; s < KD_BENCH_STAGES; s++) KD_TRY(kd_host_alloc(&t.seconds[s], epochs, sizeof(double), "timings"));
    KD_TRY(kd_kdiffe_plan_make(&c, data, NULL, &plan));
    KD_TRY(kd_train(ctx, &c, data, &observer, NULL, NULL));
    collect(kd_kdiffe_plan_of(plan), &t, count, out);
cleanup:
    kd_kdiffe_plan_free(plan);
    for (int s = 0; s < KD_BENCH_STAGES; s++) free(t.seconds[s]);
    return status;
}
