#include "host/data/dataset_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

static kd_status check_sizes(const kd_dataset *d) {
    if (d->users < 1 || d->items < 1 || d->train.count < 1)
        return KD_FAIL(KD_ERR_FORMAT,
                       "%s: %" PRId64 " users, %" PRId64 " items, %" PRId64
                       " training interactions; expected at least one of each",
                       d->name, d->users, d->items, d->train.count);
    if (d->users > INT32_MAX - d->items)
        return KD_FAIL(KD_ERR_FORMAT, "%s: more than 2^31 - 1 users and items", d->name);
    if (d->entities < d->items || d->entities > INT32_MAX || d->relations < 0 || d->relations > INT32_MAX / 2)
        return KD_FAIL(KD_ERR_FORMAT,
                       "%s: %" PRId64 " entities and %" PRId64 " relations; expected at least %" PRId64
                       " entities (the items)",
                       d->name, d->entities, d->relations, d->items);
    const struct {
        const char *what;
        const kd_id_map *map;
        int64_t count;
    } maps[] = {{"user", &d->user_ids, d->users},
                {"item", &d->item_ids, d->items},
                {"entity", &d->entity_ids, d->entities},
                {"relation", &d->relation_ids, d->relations}};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        if (maps[i].map->count != maps[i].count)
            return KD_FAIL(KD_ERR_FORMAT, "%s: %" PRId64 " %s names; expected %" PRId64, d->name, maps[i].map->count,
                           maps[i].what, maps[i].count);
    return KD_OK;
}

static kd_status check_split(const kd_dataset *d, const char *split, const kd_interactions *pairs) {
    for (int64_t i = 0; i < pairs->count; i++) {
        int32_t user = pairs->user[i], item = pairs->item[i];
        if (user < 0 || user >= d->users || item < 0 || item >= d->items)
            return KD_FAIL(KD_ERR_FORMAT,
                           "%s: %s pair %" PRId64 " (user %d, item %d) is outside %" PRId64 " x %" PRId64, d->name,
                           split, i, user, item, d->users, d->items);
        if (i > 0 && (user < pairs->user[i - 1] || (user == pairs->user[i - 1] && item <= pairs->item[i - 1])))
            return KD_FAIL(KD_ERR_FORMAT, "%s: %s pair %" PRId64 " (user %d, item %d) is out of order or given twice",
                           d->name, split, i, user, item);
    }
    return KD_OK;
}

/* A negative is an item that the user has not; somebody with all of them would make the sampler search for ever. */
static kd_status check_negatives(const kd_dataset *d) {
    int64_t run = 0;
    for (int64_t i = 0; i < d->train.count; i++) {
        run = i > 0 && d->train.user[i] == d->train.user[i - 1] ? run + 1 : 1;
        if (run == d->items)
            return KD_FAIL(KD_ERR_FORMAT, "%s: user '%s' has every item in training; no negative can be drawn", d->name,
                           kd_id_token(&d->user_ids, d->train.user[i]));
    }
    return KD_OK;
}

static kd_status check_triples(const kd_dataset *d) {
    for (int64_t i = 0; i < d->kg.count; i++) {
        int32_t head = d->kg.head[i], relation = d->kg.relation[i], tail = d->kg.tail[i];
        if (head < 0 || head >= d->entities || tail < 0 || tail >= d->entities || relation < 0 ||
            relation >= d->relations)
            return KD_FAIL(KD_ERR_FORMAT,
                           "%s: triple %" PRId64 " (%d, %d, %d) is outside %" PRId64 " entities and %" PRId64
                           " relations",
                           d->name, i, head, relation, tail, d->entities, d->relations);
    }
    return KD_OK;
}

static kd_status check_modalities(const kd_dataset *d) {
    for (int64_t m = 0; m < d->modality_count; m++) {
        const kd_modality *modality = &d->modalities[m];
        for (int64_t other = 0; other < m; other++)
            if (strcmp(modality->name, d->modalities[other].name) == 0)
                return KD_FAIL(KD_ERR_FORMAT, "%s: modality '%s' is given twice", d->name, modality->name);
        if (modality->name[0] == '\0' || modality->width < 1)
            return KD_FAIL(KD_ERR_FORMAT, "%s: modality '%s' has %" PRId64 " columns; expected a name and at least one",
                           d->name, modality->name, modality->width);
        for (int64_t i = 0; i < d->items * modality->width; i++)
            if (!isfinite(modality->values[i]))
                return KD_FAIL(
                    KD_ERR_FORMAT,
                    "%s: %s features: row %" PRId64 ", column %" PRId64 ": expected a finite value, found %g", d->name,
                    modality->name, i / modality->width, i % modality->width, (double)modality->values[i]);
    }
    return KD_OK;
}

