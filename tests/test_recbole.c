/* RecBole's files: filters, splits, linked graphs and features, each against what can be said without the reader. */
#include "data_fixture.h"

#include "host/base/file.h"
#include "host/data/dataset_check.h"
#include "host/data/npy.h"
#include "host/data/recbole.h"
#include "host/data/recbole_inner.h"

#define FOLDER "in"
#define INTER FOLDER "/music.inter"

static const char *const interactions = "weight:float\titem_id:token\tuser_id:token\ttags:token_seq\r\n"
                                        "3\tsong\tann\ta b\r\n"
                                        "1\twaltz\tbob\t\r\n"
                                        "5\tsong\tbob\tc\r\n"
                                        "2.5\tpolka\tann\tc\r\n"
                                        "4\tsong\tann\tagain\r\n";

static kd_recbole_options options(double train, double valid, double test) {
    kd_recbole_options o;
    kd_recbole_defaults(&o);
    o.split[0] = train;
    o.split[1] = valid;
    o.split[2] = test;
    return o;
}

static kd_dataset load(const kd_recbole_options *o) {
    kd_dataset d;
    if (kd_recbole_load(scratch(FOLDER), o, &d) != KD_OK) fail_msg("%s", kd_last_error());
    assert_true(d.hash == kd_dataset_hash(&d));
    assert_string_equal(d.name, "music");
    return d;
}

static void expect_error(const kd_recbole_options *o, const char *words) {
    kd_dataset d;
    assert_failed(kd_recbole_load(scratch(FOLDER), o, &d), KD_ERR_FORMAT, words);
    assert_null(d.train.user);
    assert_null(d.item_ids.text);
    assert_null(d.modalities);
}

static void assert_ids(const kd_id_map *map, int64_t count, const char *const *tokens) {
    assert_int_equal(map->count, count);
    for (int64_t i = 0; i < count; i++) assert_string_equal(kd_id_token(map, i), tokens[i]);
}

static void numbers_ids_as_they_come(void **state) {
    (void)state;
    const kd_recbole_options all = options(1, 0, 0);
    fresh_folder(FOLDER);
    write_text(INTER, interactions);
    kd_dataset d = load(&all);
    assert_ids(&d.user_ids, 2, (const char *[]){"ann", "bob"});
    assert_ids(&d.item_ids, 3, (const char *[]){"song", "waltz", "polka"});
    assert_int_equal(d.train.count, 4); /* ann's song once */
    assert_memory_equal(d.train.user, ((const int32_t[]){0, 0, 1, 1}), 16);
    assert_memory_equal(d.train.item, ((const int32_t[]){0, 2, 0, 1}), 16);
    assert_int_equal(d.valid.count + d.test.count, 0);
    assert_int_equal(d.entities, 3);
    assert_int_equal(d.relations, 0);
    assert_int_equal(kd_dataset_check(&d, NULL), KD_OK);
    kd_dataset_free(&d);
}

static void keeps_ratings_from_a_threshold(void **state) {
    (void)state;
    kd_recbole_options o = options(1, 0, 0);
    fresh_folder(FOLDER);
    write_text(INTER, interactions);
    o.has_threshold = true;
    o.threshold = 3;
    kd_dataset d = load(&o);
    assert_ids(&d.item_ids, 1, (const char *[]){"song"});
    assert_int_equal(d.train.count, 2);
    kd_dataset_free(&d);
    o.threshold = 2.5;
    d = load(&o);
    assert_ids(&d.item_ids, 2, (const char *[]){"song", "polka"});
    kd_dataset_free(&d);
    o.threshold = 6;
    expect_error(&o, "no interaction is left");
    o.rating_column = "stars";
    expect_error(&o, "music.inter:1: expected a column stars");
    o.rating_column = "tags";
    expect_error(&o, "music.inter:2: expected a number, got 'a b'");
    o.rating_column = NULL;
    write_text(INTER, "user_id:token\titem_id:token\nu\ti\n");
    expect_error(&o, "music.inter:1: --threshold needs a column");
    write_text(INTER, "user_id:token\titem_id:token\trating:float\nu\ti\t7\nu\tj\tnan\n");
    expect_error(&o, "music.inter:3: expected a number, got 'nan'");
}

