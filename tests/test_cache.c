/* The mapped cache: the same data when it is good, and never believed when it is not. */
#include "data_fixture.h"

#include "host/base/file.h"
#include "host/data/format.h"
#include "host/data/npy.h"

static const char *const FOLDER = "set";

static void write_set(void) {
    fresh_folder(FOLDER);
    write_text("set/set.user", "user_id:token\nu\nv\n");
    write_text("set/set.item", "item_id:token\na\nb\nc\n");
    write_text("set/set.train.inter", "user_id:token\titem_id:token\nv\tb\nu\tc\nu\ta\n");
    write_text("set/set.test.inter", "user_id:token\titem_id:token\nu\tb\n");
    write_text("set/set.entity", "entity_id:token\na\nb\nc\nx\n");
    write_text("set/set.relation", "relation_id:token\nr\n");
    write_text("set/set.kg", "head_id:token\trelation_id:token\ttail_id:token\nx\tr\ta\na\tr\tx\n");
    assert_int_equal(
        kd_npy_write_f32(scratch("set/text_feat.npy"), 2, (const int64_t[]){3, 2}, (const float[]){1, 2, 3, 4, 5, 6}),
        KD_OK);
}

/* Loads and says whether it came from the cache; the hash of what was loaded. */
static uint64_t load(bool *cached) {
    kd_dataset d;
    if (kd_dataset_load(scratch(FOLDER), &d) != KD_OK) fail_msg("%s", kd_last_error());
    uint64_t hash = d.hash;
    assert_true(kd_dataset_hash(&d) == hash);
    *cached = d.mapping != NULL;
    kd_dataset_free(&d);
    return hash;
}

/* Loads; the cache must not have been used, and must be used the next time. */
static uint64_t load_anew(void) {
    bool cached;
    uint64_t hash = load(&cached);
    assert_false(cached);
    assert_true(load(&cached) == hash);
    assert_true(cached);
    return hash;
}

static void maps_the_same_data(void **state) {
    (void)state;
    kd_dataset text, cache;
    write_set();
    load_anew();
    assert_int_equal(kd_format_read(scratch(FOLDER), FOLDER, &text), KD_OK);
    assert_true(kd_cache_read(scratch(FOLDER), FOLDER, &cache));
    assert_non_null(cache.mapping);
    assert_string_equal(cache.name, text.name);
    assert_int_equal(cache.train.count, text.train.count);
    assert_memory_equal(cache.train.user, text.train.user, 12);
    assert_memory_equal(cache.train.item, text.train.item, 12);
    assert_int_equal(cache.valid.count, 0);
    assert_int_equal(cache.test.item[0], 1);
    assert_int_equal(cache.kg.count, 2);
    assert_memory_equal(cache.kg.head, text.kg.head, 8);
    assert_false(cache.kg_linked);
    assert_int_equal(cache.modality_count, 1);
    assert_string_equal(cache.modalities[0].name, "text");
    assert_memory_equal(cache.modalities[0].values, text.modalities[0].values, 24);
    assert_int_equal((intptr_t)cache.modalities[0].values % 8, 0);
    assert_string_equal(kd_id_token(&cache.entity_ids, 3), "x");
    assert_true(cache.hash == text.hash);
    kd_dataset_free(&text);
    kd_dataset_free(&cache);
}

static void notices_changed_sources(void **state) {
    (void)state;
    write_set();
    uint64_t first = load_anew();
    write_text("set/set.train.inter", "user_id:token\titem_id:token\nv\ta\nu\tc\nu\ta\n"); /* as long as before */
    uint64_t second = load_anew();
    assert_true(second != first);
    assert_int_equal(unlink(scratch("set/set.test.inter")), 0);
    uint64_t third = load_anew();
    assert_true(third != second);
    write_text("set/set.valid.inter", "user_id:token\titem_id:token\nu\tb\n");
    assert_true(load_anew() != third);
    assert_int_equal(unlink(scratch("set/text_feat.npy")), 0);
    load_anew();
    write_text("set/set.train.inter", "user_id:token\titem_id:token\nw\ta\n");
    kd_dataset d;
    assert_failed(kd_dataset_load(scratch(FOLDER), &d), KD_ERR_FORMAT, "'w' is not in the .user file");
}

