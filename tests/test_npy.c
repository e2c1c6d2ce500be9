/* The .npy reader and writer, and the file helpers that they stand on. */
#include "data_fixture.h"

#include <dirent.h>
#include <math.h>

#include "host/data/npy.h"

/* A .npy file from its dictionary and data; returns its path. */
static const char *write_npy(const char *dictionary, const void *data, size_t bytes) {
    byte_string file = {0};
    unsigned char prefix[10] = "\x93NUMPY\1";
    prefix[8] = (unsigned char)strlen(dictionary);
    put(&file, prefix, sizeof prefix);
    put_text(&file, dictionary);
    put(&file, data, bytes);
    return write_bytes("array.npy", file.bytes, file.count);
}

static void expect_f32(const char *dictionary, const void *data, size_t bytes, int64_t count, const float *expected) {
    int64_t rank = 0, shape[KD_NPY_MAX_RANK] = {0};
    float *values = NULL;
    kd_status status = kd_npy_read_f32(write_npy(dictionary, data, bytes), &rank, shape, &values);
    if (status != KD_OK) fail_msg("%s: %s", dictionary, kd_last_error());
    assert_int_equal(shape[0] * shape[1] * shape[2] * shape[3], count);
    assert_memory_equal(values, expected, (size_t)count * sizeof *values);
    free(values);
}

static void expect_error(const char *dictionary, const void *data, size_t bytes, const char *words) {
    int64_t rank = 0, shape[KD_NPY_MAX_RANK] = {0};
    float *values = NULL;
    kd_status status = kd_npy_read_f32(write_npy(dictionary, data, bytes), &rank, shape, &values);
    assert_failed(status, KD_ERR_FORMAT, words);
    assert_null(values);
}

static void reads_every_width(void **state) {
    (void)state;
    const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x03ff, 0x0400, 0x7bff, 0x3555, 0x8000};
    const float half_values[] = {1, -2, 0x1p-24f, 1023 * 0x1p-24f, 0x1p-14f, 65504, 1365 * 0x1p-12f, -0.0f};
    expect_f32("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 4), }\n", half, sizeof half, 8, half_values);
    const float two[] = {1.5f, -7};
    expect_f32("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", two, sizeof two, 2, two);
    const double two_wide[] = {1.5, -7};
    expect_f32("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }\n", two_wide, sizeof two_wide, 2, two);
    const float whole[] = {3, -4};
    expect_f32("{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}", (const int64_t[]){3, -4}, 16, 2, whole);
    expect_f32("{'descr': '|i1', 'fortran_order': False, 'shape': (2,)}", (const int8_t[]){3, -4}, 2, 2, whole);
    const float bytes[] = {3, 252};
    expect_f32("{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}", (const uint8_t[]){3, 252}, 2, 2, bytes);
    const float truth[] = {0, 1};
    expect_f32("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", (const uint8_t[]){0, 1}, 2, 2, truth);
    const unsigned char big[] = {0x3f, 0xc0, 0, 0, 0xc0, 0xe0, 0, 0};
    expect_f32("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }\n", big, sizeof big, 2, two);
}

