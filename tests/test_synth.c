/* Planted data: what is promised about its structure, its truth and its repeatability. */
#include "data_fixture.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>

#include "host/cli/command.h"
#include "host/data/dataset_check.h"
#include "host/data/format.h"
#include "host/data/synth.h"

typedef struct planted_data {
    kd_synth_config config;
    kd_dataset data;
    uint8_t *informative;
    int32_t *taste; /* [items] the taste of an item, from its informative triples; -1 if it has none */
} planted_data;

/* The taste that an attribute entity belongs to, by the order that entities are numbered in. */
static int32_t taste_of_attribute(const kd_synth_config *c, int64_t entity) {
    return (int32_t)((entity - c->items) / c->attributes % c->tastes);
}

static void plant(planted_data *p) {
    if (kd_synth_generate(&p->config, &p->data, &p->informative) != KD_OK) fail_msg("%s", kd_last_error());
    p->taste = malloc((size_t)p->config.items * sizeof *p->taste);
    assert_non_null(p->taste);
    for (int64_t i = 0; i < p->config.items; i++) p->taste[i] = -1;
    for (int64_t i = 0; i < p->data.kg.count; i++)
        if (p->informative[i]) p->taste[p->data.kg.head[i]] = taste_of_attribute(&p->config, p->data.kg.tail[i]);
}

static void uproot(planted_data *p) {
    free(p->informative);
    free(p->taste);
    kd_dataset_free(&p->data);
}

static planted_data with_defaults(void) {
    planted_data p = {0};
    kd_synth_defaults(&p.config);
    return p;
}

static planted_data with_tails(void) {
    planted_data p = with_defaults();
    p.config.users = 2000;
    p.config.items = 1500;
    p.config.tastes = p.config.user_tastes = 5;
    p.config.popularity = 0.9;
    p.config.interactions = 8;
    p.config.active_users = 40;
    p.config.activity = 0.5;
    p.config.kg_informative = p.config.kg_noise = 0.0;
    p.config.kg_hubs = 3;
    return p;
}

static uint64_t hash_of(const kd_synth_config *c) {
    planted_data p = {.config = *c};
    plant(&p);
    uint64_t hash = p.data.hash;
    assert_true(hash == kd_dataset_hash(&p.data));
    uproot(&p);
    return hash;
}

static void the_same_seed_gives_the_same_data(void **state) {
    (void)state;
    planted_data p = with_defaults(), tails = with_tails();
    int threads = omp_get_max_threads();
    uint64_t first = hash_of(&p.config), first_tails = hash_of(&tails.config);
    omp_set_num_threads(threads == 1 ? 2 : 1);
    assert_true(hash_of(&p.config) == first);
    assert_true(hash_of(&tails.config) == first_tails);
    omp_set_num_threads(threads);
    p.config.seed++;
    assert_true(hash_of(&p.config) != first);
    p.config.seed = UINT64_C(421) << 32; /* the upper half of the seed counts too */
    assert_true(hash_of(&p.config) != first);
}

static void the_data_can_be_trained_on(void **state) {
    (void)state;
    planted_data p = with_defaults();
    plant(&p);
    const kd_dataset *d = &p.data;
    kd_dataset_warnings warnings;
    if (kd_dataset_check(d, &warnings) != KD_OK) fail_msg("%s", kd_last_error());
    int64_t *train = calloc((size_t)d->users, sizeof *train), *all = calloc((size_t)d->users, sizeof *all);
    const kd_interactions *splits[] = {&d->train, &d->valid, &d->test};
    int64_t total = 0;
    for (int s = 0; s < 3; s++)
        for (int64_t i = 0; i < splits[s]->count; i++, total++) {
            all[splits[s]->user[i]]++;
            train[splits[s]->user[i]] += s == 0;
        }
    for (int64_t u = 0; u < d->users; u++) assert_true(train[u] >= 1 && all[u] >= 3 && all[u] <= d->items / 2);
    for (int64_t i = 0; i < warnings.count; i++) /* the splits share no pair, nobody lacks training items */
        assert_true(strstr(warnings.warning[i].text, "pairs") == NULL &&
                    strstr(warnings.warning[i].text, "users") == NULL);
    double mean = (double)total / (double)d->users;
    assert_true(fabs(mean - p.config.interactions) < 0.1 * p.config.interactions);
    for (int s = 0; s < 3; s++) assert_true(fabs((double)splits[s]->count / (double)total - p.config.split[s]) < 0.03);
    free(train);
    free(all);
    uproot(&p);
}

