/* The engine's own format: what is saved is what is loaded, and every mistake is named by file and line. */
#include "data_fixture.h"

#include <dirent.h>

#include "host/data/dataset_check.h"
#include "host/data/format.h"
#include "host/data/npy.h"
#include "host/data/published.h"

/* Ids from a list of tokens, as a data set owns them. */
static kd_id_map ids_of(int64_t count, const char *const *tokens) {
    kd_id_map map = {.count = count, .text = calloc(1, 4096), .offset = calloc((size_t)count + 1, sizeof(int64_t))};
    int64_t at = 0;
    assert_non_null(map.text);
    assert_non_null(map.offset);
    for (int64_t i = 0; i < count; i++) {
        map.offset[i] = at;
        at += sprintf(map.text + at, "%s", tokens[i]) + 1;
    }
    return map;
}

static void *copy_of(const void *values, size_t bytes) {
    void *copy = malloc(bytes + 1);
    assert_non_null(copy);
    return memcpy(copy, values, bytes);
}

static kd_interactions pairs_of(int64_t count, const int32_t *user, const int32_t *item) {
    return (kd_interactions){count, copy_of(user, (size_t)count * 4), copy_of(item, (size_t)count * 4)};
}

#define IDS(...) \
    ids_of((int64_t)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})
#define INTS(...) ((const int32_t[]){__VA_ARGS__})

/* 3 users, one of them without anything; 4 items, two entities of their own, features of two modalities. */
static kd_dataset small_data(void) {
    kd_dataset d = {.name = "elsewhere", .users = 3, .items = 4, .entities = 6, .relations = 2, .kg_linked = true};
    d.train = pairs_of(3, INTS(0, 0, 2), INTS(1, 3, 0));
    d.valid = pairs_of(1, INTS(2), INTS(1));
    d.test = pairs_of(2, INTS(0, 2), INTS(2, 3));
    d.kg.count = 4;
    d.kg.head = copy_of(INTS(4, 0, 0, 3), 16);
    d.kg.relation = copy_of(INTS(1, 0, 0, 1), 16);
    d.kg.tail = copy_of(INTS(5, 4, 4, 3), 16);
    d.user_ids = IDS("zoë", "7", "a user");
    d.item_ids = IDS("item/1", "007", "7", "#4");
    d.entity_ids = IDS("m.01", "m.02", "m.03", "m.04", "7", "nobody");
    d.relation_ids = IDS("made by", "0");
    d.modality_count = 2;
    d.modalities = calloc(2, sizeof *d.modalities);
    assert_non_null(d.modalities);
    strcpy(d.modalities[0].name, "text");
    strcpy(d.modalities[1].name, "aroma");
    d.modalities[0].width = 2;
    d.modalities[1].width = 1;
    d.modalities[0].values = copy_of((const float[]){1, -2, 3e-38f, 4, 0.1f, 6e7f, 7, 8}, 32);
    d.modalities[1].values = copy_of((const float[]){-0.0f, 1, 2, 3}, 16);
    return d;
}

static void drop_graph(kd_dataset *d) {
    free(d->kg.head);
    free(d->kg.relation);
    free(d->kg.tail);
    d->kg = (kd_triples){0};
}

/* Saves, loads from text, loads from the cache: the same hash each time. Frees the data. */
static void round_trip(kd_dataset *d) {
    kd_dataset loaded;
    uint64_t hash = kd_dataset_hash(d);
    const char *folder = fresh_folder("set");
    if (kd_dataset_save(folder, false, d) != KD_OK) fail_msg("%s", kd_last_error());
    for (int cached = 0; cached < 2; cached++) {
        if (kd_dataset_load(scratch("set"), &loaded) != KD_OK) fail_msg("%s", kd_last_error());
        assert_true(loaded.hash == hash);
        assert_true(kd_dataset_hash(&loaded) == hash);
        assert_string_equal(loaded.name, "set");
        assert_true((loaded.mapping != NULL) == (cached == 1));
        kd_dataset_free(&loaded);
    }
    kd_dataset_free(d);
}

static void saves_what_it_loads(void **state) {
    (void)state;
    kd_dataset d = small_data();
    round_trip(&d);
}

static void saves_an_unlinked_graph(void **state) {
    (void)state;
    kd_dataset d = small_data();
    d.kg_linked = false;
    round_trip(&d);
}

