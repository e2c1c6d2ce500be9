#include "host/data/synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/pairs.h"
#include "kernels/common/philox.h"

/* What is drawn; part of every key. */
enum { DRAW_TASTE, DRAW_USER_TASTE, DRAW_COUNT, DRAW_ITEM, DRAW_CENTRE, DRAW_FEATURE, DRAW_TRIPLE, DRAW_ACTIVE };

enum { LEAST_ITEMS = 3 }; /* of a user: one for each split */
enum { MOST_HUBS = 1000 };

typedef struct planted {
    const kd_synth_config *config;
    int32_t *taste;  /* [items] */
    int64_t *first;  /* [tastes + 1] places of a taste in `member` */
    int32_t *member; /* [items] items by taste */
    double *weight;  /* [items] running sums of popularity within a taste, in member order */
    int64_t *wanted; /* [users] interactions that a user would have */
} planted;

void kd_synth_defaults(kd_synth_config *out) {
    *out = (kd_synth_config){.users = 1000,
                             .items = 500,
                             .tastes = 20,
                             .user_tastes = 2,
                             .interactions = 10,
                             .stray = 0.1,
                             .popularity = 0.7,
                             .modality_count = 2,
                             .modality = {{"image", 64}, {"text", 32}},
                             .feature_noise = 1.0,
                             .relations = 4,
                             .attributes = 2,
                             .kg_informative = 3,
                             .kg_noise = 3,
                             .split = {0.7, 0.1, 0.2},
                             .seed = 421};
}

static void draw(const kd_synth_config *c, uint32_t what, int64_t row, int64_t block, uint32_t bits[4]) {
    kd_rng rng = {c->seed, KD_RNG_SYNTH, what, 0, NULL};
    kd_rng_draw4(&rng, (uint32_t)row, (uint32_t)block, bits);
}

static double normal(const kd_synth_config *c, uint32_t what, int64_t row, int64_t column) {
    uint32_t bits[4];
    draw(c, what, row, column, bits);
    return sqrt(-2.0 * log(1.0 - kd_uniform(bits[0]))) * cos(6.283185307179586 * kd_uniform(bits[1]));
}

static kd_status check_modalities(const kd_synth_config *c) {
    if (c->modality_count < 0 || c->modality_count > KD_SYNTH_MAX_MODALITIES)
        return KD_FAIL(KD_ERR_ARGUMENT, "synth: modalities: expected at most %d", (int)KD_SYNTH_MAX_MODALITIES);
    for (int64_t m = 0; m < c->modality_count; m++) {
        if (!c->modality[m].name[0] || c->modality[m].width < 1 || c->modality[m].width > KD_SYNTH_MAX_WIDTH)
            return KD_FAIL(KD_ERR_ARGUMENT, "synth: modality '%s': expected a name and 1 to %d columns",
                           c->modality[m].name, (int)KD_SYNTH_MAX_WIDTH);
        for (int64_t other = 0; other < m; other++)
            if (strcmp(c->modality[m].name, c->modality[other].name) == 0)
                return KD_FAIL(KD_ERR_ARGUMENT, "synth: modality '%s' is given twice", c->modality[m].name);
    }
    return KD_OK;
}

