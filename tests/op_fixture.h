/* What op tests share: a context, pseudo-random arrays, device copies, comparisons that NaN fails. */
#ifndef KD_TESTS_OP_FIXTURE_H
#define KD_TESTS_OP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/model/kdiffe/params.h"
#include "kernels/device.h"
#include "kernels/pool.h"

typedef struct op_fixture {
    kd_ctx *ctx;
    kd_pool pool;
} op_fixture;

#define assert_ok(expression)                                                        \
    do {                                                                             \
        if ((expression) != KD_OK) fail_msg("%s: %s", #expression, kd_last_error()); \
    } while (0)

/* |actual - expected| <= tolerance max(1, |expected|). */
#define assert_near(actual, expected, tolerance)                             \
    do {                                                                     \
        double near_a = (actual), near_b = (expected);                       \
        if (!(fabs(near_a - near_b) <= (tolerance)*fmax(1.0, fabs(near_b)))) \
            fail_msg("%s = %.9g, expected %.9g", #actual, near_a, near_b);   \
    } while (0)

/* The CPU, or what KDIFFE_TEST_DEVICE=cuda names. */
static inline kd_device op_device(void) {
    const char *device = getenv("KDIFFE_TEST_DEVICE");
    return device && strcmp(device, "cuda") == 0 ? KD_DEVICE_CUDA : KD_DEVICE_CPU;
}

static inline int op_set_up(void **state) {
    op_fixture *f = calloc(1, sizeof *f);
    if (!f || kd_ctx_open((kd_compute){.device = op_device(), .threads = 2}, &f->ctx) != KD_OK) return -1;
    kd_pool_init(&f->pool, f->ctx);
    *state = f;
    return kd_workspace_reserve(f->ctx, 64 << 20) == KD_OK ? 0 : -1;
}

static inline int op_tear_down(void **state) {
    op_fixture *f = *state;
    kd_pool_free(&f->pool);
    kd_ctx_close(f->ctx);
    free(f);
    return 0;
}

/* Uniform in [-1, 1): value i of stream `what`. */
static inline float op_value(uint32_t what, int64_t i) {
    kd_rng rng = {7, KD_RNG_INIT, 999, what, NULL};
    uint32_t draw[4];
    kd_rng_draw4(&rng, (uint32_t)i, 0, draw);
    return 2.0f * kd_uniform(draw[0]) - 1.0f;
}

static inline float *op_host(int64_t n, uint32_t what) {
    float *x = calloc((size_t)(n > 0 ? n : 1), sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = op_value(what, i);
    return x;
}

/* A device matrix, NaN beyond `cols` up to `ld`, so that a read past the row shows. `host` [rows * cols] or NULL:
 * zeros. */
static inline kd_mat op_mat(op_fixture *f, int64_t rows, int64_t cols, int64_t ld, const float *host) {
    kd_mat whole, m;
    assert_ok(kd_pool_mat(&f->pool, rows, ld, "test", &whole));
    float *padded = malloc((size_t)(rows * ld + 1) * sizeof *padded);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < ld; c++) padded[r * ld + c] = c >= cols ? NAN : host ? host[r * cols + c] : 0.0f;
    assert_ok(kd_mat_upload(f->ctx, padded, whole));
    free(padded);
    m = whole;
    m.cols = cols;
    return m;
}

static inline float *op_read(op_fixture *f, kd_mat m) {
    float *host = malloc((size_t)(m.rows * m.cols + 1) * sizeof *host);
    assert_ok(kd_mat_download(f->ctx, m, host));
    return host;
}

static inline void *op_copy(op_fixture *f, const void *host, int64_t count, int64_t size) {
    void *device;
    assert_ok(kd_pool_upload(&f->pool, host, count, size, "test", &device));
    return device;
}

static inline void *op_zeros(op_fixture *f, int64_t count, int64_t size) {
    void *device;
    assert_ok(kd_pool_alloc(&f->pool, count, size, "test", &device));
    return device;
}

static inline kd_groups op_groups(op_fixture *f, int64_t n, const int32_t *key) {
    kd_groups g = {n, op_zeros(f, 1, sizeof(int64_t)), op_zeros(f, n, sizeof(int32_t)),
                   op_zeros(f, n + 1, sizeof(int32_t)), op_zeros(f, n, sizeof(int32_t))};
    assert_ok(kd_group(f->ctx, n, key, &g));
    return g;
}

static inline void op_assert_close(const float *actual, const double *expected, int64_t n, double tolerance) {
    double largest = 1e-30;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(expected[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(actual[i] - expected[i]) <= tolerance * largest))
            fail_msg("element %lld is %.9g, expected %.9g", (long long)i, actual[i], expected[i]);
}

#endif
