/* The published format, the checks that any data set has to pass, and the hash. */
#include "data_fixture.h"

#include <math.h>

#include "host/base/file.h"
#include "host/data/dataset_check.h"
#include "host/data/npy.h"
#include "host/data/published.h"

static const int32_t train_user[] = {2, 0, 0, 1, 0}, train_item[] = {0, 3, 1, 1, 3};
static const double train_value[] = {1, 5, 1, 2, 1};

static void write_matrix(const char *name, uint32_t rows, uint32_t cols, uint32_t nnz, const int32_t *row,
                         const int32_t *col, const double *value) {
    byte_string file;
    pickle_coo(&file, rows, cols, nnz, row, col, value);
    write_bytes(name, file.bytes, file.count);
}

/* 3 users, 5 items; (0, 3) twice in training; one explicit zero in the test split; entity 6 beyond the items. */
static void write_folder(void) {
    write_matrix("trnMat.pkl", 3, 5, 5, train_user, train_item, train_value);
    write_matrix("tstMat.pkl", 3, 5, 2, (const int32_t[]){0, 1}, (const int32_t[]){4, 2}, (const double[]){1, 0});
    write_matrix("valMat.pkl", 3, 5, 1, (const int32_t[]){2}, (const int32_t[]){1}, (const double[]){1});
    write_text("kg.txt", "0 1 2\n0 1 2\n\n4\t0\t6\r\n");
    const float features[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    const int64_t wide[] = {5, 2};
    assert_int_equal(kd_npy_write_f32(scratch("text_feat.npy"), 2, wide, features), KD_OK);
    assert_int_equal(kd_npy_write_f32(scratch("image_feat.npy"), 2, wide, features), KD_OK);
    assert_int_equal(kd_npy_write_f32(scratch("aroma_feat.npy"), 1, wide, features), KD_OK);
}

static void expect_load_error(const char *words) {
    kd_dataset dataset;
    assert_failed(kd_published_load(scratch_folder, &dataset), KD_ERR_FORMAT, words);
    assert_null(dataset.train.user);
    assert_null(dataset.modalities);
    write_folder();
}

static void reads_the_folder(void **state) {
    (void)state;
    kd_dataset d;
    write_folder();
    if (kd_published_load(scratch_folder, &d) != KD_OK) fail_msg("%s", kd_last_error());
    assert_string_equal(d.name, strrchr(scratch_folder, '/') + 1);
    assert_int_equal(d.users, 3);
    assert_int_equal(d.items, 5);
    assert_int_equal(d.entities, 7);
    assert_int_equal(d.relations, 2);
    assert_false(d.kg_linked);
    assert_int_equal(d.train.count, 4);
    assert_memory_equal(d.train.user, ((const int32_t[]){0, 0, 1, 2}), 16);
    assert_memory_equal(d.train.item, ((const int32_t[]){1, 3, 1, 0}), 16);
    assert_int_equal(d.test.count, 1);
    assert_int_equal(d.valid.count, 1);
    assert_int_equal(d.kg.count, 3); /* in file order, repeats kept */
    assert_memory_equal(d.kg.tail, ((const int32_t[]){2, 2, 6}), 12);
    assert_int_equal(d.modality_count, 3);
    assert_string_equal(d.modalities[0].name, "image");
    assert_string_equal(d.modalities[1].name, "text");
    assert_string_equal(d.modalities[2].name, "aroma");
    assert_int_equal(d.modalities[0].width, 2);
    assert_int_equal(d.modalities[2].width, 1);
    assert_true(d.modalities[1].values[9] == 10);
    assert_int_equal(d.entity_ids.count, 7);
    assert_string_equal(kd_id_token(&d.user_ids, 2), "2");
    assert_true(d.hash == kd_dataset_hash(&d));
    kd_dataset_free(&d);
    assert_null(d.train.user);
}

static void reads_only_what_is_there(void **state) {
    (void)state;
    static const char *const optional[] = {"tstMat.pkl",    "valMat.pkl",     "kg.txt",
                                           "text_feat.npy", "image_feat.npy", "aroma_feat.npy"};
    kd_dataset d;
    write_folder();
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) assert_int_equal(unlink(scratch(optional[i])), 0);
    assert_int_equal(kd_published_load(scratch_folder, &d), KD_OK);
    assert_int_equal(d.test.count + d.valid.count + d.kg.count + d.relations + d.modality_count, 0);
    assert_int_equal(d.entities, 5);
    assert_int_equal(kd_dataset_check(&d, NULL), KD_OK);
    kd_dataset_free(&d);
}