/* Adds one line if anything is affected. */
static void warn(kd_dataset_warnings *warnings, int64_t affected, const char *text) {
    if (affected == 0) return;
    warnings->warning[warnings->count].affected = affected;
    snprintf(warnings->warning[warnings->count].text, sizeof warnings->warning[0].text, "%" PRId64 " %s", affected,
             text);
    warnings->count++;
}

enum { IN_TRAIN = 1, HELD_OUT = 2 };

static void mark(unsigned char *marks, int64_t count, const int32_t *ids, unsigned char bit) {
    for (int64_t i = 0; i < count; i++) marks[ids[i]] |= bit;
}

static int64_t count_marked(const unsigned char *marks, int64_t count, unsigned char mask, unsigned char wanted) {
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++) found += (marks[i] & mask) == wanted;
    return found;
}

/* How many pairs two sorted lists share. */
static int64_t count_common(const kd_interactions *a, const kd_interactions *b) {
    int64_t i = 0, j = 0, common = 0;
    while (i < a->count && j < b->count) {
        int64_t left = (int64_t)a->user[i] << 32 | a->item[i], right = (int64_t)b->user[j] << 32 | b->item[j];
        common += left == right;
        i += left <= right;
        j += right <= left;
    }
    return common;
}

static kd_status find_warnings(const kd_dataset *d, kd_dataset_warnings *out) {
    kd_status status = KD_OK;
    const kd_interactions *held_out[] = {&d->valid, &d->test};
    unsigned char *user = NULL, *item = NULL, *entity = NULL;

    *out = (kd_dataset_warnings){0};
    KD_TRY(kd_host_alloc(&user, d->users, 1, "checking users"));
    KD_TRY(kd_host_alloc(&item, d->items, 1, "checking items"));
    KD_TRY(kd_host_alloc(&entity, d->entities, 1, "checking entities"));
    mark(user, d->train.count, d->train.user, IN_TRAIN);
    mark(item, d->train.count, d->train.item, IN_TRAIN);
    for (int i = 0; i < 2; i++) {
        mark(user, held_out[i]->count, held_out[i]->user, HELD_OUT);
        mark(item, held_out[i]->count, held_out[i]->item, HELD_OUT);
    }
    mark(entity, d->kg.count, d->kg.head, IN_TRAIN);
    mark(entity, d->kg.count, d->kg.tail, IN_TRAIN);
    warn(out, count_common(&d->valid, &d->train) + count_common(&d->test, &d->train),
         "held-out pairs that are also in training: masked in the ranking, so they can never be hits");
    warn(out, count_common(&d->valid, &d->test), "pairs that are in both validation and test");
    warn(out, count_marked(user, d->users, IN_TRAIN | HELD_OUT, HELD_OUT),
         "users with held-out items but without training items");
    warn(out, count_marked(item, d->items, IN_TRAIN | HELD_OUT, HELD_OUT),
         "cold items: held out for somebody, but without a user in training");
    warn(out, count_marked(user, d->users, IN_TRAIN, 0), "users without training items");
    warn(out, count_marked(item, d->items, IN_TRAIN, 0), "items without a user in training");
    if (d->kg.count > 0)
        warn(out, count_marked(entity, d->entities, IN_TRAIN, 0), "entities without an edge in the knowledge graph");
cleanup:
    free(user);
    free(item);
    free(entity);
    return status;
}

kd_status kd_dataset_check(const kd_dataset *dataset, kd_dataset_warnings *warnings) {

    KD_OR_RETURN(check_sizes(dataset));
    KD_OR_RETURN(check_split(dataset, "train", &dataset->train));
    KD_OR_RETURN(check_split(dataset, "valid", &dataset->valid));
    KD_OR_RETURN(check_split(dataset, "test", &dataset->test));
    KD_OR_RETURN(check_negatives(dataset));
    KD_OR_RETURN(check_triples(dataset));
    KD_OR_RETURN(check_modalities(dataset));
    if (warnings != NULL) KD_OR_RETURN(find_warnings(dataset, warnings));
    return KD_OK;
}

kd_status kd_dataset_check_held_out(const kd_dataset *d) {
    if (d->valid.count > 0 || d->test.count > 0) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s: neither a validation nor a test split: nothing to select the best epoch by",
                   d->path ? d->path : d->name);
}