static void saves_a_graph_without_triples(void **state) {
    (void)state;
    kd_dataset d = small_data();
    drop_graph(&d);
    round_trip(&d);
}

static void saves_without_graph_features_and_held_out(void **state) {
    (void)state;
    kd_dataset d = small_data(), bare = {.users = d.users, .items = d.items, .entities = d.items};
    bare.train = d.train;
    bare.user_ids = d.user_ids;
    bare.item_ids = d.item_ids;
    d.train = (kd_interactions){0};
    d.user_ids = d.item_ids = (kd_id_map){0};
    kd_dataset_free(&d);
    assert_int_equal(kd_id_map_decimal(4, &bare.entity_ids), KD_OK);
    round_trip(&bare);
}

static void refuses_names_that_a_table_cannot_hold(void **state) {
    (void)state;
    const char *const names[] = {"a\tb", "a\nb", "a\rb", ""};
    for (int i = 0; i < 4; i++) {
        kd_dataset d = small_data();
        free(d.item_ids.text);
        free(d.item_ids.offset);
        d.item_ids = IDS("item/1", "007", names[i], "#4");
        assert_failed(kd_dataset_save(scratch("named"), false, &d), KD_ERR_FORMAT, "item_id 2 of named");
        assert_int_equal(access(scratch("named"), F_OK), -1);
        kd_dataset_free(&d);
    }
}

static int entries_of(const char *folder) {
    DIR *listing = opendir(folder);
    int count = -2; /* . and .. */
    assert_non_null(listing);
    while (readdir(listing)) count++;
    closedir(listing);
    return count;
}

static void replaces_only_data_sets(void **state) {
    (void)state;
    kd_dataset d = small_data(), loaded;
    fresh_folder("parent");
    assert_int_equal(kd_dataset_save(scratch("parent/set"), false, &d), KD_OK);
    assert_failed(kd_dataset_save(scratch("parent/set"), false, &d), KD_ERR_ARGUMENT, "add --force");
    d.users = 2; /* the last row of .user goes, with the pairs of that user */
    d.user_ids.count = 2;
    d.train.count = 2;
    d.valid.count = 0;
    d.test.count = 1;
    assert_int_equal(kd_dataset_load(scratch("parent/set"), &loaded), KD_OK); /* leaves a cache that goes as well */
    kd_dataset_free(&loaded);
    assert_int_equal(kd_dataset_save(scratch("parent/set//"), true, &d), KD_OK);
    assert_int_equal(kd_dataset_load(scratch("parent/set"), &loaded), KD_OK);
    assert_true(loaded.hash == kd_dataset_hash(&d));
    kd_dataset_free(&loaded);
    assert_int_equal(entries_of(scratch("parent")), 1);

    write_text("parent/set/diary.txt", "not ours");
    assert_failed(kd_dataset_save(scratch("parent/set"), true, &d), KD_ERR_ARGUMENT, "diary.txt");
    assert_int_equal(kd_dataset_load(scratch("parent/set"), &loaded), KD_OK);
    kd_dataset_free(&loaded);
    assert_failed(kd_dataset_save(scratch("parent/set/diary.txt"), true, &d), KD_ERR_ARGUMENT, "expected a folder");
    assert_failed(kd_dataset_save(".", true, &d), KD_ERR_ARGUMENT, "folder name");
    assert_failed(kd_dataset_save(scratch("parent/set/diary.txt/set"), false, &d), KD_ERR_ARGUMENT, "Not a directory");
    assert_int_equal(entries_of(scratch("parent")), 1);
    kd_dataset_free(&d);
}

static kd_status stop_half_way(void *context, const char *folder, const char *name) {
    (void)name;
    *(int *)context = entries_of(folder);
    return KD_FAIL(KD_ERR_IO, "the disk is full");
}

static void leaves_nothing_half_written(void **state) {
    (void)state;
    kd_dataset d = small_data();
    int written = 0;
    fresh_folder("parent");
    assert_failed(kd_dataset_save_with(scratch("parent/set"), false, &d, stop_half_way, &written), KD_ERR_IO,
                  "the disk is full");
    assert_int_equal(written, 11); /* two lists of ids, three splits, four files of the graph, two of features */
    assert_int_equal(entries_of(scratch("parent")), 0);
    kd_dataset_free(&d);
}