static void the_truth_of_triples_is_the_truth(void **state) {
    (void)state;
    planted_data p = with_defaults();
    p.config.kg_informative = 2.5;
    p.config.kg_noise = 4;
    plant(&p);
    const kd_triples *kg = &p.data.kg;
    int64_t good = 0;
    assert_int_equal(p.data.entities, p.config.items + p.config.relations * p.config.tastes * p.config.attributes);
    assert_true(p.data.kg_linked);
    for (int64_t i = 0; i < kg->count; i++) {
        assert_true(kg->head[i] < p.config.items && kg->tail[i] >= p.config.items);
        int64_t attribute = kg->tail[i] - p.config.items;
        assert_int_equal(attribute / (p.config.attributes * p.config.tastes), kg->relation[i]);
        int same = p.taste[kg->head[i]] == taste_of_attribute(&p.config, kg->tail[i]);
        assert_int_equal(p.informative[i], same);
        good += same;
    }
    double items = (double)p.config.items;
    double by_chance = p.config.kg_noise / (double)p.config.tastes;
    assert_true(fabs((double)good / items - (p.config.kg_informative + by_chance)) < 0.15);
    assert_true(fabs((double)kg->count / items - (p.config.kg_informative + p.config.kg_noise)) < 0.15);
    uproot(&p);
}

/* Share of items whose nearest centre, of centres averaged over the items of a taste, is their own taste's. */
static double nearest_centre(const planted_data *p, const kd_modality *m) {
    int64_t tastes = p->config.tastes, width = m->width, right = 0;
    double *centre = calloc((size_t)(tastes * width), sizeof *centre);
    int64_t *members = calloc((size_t)tastes, sizeof *members);
    for (int64_t i = 0; i < p->config.items; i++) {
        members[p->taste[i]]++;
        for (int64_t f = 0; f < width; f++) centre[p->taste[i] * width + f] += m->values[i * width + f];
    }
    for (int64_t i = 0; i < p->config.items; i++) {
        double least = INFINITY;
        int64_t nearest = -1;
        for (int64_t t = 0; t < tastes; t++) {
            double distance = 0.0;
            for (int64_t f = 0; f < width; f++) {
                double gap = m->values[i * width + f] - centre[t * width + f] / (double)members[t];
                distance += gap * gap;
            }
            if (distance < least) {
                least = distance;
                nearest = t;
            }
        }
        right += nearest == p->taste[i];
    }
    free(centre);
    free(members);
    return (double)right / (double)p->config.items;
}

static void features_carry_tastes_under_noise(void **state) {
    (void)state;
    planted_data clear = with_defaults(), noisy = with_defaults();
    noisy.config.feature_noise = 20;
    plant(&clear);
    plant(&noisy);
    for (int64_t m = 0; m < 2; m++) assert_true(nearest_centre(&clear, &clear.data.modalities[m]) > 0.95);
    assert_true(nearest_centre(&noisy, &noisy.data.modalities[0]) < 0.8);
    uproot(&clear);
    uproot(&noisy);
}

/* recall@20 of the held-out test items, ranking by training popularity, times the user's training items of the item's
 * taste if `by_taste`. */
