/* BPR of a batch, over the score's views. */
#include <stdio.h>

#include "host/bench/cases.h"

typedef struct ranking_loss {
    kd_bench_entries batch;
    kd_bpr_args args;
} ranking_loss;

/* batch = 1, so that gradients have the size of what they are added to. */
static kd_status set_up(kd_bench *b, int64_t parameter) {
    (void)parameter;
    ranking_loss *s;
    const kd_dataset *data = b->setting->data;
    int64_t width = 2 * b->setting->config->dim, users, items;
    KD_OR_RETURN(kd_bench_host(b, 1, sizeof *s, &s));
    b->state = s;
    KD_OR_RETURN(kd_bench_entries_make(b, &s->batch));
    s->args = (kd_bpr_args){.count = s->batch.count,
                            .batch = 1.0,
                            .user = s->batch.user,
                            .positive = s->batch.item,
                            .negative = s->batch.item + s->batch.count,
                            .users = s->batch.users,
                            .items = s->batch.items};
    KD_OR_RETURN(kd_bench_mat(b, data->users, width, 0.3f, &s->args.user_view));
    KD_OR_RETURN(kd_bench_mat(b, data->items, width, 0.3f, &s->args.item_view));
    KD_OR_RETURN(kd_bench_mat(b, data->users, width, 1.0f, &s->args.duser));
    KD_OR_RETURN(kd_bench_mat(b, data->items, width, 1.0f, &s->args.ditem));
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof *s->args.loss, &s->args.loss));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_bpr_workspace(s->batch.count)));
    KD_OR_RETURN(kd_bench_groups_count(b, &s->batch.users, &users));
    KD_OR_RETURN(kd_bench_groups_count(b, &s->batch.items, &items));
    snprintf(b->shape, sizeof b->shape, "%lldx%lld", (long long)s->batch.count, (long long)width);
    b->nnz = s->batch.count;
    b->bytes = 12.0 * (double)(users + items) * (double)width + 24.0 * (double)s->batch.count;
    b->flops = 9.0 * (double)s->batch.count * (double)width;
    return KD_OK;
}

static kd_status run(kd_bench *b) {
    const ranking_loss *s = b->state;
    return kd_bpr(b->ctx, &s->args);
}

static kd_status check(kd_bench *b, kd_bench *ref) {
    const ranking_loss *s = b->state, *expected = ref->state;
    KD_OR_RETURN(run(ref));
    KD_OR_RETURN(kd_bench_same_loss(b, s->args.loss, expected->args.loss, KD_BENCH_FLOAT32));
    KD_OR_RETURN(kd_bench_same_mat(b, s->args.duser, expected->args.duser, KD_BENCH_FLOAT32));
    return kd_bench_same_mat(b, s->args.ditem, expected->args.ditem, KD_BENCH_FLOAT32);
}

const kd_bench_case kd_bench_bpr_cases[] = {
    {"bpr", "bpr", false, 0, set_up, run, check},
    {0},
};