/* A whole small set as text, one file a row. */
static const char *const small_files[][2] = {
    {"set/set.user", "user_id:token\nu\nv\n"},
    {"set/set.item", "item_id:token\na\nb\nc\n"},
    {"set/set.train.inter", "user_id:token\titem_id:token\nv\tb\nu\tc\n\nu\ta\nu\tc\n"},
    {"set/set.test.inter", "rating:float\titem_id:token\tuser_id:token\r\n5\tb\tu\r\n"},
    {"set/set.entity", "entity_id:token\na\nb\nc\nx\n"},
    {"set/set.relation", "relation_id:token\nr\n"},
    {"set/set.kg", "head_id:token\trelation_id:token\ttail_id:token\nx\tr\ta\na\tr\tx"},
    {"set/set.link", "item_id:token\tentity_id:token\nc\tc\na\ta\n"},
};

static void write_small_set(void) {
    fresh_folder("set");
    for (size_t i = 0; i < sizeof small_files / sizeof *small_files; i++)
        write_text(small_files[i][0], small_files[i][1]);
}

static void reads_what_is_written_by_hand(void **state) {
    (void)state;
    kd_dataset d;
    write_small_set();
    if (kd_dataset_load(scratch("set"), &d) != KD_OK) fail_msg("%s", kd_last_error());
    assert_int_equal(d.users, 2);
    assert_int_equal(d.items, 3);
    assert_int_equal(d.entities, 4);
    assert_int_equal(d.train.count, 3); /* sorted, once each */
    assert_memory_equal(d.train.user, INTS(0, 0, 1), 12);
    assert_memory_equal(d.train.item, INTS(0, 2, 1), 12);
    assert_int_equal(d.valid.count, 0);
    assert_int_equal(d.test.count, 1);
    assert_memory_equal(d.test.item, INTS(1), 4);
    assert_int_equal(d.kg.count, 2);
    assert_memory_equal(d.kg.head, INTS(3, 0), 8);
    assert_memory_equal(d.kg.tail, INTS(0, 3), 8);
    assert_true(d.kg_linked);
    assert_string_equal(kd_id_token(&d.entity_ids, 3), "x");
    assert_int_equal(kd_dataset_check(&d, NULL), KD_OK);
    kd_dataset_free(&d);
}

static void names_file_and_line(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"set/set.user", "", "set.user:1: expected a header"},
        {"set/set.user", "user_id:tokens\nu\n", "set.user:1: column type 'tokens'"},
        {"set/set.user", "item_id:token\nu\n", "set.user:1: expected a column user_id"},
        {"set/set.user", "user_id:token\nu\nv\nu\n", "set.user:4: this id is there twice"},
        {"set/set.user", "user_id:token\nu\nv\tw\n", "set.user:3: expected 1 tab-separated fields, got 2"},
        {"set/set.user", "user_id:token\nu\nv\rw\n", "set.user:3: expected an id without"},
        {"set/set.item", "item_id:token\tkind:token\n\tx\n", "set.item:2: expected an id"},
        {"set/set.train.inter", "user_id:token\titem_id:token\nu\ta\nw\ta\n", "train.inter:3: 'w' is not in the .user"},
        {"set/set.train.inter", "user_id:token\titem_id:token\r\nu\ta\r\nu\tz\r\n", "train.inter:3: 'z' is not in"},
        {"set/set.train.inter", "user_id:token\titem_id:token\nu\n", "train.inter:2: expected 2 tab-separated"},
        {"set/set.test.inter", "user_id:token\n", "test.inter:1: expected a column item_id"},
        {"set/set.kg", "head_id:token\trelation_id:token\ttail_id:token\na\tr\tq\n",
         "set.kg:2: 'q' is not in the .ent"},
        {"set/set.kg", "head_id:token\trelation_id:token\ttail_id:token\na\ts\ta\n",
         "set.kg:2: 's' is not in the .rel"},
        {"set/set.entity", "entity_id:token\na\nx\n", "expected at least one for each of the 3 items"},
        {"set/set.link", "item_id:token\tentity_id:token\na\tx\n", "set.link:2: item 0 is linked to entity 3"},
        {"set/image_feat.npy", "not an array", "image_feat.npy"},
    };
    kd_dataset d;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_small_set();
        write_text(cases[i][0], cases[i][1]);
        if (strcmp(cases[i][0], "set/set.entity") == 0) { /* whose other files name what is gone */
            assert_int_equal(unlink(scratch("set/set.kg")), 0);
            assert_int_equal(unlink(scratch("set/set.link")), 0);
        }
        assert_failed(kd_dataset_load(scratch("set"), &d), KD_ERR_FORMAT, cases[i][2]);
        assert_null(d.train.user);
        assert_false(kd_file_exists(scratch("set/set.cache")));
    }
}