/* A graph that any k-core takes several rounds to settle in, and a plain search for it. */
static void finds_the_core(void **state) {
    (void)state;
    enum { N = 40, K = 3 };
    bool alive[N][N] = {{false}};
    kd_recbole_rows rows = {0};
    struct kd_recbole_row row[N * N];
    uint32_t random = 1;
    int64_t left = 0, start;
    for (int32_t u = 0; u < N; u++)
        for (int32_t i = 0; i < N; i++) {
            random = random * 1664525u + 1013904223u;
            alive[u][i] = (random >> 16) % N < 4 || i == u + 1;
            if (alive[u][i]) row[rows.count++] = (struct kd_recbole_row){u, i, -1};
        }
    start = rows.count;
    for (bool changed = true; changed;) { /* one user or item after another, until nothing is left to drop */
        changed = false;
        for (int a = 0; a < N; a++)
            for (int side = 0; side < 2; side++) {
                int degree = 0;
                for (int b = 0; b < N; b++) degree += side ? alive[b][a] : alive[a][b];
                for (int b = 0; degree > 0 && degree < K && b < N; b++) *(side ? &alive[b][a] : &alive[a][b]) = false;
                changed |= degree > 0 && degree < K;
            }
    }
    for (int u = 0; u < N; u++)
        for (int i = 0; i < N; i++) left += alive[u][i];
    rows.row = row;
    assert_int_equal(kd_recbole_core(K, N, N, &rows), KD_OK);
    assert_int_equal(rows.count, left);
    assert_in_range(left, 1, start - 1);
    for (int64_t i = 0; i < rows.count; i++) assert_true(alive[row[i].user][row[i].item]);
}

static void filters_before_it_numbers(void **state) {
    (void)state;
    kd_recbole_options o = options(1, 0, 0);
    fresh_folder(FOLDER);
    write_text(INTER, "user_id:token\titem_id:token\nz\tq\na\tx\na\ty\nb\tx\nb\ty\nb\tq\n");
    o.k_core = 2;
    kd_dataset d = load(&o); /* z has one item; without z, q has one user */
    assert_ids(&d.user_ids, 2, (const char *[]){"a", "b"});
    assert_ids(&d.item_ids, 2, (const char *[]){"x", "y"});
    assert_int_equal(d.train.count, 4);
    kd_dataset_free(&d);
    o.k_core = 3;
    expect_error(&o, "no interaction is left");
}

/* User u has u + 1 items. */
static void write_staircase(int users) {
    FILE *file = fopen(scratch(INTER), "wb");
    assert_non_null(file);
    fputs("user_id:token\titem_id:token\n", file);
    for (int u = 0; u < users; u++)
        for (int i = 0; i <= u; i++) fprintf(file, "u%d\ti%d\n", u, i);
    fclose(file);
}

static void count_by_user(const kd_interactions *split, int64_t *count) {
    for (int64_t i = 0; i < split->count; i++) count[split->user[i]]++;
}

