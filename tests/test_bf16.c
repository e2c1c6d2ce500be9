/* Products of inputs rounded to bf16 on CPUs that have the dot product for it: against double-precision sums of inputs
 * rounded here, on sizes that straddle the blocks of 14 rows, 32 columns, pairs, and slices of the depth. */
#include "op_fixture.h"

#include "kernels/cpu_level.h"

static int set_up(void **state) {
    op_fixture *f = calloc(1, sizeof *f);
    kd_status status =
        kd_ctx_open((kd_compute){.device = KD_DEVICE_CPU, .threads = 2, .precision = KD_PRECISION_BF16}, &f->ctx);
    if (status == KD_ERR_ARGUMENT) {
        printf("skipped: %s\n", kd_last_error());
        free(f);
        *state = NULL;
        return 0;
    }
    kd_pool_init(&f->pool, f->ctx);
    *state = f;
    return status == KD_OK ? 0 : -1;
}

static int tear_down(void **state) { return *state ? op_tear_down(state) : 0; }

/* The nearest number of 8 significant bits, ties to even. */
static double bf16(float x) {
    int exponent;
    double mantissa = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(mantissa, 8)), exponent - 8);
}

/* alpha op(A) op(B) + beta C with A and B rounded. */
static void check_product(op_fixture *f, bool ta, bool tb, int64_t m, int64_t n, int64_t k, float beta) {
    float *a = op_host(m * k, 1), *b = op_host(k * n, 2), *c = op_host(m * n, 3), alpha = 0.7f;
    double *want = calloc((size_t)(m * n), sizeof *want);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (int64_t l = 0; l < k; l++)
                sum += bf16(a[ta ? l * m + i : i * k + l]) * bf16(b[tb ? j * k + l : l * n + j]);
            want[i * n + j] = alpha * sum + (beta != 0.0f ? beta * c[i * n + j] : 0.0);
            if (beta == 0.0f) c[i * n + j] = NAN; /* must not be read */
        }
    kd_mat da = op_mat(f, ta ? k : m, ta ? m : k, (ta ? m : k) + 3, a);
    kd_mat db = op_mat(f, tb ? n : k, tb ? k : n, (tb ? k : n) + 1, b), dc = op_mat(f, m, n, n + 5, c);
    kd_gemm_args product = {
        .transpose_a = ta, .transpose_b = tb, .alpha = alpha, .a = da, .b = db, .beta = beta, .c = dc};
    assert_ok(kd_gemm(f->ctx, &product));
    float *got = op_read(f, dc);
    op_assert_close(got, want, m * n, 2e-6);
    free(a);
    free(b);
    free(c);
    free(want);
    free(got);
}

static void products_are_those_of_rounded_inputs(void **state) {
    static const int64_t SHAPES[][3] = {{1, 1, 1},     {13, 31, 2},    {14, 32, 3},  {15, 33, 31}, {28, 65, 255},
                                        {29, 97, 256}, {141, 40, 257}, {3, 129, 65}, {200, 1, 33}, {1, 70, 520}};
    if (!*state) skip();
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        for (int way = 0; way < 8; way++)
            check_product(*state, way & 1, way & 2, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], way & 4 ? 0.5f : 0.0f);
}

/* Longer than what is packed at a time, in each direction. */
static void large_products_are_made_in_parts(void **state) {
    if (!*state) skip();
    check_product(*state, false, false, 5, 9, 3100, 0.5f);
    check_product(*state, true, false, 1990, 3, 7, 0.0f);
    check_product(*state, false, true, 3, 4130, 5, 0.5f);
}

static void threads_do_not_matter(void **state) {
    enum { M = 300, N = 200, K = 300 };
    if (!*state) skip();
    float *got[2], *a = op_host(M * K, 1), *b = op_host(K * N, 2);
    for (int threads = 1; threads <= 2; threads++) {
        op_fixture f;
        assert_ok(kd_ctx_open((kd_compute){.device = KD_DEVICE_CPU, .threads = threads, .precision = KD_PRECISION_BF16},
                              &f.ctx));
        kd_pool_init(&f.pool, f.ctx);
        kd_mat c = op_mat(&f, M, N, N, NULL);
        assert_ok(kd_gemm(
            f.ctx, &(kd_gemm_args){.alpha = 1.0f, .a = op_mat(&f, M, K, K, a), .b = op_mat(&f, K, N, N, b), .c = c}));
        got[threads - 1] = op_read(&f, c);
        kd_pool_free(&f.pool);
        kd_ctx_close(f.ctx);
    }
    assert_memory_equal(got[0], got[1], M * N * sizeof(float));
    free(got[0]);
    free(got[1]);
    free(a);
    free(b);
}

/* Also the NaN whose bits would round up to infinity's neighbour. */
static void not_a_number_stays_one(void **state) {
    op_fixture *f = *state;
    uint32_t bits = 0x7FFFFFFF;
    float a[4] = {1, 0, 0, 1}, b[4] = {1, 2, 3, 4};
    if (!f) skip();
    memcpy(&a[0], &bits, sizeof bits);
    b[3] = INFINITY;
    kd_mat c = op_mat(f, 2, 2, 2, NULL);
    assert_ok(kd_gemm(f->ctx,
                      &(kd_gemm_args){.alpha = 1.0f, .a = op_mat(f, 2, 2, 2, a), .b = op_mat(f, 2, 2, 2, b), .c = c}));
    float *got = op_read(f, c);
    assert_true(isnan(got[0]) && isnan(got[1]));
    assert_true(got[2] == 3.0f && isinf(got[3]));
    free(got);
}

static void lower_levels_refuse(void **state) {
    (void)state;
    kd_ctx *ctx;
    const kd_cpu_level *level;
    setenv("KDIFFE_CPU", "v2", 1);
    if (kd_cpu_level_choose(&level) != KD_OK) {
        printf("skipped: %s\n", kd_last_error());
        skip();
    }
    assert_int_equal(
        kd_ctx_open((kd_compute){.device = KD_DEVICE_CPU, .threads = 1, .precision = KD_PRECISION_BF16}, &ctx),
        KD_ERR_ARGUMENT);
    assert_non_null(strstr(kd_last_error(), "bf16 needs"));
    unsetenv("KDIFFE_CPU");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(products_are_those_of_rounded_inputs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_products_are_made_in_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_do_not_matter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_a_number_stays_one, set_up, tear_down),
        cmocka_unit_test(lower_levels_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
