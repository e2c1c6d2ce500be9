/* safetensors files: what is written reads back, and every damaged header is refused with one line. */
#include "data_fixture.h"

#include "host/base/safetensors.h"

static const float SIX[] = {1.0f, -2.5f, 0.0f, 3e-38f, 1e38f, -0.0f}, TWO[] = {7.0f, 8.0f};

static kd_tensor matrix(const char *name, int64_t rows, int64_t columns, const float *data) {
    kd_tensor t = {.rank = 2, .shape = {rows, columns}, .data = data};
    snprintf(t.name, sizeof t.name, "%s", name);
    return t;
}

static kd_tensor vector(const char *name, int64_t count, const float *data) {
    kd_tensor t = {.rank = 1, .shape = {count, 1}, .data = data};
    snprintf(t.name, sizeof t.name, "%s", name);
    return t;
}

static void assert_tensor(const kd_safetensors *file, const kd_tensor *expected) {
    const kd_tensor *t = kd_safetensors_find(file, expected->name);
    assert_non_null(t);
    assert_int_equal(t->rank, expected->rank);
    assert_int_equal(t->shape[0], expected->shape[0]);
    assert_int_equal(t->shape[1], expected->shape[1]);
    assert_memory_equal(t->data, expected->data, (size_t)(t->shape[0] * t->shape[1]) * sizeof *t->data);
}

static void what_is_saved_reads_back(void **state) {
    (void)state;
    const kd_tensor tensor[] = {matrix("view.user", 3, 2, SIX), vector("w \"1\"", 2, TWO), matrix("none", 0, 2, SIX),
                                matrix("last", 1, 2, TWO)};
    const char *const metadata[] = {"format", "kdiffe", "data_path", "/a \"folder\"\\ \xc3\xa9"};
    kd_safetensors file;
    const char *path = scratch("model.safetensors");
    assert_int_equal(kd_safetensors_save(path, &(kd_snapshot){4, tensor, NULL, NULL, NULL}, 2, metadata), KD_OK);
    if (kd_safetensors_open(path, false, &file) != KD_OK) fail_msg("%s", kd_last_error());
    assert_int_equal(file.count, 4);
    for (int i = 0; i < 4; i++) assert_tensor(&file, &tensor[i]);
    assert_null(kd_safetensors_find(&file, "view"));
    assert_string_equal(kd_safetensors_metadata(&file, "format"), metadata[1]);
    assert_string_equal(kd_safetensors_metadata(&file, "data_path"), metadata[3]);
    assert_null(kd_safetensors_metadata(&file, "absent"));
    kd_safetensors_close(&file);
    kd_safetensors_close(&file); /* an empty one is allowed */
}

/* The layout that other readers rely on: little-endian length, header padded to 8 bytes with spaces, raw arrays. */
static void the_bytes_are_the_format(void **state) {
    (void)state;
    const kd_tensor tensor = vector("w", 2, TWO);
    const char *const metadata[] = {"format", "kdiffe"};
    static const char header[] = "{\"__metadata__\":{\"format\":\"kdiffe\"},"
                                 "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    char bytes[256];
    size_t padded = (strlen(header) + 7) / 8 * 8;
    assert_int_equal(
        kd_safetensors_save(scratch("bytes.safetensors"), &(kd_snapshot){1, &tensor, NULL, NULL, NULL}, 1, metadata),
        KD_OK);
    FILE *f = fopen(scratch("bytes.safetensors"), "rb");
    assert_non_null(f);
    size_t got = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_int_equal(got, 8 + padded + sizeof TWO);
    assert_int_equal((unsigned char)bytes[0], padded);
    for (int i = 1; i < 8; i++) assert_int_equal(bytes[i], 0);
    assert_memory_equal(bytes + 8, header, strlen(header));
    for (size_t i = strlen(header); i < padded; i++) assert_int_equal(bytes[8 + i], ' ');
    assert_memory_equal(bytes + 8 + padded, TWO, sizeof TWO);
}

static void an_empty_model_is_a_file(void **state) {
    (void)state;
    kd_safetensors file;
    assert_int_equal(
        kd_safetensors_save(scratch("empty.safetensors"), &(kd_snapshot){0, NULL, NULL, NULL, NULL}, 0, NULL), KD_OK);
    assert_int_equal(kd_safetensors_open(scratch("empty.safetensors"), false, &file), KD_OK);
    assert_int_equal(file.count, 0);
    assert_null(kd_safetensors_metadata(&file, "format"));
    kd_safetensors_close(&file);
}