static void splits_each_user_by_shares(void **state) {
    (void)state;
    enum { USERS = 30 };
    kd_recbole_options o = options(8, 1, 1); /* shares need not add up to 1 */
    int64_t train[USERS] = {0}, valid[USERS] = {0}, test[USERS] = {0}, taken = 0, held_out_item_0 = 0;
    bool seen[USERS][USERS] = {{false}};
    fresh_folder(FOLDER);
    write_staircase(USERS);
    kd_dataset d = load(&o);
    count_by_user(&d.train, train);
    count_by_user(&d.valid, valid);
    count_by_user(&d.test, test);
    for (int u = 0; u < USERS; u++) {
        int64_t n = u + 1;
        assert_int_equal(test[u], n / 10 > 0 ? n / 10 : n >= 2);
        assert_int_equal(valid[u], n / 10 > 0 ? n / 10 : n >= 3);
        assert_int_equal(train[u], n - valid[u] - test[u]);
    }
    const kd_interactions *splits[] = {&d.train, &d.valid, &d.test};
    for (int s = 0; s < 3; s++)
        for (int64_t i = 0; i < splits[s]->count; i++, taken++) {
            assert_false(seen[splits[s]->user[i]][splits[s]->item[i]]);
            seen[splits[s]->user[i]][splits[s]->item[i]] = true;
            held_out_item_0 += s > 0 && splits[s]->item[i] == 0;
        }
    assert_int_equal(taken, USERS * (USERS + 1) / 2);
    assert_in_range(held_out_item_0, 1, USERS / 2); /* neither always nor never the first */
    kd_dataset again = load(&o);
    assert_true(again.hash == d.hash);
    kd_dataset_free(&again);
    o.seed++;
    again = load(&o);
    assert_true(again.hash != d.hash);
    kd_dataset_free(&again);
    kd_dataset_free(&d);
}

/* MMRec's files: names without types, the split in a column. */
static void splits_by_label(void **state) {
    (void)state;
    kd_recbole_options o = options(0.8, 0.1, 0.1);
    fresh_folder(FOLDER);
    write_text(INTER, "userID\titemID\trating\tx_label\n0\t0\t5\t0\n0\t1\t5\t2\n0\t2\t1\t1\n1\t2\t1\t0\n");
    o.split_by_label = true;
    kd_dataset d = load(&o);
    assert_int_equal(d.train.count, 2);
    assert_int_equal(d.valid.count, 1);
    assert_int_equal(d.test.count, 1);
    assert_int_equal(d.test.item[0], 1);
    kd_dataset_free(&d);
    write_text(INTER, "userID\titemID\tx_label\n0\t0\t0\n0\t1\t3\n");
    expect_error(&o, "music.inter:3: x_label: expected 0, 1 or 2");
    write_text(INTER, "user_id:token\titem_id:token\n0\t0\n");
    expect_error(&o, "music.inter:1: expected a column x_label");
}

static void takes_given_splits(void **state) {
    (void)state;
    kd_recbole_options o = options(0.1, 0.4, 0.5);
    kd_dataset none;
    fresh_folder(FOLDER);
    write_text(INTER, "user_id:token\titem_id:token\nnot\tread\n");
    write_text(FOLDER "/music.train.inter", "user_id:token\titem_id:token\nu\ta\nv\tb\n");
    write_text(FOLDER "/music.test.inter", "user_id:token\titem_id:token\nu\tc\nu\ta\n");
    kd_dataset d = load(&o);
    assert_int_equal(d.train.count, 2);
    assert_int_equal(d.valid.count, 0);
    assert_int_equal(d.test.count, 1); /* u's a is in training already */
    assert_ids(&d.item_ids, 3, (const char *[]){"a", "b", "c"});
    kd_dataset_free(&d);
    o.split_by_label = true;
    assert_failed(kd_recbole_load(scratch(FOLDER), &o, &none), KD_ERR_ARGUMENT, "cannot be split by x_label");
}