/* Conditions that NaN fails. */
static kd_status check(const kd_synth_config *c) {
    int64_t attributes;
    if (c->users < 1 || c->items < 6 || c->users > INT32_MAX / 2 || c->items > INT32_MAX / 2)
        return KD_FAIL(KD_ERR_ARGUMENT, "synth: expected at least 1 user and 6 items, and fewer than 2^30 of either");
    if (c->tastes < 1 || c->tastes > c->items || c->user_tastes < 1)
        return KD_FAIL(KD_ERR_ARGUMENT, "synth: expected 1 to %lld tastes, and 1 or more of a user",
                       (long long)c->items);
    if (!(c->interactions >= LEAST_ITEMS && c->interactions <= (double)c->items / 2.0))
        return KD_FAIL(KD_ERR_ARGUMENT, "synth: interactions: expected %d to half the number of items",
                       (int)LEAST_ITEMS);
    if (!(c->stray >= 0.0 && c->stray <= 1.0) || !(c->popularity >= 0.0 && c->popularity <= 100.0) ||
        !(c->feature_noise >= 0.0 && c->feature_noise <= 1e6))
        return KD_FAIL(KD_ERR_ARGUMENT,
                       "synth: expected stray from 0 to 1, popularity from 0 to 100, feature noise from 0 to 1e6");
    if (c->active_users < 0 || c->active_users > c->users || !(c->activity >= 0.0 && c->activity <= 100.0))
        return KD_FAIL(KD_ERR_ARGUMENT, "synth: expected 0 to %lld active users, activity from 0 to 100",
                       (long long)c->users);
    if (!(c->kg_informative >= 0.0 && c->kg_informative <= 1e4) || !(c->kg_noise >= 0.0 && c->kg_noise <= 1e4))
        return KD_FAIL(KD_ERR_ARGUMENT, "synth: expected 0 to 10000 triples of an item");
    if (!(c->split[0] > 0.0 && c->split[1] >= 0.0 && c->split[2] >= 0.0 &&
          isfinite(c->split[0] + c->split[1] + c->split[2])))
        return KD_FAIL(KD_ERR_ARGUMENT, "synth: split: expected three shares, the first above 0");
    if (c->relations < 1 || c->attributes < 1 || __builtin_mul_overflow(c->relations, c->tastes, &attributes) ||
        __builtin_mul_overflow(attributes, c->attributes, &attributes) || attributes > INT32_MAX / 2)
        return KD_FAIL(KD_ERR_ARGUMENT,
                       "synth: relations x tastes x attributes: expected at least 1 and fewer than 2^30 entities");
    if (c->kg_hubs < 0 || c->kg_hubs > MOST_HUBS)
        return KD_FAIL(KD_ERR_ARGUMENT, "synth: expected 0 to %d hubs", (int)MOST_HUBS);
    return check_modalities(c);
}

static void free_planted(planted *p) {
    free(p->taste);
    free(p->first);
    free(p->member);
    free(p->weight);
    free(p->wanted);
}

/* Tastes of items, and each taste's items with running popularity. */
static kd_status plant_tastes(const kd_synth_config *c, planted *p) {
    kd_status status = KD_OK;
    int64_t *cursor = NULL;
    p->config = c;
    KD_TRY(kd_host_alloc(&p->taste, c->items, sizeof *p->taste, "tastes"));
    KD_TRY(kd_host_alloc(&p->first, c->tastes + 1, sizeof *p->first, "tastes"));
    KD_TRY(kd_host_alloc(&p->member, c->items, sizeof *p->member, "tastes"));
    KD_TRY(kd_host_alloc(&p->weight, c->items, sizeof *p->weight, "tastes"));
    KD_TRY(kd_host_alloc(&cursor, c->tastes, sizeof *cursor, "tastes"));
    for (int64_t i = 0; i < c->items; i++) {
        uint32_t bits[4];
        draw(c, DRAW_TASTE, i, 0, bits);
        p->taste[i] = i < c->tastes ? (int32_t)i : (int32_t)kd_uniform_below(bits[0], (uint32_t)c->tastes);
        p->first[p->taste[i] + 1]++;
    }
    for (int64_t t = 0; t < c->tastes; t++) {
        p->first[t + 1] += p->first[t];
        cursor[t] = p->first[t];
    }
    for (int64_t i = 0; i < c->items; i++) {
        int64_t at = cursor[p->taste[i]]++, place = at - p->first[p->taste[i]];
        p->member[at] = (int32_t)i;
        p->weight[at] = (place > 0 ? p->weight[at - 1] : 0.0) + pow((double)place + 1.0, -c->popularity);
    }
cleanup:
    free(cursor);
    return status;
}