static double recall_at_20(const planted_data *p, int by_taste) {
    const kd_dataset *d = &p->data;
    double *popularity = calloc((size_t)d->items, sizeof *popularity), *score = calloc((size_t)d->items, sizeof *score);
    double *liking = calloc((size_t)p->config.tastes, sizeof *liking), sum = 0.0;
    int64_t users = 0, train = 0, test = 0;
    for (int64_t i = 0; i < d->train.count; i++) popularity[d->train.item[i]] += 1.0;
    for (int64_t u = 0; u < d->users; u++) {
        int64_t first = train, held_out = 0, hits = 0;
        memset(liking, 0, (size_t)p->config.tastes * sizeof *liking);
        for (; train < d->train.count && d->train.user[train] == u; train++)
            liking[p->taste[d->train.item[train]]] += 1.0;
        for (int64_t i = 0; i < d->items; i++)
            score[i] = (popularity[i] + 0.1) * (by_taste ? liking[p->taste[i]] + 0.001 : 1.0);
        for (int64_t k = first; k < train; k++) score[d->train.item[k]] = -1.0;
        for (; test < d->test.count && d->test.user[test] == u; test++, held_out++) {
            int64_t above = 0;
            for (int64_t i = 0; i < d->items; i++) above += score[i] > score[d->test.item[test]];
            hits += above < 20;
        }
        if (held_out == 0) continue;
        sum += (double)hits / (double)held_out;
        users++;
    }
    free(popularity);
    free(score);
    free(liking);
    return sum / (double)users;
}

static void knowing_tastes_is_far_better_than_popularity(void **state) {
    (void)state;
    planted_data p = with_defaults();
    plant(&p);
    double popular = recall_at_20(&p, 0), by_taste = recall_at_20(&p, 1);
    print_message("synth: recall@20 %.4f by popularity and taste, %.4f by popularity\n", by_taste, popular);
    assert_true(by_taste > 2.5 * popular && by_taste > 0.4);
    uproot(&p);
}

static int falling(const void *a, const void *b) {
    return (*(const int64_t *)a < *(const int64_t *)b) - (*(const int64_t *)a > *(const int64_t *)b);
}

/* Share of the interactions that goes to the most popular tenth of the items. */
static double share_of_top_tenth(double exponent) {
    planted_data p = with_defaults();
    p.config.popularity = exponent;
    p.config.users = 3000;
    plant(&p);
    int64_t *count = calloc((size_t)p.config.items, sizeof *count), top = 0;
    for (int64_t i = 0; i < p.data.train.count; i++) count[p.data.train.item[i]]++;
    qsort(count, (size_t)p.config.items, sizeof *count, falling);
    for (int64_t i = 0; i < p.config.items / 10; i++) top += count[i];
    double share = (double)top / (double)p.data.train.count;
    free(count);
    uproot(&p);
    return share;
}

static void popularity_is_skewed_as_asked(void **state) {
    (void)state;
    double even = share_of_top_tenth(0.0), skewed = share_of_top_tenth(1.0);
    print_message("synth: the top tenth has %.3f of the interactions at exponent 0, %.3f at 1\n", even, skewed);
    assert_true(even < 0.25);
    assert_true(skewed > even + 0.06);
}

/* What older data sets are known by; without features, whose last bits are the math library's. */
static void what_is_off_changes_nothing(void **state) {
    (void)state;
    planted_data p = with_defaults();
    p.config.modality_count = 0;
    assert_true(hash_of(&p.config) == UINT64_C(0xe3996c745247163c));
    p.config.activity = 2.0; /* of nobody */
    assert_true(hash_of(&p.config) == UINT64_C(0xe3996c745247163c));
}

/* [n] how often each of n ids stands in a list, most often first; free it. */
static int64_t *degrees(int64_t n, int64_t count, const int32_t *id) {
    int64_t *degree = calloc((size_t)n, sizeof *degree);
    assert_non_null(degree);
    for (int64_t i = 0; i < count; i++) degree[id[i]]++;
    qsort(degree, (size_t)n, sizeof *degree, falling);
    return degree;
}