static void puts_features_in_order(void **state) {
    (void)state;
    kd_recbole_options o = options(1, 0, 0);
    const float rows[] = {10, 11, 20, 21, 30, 31, 40, 41};
    char ids[300];
    fresh_folder(FOLDER);
    write_text(INTER, interactions);
    assert_int_equal(kd_npy_write_f32(scratch(FOLDER "/audio_feat.npy"), 2, (const int64_t[]){4, 2}, rows), KD_OK);
    expect_error(&o, "audio_feat.npy: expected NAME.item or --feature-ids");
    write_text(FOLDER "/music.item", "kind:token\titem_id:token\nx\twaltz\nx\tmarch\nx\tpolka\nx\tsong\n");
    kd_dataset d = load(&o); /* song, waltz, polka; nobody has march */
    assert_int_equal(d.modality_count, 1);
    assert_memory_equal(d.modalities[0].values, ((const float[]){40, 41, 10, 11, 30, 31}), 24);
    kd_dataset_free(&d);
    write_text(FOLDER "/ids.txt", "song\r\nwaltz\r\npolka\r\nmarch\r\n");
    snprintf(ids, sizeof ids, "%s/" FOLDER "/ids.txt", scratch_folder);
    o.feature_ids = ids;
    d = load(&o);
    assert_memory_equal(d.modalities[0].values, rows, 24);
    kd_dataset_free(&d);
    write_text(FOLDER "/ids.txt", "song\nwaltz\ntango\nmarch\n");
    expect_error(&o, "audio_feat.npy: no row for item 'polka'");
    write_text(FOLDER "/ids.txt", "song\nwaltz\nsong\n");
    expect_error(&o, "ids.txt:3: this item is there twice");
    write_text(FOLDER "/ids.txt", "song\nwaltz\npolka\n");
    expect_error(&o, "audio_feat.npy: 4 rows; expected 3");
}

static void links_items_to_entities(void **state) {
    (void)state;
    const kd_recbole_options o = options(1, 0, 0);
    fresh_folder(FOLDER);
    write_text(INTER, interactions);
    write_text(FOLDER "/music.kg", "head_id:token\trelation_id:token\ttail_id:token\n"
                                   "m.polka\tby\tm.strauss\nm.march\tby\tm.strauss\nm.song\tin\tm.polka\n");
    expect_error(&o, "music.link: expected it beside");
    write_text(FOLDER "/music.link", "item_id:token\tentity_id:token\npolka\tm.polka\nmarch\tm.march\nsong\tm.song\n");
    kd_dataset d = load(&o); /* items song, waltz, polka; waltz is not linked, march is nobody's */
    assert_true(d.kg_linked);
    assert_int_equal(d.kg.count, 3);
    assert_ids(&d.entity_ids, 5, (const char *[]){"m.song", "item:waltz", "m.polka", "m.strauss", "m.march"});
    assert_ids(&d.relation_ids, 2, (const char *[]){"by", "in"});
    assert_memory_equal(d.kg.head, ((const int32_t[]){2, 4, 0}), 12);
    assert_memory_equal(d.kg.relation, ((const int32_t[]){0, 0, 1}), 12);
    assert_memory_equal(d.kg.tail, ((const int32_t[]){3, 3, 2}), 12);
    assert_int_equal(kd_dataset_check(&d, NULL), KD_OK);
    kd_dataset_free(&d);
    write_text(FOLDER "/music.link", "item_id:token\tentity_id:token\npolka\tm.polka\npolka\tm.song\n");
    expect_error(&o, "music.link:3: item 'polka' is linked twice");
    write_text(FOLDER "/music.link", "item_id:token\tentity_id:token\npolka\tm.polka\nsong\tm.polka\n");
    expect_error(&o, "entity 'm.polka' is linked to two items, 'song' and 'polka'");
    write_text(FOLDER "/music.link", "item_id:token\tentity_id:token\npolka\n");
    expect_error(&o, "music.link:2: expected 2 tab-separated fields, got 1");
}

static void names_file_and_line(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "music.inter:1: expected a header"},
        {"user_id:token\n", "music.inter:1: expected a column item_id"},
        {"user_id:text\titem_id:token\n", "music.inter:1: column type 'text'"},
        {"1\t2\n3\t4\n", "music.inter:1: expected a column user_id"},
        {"user_id:token\titem_id:token\n", "no interaction is left"},
        {"user_id:token\titem_id:token\nu\ti\n\nu\n", "music.inter:4: expected 2 tab-separated fields, got 1"},
        {"user_id:token\titem_id:token\nu\t\n", "music.inter:2: expected an id"},
    };
    const kd_recbole_options o = options(0.8, 0.1, 0.1);
    fresh_folder(FOLDER);
    expect_error(&o, "expected NAME.inter or NAME.train.inter");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(INTER, cases[i][0]);
        expect_error(&o, cases[i][1]);
    }
    write_bytes(INTER, "user_id:token\titem_id:token\nu\ti\0j\n", 34);
    expect_error(&o, "music.inter:2: expected an id without NUL bytes");
    write_text(FOLDER "/film.inter", interactions);
    expect_error(&o, "2 files NAME.inter; expected one");
    fresh_folder(FOLDER);
    assert_int_equal(rmdir(scratch(FOLDER)), 0);
    expect_error(&o, "in: No such file");
}