static void names_file_and_line_of_errors(void **state) {
    (void)state;
    kd_dataset d;
    assert_failed(kd_published_load(scratch("absent"), &d), KD_ERR_FORMAT, "absent: No such file");
    write_folder();
    unlink(scratch("trnMat.pkl"));
    expect_load_error("trnMat.pkl: cannot open");
    write_matrix("trnMat.pkl", 3, 5, 2, train_user, train_item, (const double[]){0, 0});
    expect_load_error("trnMat.pkl: no training interaction");
    write_matrix("valMat.pkl", 3, 6, 1, train_user, train_item, train_value);
    expect_load_error("valMat.pkl: the matrix is 3 x 6; expected 3 x 5");
    write_matrix("trnMat.pkl", 2000000000, 5, 5, train_user, train_item, train_value);
    expect_load_error("trnMat.pkl: 2000000000 users, but only 5 rows");
    write_text("kg.txt", "0 1 2\n0 1\n");
    expect_load_error("kg.txt:2: expected a tail");
    write_text("kg.txt", "0 1 2\n\n0 x 2\n");
    expect_load_error("kg.txt:3: expected a relation, a whole number in 0..2147483646, found 'x'");
    write_text("kg.txt", "0 1 2 3\n");
    expect_load_error("kg.txt:1: expected only head, relation and tail");
    write_text("kg.txt", "-1 1 2\n");
    expect_load_error("kg.txt:1: expected a head");
    write_text("kg.txt", "0 1 2147483646\n");
    expect_load_error("kg.txt: 2147483647 entities, but only 1 rows");
    const float features[] = {1, 2, 3, 4, 5, 6, 7, NAN};
    assert_int_equal(kd_npy_write_f32(scratch("text_feat.npy"), 2, (const int64_t[]){4, 2}, features), KD_OK);
    expect_load_error("text_feat.npy: row 3, column 1");
    assert_int_equal(kd_npy_write_f32(scratch("text_feat.npy"), 2, (const int64_t[]){3, 2}, features), KD_OK);
    expect_load_error("text_feat.npy: 3 rows; expected 5, one for each item");
    assert_int_equal(kd_npy_write_f32(scratch("text_feat.npy"), 2, (const int64_t[]){5, 0}, features), KD_OK);
    expect_load_error("text_feat.npy: expected a matrix of items x features");
    assert_int_equal(kd_npy_write_f32(scratch("_feat.npy"), 2, (const int64_t[]){3, 2}, features), KD_OK);
    expect_load_error("expected 1 to 63 characters before _feat.npy");
    unlink(scratch("_feat.npy"));
}

static void expect_warning(const kd_dataset_warnings *warnings, int64_t affected, const char *words) {
    for (int64_t i = 0; i < warnings->count; i++)
        if (warnings->warning[i].affected == affected && strstr(warnings->warning[i].text, words) != NULL) return;
    fail_msg("no warning with %lld %s", (long long)affected, words);
}