static void few_users_are_as_active_as_asked(void **state) {
    (void)state;
    planted_data p = with_tails();
    p.config.split[1] = p.config.split[2] = 0.0;
    plant(&p);
    const kd_interactions *all = &p.data.train;
    const int64_t active = p.config.active_users;
    int64_t *user = degrees(p.data.users, all->count, all->user);
    double sum = 0.0, shared = (p.config.interactions - 3.0) * (double)p.config.users;
    for (int64_t k = 0; k < active; k++) sum += pow((double)k + 1.0, -p.config.activity);
    for (int64_t k = 0; k < active; k++) {
        double wanted = fmin(3.0 + shared * pow((double)k + 1.0, -p.config.activity) / sum, 750.0);
        assert_true(fabs((double)user[k] - wanted) <= 1.0);
    }
    assert_true(user[active] == 3 && user[p.data.users - 1] == 3);
    free(user);
    uproot(&p);
}

static void items_of_active_users_have_a_tail_too(void **state) {
    (void)state;
    planted_data p = with_tails();
    plant(&p);
    int64_t *item = degrees(p.data.items, p.data.train.count, p.data.train.item), n = p.data.items;
    print_message("synth: items have up to %" PRId64 " users, 1%% of them %" PRId64 ", half %" PRId64 "\n", item[0],
                  item[n / 100], item[n / 2]);
    assert_true(item[0] > 15 * item[n / 2] && item[n / 100] > 5 * item[n / 2]);
    free(item);
    uproot(&p);
}

static void every_item_has_a_triple_to_each_hub(void **state) {
    (void)state;
    planted_data bare = with_tails(), rich = with_tails();
    rich.config.kg_informative = 2.0;
    plant(&bare);
    plant(&rich);
    const kd_triples *kg = &bare.data.kg;
    int64_t attributes = rich.config.relations * rich.config.tastes * rich.config.attributes, items = bare.data.items;
    assert_int_equal(bare.data.entities, items + 3);
    assert_int_equal(rich.data.entities, items + attributes + 3);
    assert_int_equal(kg->count, 3 * items);
    for (int64_t i = 0; i < kg->count; i++) {
        assert_true(kg->head[i] == i / 3 && kg->relation[i] == i % 3 && kg->tail[i] == items + i % 3);
        assert_int_equal(bare.informative[i], 0);
    }
    int64_t *tail = degrees(rich.data.entities, rich.data.kg.count, rich.data.kg.tail);
    assert_true(tail[0] == items && tail[2] == items && tail[3] < items / 4);
    free(tail);
    assert_int_equal(kd_dataset_check(&bare.data, NULL), KD_OK);
    assert_int_equal(kd_dataset_check(&rich.data, NULL), KD_OK);
    uproot(&bare);
    uproot(&rich);
}

static void modalities_are_kept_in_the_data_sets_order(void **state) {
    (void)state;
    planted_data a = with_defaults(), b = with_defaults();
    const char *const given[] = {"smell", "audio", "image"}, *const ordered[] = {"image", "audio", "smell"};
    a.config.modality_count = b.config.modality_count = 3;
    for (int m = 0; m < 3; m++) {
        snprintf(a.config.modality[m].name, sizeof a.config.modality[m].name, "%s", given[m]);
        snprintf(b.config.modality[m].name, sizeof b.config.modality[m].name, "%s", ordered[m]);
        a.config.modality[m].width = b.config.modality[m].width = 4;
    }
    plant(&a);
    plant(&b);
    for (int m = 0; m < 3; m++) assert_string_equal(a.data.modalities[m].name, ordered[m]);
    assert_true(a.data.hash == b.data.hash);
    uproot(&a);
    uproot(&b);
}