/* What everybody shares by chance: exponential above the least, a long tail of activity. */
static double spread_of(const kd_synth_config *c, int64_t user) {
    uint32_t bits[4];
    draw(c, DRAW_COUNT, user, 0, bits);
    return -log(1.0 - kd_uniform(bits[0]));
}

/* spread [users] = that of the active users, in any order of the users, and 0 of the others; their mean is 1. */
static kd_status spread_over_active(const kd_synth_config *c, double *spread) {
    int64_t *user;
    double sum = 0.0;
    KD_OR_RETURN(kd_host_alloc(&user, c->users, sizeof *user, "users"));
    for (int64_t u = 0; u < c->users; u++) user[u] = u;
    for (int64_t k = 0; k < c->active_users; k++) sum += pow((double)k + 1.0, -c->activity);
    for (int64_t k = 0; k < c->active_users; k++) {
        uint32_t bits[4];
        draw(c, DRAW_ACTIVE, k, 0, bits);
        int64_t at = k + (int64_t)kd_uniform_below(bits[0], (uint32_t)(c->users - k)), chosen = user[at];
        user[at] = user[k];
        spread[chosen] = pow((double)k + 1.0, -c->activity) / sum * (double)c->users;
    }
    free(user);
    return KD_OK;
}

static kd_status plan_activity(const kd_synth_config *c, planted *p) {
    kd_status status = KD_OK;
    double *spread = NULL;
    KD_TRY(kd_host_alloc(&p->wanted, c->users, sizeof *p->wanted, "users"));
    KD_TRY(kd_host_alloc(&spread, c->users, sizeof *spread, "users"));
    if (c->active_users > 0)
        KD_TRY(spread_over_active(c, spread));
    else
        for (int64_t u = 0; u < c->users; u++) spread[u] = spread_of(c, u);
    for (int64_t u = 0; u < c->users; u++) {
        p->wanted[u] = LEAST_ITEMS + (int64_t)((c->interactions - LEAST_ITEMS) * spread[u] + 0.5);
        if (p->wanted[u] > c->items / 2) p->wanted[u] = c->items / 2;
    }
cleanup:
    free(spread);
    return status;
}

/* One item for the user: by popularity within one of its tastes, or any with probability `stray`. */
static int32_t draw_item(const planted *p, int64_t user, int64_t attempt, double stray) {
    const kd_synth_config *c = p->config;
    uint32_t bits[4], taste_bits[4];
    draw(c, DRAW_ITEM, user, attempt, bits);
    if (kd_uniform(bits[0]) < stray) return (int32_t)kd_uniform_below(bits[1], (uint32_t)c->items);
    draw(c, DRAW_USER_TASTE, user, kd_uniform_below(bits[2], (uint32_t)c->user_tastes), taste_bits);
    int64_t t = kd_uniform_below(taste_bits[0], (uint32_t)c->tastes), low = p->first[t], high = p->first[t + 1] - 1;
    double wanted = kd_uniform(bits[3]) * p->weight[high];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (p->weight[middle] > wanted)
            high = middle;
        else
            low = middle + 1;
    }
    return p->member[low];
}

/* Distinct items of a user into list: half the items at most, and at least LEAST_ITEMS, with stray ones where the
 * user's tastes have too few. */
static int64_t items_of_user(const planted *p, int64_t user, int32_t *list) {
    const kd_synth_config *c = p->config;
    int64_t wanted = p->wanted[user], count = 0;
    for (int64_t attempt = 0; count < wanted && (count < LEAST_ITEMS || attempt < 20 * wanted); attempt++) {
        int32_t item = draw_item(p, user, attempt, attempt >= 20 * wanted ? 1.0 : c->stray);
        int64_t at = 0;
        while (at < count && list[at] != item) at++;
        if (at == count) list[count++] = item;
    }
    return count;
}

