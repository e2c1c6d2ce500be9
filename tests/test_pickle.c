/* The restricted pickle machine: what it reads, what it refuses to construct, and that damage never gets further. */
#include "data_fixture.h"

#include <math.h>

#include "host/base/file.h"
#include "host/data/pickle.h"
#include "host/data/similarity.h"
#include "pickle_samples.h"

static void expect_sample(const char *name, const unsigned char *bytes, size_t count, const double *values) {
    static const int32_t rows[] = {0, 1, 1}, cols[] = {2, 0, 1};
    kd_sparse_file matrix;
    kd_status status = kd_pickle_read_sparse(write_bytes("matrix.pkl", bytes, count), &matrix);
    if (status != KD_OK) fail_msg("%s: %s", name, kd_last_error());
    assert_int_equal(matrix.rows, 2);
    assert_int_equal(matrix.cols, 3);
    assert_int_equal(matrix.nnz, 3);
    assert_memory_equal(matrix.row, rows, sizeof rows);
    assert_memory_equal(matrix.col, cols, sizeof cols);
    assert_memory_equal(matrix.value, values, 3 * sizeof *values);
    kd_sparse_file_free(&matrix);
}

#define EXPECT_SAMPLE(sample, ...) expect_sample(#sample, sample, sizeof sample, (const double[]){__VA_ARGS__})

static void reads_what_scipy_writes(void **state) {
    (void)state;
    EXPECT_SAMPLE(coo_protocol2, 1.5, -2, 200);
    EXPECT_SAMPLE(coo_legacy_protocol3, 1.5, -2, 200);
    EXPECT_SAMPLE(csr_protocol4, 1.5, -2, 200);
    EXPECT_SAMPLE(coo_protocol5, 1.5, -2, 200);
    EXPECT_SAMPLE(coo_int8_protocol3, 1, 2, 200);
}

static void expect_refused(const void *bytes, size_t count, const char *words) {
    kd_sparse_file matrix;
    kd_status status = kd_pickle_read_sparse(write_bytes("refused.pkl", bytes, count), &matrix);
    assert_failed(status, KD_ERR_FORMAT, words);
    assert_null(matrix.row);
    assert_int_equal(matrix.nnz, 0);
}

#define REFUSED(bytes, words) expect_refused(bytes, sizeof(bytes) - 1, words)

static void constructs_nothing_else(void **state) {
    (void)state;
    REFUSED("\x80\3cos\nsystem\nX\4\0\0\0true\x85R.", "offset 2: asks for 'os.system'");
    REFUSED("\x80\4\x8c\2os\x8c\6system\x93)R.", "offset 14: asks for 'os.system'");
    REFUSED("\x80\3cbuiltins\neval\n.", "'builtins.eval'");
    REFUSED("\x80\3cnumpy\nload\n.", "'numpy.load'");
    REFUSED("\x80\3cscipy.sparse._csc\ncsc_matrix\n.", "'scipy.sparse._csc.csc_matrix'");
    REFUSED("\x80\3c\x1b[2J\nx\n.", "'?[2J.x'"); /* no escape sequence reaches the terminal */
    REFUSED("\x80\3cnumpy\nndarray\n)R.", "a class called by REDUCE");
    REFUSED("\x80\3cnumpy\nndarray\n)\x81.", "no scipy coo or csr matrix");
    REFUSED("\x80\3)\x81.", "the stack is empty");
    REFUSED("\x80\3K\1)R.", "REDUCE without a function");
    REFUSED("\x80\3}}b.", "BUILD of something");
    REFUSED("\x80\3Pid\n.", "a persistent id");
    REFUSED("\x80\3K\1Q.", "a persistent id");
    REFUSED("\x80\3\x82\1.", "an extension code");
    REFUSED("\x80\3(ios\nsystem\n.", "an object by INST");
    REFUSED("\x80\3(K\1o.", "an object by OBJ");
    REFUSED("\x80\4\x92.", "NEWOBJ_EX");
    REFUSED("\x80\5\x97.", "an out-of-band buffer");
    REFUSED("\x80\3cnumpy\ndtype\nX\2\0\0\0O8\x85R.", "dtype 'O8' is not read");
    REFUSED("\x80\3c_codecs\nencode\nX\1\0\0\0aX\5\0\0\0rot13\x86R.", "(text, 'latin1')");
}