static void small_and_bare_data_holds_together(void **state) {
    (void)state;
    planted_data p = with_defaults();
    p.config.users = 1;
    p.config.items = p.config.tastes = 6; /* one item a taste: the user's tastes alone would not fill three splits */
    p.config.user_tastes = 1;
    p.config.stray = 0.0;
    p.config.interactions = 3;
    p.config.modality_count = 0;
    p.config.kg_informative = p.config.kg_noise = 0.0;
    plant(&p);
    assert_int_equal(p.data.train.count + p.data.valid.count + p.data.test.count, 3);
    assert_true(p.data.train.count >= 1);
    assert_null(p.informative);
    assert_int_equal(p.data.entities, p.data.items);
    assert_int_equal(p.data.relations + p.data.kg.count + p.data.modality_count, 0);
    assert_int_equal(kd_dataset_check(&p.data, NULL), KD_OK);
    uproot(&p);
}

#define REFUSES(change, words)                                                                        \
    do {                                                                                              \
        planted_data p = with_defaults();                                                             \
        kd_synth_config *c = &p.config;                                                               \
        change;                                                                                       \
        assert_failed(kd_synth_generate(c, &p.data, &p.informative), KD_ERR_ARGUMENT, words);         \
        assert_true(p.informative == NULL && p.data.modalities == NULL && p.data.train.user == NULL); \
    } while (0)

static void senseless_sizes_are_refused(void **state) {
    (void)state;
    REFUSES(c->users = 0, "1 user");
    REFUSES(c->items = 5, "6 items");
    REFUSES(c->users = INT32_MAX, "2^30");
    REFUSES(c->tastes = c->items + 1, "tastes");
    REFUSES(c->user_tastes = 0, "tastes");
    REFUSES(c->interactions = 2.5, "interactions");
    REFUSES(c->interactions = NAN, "interactions");
    REFUSES(c->interactions = 251, "half the number of items");
    REFUSES(c->stray = 1.5, "stray");
    REFUSES(c->popularity = NAN, "popularity");
    REFUSES(c->feature_noise = INFINITY, "feature noise");
    REFUSES(c->active_users = 1001, "active users");
    REFUSES(c->activity = NAN, "activity");
    REFUSES(c->kg_hubs = 1001, "hubs");
    REFUSES(c->kg_noise = -1, "triples");
    REFUSES(c->split[0] = 0, "split");
    REFUSES(c->split[2] = NAN, "split");
    REFUSES(c->relations = c->attributes = 100000, "2^30 entities");
    REFUSES(c->relations = c->attributes = INT64_MAX / 2, "2^30 entities");
    REFUSES(c->modality_count = 9, "at most 8");
    REFUSES(c->modality[1].width = 0, "text");
    REFUSES(snprintf(c->modality[1].name, 6, "image"), "given twice");
}

/* `kdiffe synth` with its words split at spaces, each as main would hand it over. */
static kd_status run_synth(const char *folder, const char *options) {
    char text[512];
    const char *option[16], *positional[] = {folder};
    kd_args args = {.positional_count = 1, .positional = positional, .option = option};
    snprintf(text, sizeof text, "%s", options);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) option[args.option_count++] = word + 2;
    return kd_command_synth.run(&args);
}

static char *text_of(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s is not there", path);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t length = fread(text, 1, (1 << 20) - 1, file);
    assert_true(length > 0);
    fclose(file);
    return text;
}