static void what_cannot_be_saved_leaves_the_old_file(void **state) {
    (void)state;
    const kd_tensor good = vector("w", 2, TWO), negative = vector("w", -1, TWO);
    kd_tensor rank = vector("w", 2, TWO);
    const kd_tensor twice[] = {good, good};
    kd_safetensors file;
    const char *path = scratch("kept.safetensors");
    rank.rank = 3;
    assert_int_equal(kd_safetensors_save(path, &(kd_snapshot){1, &good, NULL, NULL, NULL}, 0, NULL), KD_OK);
    assert_failed(kd_safetensors_save(path, &(kd_snapshot){1, &negative, NULL, NULL, NULL}, 0, NULL), KD_ERR_ARGUMENT,
                  "'w'");
    assert_failed(kd_safetensors_save(path, &(kd_snapshot){1, &rank, NULL, NULL, NULL}, 0, NULL), KD_ERR_ARGUMENT,
                  "'w'");
    assert_failed(kd_safetensors_save(path, &(kd_snapshot){2, twice, NULL, NULL, NULL}, 0, NULL), KD_ERR_ARGUMENT,
                  "'w'");
    assert_failed(
        kd_safetensors_save(scratch("absent/m.safetensors"), &(kd_snapshot){1, &good, NULL, NULL, NULL}, 0, NULL),
        KD_ERR_IO, "absent");
    assert_int_equal(kd_safetensors_open(scratch("kept.safetensors"), false, &file), KD_OK);
    assert_tensor(&file, &good);
    kd_safetensors_close(&file);
}

/* A file with this header, padded, and `data` bytes of zeros behind it. */
static const char *file_with(const char *header, size_t data) {
    static unsigned char bytes[4096];
    size_t length = (strlen(header) + 7) / 8 * 8;
    memset(bytes, 0, sizeof bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memset(bytes + 8, ' ', length);
    memcpy(bytes + 8, header, strlen(header));
    return write_bytes("made.safetensors", bytes, 8 + length + data);
}

static void headers_from_other_writers(void **state) {
    (void)state;
    kd_safetensors file;
    const char *path = file_with("{ \"b\": {\"shape\": [2, 1], \"data_offsets\": [4, 12], \"dtype\": \"F32\"},"
                                 "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                                 12);
    if (kd_safetensors_open(path, false, &file) != KD_OK) fail_msg("%s", kd_last_error());
    assert_int_equal(file.count, 2);
    const kd_tensor *b = kd_safetensors_find(&file, "b");
    assert_non_null(b);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 1);
    kd_safetensors_close(&file);
}

#define ENTRY(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void damaged_headers_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "3",
        "null",
        "{\"a\":3}",
        "{\"a\":[]}",
        "{\"a\":{}}",
        "{" ENTRY("a", "F16", "[4]", "[0,16]") "}",
        "{" ENTRY("a", "I32", "[4]", "[0,16]") "}",
        "{" ENTRY("a", "F32", "[]", "[0,16]") "}",
        "{" ENTRY("a", "F32", "[1,2,2]", "[0,16]") "}",
        "{" ENTRY("a", "F32", "4", "[0,16]") "}",
        "{" ENTRY("a", "F32", "{\"x\":4}", "[0,16]") "}",
        "{" ENTRY("a", "F32", "[-4]", "[0,16]") "}",
        "{" ENTRY("a", "F32", "[4.5]", "[0,18]") "}",
        "{" ENTRY("a", "F32", "[\"4\"]", "[0,16]") "}",
        "{" ENTRY("a", "F32", "[1e300]", "[0,16]") "}",
        "{" ENTRY("a", "F32", "[2147483647,2147483647]", "[0,16]") "}",
        "{" ENTRY("a", "F32", "[4]", "[0,12]") "}",
        "{" ENTRY("a", "F32", "[4]", "[0,20]") "}",
        "{" ENTRY("a", "F32", "[4]", "[16,0]") "}",
        "{" ENTRY("a", "F32", "[4]", "[8,24]") "}",
        "{" ENTRY("a", "F32", "[2]", "[2,10]") "}",
        "{" ENTRY("a", "F32", "[4]", "[-16,0]") "}",
        "{" ENTRY("a", "F32", "[4]", "[0]") "}",
        "{" ENTRY("a", "F32", "[4]", "[0,16,0]") "}",
        "{" ENTRY("a", "F32", "[4]", "\"0\"") "}",
        "{" ENTRY("a", "F32", "[3]", "[0,12]") "," ENTRY("b", "F32", "[2]", "[8,16]") "}",
        "{" ENTRY("a", "F32", "[4]", "[0,16]") "," ENTRY("b", "F32", "[4]", "[0,16]") "}",
        "{" ENTRY("a", "F32", "[2]", "[0,8]") "," ENTRY("a", "F32", "[2]", "[8,16]") "}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kd_safetensors file;
        kd_status status = kd_safetensors_open(file_with(bad[i], 16), false, &file);
        if (status == KD_OK) fail_msg("was taken: %s", bad[i]);
        assert_failed(status, KD_ERR_FORMAT, "made.safetensors");
        assert_null(file.tensor);
    }
}

