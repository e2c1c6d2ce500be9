/* BPR of a batch, over the score's views. */
#include <math.h>
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct ranking_loss {
    kd_bench_entries batch;
    kd_bpr_args args;
    float *user, *item, *duser, *ditem; /* host; gradients before the call */
} ranking_loss;

static int64_t distinct(int64_t n, const int32_t *key, uint8_t *seen) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        count += !seen[key[i]];
        seen[key[i]] = 1;
    }
    return count;
}

/* batch = 1, so that gradients have the size of what they are added to. */
static kd_status set_up(kd_bench *b, int64_t parameter) {
    (void)parameter;
    ranking_loss *s;
    const kd_dataset *data = b->setting->data;
    int64_t width = 2 * b->setting->config->dim, rows;
    uint8_t *seen;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    KD_OR_RETURN(kd_bench_entries_make(b, &s->batch));
    s->args = (kd_bpr_args){.count = s->batch.count,
                            .batch = 1.0,
                            .user = s->batch.user_at,
                            .positive = s->batch.item_at,
                            .negative = s->batch.item_at + s->batch.count,
                            .users = s->batch.users,
                            .items = s->batch.items};
    KD_OR_RETURN(kd_bench_mat(b, data->users, width, 0.3f, &s->user, &s->args.user_view));
    KD_OR_RETURN(kd_bench_mat(b, data->items, width, 0.3f, &s->item, &s->args.item_view));
    KD_OR_RETURN(kd_bench_mat(b, data->users, width, 1.0f, &s->duser, &s->args.duser));
    KD_OR_RETURN(kd_bench_mat(b, data->items, width, 1.0f, &s->ditem, &s->args.ditem));
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof *s->args.loss, &s->args.loss));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_bpr_workspace(s->batch.count)));
    KD_OR_RETURN(kd_bench_host(b, data->users + data->items, 1, &seen));
    rows =
        distinct(s->batch.count, s->batch.user, seen) + distinct(2 * s->batch.count, s->batch.item, seen + data->users);
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)s->batch.count, (long long)width);
    b->nnz = s->batch.count;
    b->bytes = 12.0 * (double)rows * (double)width + 24.0 * (double)s->batch.count;
    b->flops = 9.0 * (double)s->batch.count * (double)width;
    return KD_OK;
}

static kd_status run(kd_bench *b) {
    const ranking_loss *s = b->state;
    return kd_bpr(b->ctx, &s->args);
}

/* Adds one triple's gradients to sums that begin with what was there; returns its loss. */
static double triple(const ranking_loss *s, int64_t i, kd_bench_sum *duser, kd_bench_sum *ditem) {
    int64_t w = s->args.user_view.cols, u = s->batch.user[i] * w, p = s->batch.item[i] * w,
            n = s->batch.item[s->batch.count + i] * w;
    double x = 0.0, push;
    for (int64_t c = 0; c < w; c++) x += (double)s->user[u + c] * ((double)s->item[p + c] - s->item[n + c]);
    push = 1.0 / (1.0 + exp(x));
    for (int64_t c = 0; c < w; c++) {
        kd_bench_add(&duser[u + c], -push * s->item[p + c]);
        kd_bench_add(&duser[u + c], push * s->item[n + c]);
        kd_bench_add(&ditem[p + c], -push * s->user[u + c]);
        kd_bench_add(&ditem[n + c], push * s->user[u + c]);
    }
    return log1p(exp(-x));
}

static kd_status compare(kd_bench *b, kd_mat device, const kd_bench_sum *expected) {
    float *actual;
    int64_t n = device.rows * device.cols;
    kd_status status = kd_bench_read(b, device.data, n, sizeof *actual, &actual);
    for (int64_t i = 0; status == KD_OK && i < n; i++)
        kd_bench_real(b, actual[i], expected[i].value, expected[i].magnitude, KD_BENCH_FLOAT32);
    return status;
}

static kd_status check(kd_bench *b) {
    const ranking_loss *s = b->state;
    int64_t w = s->args.user_view.cols, users = s->args.user_view.rows * w, items = s->args.item_view.rows * w;
    kd_bench_sum *duser, *ditem;
    double *loss, sum = 0.0;
    KD_OR_RETURN(kd_bench_host(b, users, sizeof *duser, &duser));
    KD_OR_RETURN(kd_bench_host(b, items, sizeof *ditem, &ditem));
    for (int64_t i = 0; i < users; i++) kd_bench_add(&duser[i], s->duser[i]);
    for (int64_t i = 0; i < items; i++) kd_bench_add(&ditem[i], s->ditem[i]);
    for (int64_t i = 0; i < s->batch.count; i++) sum += triple(s, i, duser, ditem);
    KD_OR_RETURN(kd_bench_read(b, s->args.loss, 1, sizeof *loss, &loss));
    kd_bench_real(b, loss[0], sum, sum, KD_BENCH_FLOAT32);
    KD_OR_RETURN(compare(b, s->args.duser, duser));
    return compare(b, s->args.ditem, ditem);
}

const kd_bench_case kd_bench_bpr_cases[] = {
    {"bpr", "bpr", false, 0, set_up, run, check},
    {0},
};