static kd_status append(kd_interactions *split, int64_t *capacity, int64_t user, int32_t item) {
    int64_t second = *capacity;
    kd_status status = kd_host_grow(&split->user, &second, split->count + 1, sizeof(int32_t), "interactions");
    if (status == KD_OK)
        status = kd_host_grow(&split->item, capacity, split->count + 1, sizeof(int32_t), "interactions");
    if (status != KD_OK) return status;
    split->user[split->count] = (int32_t)user;
    split->item[split->count++] = item;
    return KD_OK;
}

/* The items come in random order, so the first ones are a fair validation and test sample; one is always left to train.
 */
static kd_status make_interactions(const planted *p, kd_dataset *d) {
    kd_status status = KD_OK;
    const kd_synth_config *c = p->config;
    double sum = c->split[0] + c->split[1] + c->split[2];
    kd_interactions *split[3] = {&d->train, &d->valid, &d->test};
    int64_t capacity[3] = {0};
    int32_t *list = NULL;
    KD_TRY(kd_host_alloc(&list, c->items, sizeof *list, "interactions"));
    for (int64_t u = 0; u < c->users; u++) {
        int64_t n = items_of_user(p, u, list);
        int64_t valid = (int64_t)((double)n * c->split[1] / sum + 0.5),
                test = (int64_t)((double)n * c->split[2] / sum + 0.5);
        while (valid + test >= n) test > 0 ? test-- : valid--;
        for (int64_t i = 0; i < n; i++) {
            int s = i < valid ? 1 : i < valid + test ? 2 : 0;
            KD_TRY(append(split[s], &capacity[s], u, list[i]));
        }
    }
    for (int s = 0; s < 3; s++)
        KD_TRY(kd_pairs_sort(c->users, c->items, split[s]->count, split[s]->user, split[s]->item, NULL));
cleanup:
    free(list);
    return status;
}

/* Fills modality m: centre of the item's taste + noise. Draws belong to the modality's place in the data set's order.
 */
static kd_status fill_features(const planted *p, int64_t m, kd_modality *to) {
    kd_status status = KD_OK;
    const kd_synth_config *c = p->config;
    const uint32_t centre_of = DRAW_CENTRE + 100 * (uint32_t)(m + 1), noise_of = DRAW_FEATURE + 100 * (uint32_t)(m + 1);
    const int64_t width = to->width;
    double *centre = NULL;
    KD_TRY(kd_host_alloc(&to->values, c->items * width, sizeof(float), "features"));
    KD_TRY(kd_host_alloc(&centre, c->tastes * width, sizeof *centre, "features"));
    for (int64_t i = 0; i < c->tastes * width; i++) centre[i] = normal(c, centre_of, i / width, i % width);
#pragma omp parallel for
    for (int64_t i = 0; i < c->items; i++)
        for (int64_t f = 0; f < width; f++)
            to->values[i * width + f] =
                (float)(centre[p->taste[i] * width + f] + c->feature_noise * normal(c, noise_of, i, f));
cleanup:
    free(centre);
    return status;
}

static int by_name(const void *a, const void *b) {
    return kd_modality_compare(((const kd_modality *)a)->name, ((const kd_modality *)b)->name);
}

static kd_status make_features(const planted *p, kd_dataset *d) {
    const kd_synth_config *c = p->config;
    KD_OR_RETURN(kd_host_alloc(&d->modalities, c->modality_count, sizeof *d->modalities, "features"));
    for (; d->modality_count < c->modality_count; d->modality_count++) {
        kd_modality *to = &d->modalities[d->modality_count];
        snprintf(to->name, sizeof to->name, "%s", c->modality[d->modality_count].name);
        to->width = c->modality[d->modality_count].width;
    }
    qsort(d->modalities, (size_t)d->modality_count, sizeof *d->modalities, by_name);
    for (int64_t m = 0; m < d->modality_count; m++) KD_OR_RETURN(fill_features(p, m, &d->modalities[m]));
    return KD_OK;
}