static void refuses_features_of_another_size(void **state) {
    (void)state;
    kd_dataset d;
    write_small_set();
    assert_int_equal(kd_npy_write_f32(scratch("set/image_feat.npy"), 2, (const int64_t[]){2, 2}, (const float[4]){0}),
                     KD_OK);
    assert_failed(kd_dataset_load(scratch("set"), &d), KD_ERR_FORMAT, "2 rows; expected 3");
}

/* What people point the program at instead of a data set. */
static void says_how_to_convert(void **state) {
    (void)state;
    kd_dataset d;
    assert_failed(kd_dataset_load(scratch("absent"), &d), KD_ERR_FORMAT, "absent: No such file");
    fresh_folder("set");
    assert_failed(kd_dataset_load(scratch("set"), &d), KD_ERR_FORMAT, "expected one NAME.train.inter, found 0");
    write_text("set/music.inter", "user_id:token\titem_id:token\n");
    assert_failed(kd_dataset_load(scratch("set"), &d), KD_ERR_FORMAT, "kdiffe convert --from=recbole");
    write_text("set/trnMat.pkl", "");
    assert_failed(kd_dataset_load(scratch("set"), &d), KD_ERR_FORMAT, "kdiffe convert --from=published");
    write_text("set/music.train.inter", "user_id:token\titem_id:token\n1\t2\n");
    assert_failed(kd_dataset_load(scratch("set"), &d), KD_ERR_FORMAT, "music.user: is not there; for RecBole files");
    write_text("set/film.train.inter", "user_id:token\titem_id:token\n1\t2\n");
    assert_failed(kd_dataset_load(scratch("set"), &d), KD_ERR_FORMAT, "found 2");
}

static kd_status read_set(const char *path) {
    kd_dataset d;
    (void)path; /* the damaged file lies in the folder */
    kd_status status = kd_format_read(scratch("set"), "set", &d);
    if (status == KD_OK) kd_dataset_free(&d);
    return status;
}

static void survives_damage(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof small_files / sizeof *small_files; i++) {
        size_t count = strlen(small_files[i][1]);
        char copy[256];
        write_small_set();
        for (size_t at = 0; at < count; at++)
            for (int byte = 0; byte < 256; byte += 13) {
                memcpy(copy, small_files[i][1], count);
                copy[at] = (char)byte;
                unlink(scratch(small_files[i][0])); /* some file systems flush a file that is written over */
                write_bytes(small_files[i][0], copy, count);
                kd_status status = read_set(NULL);
                assert_true(status == KD_OK || status == KD_ERR_FORMAT);
            }
    }
}

static void keeps_published_data(void **state) {
    (void)state;
    static const char *const names[] = {"tiktok", "baby", "sports"};
    char path[64];
    if (!kd_file_exists("../shared/datasets/tiktok")) {
        print_message("skipped: keeps_published_data: ../shared/datasets is not there\n");
        skip();
    }
    for (int i = 0; i < 3; i++) {
        kd_dataset d;
        snprintf(path, sizeof path, "../shared/datasets/%s", names[i]);
        if (kd_published_load(path, &d) != KD_OK) fail_msg("%s", kd_last_error());
        round_trip(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saves_what_it_loads),           cmocka_unit_test(saves_an_unlinked_graph),
        cmocka_unit_test(saves_a_graph_without_triples), cmocka_unit_test(saves_without_graph_features_and_held_out),
        cmocka_unit_test(replaces_only_data_sets),       cmocka_unit_test(refuses_names_that_a_table_cannot_hold),
        cmocka_unit_test(leaves_nothing_half_written),   cmocka_unit_test(reads_what_is_written_by_hand),
        cmocka_unit_test(names_file_and_line),           cmocka_unit_test(refuses_features_of_another_size),
        cmocka_unit_test(says_how_to_convert),           cmocka_unit_test(survives_damage),
        cmocka_unit_test(keeps_published_data),
    };
    return cmocka_run_group_tests_name("format", tests, make_scratch, remove_scratch);
}
