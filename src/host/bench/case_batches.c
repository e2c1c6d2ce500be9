/* Orders, negatives and groups: integers, compared exactly. */
#include <stdio.h>

#include "host/bench/cases.h"

static kd_status make_groups(kd_bench *b, int64_t n, const int32_t *key, kd_groups *out) {
    *out = (kd_groups){.capacity = n};
    KD_OR_RETURN(kd_bench_zeros(b, 1, sizeof(int64_t), &out->count));
    KD_OR_RETURN(kd_bench_zeros(b, n, sizeof(int32_t), &out->key));
    KD_OR_RETURN(kd_bench_zeros(b, n + 1, sizeof(int32_t), &out->ptr));
    KD_OR_RETURN(kd_bench_zeros(b, n, sizeof(int32_t), &out->member));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_group_workspace(n)));
    return kd_group(b->ctx, n, key, out);
}

kd_status kd_bench_groups_count(kd_bench *b, const kd_groups *groups, int64_t *out) {
    return kd_download(b->ctx, out, groups->count, sizeof *out);
}

kd_status kd_bench_entries_make(kd_bench *b, kd_bench_entries *out) {
    const kd_dataset *data = b->setting->data;
    int64_t n = b->setting->entries;
    int32_t *user, *item;
    out->count = n;
    KD_OR_RETURN(kd_bench_host(b, n, sizeof *user, &user));
    KD_OR_RETURN(kd_bench_host(b, 2 * n, sizeof *item, &item));
    for (int64_t i = 0; i < n; i++) {
        int64_t k = kd_bench_below(b, data->train.count);
        user[i] = data->train.user[k];
        item[i] = data->train.item[k];
        item[n + i] = (int32_t)kd_bench_below(b, data->items);
    }
    KD_OR_RETURN(kd_bench_upload(b, user, n, sizeof *user, &out->user));
    KD_OR_RETURN(kd_bench_upload(b, item, 2 * n, sizeof *item, &out->item));
    KD_OR_RETURN(make_groups(b, n, out->user, &out->users));
    KD_OR_RETURN(make_groups(b, n, out->item, &out->positives));
    return make_groups(b, 2 * n, out->item, &out->items);
}

typedef struct batches {
    kd_bench_entries entries;
    kd_rng rng;
    int32_t *user, *out;
} batches;

static kd_status begin(kd_bench *b, batches **out) {
    kd_status status = kd_bench_host(b, 1, sizeof **out, out);
    b->state = *out;
    return status;
}

/* The items of a batch, positives and negatives. */
static kd_status set_up_group(kd_bench *b, int64_t parameter) {
    (void)parameter;
    batches *s;
    double n;
    KD_OR_RETURN(begin(b, &s));
    KD_OR_RETURN(kd_bench_entries_make(b, &s->entries));
    n = 2.0 * (double)s->entries.count;
    snprintf(b->shape, sizeof b->shape, "%.0f", n);
    b->bytes = 8.0 * n; /* keys and members; the groups' own arrays are added by the check, which counts them */
    return KD_OK;
}

static kd_status run_group(kd_bench *b) {
    batches *s = b->state;
    return kd_group(b->ctx, 2 * s->entries.count, s->entries.item, &s->entries.items);
}

static kd_status check_group(kd_bench *b, kd_bench *ref) {
    const batches *s = b->state, *expected = ref->state;
    const kd_groups *g = &s->entries.items, *e = &expected->entries.items;
    int64_t n = 2 * s->entries.count;
    KD_OR_RETURN(run_group(ref));
    KD_OR_RETURN(kd_bench_same_integers(b, g->count, e->count, 1, sizeof *g->count));
    KD_OR_RETURN(kd_bench_same_integers(b, g->key, e->key, e->count[0], sizeof *g->key));
    KD_OR_RETURN(kd_bench_same_integers(b, g->ptr, e->ptr, e->count[0] + 1, sizeof *g->ptr));
    b->bytes += 8.0 * (double)e->count[0];
    return kd_bench_same_integers(b, g->member, e->member, n, sizeof *g->member);
}

/* An epoch's negatives. */
static kd_status set_up_negatives(kd_bench *b, int64_t parameter) {
    (void)parameter;
    const kd_dataset *data = b->setting->data;
    batches *s;
    KD_OR_RETURN(begin(b, &s));
    s->rng = (kd_rng){1, KD_RNG_NEGATIVE, 0, 0, NULL};
    KD_OR_RETURN(kd_bench_upload(b, data->train.user, data->train.count, sizeof *s->user, &s->user));
    KD_OR_RETURN(kd_bench_zeros(b, data->train.count, sizeof *s->out, &s->out));
    snprintf(b->shape, sizeof b->shape, "%lld", (long long)data->train.count);
    b->nnz = data->train.count;
    b->bytes = 12.0 * (double)data->train.count + 8.0 * (double)(data->users + 1);
    return KD_OK;
}

static kd_status run_negatives(kd_bench *b) {
    const batches *s = b->state;
    return kd_sample_negatives(b->ctx, b->graphs->train, b->nnz, s->user, &s->rng, s->out);
}

static kd_status check_negatives(kd_bench *b, kd_bench *ref) {
    const batches *s = b->state, *expected = ref->state;
    KD_OR_RETURN(run_negatives(ref));
    return kd_bench_same_integers(b, s->out, expected->out, b->nnz, sizeof *s->out);
}

/* An epoch's order of the interactions. */
static kd_status set_up_permutation(kd_bench *b, int64_t parameter) {
    (void)parameter;
    batches *s;
    KD_OR_RETURN(begin(b, &s));
    b->nnz = b->setting->data->train.count;
    s->rng = (kd_rng){1, KD_RNG_SHUFFLE, 0, 0, NULL};
    KD_OR_RETURN(kd_bench_zeros(b, b->nnz, sizeof *s->out, &s->out));
    KD_OR_RETURN(kd_workspace_reserve(b->ctx, kd_permutation_workspace(b->nnz)));
    snprintf(b->shape, sizeof b->shape, "%lld", (long long)b->nnz);
    b->bytes = 4.0 * (double)b->nnz;
    return KD_OK;
}

static kd_status run_permutation(kd_bench *b) {
    const batches *s = b->state;
    return kd_permutation(b->ctx, b->nnz, &s->rng, s->out);
}

static kd_status check_permutation(kd_bench *b, kd_bench *ref) {
    const batches *s = b->state, *expected = ref->state;
    KD_OR_RETURN(run_permutation(ref));
    return kd_bench_same_integers(b, s->out, expected->out, b->nnz, sizeof *s->out);
}

const kd_bench_case kd_bench_batch_cases[] = {
    {"group", "group", false, 0, set_up_group, run_group, check_group},
    {"sample_negatives", "sample_negatives", false, 0, set_up_negatives, run_negatives, check_negatives},
    {"permutation", "permutation", false, 0, set_up_permutation, run_permutation, check_permutation},
    {0},
};