/* Whole number with the given mean. */
static int64_t around(double mean, uint32_t bits) { return (int64_t)(mean + kd_uniform(bits)); }

static void add_triple(kd_triples *kg, int64_t head, int64_t relation, int64_t tail) {
    kg->head[kg->count] = (int32_t)head;
    kg->relation[kg->count] = (int32_t)relation;
    kg->tail[kg->count++] = (int32_t)tail;
}

/* Attribute k of relation r and taste t is entity items + (r * tastes + t) * attributes + k; after them come the hubs,
 * which belong to one relation after the other. */
static kd_status make_triples(const planted *p, kd_dataset *d, uint8_t **informative) {
    const kd_synth_config *c = p->config;
    int64_t most = c->items * (int64_t)(ceil(c->kg_informative) + ceil(c->kg_noise) + 2 + (double)c->kg_hubs);
    int64_t first_hub = c->items;
    if (c->kg_informative + c->kg_noise > 0.0) first_hub += c->relations * c->tastes * c->attributes;
    KD_OR_RETURN(kd_host_alloc(&d->kg.head, most, sizeof(int32_t), "triples"));
    KD_OR_RETURN(kd_host_alloc(&d->kg.relation, most, sizeof(int32_t), "triples"));
    KD_OR_RETURN(kd_host_alloc(&d->kg.tail, most, sizeof(int32_t), "triples"));
    KD_OR_RETURN(kd_host_alloc(informative, most, 1, "triples"));
    for (int64_t i = 0; i < c->items; i++) {
        uint32_t bits[4];
        draw(c, DRAW_TRIPLE, i, 0, bits);
        int64_t good = around(c->kg_informative, bits[0]), all = good + around(c->kg_noise, bits[1]);
        for (int64_t k = 0; k < all; k++) {
            draw(c, DRAW_TRIPLE, i, k + 1, bits);
            int64_t r = kd_uniform_below(bits[0], (uint32_t)c->relations),
                    a = kd_uniform_below(bits[1], (uint32_t)c->attributes);
            int64_t t = k < good ? p->taste[i] : (int64_t)kd_uniform_below(bits[2], (uint32_t)c->tastes);
            (*informative)[d->kg.count] = t == p->taste[i];
            add_triple(&d->kg, i, r, c->items + (r * c->tastes + t) * c->attributes + a);
        }
        for (int64_t h = 0; h < c->kg_hubs; h++) add_triple(&d->kg, i, h % c->relations, first_hub + h);
    }
    d->relations = c->relations;
    d->entities = first_hub + c->kg_hubs;
    d->kg_linked = true;
    return KD_OK;
}

kd_status kd_synth_generate(const kd_synth_config *c, kd_dataset *d, uint8_t **informative) {
    kd_status status = KD_OK;
    planted p = {0};
    *d = (kd_dataset){.users = c->users, .items = c->items, .entities = c->items};
    *informative = NULL;
    snprintf(d->name, sizeof d->name, "synth");
    KD_TRY(check(c));
    KD_TRY(plant_tastes(c, &p));
    KD_TRY(plan_activity(c, &p));
    KD_TRY(make_interactions(&p, d));
    KD_TRY(make_features(&p, d));
    if (c->kg_informative + c->kg_noise + (double)c->kg_hubs > 0.0) KD_TRY(make_triples(&p, d, informative));
    KD_TRY(kd_id_map_decimal(d->users, &d->user_ids));
    KD_TRY(kd_id_map_decimal(d->items, &d->item_ids));
    KD_TRY(kd_id_map_decimal(d->entities, &d->entity_ids));
    KD_TRY(kd_id_map_decimal(d->relations, &d->relation_ids));
    d->hash = kd_dataset_hash(d);
cleanup:
    free_planted(&p);
    if (status != KD_OK) {
        free(*informative);
        *informative = NULL;
        kd_dataset_free(d);
    }
    return status;
}
