/* Orders, negatives and groups: integers, compared exactly. */
#include <stdio.h>
#include <stdlib.h>

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

kd_status kd_bench_entries_make(kd_bench *b, kd_bench_entries *out) {
    const kd_dataset *data = b->setting->data;
    int64_t n = b->setting->entries;
    out->count = n;
    KD_OR_RETURN(kd_bench_host(b, n, sizeof *out->user, &out->user));
    KD_OR_RETURN(kd_bench_host(b, 2 * n, sizeof *out->item, &out->item));
    for (int64_t i = 0; i < n; i++) {
        int64_t k = kd_bench_below(b, data->train.count);
        out->user[i] = data->train.user[k];
        out->item[i] = data->train.item[k];
        out->item[n + i] = (int32_t)kd_bench_below(b, data->items);
    }
    KD_OR_RETURN(kd_bench_upload(b, out->user, n, sizeof *out->user, &out->user_at));
    KD_OR_RETURN(kd_bench_upload(b, out->item, 2 * n, sizeof *out->item, &out->item_at));
    KD_OR_RETURN(make_groups(b, n, out->user_at, &out->users));
    KD_OR_RETURN(make_groups(b, n, out->item_at, &out->positives));
    return make_groups(b, 2 * n, out->item_at, &out->items);
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
    return kd_group(b->ctx, 2 * s->entries.count, s->entries.item_at, &s->entries.items);
}

/* Group after group, keys ascending, members in the order of the batch. */
static kd_status check_group(kd_bench *b) {
    const batches *s = b->state;
    const kd_groups *g = &s->entries.items;
    int64_t n = 2 * s->entries.count, groups = 0, at = 0, *count;
    int32_t *key, *ptr, *member;
    KD_OR_RETURN(kd_bench_read(b, g->count, 1, sizeof *count, &count));
    KD_OR_RETURN(kd_bench_read(b, g->key, n, sizeof *key, &key));
    KD_OR_RETURN(kd_bench_read(b, g->ptr, n + 1, sizeof *ptr, &ptr));
    KD_OR_RETURN(kd_bench_read(b, g->member, n, sizeof *member, &member));
    for (int64_t item = -1; at < n; groups++) {
        int64_t next = INT32_MAX;
        for (int64_t i = 0; i < n; i++)
            if (s->entries.item[i] > item && s->entries.item[i] < next) next = s->entries.item[i];
        item = next;
        kd_bench_integer(b, key[groups], item);
        kd_bench_integer(b, ptr[groups], at);
        for (int64_t i = 0; i < n; i++)
            if (s->entries.item[i] == item) kd_bench_integer(b, member[at++], i);
    }
    kd_bench_integer(b, ptr[groups], n);
    kd_bench_integer(b, count[0], groups);
    b->bytes += 8.0 * (double)groups;
    return KD_OK;
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
    return kd_sample_negatives(b->ctx, b->setting->graphs.train, b->nnz, s->user, &s->rng, s->out);
}

static bool has(const kd_bench_setting *s, int64_t user, int64_t item) {
    for (int64_t k = s->graph.row_ptr[user]; k < s->graph.row_ptr[user + 1]; k++)
        if (s->graph.col[k] == s->data->users + item) return true;
    return false;
}

static kd_status check_negatives(kd_bench *b) {
    enum { SAMPLES = 4096 };
    const batches *s = b->state;
    int32_t *negative;
    kd_status status = kd_bench_read(b, s->out, b->nnz, sizeof *negative, &negative);
    for (int64_t k = 0; status == KD_OK && k < kd_bench_samples(b->nnz, SAMPLES); k++) {
        int64_t i = kd_bench_sample(b, k, b->nnz, SAMPLES), item = -1;
        for (uint32_t attempt = 0; item < 0; attempt++) {
            uint32_t draw[4];
            kd_rng_draw4(&s->rng, (uint32_t)i, attempt / 4, draw);
            item = kd_uniform_below(draw[attempt % 4], (uint32_t)b->setting->data->items);
            if (has(b->setting, b->setting->data->train.user[i], item)) item = -1;
        }
        kd_bench_integer(b, negative[i], item);
    }
    return status;
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

typedef struct drawn {
    uint64_t key;
    int64_t index;
} drawn;

static int by_key(const void *a, const void *b) {
    const drawn *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static kd_status check_permutation(kd_bench *b) {
    const batches *s = b->state;
    int32_t *order;
    drawn *entry;
    KD_OR_RETURN(kd_bench_read(b, s->out, b->nnz, sizeof *order, &order));
    KD_OR_RETURN(kd_bench_host(b, b->nnz, sizeof *entry, &entry));
    for (int64_t i = 0; i < b->nnz; i++) {
        uint32_t draw[4];
        kd_rng_draw4(&s->rng, (uint32_t)i, 0, draw);
        entry[i] = (drawn){(uint64_t)draw[0] << 32 | draw[1], i};
    }
    qsort(entry, (size_t)b->nnz, sizeof *entry, by_key);
    for (int64_t i = 0; i < b->nnz; i++) kd_bench_integer(b, order[i], entry[i].index);
    return KD_OK;
}

const kd_bench_case kd_bench_batch_cases[] = {
    {"group", "group", false, 0, set_up_group, run_group, check_group},
    {"sample_negatives", "sample_negatives", false, 0, set_up_negatives, run_negatives, check_negatives},
    {"permutation", "permutation", false, 0, set_up_permutation, run_permutation, check_permutation},
    {0},
};