static void warns_of_what_deserves_a_look(void **state) {
    (void)state;
    kd_dataset d;
    kd_dataset_warnings warnings;
    write_folder();
    /* user 3 has only held-out items, user 4 nothing; item 4 is cold; (0, 1) is also in training and in both splits */
    write_matrix("trnMat.pkl", 5, 5, 5, train_user, train_item, train_value);
    write_matrix("tstMat.pkl", 5, 5, 2, (const int32_t[]){3, 0}, (const int32_t[]){4, 1}, train_value);
    write_matrix("valMat.pkl", 5, 5, 1, (const int32_t[]){0}, (const int32_t[]){1}, train_value);
    assert_int_equal(kd_published_load(scratch_folder, &d), KD_OK);
    if (kd_dataset_check(&d, &warnings) != KD_OK) fail_msg("%s", kd_last_error());
    assert_int_equal(warnings.count, 7);
    expect_warning(&warnings, 2, "held-out pairs that are also in training");
    expect_warning(&warnings, 1, "pairs that are in both validation and test");
    expect_warning(&warnings, 1, "users with held-out items but without training items");
    expect_warning(&warnings, 1, "cold items");
    expect_warning(&warnings, 2, "users without training items");
    expect_warning(&warnings, 2, "items without a user");
    expect_warning(&warnings, 3, "entities without an edge"); /* 1, 3 and 5 */
    kd_dataset_free(&d);
}

static void expect_check_error(const kd_dataset *d, const char *words) {
    kd_dataset_warnings warnings;
    assert_failed(kd_dataset_check(d, &warnings), KD_ERR_FORMAT, words);
}

static void refuses_what_cannot_be_trained(void **state) {
    (void)state;
    kd_dataset d;
    write_folder();
    assert_int_equal(kd_published_load(scratch_folder, &d), KD_OK);
    assert_int_equal(kd_dataset_check(&d, NULL), KD_OK);
    d.train.item[0] = 5;
    expect_check_error(&d, "train pair 0 (user 0, item 5) is outside 3 x 5");
    d.train.item[0] = 3;
    expect_check_error(&d, "train pair 1 (user 0, item 3) is out of order or given twice");
    d.train.item[0] = 1;
    d.test.user[0] = -1;
    expect_check_error(&d, "test pair 0");
    d.test.user[0] = 0;
    d.kg.relation[1] = 2;
    expect_check_error(&d, "triple 1 (0, 2, 2) is outside");
    d.kg.relation[1] = 1;
    d.modalities[1].values[3] = NAN;
    expect_check_error(&d, "text features: row 1, column 1: expected a finite value");
    d.modalities[1].values[3] = 4;
    strcpy(d.modalities[1].name, "image");
    expect_check_error(&d, "modality 'image' is given twice");
    strcpy(d.modalities[1].name, "text");
    d.item_ids.count = 4;
    expect_check_error(&d, "4 item names; expected 5");
    d.item_ids.count = 5;
    d.entities = 4;
    expect_check_error(&d, "expected at least 5 entities");
    d.entities = 7;
    d.train.count = 0;
    expect_check_error(&d, "0 training interactions");
    d.train.count = 4;
    assert_int_equal(kd_dataset_check(&d, NULL), KD_OK);
    kd_dataset_free(&d);
    write_matrix("trnMat.pkl", 3, 5, 5, (const int32_t[]){1, 1, 1, 1, 1}, (const int32_t[]){0, 1, 2, 3, 4},
                 train_value);
    assert_int_equal(kd_published_load(scratch_folder, &d), KD_OK);
    expect_check_error(&d, "user '1' has every item");
    kd_dataset_free(&d);
}

static void hash_follows_the_contents(void **state) {
    (void)state;
    kd_dataset d;
    write_folder();
    assert_int_equal(kd_published_load(scratch_folder, &d), KD_OK);
    uint64_t hash = d.hash;
    strcpy(d.name, "another");
    assert_true(kd_dataset_hash(&d) == hash);
    d.train.item[0]++;
    assert_true(kd_dataset_hash(&d) != hash);
    d.train.item[0]--;
    d.kg.tail[2]--;
    assert_true(kd_dataset_hash(&d) != hash);
    d.kg.tail[2]++;
    d.modalities[2].values[4] += 1;
    assert_true(kd_dataset_hash(&d) != hash);
    d.modalities[2].values[4] -= 1;
    d.relation_ids.text[0] = 'x';
    assert_true(kd_dataset_hash(&d) != hash);
    d.relation_ids.text[0] = '0';
    d.kg_linked = true;
    assert_true(kd_dataset_hash(&d) != hash);
    d.kg_linked = false;
    assert_true(kd_dataset_hash(&d) == hash);
    kd_dataset_free(&d);
}