static kd_status read_folder(void) {
    const kd_recbole_options o = options(1, 0, 0);
    kd_dataset d;
    kd_status status = kd_recbole_load(scratch(FOLDER), &o, &d);
    if (status == KD_OK) kd_dataset_free(&d);
    return status;
}

/* Each file cut at every byte, and with every byte replaced in many ways. */
static void survives_damage(void **state) {
    (void)state;
    static const char *const files[][2] = {
        {INTER, "user_id:token\titem_id:token\nu\tb\nu\ta\nv\ta\n"},
        {FOLDER "/music.link", "item_id:token\tentity_id:token\na\tE1\nb\tE2\n"},
        {FOLDER "/music.kg", "head_id:token\trelation_id:token\ttail_id:token\nE1\tby\tX\nE2\tof\tE1\n"},
    };
    enum { FILES = sizeof files / sizeof *files };
    for (size_t damaged = 0; damaged < FILES; damaged++) {
        const char *text = files[damaged][1];
        size_t count = strlen(text);
        char copy[128];
        fresh_folder(FOLDER);
        for (size_t i = 0; i < FILES; i++) write_text(files[i][0], files[i][1]);
        assert_int_equal(read_folder(), KD_OK);
        for (size_t at = 0; at < count; at++) {
            write_bytes(files[damaged][0], text, at);
            kd_status status = read_folder();
            assert_true(status == KD_OK || status == KD_ERR_FORMAT);
            for (int byte = 0; byte < 256; byte += 45) {
                memcpy(copy, text, count);
                copy[at] = (char)(byte + (int)at % 45); /* tab, line breaks and NUL come at some byte */
                write_bytes(files[damaged][0], copy, count);
                status = read_folder();
                assert_true(status == KD_OK || status == KD_ERR_FORMAT);
            }
        }
    }
}

static void reads_lastfm(void **state) {
    (void)state;
    kd_recbole_options o;
    kd_dataset d;
    kd_recbole_defaults(&o);
    if (!kd_file_exists("../shared/datasets/lastfm")) {
        print_message("skipped: reads_lastfm: ../shared/datasets is not there\n");
        skip();
    }
    if (kd_recbole_load("../shared/datasets/lastfm", &o, &d) != KD_OK) fail_msg("%s", kd_last_error());
    assert_int_equal(d.users, 1872);
    assert_int_equal(d.items, 3846);
    assert_int_equal(d.kg.count, 15518);
    assert_int_equal(d.train.count + d.valid.count + d.test.count, 21173);
    assert_true(d.kg_linked);
    assert_int_equal(kd_dataset_check(&d, NULL), KD_OK);
    kd_dataset_free(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_ids_as_they_come),
        cmocka_unit_test(keeps_ratings_from_a_threshold),
        cmocka_unit_test(finds_the_core),
        cmocka_unit_test(filters_before_it_numbers),
        cmocka_unit_test(splits_each_user_by_shares),
        cmocka_unit_test(splits_by_label),
        cmocka_unit_test(takes_given_splits),
        cmocka_unit_test(puts_features_in_order),
        cmocka_unit_test(links_items_to_entities),
        cmocka_unit_test(names_file_and_line),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(reads_lastfm),
    };
    return cmocka_run_group_tests_name("recbole", tests, make_scratch, remove_scratch);
}
