/* Runs an op on both columns and compares what it left behind: integers equal, floats to 1e-5 of the largest. */
#ifndef KD_TESTS_COLUMNS_FIXTURE_H
#define KD_TESTS_COLUMNS_FIXTURE_H

#include "op_fixture.h"

enum { MOST_OUTPUTS = 24 };

/* What an op left behind: arrays of floats or of integers. */
typedef struct outputs {
    int64_t count, size[MOST_OUTPUTS];
    float *value[MOST_OUTPUTS];
    int64_t *integer[MOST_OUTPUTS];
} outputs;

typedef void subject(op_fixture *f, int64_t n, outputs *out);

static inline void keep(op_fixture *f, kd_mat m, outputs *out) {
    out->value[out->count] = op_read(f, m);
    out->size[out->count++] = m.rows * m.cols;
}

static inline void keep_floats(op_fixture *f, const float *device, int64_t n, outputs *out) {
    keep(f, kd_mat_make((float *)(uintptr_t)device, 1, n), out);
}

static inline void keep_doubles(op_fixture *f, const double *device, int64_t n, outputs *out) {
    double *host = malloc((size_t)n * sizeof *host);
    float *value = malloc((size_t)n * sizeof *value);
    assert_ok(kd_download(f->ctx, host, device, n * (int64_t)sizeof *host));
    for (int64_t i = 0; i < n; i++) value[i] = (float)host[i];
    free(host);
    out->value[out->count] = value;
    out->size[out->count++] = n;
}

static inline void keep_int32(op_fixture *f, const int32_t *device, int64_t n, outputs *out) {
    int32_t *host = calloc((size_t)n + 1, sizeof *host);
    int64_t *integer = malloc((size_t)(n + 1) * sizeof *integer);
    assert_ok(kd_download(f->ctx, host, device, n * (int64_t)sizeof *host));
    for (int64_t i = 0; i < n; i++) integer[i] = host[i];
    free(host);
    out->integer[out->count] = integer;
    out->size[out->count++] = n;
}

static inline void keep_int64(op_fixture *f, const int64_t *device, int64_t n, outputs *out) {
    int64_t *integer = malloc((size_t)(n + 1) * sizeof *integer);
    assert_ok(kd_download(f->ctx, integer, device, n * (int64_t)sizeof *integer));
    out->integer[out->count] = integer;
    out->size[out->count++] = n;
}

static inline int64_t last_of(op_fixture *f, const int64_t *device, int64_t at) {
    int64_t value;
    assert_ok(kd_download(f->ctx, &value, device + at, sizeof value));
    return value;
}

static inline kd_mat random_mat(op_fixture *f, int64_t rows, int64_t cols, int64_t pad, uint32_t what) {
    float *host = op_host(rows * cols, what);
    kd_mat m = op_mat(f, rows, cols, cols + pad, host);
    free(host);
    return m;
}

static inline uint32_t draw_below(uint32_t what, int64_t i, uint32_t n) {
    return kd_uniform_below((uint32_t)((op_value(what, i) + 1.0f) * 2147483000.0f), n);
}

static inline int32_t *random_ints(op_fixture *f, int64_t n, uint32_t below, uint32_t what) {
    int32_t *host = calloc((size_t)n + 1, sizeof *host);
    for (int64_t i = 0; i < n; i++) host[i] = (int32_t)draw_below(what, i, below);
    int32_t *device = op_copy(f, host, n, sizeof *host);
    free(host);
    return device;
}

/* Compares what both columns left behind, then frees it. */
static inline void compare(const char *name, int64_t n, outputs *a, outputs *b) {
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        double largest = 1e-30;
        assert_int_equal(a->size[i], b->size[i]);
        for (int64_t k = 0; k < a->size[i]; k++) {
            if (a->integer[i]) {
                if (a->integer[i][k] != b->integer[i][k])
                    fail_msg("%s %lld: output %lld, element %lld: %lld on the CPU, %lld on the device", name,
                             (long long)n, (long long)i, (long long)k, (long long)a->integer[i][k],
                             (long long)b->integer[i][k]);
            } else {
                largest = fmax(largest, fabs((double)a->value[i][k]));
            }
        }
        for (int64_t k = 0; k < a->size[i] && !a->integer[i]; k++)
            if (!(fabs((double)a->value[i][k] - (double)b->value[i][k]) <= 1e-5 * largest))
                fail_msg("%s %lld: output %lld, element %lld: %.9g on the CPU, %.9g on the device (largest %.3g)", name,
                         (long long)n, (long long)i, (long long)k, (double)a->value[i][k], (double)b->value[i][k],
                         largest);
        free(a->value[i]);
        free(a->integer[i]);
        free(b->value[i]);
        free(b->integer[i]);
    }
}

typedef struct both {
    op_fixture column[2]; /* CPU, CUDA */
} both;

/* Runs the subject on both columns; device memory is given back after each. */
static inline void on_both(both *c, const char *name, subject *run, int64_t n) {
    outputs out[2] = {{0}};
    for (int i = 0; i < 2; i++) {
        kd_pool_init(&c->column[i].pool, c->column[i].ctx);
        run(&c->column[i], n, &out[i]);
        kd_pool_free(&c->column[i].pool);
    }
    compare(name, n, &out[0], &out[1]);
}

#endif