/* A folder that was copied, and other files in it. */
static void keeps_to_the_same_contents(void **state) {
    (void)state;
    bool cached;
    write_set();
    uint64_t hash = load_anew();
    write_text("set/set.user", "user_id:token\nu\nv\n");
    write_text("set/README.txt", "about");
    write_text("set/other.user", "about");
    assert_true(load(&cached) == hash);
    assert_true(cached);
}

/* Every byte changed, every length: the cache is left aside, and the next load gives the right data. */
static void rejects_damage(void **state) {
    (void)state;
    static unsigned char bytes[16384];
    kd_dataset d;
    write_set();
    uint64_t hash = load_anew();
    FILE *file = fopen(scratch("set/set.cache"), "rb");
    assert_non_null(file);
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_in_range(count, 1024, sizeof bytes - 1);
    for (size_t at = 0; at < count; at++) {
        bytes[at] ^= (unsigned char)(1 << at % 8);
        unlink(scratch("set/set.cache")); /* some file systems flush a file that is written over */
        write_bytes("set/set.cache", bytes, count);
        if (kd_cache_read(scratch(FOLDER), FOLDER, &d)) fail_msg("byte %zu changed", at);
        assert_null(d.modalities);
        bytes[at] ^= (unsigned char)(1 << at % 8);
    }
    for (size_t length = 0; length < count; length += length < count - 400 ? 61 : 1) {
        unlink(scratch("set/set.cache"));
        write_bytes("set/set.cache", bytes, length);
        if (kd_cache_read(scratch(FOLDER), FOLDER, &d)) fail_msg("cut to %zu bytes", length);
    }
    assert_true(load_anew() == hash);
    bytes[count] = 0;
    write_bytes("set/set.cache", bytes, count + 1);
    assert_false(kd_cache_read(scratch(FOLDER), FOLDER, &d));
    write_bytes("set/set.cache", bytes, count);
    assert_true(kd_cache_read(scratch(FOLDER), FOLDER, &d));
    assert_true(d.hash == hash);
    kd_dataset_free(&d);
}

/* Where no cache can be written, loading still works and leaves nothing behind. */
static void does_without(void **state) {
    (void)state;
    bool cached;
    char command[600];
    write_set();
    fresh_folder("set/set.cache"); /* a folder of that name is in the way of the rename */
    write_text("set/set.cache/x", "");
    load(&cached);
    assert_false(cached);
    load(&cached);
    assert_false(cached);
    snprintf(command, sizeof command, "ls '%s' | grep -q tmp", scratch(FOLDER));
    assert_int_not_equal(system(command), 0);
}

static void does_without_where_it_may_not_write(void **state) {
    (void)state;
    bool cached;
    if (geteuid() == 0) {
        print_message("skipped: does_without_where_it_may_not_write: root may write everywhere\n");
        skip();
    }
    write_set();
    assert_int_equal(chmod(scratch(FOLDER), 0555), 0);
    load(&cached);
    assert_false(cached);
    assert_false(kd_file_exists(scratch("set/set.cache")));
    assert_int_equal(chmod(scratch(FOLDER), 0755), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_the_same_data),
        cmocka_unit_test(notices_changed_sources),
        cmocka_unit_test(keeps_to_the_same_contents),
        cmocka_unit_test(rejects_damage),
        cmocka_unit_test(does_without),
        cmocka_unit_test(does_without_where_it_may_not_write),
    };
    return cmocka_run_group_tests_name("cache", tests, make_scratch, remove_scratch);
}