static void reads_any_header_it_should(void **state) {
    (void)state;
    const float one = 2.5f;
    expect_f32("{\"shape\": (), 'fortran_order': False, 'descr': '<f4'}", &one, 4, 1, &one);
    expect_f32("{'shape':(1L,1L),'fortran_order':False,'descr':'<f4'}", &one, 4, 1, &one);
    expect_f32("{'shape': (1,), 'fortran_order': True, 'descr': '<f4'}", &one, 4, 1, &one);
    expect_f32("{'shape': (3, 0), 'fortran_order': False, 'descr': '<f4'}", "", 0, 0, &one);
    static const char dictionary[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
    byte_string file = {0};
    put(&file, "\x93NUMPY\2\0", 8); /* version 2: the header's length has 4 bytes */
    put(&file, (const unsigned char[]){sizeof dictionary - 1, 0, 0, 0}, 4);
    put_text(&file, dictionary);
    put(&file, &one, 4);
    int64_t rank = 0, shape[KD_NPY_MAX_RANK];
    float *values = NULL;
    assert_int_equal(kd_npy_read_f32(write_bytes("v2.npy", file.bytes, file.count), &rank, shape, &values), KD_OK);
    assert_int_equal(rank, 1);
    assert_true(values[0] == one);
    free(values);
}

static void refuses_what_it_cannot_read(void **state) {
    (void)state;
    float values[6] = {0};
    expect_error("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", values, 24, "type '|O' is not read");
    expect_error("{'descr': '<c8', 'fortran_order': False, 'shape': (3,)}", values, 24, "type '<c8' is not read");
    expect_error("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", values, 24, "records");
    expect_error("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", values, 24, "Fortran order");
    expect_error("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,6)}", values, 24, "more than 4 dim");
    expect_error("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}", values, 24, "truncated");
    expect_error("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", values, 24, "too long");
    expect_error("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999)}", values, 24, "63 bits");
    expect_error("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", values, 24, "a shape such as");
    expect_error("{'descr': '<f4', 'fortran_order': False}", values, 24, "expected the keys");
    expect_error("{'descr': '<f4', 'shape': (6,), 'shape': (6,)}", values, 24, "once each");
    int64_t rank = 0, shape[KD_NPY_MAX_RANK];
    float *none = NULL;
    assert_failed(kd_npy_read_f32(write_text("text.npy", "hello, this is text"), &rank, shape, &none), KD_ERR_FORMAT,
                  "not a .npy file");
    assert_failed(kd_npy_read_f32(scratch("absent.npy"), &rank, shape, &none), KD_ERR_FORMAT, "cannot open");
    assert_failed(kd_npy_read_f32(scratch_folder, &rank, shape, &none), KD_ERR_FORMAT, "regular file");
}

static void names_the_first_bad_value(void **state) {
    (void)state;
    float values[6] = {0, 1, 2, 3, NAN, INFINITY};
    expect_error("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", values, 24,
                 "row 1, column 1: expected a f");
    values[4] = 0;
    expect_error("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", values, 24, "row 5, column 0");
    const double beyond = 1e300;
    expect_error("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", &beyond, 8, "finite float32, found 1e+300");
    expect_error("{'descr': '<f2', 'fortran_order': False, 'shape': (1,)}", (const uint16_t[]){0x7c00}, 2, "row 0");
}

static void reads_whole_numbers(void **state) {
    (void)state;
    int64_t rank = 0, shape[KD_NPY_MAX_RANK];
    int32_t *values = NULL;
    const int64_t stored[] = {-5, INT32_MAX};
    assert_int_equal(kd_npy_read_i32(write_npy("{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}", stored, 16),
                                     &rank, shape, &values),
                     KD_OK);
    assert_int_equal(values[0], -5);
    assert_int_equal(values[1], INT32_MAX);
    free(values);
    const int64_t beyond[] = {1, (int64_t)INT32_MAX + 1};
    assert_failed(kd_npy_read_i32(write_npy("{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}", beyond, 16),
                                  &rank, shape, &values),
                  KD_ERR_FORMAT, "row 1, column 0: expected a whole number");
    const double broken[] = {1, 2.5};
    assert_failed(kd_npy_read_i32(write_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", broken, 16),
                                  &rank, shape, &values),
                  KD_ERR_FORMAT, "found 2.5");
}

static void writes_what_it_reads(void **state) {
    (void)state;
    const float values[] = {1, -2.25f, 1e-30f, 3e38f, 0.1f, -0.0f};
    const int64_t shape[] = {2, 3}, whole[] = {7, -8};
    int64_t rank = 0, found[KD_NPY_MAX_RANK];
    float *back = NULL;
    assert_int_equal(kd_npy_write_f32(scratch("out.npy"), 2, shape, values), KD_OK);
    assert_int_equal(kd_npy_read_f32(scratch("out.npy"), &rank, found, &back), KD_OK);
    assert_int_equal(rank, 2);
    assert_int_equal(found[0], 2);
    assert_int_equal(found[1], 3);
    assert_memory_equal(back, values, sizeof values);
    free(back);
    kd_npy npy;
    assert_int_equal(kd_npy_write_i64(scratch("out.npy"), 1, shape, whole), KD_OK); /* replaces the file */
    assert_int_equal(kd_npy_open(scratch("out.npy"), &npy), KD_OK);
    assert_int_equal((npy.data - npy.file.data) % 64, 0);
    assert_true(npy.element.kind == 'i' && npy.element.size == 8);
    assert_memory_equal(npy.data, whole, sizeof whole);
    kd_npy_close(&npy);
    assert_failed(kd_npy_write_f32(scratch("absent/out.npy"), 2, shape, values), KD_ERR_IO, "cannot create");
    assert_failed(kd_npy_write_f32(scratch("out.npy"), 5, shape, values), KD_ERR_ARGUMENT, "5 dimensions");
}

static kd_status read_npy(const char *path) {
    int64_t rank = 0, shape[KD_NPY_MAX_RANK];
    float *values = NULL;
    kd_status status = kd_npy_read_f32(path, &rank, shape, &values);
    free(values);
    return status;
}

static void survives_damage(void **state) {
    (void)state;
    const float values[] = {1, 2, 3, 4, 5, 6};
    const int64_t shape[] = {2, 3};
    kd_mapped_file file;
    assert_int_equal(kd_npy_write_f32(scratch("whole.npy"), 2, shape, values), KD_OK);
    assert_int_equal(kd_file_map(scratch("whole.npy"), &file), KD_OK);
    damage_everywhere("damaged.npy", file.data, (size_t)file.bytes, read_npy);
    kd_file_unmap(&file);
}

static int files_in_scratch(void) {
    int count = 0;
    DIR *folder = opendir(scratch_folder);
    assert_non_null(folder);
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void atomic_file_is_all_or_nothing(void **state) {
    (void)state;
    kd_atomic_file file;
    kd_mapped_file mapped;
    write_text("kept.txt", "old");
    int before = files_in_scratch();
    assert_int_equal(kd_atomic_open(scratch("kept.txt"), &file), KD_OK);
    fputs("half", file.stream);
    kd_atomic_abort(&file);
    assert_int_equal(files_in_scratch(), before);
    assert_int_equal(kd_file_map(scratch("kept.txt"), &mapped), KD_OK);
    assert_int_equal(mapped.bytes, 3);
    assert_memory_equal(mapped.data, "old", 3);
    kd_file_unmap(&mapped);
    assert_int_equal(kd_atomic_open(scratch("kept.txt"), &file), KD_OK);
    fputs("new text", file.stream);
    assert_int_equal(kd_atomic_commit(&file), KD_OK);
    kd_atomic_abort(&file); /* harmless */
    assert_int_equal(files_in_scratch(), before);
    assert_int_equal(kd_file_map(scratch("kept.txt"), &mapped), KD_OK);
    assert_int_equal(mapped.bytes, 8);
    assert_memory_equal(mapped.data, "new text", 8);
    kd_file_unmap(&mapped);
}

static void maps_empty_files(void **state) {
    (void)state;
    kd_mapped_file mapped;
    assert_int_equal(kd_file_map(write_text("empty", ""), &mapped), KD_OK);
    assert_int_equal(mapped.bytes, 0);
    assert_non_null(mapped.data);
    kd_file_unmap(&mapped);
}

static void reads_published_features(void **state) {
    (void)state;
    static const char path[] = "../shared/datasets/tiktok/image_feat.npy";
    int64_t rank = 0, shape[KD_NPY_MAX_RANK];
    float *values = NULL;
    if (!kd_file_exists(path)) {
        print_message("skipped: %s is not on this machine\n", path);
        skip();
    }
    assert_int_equal(kd_npy_read_f32(path, &rank, shape, &values), KD_OK);
    assert_int_equal(rank, 2);
    assert_int_equal(shape[0], 6710);
    assert_int_equal(shape[1], 128);
    assert_true(values[0] == 0x1.4acp+1f); /* the bytes 2b 41 */
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_width),
        cmocka_unit_test(reads_any_header_it_should),
        cmocka_unit_test(refuses_what_it_cannot_read),
        cmocka_unit_test(names_the_first_bad_value),
        cmocka_unit_test(reads_whole_numbers),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(atomic_file_is_all_or_nothing),
        cmocka_unit_test(maps_empty_files),
        cmocka_unit_test(reads_published_features),
    };
    return cmocka_run_group_tests_name("npy", tests, make_scratch, remove_scratch);
}