static void refuses_what_is_no_pickled_matrix(void **state) {
    (void)state;
    REFUSED("", "not a pickle");
    REFUSED("(dp0\n.", "not a pickle of protocol 2 to 5");
    REFUSED("\x80\6N.", "pickle protocol 6");
    REFUSED("\x80\3N.", "holds no scipy");
    REFUSED("\x80\3cscipy.sparse.coo\ncoo_matrix\n)\x81.", "holds no scipy"); /* never built */
    REFUSED("\x80\3cscipy.sparse.coo\ncoo_matrix\n)\x81}b.", "no shape of two sizes");
    REFUSED("\x80\3cscipy.sparse.coo\ncoo_matrix\n", "offset 31: truncated");
    REFUSED("\x80\3B\xff\xff\xff\x7f.", "truncated: expected 2147483647 more bytes");
    REFUSED("\x80\4\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "truncated: expected 18446744073709551615");
    REFUSED("\x80\3h\5.", "memo 5 was never stored");
    REFUSED("\x80\3Nr\xff\xff\xff\xff.", "memo 4294967295 is too large");
    REFUSED("\x80\3(0.", "the stack is empty");
    REFUSED("\x80\3t.", "no mark");
    REFUSED("\x80\3K\1a.", "no container");
    REFUSED("\x80\3(NNs.", "no container");
    REFUSED("\x80\3NK\1a.", "expected a list");
    REFUSED("\x80\3}(K\1u.", "a key without a value");
}

/* A file that asks for much with few bytes meets a limit, not the end of memory. */
static void is_bounded(void **state) {
    (void)state;
    const size_t count = 1 << 20;
    unsigned char *bytes = malloc(count);
    assert_non_null(bytes);
    memset(bytes, 'N', count);
    memcpy(bytes, "\x80\3", 2);
    expect_refused(bytes, count, "more than 65536 opcodes");
    /* the same text of 60,000 bytes decoded again and again: memo 0 is encode, 1 the arguments */
    byte_string tail = {0};
    memcpy(bytes, "\x80\3c_codecs\nencode\nq\0X\x60\xea\0\0", 25);
    memset(bytes + 25, 'a', 60000);
    size_t used = 60025;
    put_key(&tail, "latin1");
    put_text(&tail, "\x86q\1R");
    for (int i = 0; i < 100; i++) put(&tail, "h\0h\1R", 5);
    memcpy(bytes + used, tail.bytes, tail.count);
    expect_refused(bytes, used + tail.count, "more Latin-1 text than the file holds");
    free(bytes);
}

static void expect_bad_matrix(uint32_t rows, const int32_t *row, const int32_t *col, const double *value,
                              const char *words) {
    byte_string file;
    pickle_coo(&file, rows, 4, 2, row, col, value);
    expect_refused(file.bytes, file.count, words);
}

static void checks_indices_and_values(void **state) {
    (void)state;
    const int32_t row[] = {0, 2}, col[] = {1, 3};
    const double value[] = {1, 2};
    byte_string file;
    kd_sparse_file matrix;
    pickle_coo(&file, 3, 4, 2, row, col, value);
    assert_int_equal(kd_pickle_read_sparse(write_bytes("good.pkl", file.bytes, file.count), &matrix), KD_OK);
    kd_sparse_file_free(&matrix);
    expect_bad_matrix(2, row, col, value, "entry 1: row 2 is outside 0..1");
    expect_bad_matrix(3, row, (const int32_t[]){-1, 3}, value, "entry 0: column -1 is outside 0..3");
    expect_bad_matrix(3, row, col, (const double[]){1, NAN}, "entry 1 (row 2, column 3): expected a finite value");
    expect_bad_matrix(0xffffffff, row, col, value, "no shape of two sizes");
    unsigned char csr[sizeof csr_protocol4];
    memcpy(csr, csr_protocol4, sizeof csr);
    const unsigned char pointers[] = {0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0};
    unsigned char *found = memmem(csr, sizeof csr, pointers, sizeof pointers);
    assert_non_null(found);
    found[4] = 4;
    expect_refused(csr, sizeof csr, "indptr[1] is 4; expected 0..3");
    memset(found + 4, 0xff, 4);
    expect_refused(csr, sizeof csr, "indptr[1] is -1; expected 0..3");
    memcpy(found, pointers, sizeof pointers);
    found[8] = 9;
    expect_refused(csr, sizeof csr, "indptr ends at 9, but there are 3 indices");
}

static kd_status read_sparse(const char *path) {
    kd_sparse_file matrix;
    kd_status status = kd_pickle_read_sparse(path, &matrix);
    kd_sparse_file_free(&matrix);
    return status;
}

static void survives_damage(void **state) {
    (void)state;
    damage_everywhere("damaged.pkl", coo_protocol2, sizeof coo_protocol2, read_sparse);
    damage_everywhere("damaged.pkl", csr_protocol4, sizeof csr_protocol4, read_sparse);
    damage_everywhere("damaged.pkl", coo_protocol5, sizeof coo_protocol5, read_sparse);
}

static void reads_similarity_of_either_kind(void **state) {
    (void)state;
    const int32_t row[] = {3, 0, 1}, col[] = {0, 3, 4};
    const double value[] = {0.1, 0.10000000894069672, 1e-9}; /* the second is the next float32 after 0.1 */
    byte_string file;
    kd_similarity given, back;
    pickle_coo(&file, 5, 5, 3, row, col, value);
    assert_int_equal(kd_similarity_load(write_bytes("given.pkl", file.bytes, file.count), 3, 2, &given), KD_OK);
    assert_int_equal(given.count, 3);
    assert_int_equal(given.row[0], 0); /* sorted */
    assert_int_equal(given.row[2], 3);
    assert_true(given.value[2] == 0.1f);
    assert_int_equal(kd_similarity_save(scratch("given.tsv"), &given), KD_OK);
    assert_int_equal(kd_similarity_load(scratch("given.tsv"), 3, 2, &back), KD_OK);
    assert_int_equal(back.count, 3);
    assert_memory_equal(back.row, given.row, 3 * sizeof *back.row);
    assert_memory_equal(back.col, given.col, 3 * sizeof *back.col);
    assert_memory_equal(back.value, given.value, 3 * sizeof *back.value);
    kd_similarity_free(&back);
    kd_similarity_free(&given);
    assert_failed(kd_similarity_load(scratch("given.pkl"), 3, 3, &given), KD_ERR_FORMAT,
                  "5 x 5; expected users + items");
    const double beyond[] = {0.1, 1e300, 1};
    pickle_coo(&file, 5, 5, 3, row, col, beyond);
    assert_failed(kd_similarity_load(write_bytes("given.pkl", file.bytes, file.count), 3, 2, &given), KD_ERR_FORMAT,
                  "does not fit float32");
}

static void expect_bad_similarity(const char *text, const char *words) {
    kd_similarity given;
    assert_failed(kd_similarity_load(write_text("bad.tsv", text), 3, 2, &given), KD_ERR_FORMAT, words);
    assert_null(given.row);
}

static void names_the_line_of_a_bad_similarity(void **state) {
    (void)state;
    kd_similarity given;
    assert_int_equal(kd_similarity_load(write_text("ok.tsv", "# x\r\n\r\n0\t3\t.5\r\n 4 4 1 # y"), 3, 2, &given),
                     KD_OK);
    assert_int_equal(given.count, 2);
    kd_similarity_free(&given);
    expect_bad_similarity("# x\n0\t5\t0.5\n", "bad.tsv:2: expected a column, a whole number in 0..4, found '5'");
    expect_bad_similarity("\n-1\t0\t0.5\n", "bad.tsv:2: expected a row");
    expect_bad_similarity("0\t1\tnan\n", "bad.tsv:1: expected a value, a finite number, found 'nan'");
    expect_bad_similarity("0\t1\t1e99\n", "found '1e99'");
    expect_bad_similarity("0\t1\n", "bad.tsv:1: expected a value");
    expect_bad_similarity("0\t1\t2\t3\n", "bad.tsv:1: expected only row, column and value");
    expect_bad_similarity("0\t1\t2\n1\t1\t1\n0\t1\t2\n", "row 0, column 1 is given more than once");
    expect_bad_similarity("99999999999999999999\t1\t2\n", "expected a row");
    expect_bad_similarity("\x93NUMPY", "bad.tsv:1: expected a row");
}

static void reads_published_matrices(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int64_t rows, cols, nnz;
    } files[] = {{"tiktok/trnMat.pkl", 9308, 6710, 59541},   {"tiktok/valMat.pkl", 9308, 6710, 3051},
                 {"tiktok/tstMat.pkl", 9308, 6710, 6130},    {"tiktok/Similarity_130_6.pkl", 16018, 16018, 119082},
                 {"baby/trnMat.pkl", 19445, 7050, 118551},   {"baby/Similarity_50_8.pkl", 26495, 26495, 237090},
                 {"sports/trnMat.pkl", 35598, 18357, 218409}};
    int found = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256];
        snprintf(path, sizeof path, "../shared/datasets/%s", files[i].path);
        if (!kd_file_exists(path)) continue;
        kd_sparse_file matrix;
        if (kd_pickle_read_sparse(path, &matrix) != KD_OK) fail_msg("%s", kd_last_error());
        assert_int_equal(matrix.rows, files[i].rows);
        assert_int_equal(matrix.cols, files[i].cols);
        assert_int_equal(matrix.nnz, files[i].nnz);
        kd_sparse_file_free(&matrix);
        found++;
    }
    if (found == 0) {
        print_message("skipped: no published matrix under ../shared/datasets\n");
        skip();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_scipy_writes),           cmocka_unit_test(constructs_nothing_else),
        cmocka_unit_test(refuses_what_is_no_pickled_matrix), cmocka_unit_test(is_bounded),
        cmocka_unit_test(checks_indices_and_values),         cmocka_unit_test(survives_damage),
        cmocka_unit_test(reads_similarity_of_either_kind),   cmocka_unit_test(names_the_line_of_a_bad_similarity),
        cmocka_unit_test(reads_published_matrices),
    };
    return cmocka_run_group_tests_name("pickle", tests, make_scratch, remove_scratch);
}