/* Floats behind a header of odd length would lie across word boundaries; every writer pads. */
static void headers_that_are_not_padded(void **state) {
    (void)state;
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} ";
    unsigned char bytes[128] = {sizeof header - 1};
    kd_safetensors file;
    assert_true((sizeof header - 1) % 8 != 0);
    memcpy(bytes + 8, header, sizeof header - 1);
    assert_failed(kd_safetensors_open(write_bytes("odd.safetensors", bytes, 8 + sizeof header - 1 + 4), false, &file),
                  KD_ERR_FORMAT, "odd.safetensors: offset 0");
}

/* The name leaves room for the end of the string; one byte more does not fit kd_tensor. */
static void long_names(void **state) {
    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        char name[128] = {0}, header[256];
        kd_safetensors file;
        memset(name, 'n', sizeof((kd_tensor *)0)->name - 1 + (size_t)extra);
        snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", name);
        kd_status status = kd_safetensors_open(file_with(header, 16), false, &file);
        assert_int_equal(status, extra ? KD_ERR_FORMAT : KD_OK);
        kd_safetensors_close(&file);
    }
}

/* Cut anywhere, or with any one byte changed, a file is read or refused, never read beyond its end. */
static void files_damaged_at_every_byte(void **state) {
    (void)state;
    const kd_tensor tensor[] = {vector("w", 2, TWO), matrix("m", 3, 2, SIX)};
    const char *const metadata[] = {"format", "kdiffe"};
    unsigned char whole[512], copy[512];
    assert_int_equal(
        kd_safetensors_save(scratch("whole.safetensors"), &(kd_snapshot){2, tensor, NULL, NULL, NULL}, 1, metadata),
        KD_OK);
    FILE *f = fopen(scratch("whole.safetensors"), "rb");
    assert_non_null(f);
    size_t bytes = fread(whole, 1, sizeof whole, f);
    fclose(f);
    for (size_t i = 0; i < bytes; i++) {
        kd_safetensors file;
        assert_failed(kd_safetensors_open(write_bytes("cut.safetensors", whole, i), false, &file), KD_ERR_FORMAT,
                      "cut");
        memcpy(copy, whole, bytes);
        copy[i] ^= 0x15;
        kd_status status = kd_safetensors_open(write_bytes("changed.safetensors", copy, bytes), false, &file);
        double sum = 0.0;
        for (int64_t t = 0; status == KD_OK && t < file.count; t++)
            for (int64_t k = 0; k < file.tensor[t].shape[0] * file.tensor[t].shape[1]; k++)
                sum += ((const float *)file.tensor[t].data)[k] > 0.0f;
        assert_true(sum <= 8.0);
        assert_true(status == KD_OK || status == KD_ERR_FORMAT);
        kd_safetensors_close(&file);
    }
}

static void files_that_are_not_there(void **state) {
    (void)state;
    kd_safetensors file;
    assert_failed(kd_safetensors_open(scratch("absent.safetensors"), false, &file), KD_ERR_FORMAT,
                  "absent.safetensors");
    assert_failed(kd_safetensors_open(scratch_folder, false, &file), KD_ERR_FORMAT, "regular file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_reads_back),    cmocka_unit_test(the_bytes_are_the_format),
        cmocka_unit_test(an_empty_model_is_a_file),    cmocka_unit_test(what_cannot_be_saved_leaves_the_old_file),
        cmocka_unit_test(headers_from_other_writers),  cmocka_unit_test(damaged_headers_are_refused),
        cmocka_unit_test(headers_that_are_not_padded), cmocka_unit_test(long_names),
        cmocka_unit_test(files_damaged_at_every_byte), cmocka_unit_test(files_that_are_not_there),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