static void the_command_writes_data_and_truth(void **state) {
    (void)state;
    char folder[600], path[700];
    kd_dataset loaded;
    planted_data p = with_defaults();
    p.config.users = 40;
    p.config.items = 30;
    p.config.tastes = 5;
    p.config.interactions = 5;
    p.config.kg_noise = 1;
    p.config.seed = UINT64_C(9007199254740993); /* 2^53 + 1: no double holds it */
    plant(&p);
    snprintf(folder, sizeof folder, "%s", scratch("planted"));
    const char *options = "--users=40 --items=30 --tastes=5 --interactions=5 --kg-noise=1 --seed=9007199254740993";
    if (run_synth(folder, options) != KD_OK) fail_msg("%s", kd_last_error());
    if (kd_dataset_load(folder, &loaded) != KD_OK) fail_msg("%s", kd_last_error());
    assert_true(loaded.hash == p.data.hash);
    kd_dataset_free(&loaded);

    snprintf(path, sizeof path, "%s/planted.truth.json", folder);
    char *text = text_of(path);
    assert_non_null(strstr(text, "9007199254740993"));
    assert_non_null(strstr(text, "\"image\":\t64"));
    assert_null(strstr(text, "active_users")); /* what is off is not named */
    free(text);

    snprintf(path, sizeof path, "%s/planted.kg_truth.tsv", folder);
    text = text_of(path);
    char *line = strtok(text, "\n");
    assert_string_equal(line, "head\trelation\ttail\tinformative");
    for (int64_t i = 0; i < p.data.kg.count; i++) {
        char expected[96];
        snprintf(expected, sizeof expected, "%" PRId32 "\t%" PRId32 "\t%" PRId32 "\t%d", p.data.kg.head[i],
                 p.data.kg.relation[i], p.data.kg.tail[i], p.informative[i]);
        line = strtok(NULL, "\n");
        assert_non_null(line);
        assert_string_equal(line, expected);
    }
    assert_null(strtok(NULL, "\n"));
    free(text);
    uproot(&p);

    assert_failed(run_synth(folder, options), KD_ERR_ARGUMENT, "--force");
    if (run_synth(folder, "--force --modalities=none --kg-informative=0 --kg-noise=0") != KD_OK)
        fail_msg("%s", kd_last_error());
    assert_int_not_equal(access(path, F_OK), 0); /* no knowledge graph, no truth about it */
}

static void the_command_names_what_it_cannot_take(void **state) {
    (void)state;
    char folder[600];
    snprintf(folder, sizeof folder, "%s", scratch("refused"));
    assert_failed(run_synth(folder, "--modalities=image"), KD_ERR_ARGUMENT, "NAME:WIDTH");
    assert_failed(run_synth(folder, "--modalities=image:0"), KD_ERR_ARGUMENT, "NAME:WIDTH");
    assert_failed(run_synth(folder, "--modalities=a:4,a:4"), KD_ERR_ARGUMENT, "given twice");
    assert_failed(run_synth(folder, "--split=1,2"), KD_ERR_ARGUMENT, "--split");
    assert_failed(run_synth(folder, "--split=0,1,1"), KD_ERR_ARGUMENT, "--split");
    assert_failed(run_synth(folder, "--users=many"), KD_ERR_ARGUMENT, "--users");
    assert_failed(run_synth(folder, "--force=no"), KD_ERR_ARGUMENT, "--force");
    assert_failed(run_synth(folder, "--colour=red"), KD_ERR_ARGUMENT, "--colour");
    assert_int_not_equal(access(folder, F_OK), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_data),
        cmocka_unit_test(the_data_can_be_trained_on),
        cmocka_unit_test(the_truth_of_triples_is_the_truth),
        cmocka_unit_test(features_carry_tastes_under_noise),
        cmocka_unit_test(knowing_tastes_is_far_better_than_popularity),
        cmocka_unit_test(popularity_is_skewed_as_asked),
        cmocka_unit_test(what_is_off_changes_nothing),
        cmocka_unit_test(few_users_are_as_active_as_asked),
        cmocka_unit_test(items_of_active_users_have_a_tail_too),
        cmocka_unit_test(every_item_has_a_triple_to_each_hub),
        cmocka_unit_test(modalities_are_kept_in_the_data_sets_order),
        cmocka_unit_test(small_and_bare_data_holds_together),
        cmocka_unit_test(senseless_sizes_are_refused),
        cmocka_unit_test(the_command_writes_data_and_truth),
        cmocka_unit_test(the_command_names_what_it_cannot_take),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