static void decimal_names(void **state) {
    (void)state;
    static const int64_t counts[] = {0, 1, 9, 10, 11, 100, 101, 12345};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        kd_id_map map;
        char expected[24];
        assert_int_equal(kd_id_map_decimal(counts[i], &map), KD_OK);
        assert_int_equal(map.count, counts[i]);
        snprintf(expected, sizeof expected, "%lld", (long long)counts[i] - 1);
        if (counts[i] > 0) assert_string_equal(kd_id_token(&map, counts[i] - 1), expected);
        free(map.text);
        free(map.offset);
    }
}

static kd_status read_folder_with(const char *path) {
    (void)path; /* the damaged file is the folder's kg.txt */
    kd_dataset d;
    kd_status status = kd_published_load(scratch_folder, &d);
    if (status == KD_OK) status = kd_dataset_check(&d, NULL);
    kd_dataset_free(&d);
    return status;
}

static void survives_a_damaged_graph(void **state) {
    (void)state;
    static const char text[] = "0 1 2\n3 0 4\n1 1 0\n";
    write_folder();
    for (size_t at = 0; at + 1 < sizeof text; at++)
        for (int byte = 0; byte < 256; byte++) {
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            copy[at] = (char)byte;
            kd_status status = read_folder_with(write_bytes("kg.txt", copy, sizeof text - 1));
            assert_true(status == KD_OK || status == KD_ERR_FORMAT);
            /* a digit stays a triple; any other character in a field's place cannot be one */
            if (text[at] >= '0' && text[at] <= '9' && (byte == 'x' || byte == '\0' || byte == '\n'))
                assert_int_equal(status, KD_ERR_FORMAT);
        }
}

static void reads_the_published_data_sets(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int64_t users, items, entities, relations, train, valid, test, triples, modalities;
    } sets[] = {{"../shared/datasets/tiktok", 9308, 6710, 6710, 4, 59541, 3051, 6130, 206166, 2},
                {"../shared/datasets/baby", 19445, 7050, 7050, 3, 118551, 21682, 20559, 237102, 0},
                {"../shared/datasets/sports", 35598, 18357, 18357, 0, 218409, 0, 37899, 0, 0}};
    int found = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        kd_dataset d;
        kd_dataset_warnings warnings;
        if (!kd_file_exists(sets[i].path)) continue;
        if (kd_published_load(sets[i].path, &d) != KD_OK) fail_msg("%s", kd_last_error());
        if (kd_dataset_check(&d, &warnings) != KD_OK) fail_msg("%s", kd_last_error());
        assert_int_equal(d.users, sets[i].users);
        assert_int_equal(d.items, sets[i].items);
        assert_int_equal(d.entities, sets[i].entities);
        assert_int_equal(d.relations, sets[i].relations);
        assert_int_equal(d.train.count, sets[i].train);
        assert_int_equal(d.valid.count, sets[i].valid);
        assert_int_equal(d.test.count, sets[i].test);
        assert_int_equal(d.kg.count, sets[i].triples);
        assert_int_equal(d.modality_count, sets[i].modalities);
        kd_dataset_free(&d);
        found++;
    }
    if (found == 0) {
        print_message("skipped: no published data set under ../shared/datasets\n");
        skip();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_folder),
        cmocka_unit_test(reads_only_what_is_there),
        cmocka_unit_test(names_file_and_line_of_errors),
        cmocka_unit_test(warns_of_what_deserves_a_look),
        cmocka_unit_test(refuses_what_cannot_be_trained),
        cmocka_unit_test(hash_follows_the_contents),
        cmocka_unit_test(decimal_names),
        cmocka_unit_test(survives_a_damaged_graph),
        cmocka_unit_test(reads_the_published_data_sets),
    };
    return cmocka_run_group_tests_name("published", tests, make_scratch, remove_scratch);
}
