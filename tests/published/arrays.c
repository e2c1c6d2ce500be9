/* Arrays of a case: loading, comparing, counting. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/npy.h"
#include "published/golden.h"

static const double TOLERANCE = 1e-5, ZERO_TOLERANCE = 1e-7;

void golden_require(kd_status status, const char *what) {
    if (status == KD_OK) return;
    fprintf(stderr, "golden: %s: %s\n", what, kd_last_error());
    exit(1);
}

void golden_sum(golden_case *c, double *device, int64_t n, double *host) {
    golden_require(kd_comm_allreduce_f64(c->comm, c->ctx, n, device), "sum over ranks");
    golden_require(kd_download(c->ctx, host, device, n * (int64_t)sizeof *host), "sum over ranks");
}

void golden_join(golden_case *c, kd_mat x) {
    golden_require(kd_comm_allreduce_f32(c->comm, c->ctx, x.rows * x.ld, x.data), "sum over ranks");
}

static void fail(golden_case *c, const char *name, const char *why) {
    printf("%-44s %s FAIL\n", name, why);
    c->failed++;
}

kd_mat golden_whole(golden_case *c, const kd_kdiffe *model, kd_pool *pool, kd_mat m) {
    const kd_model_shape *s = &model->plan->shape;
    kd_mat whole;
    if (!kd_is_divided(s)) return m;
    golden_require(kd_pool_mat(pool, m.rows, m.cols / s->local_dim * s->dim, "test", &whole), "whole rows");
    golden_require(kd_layout_allgather(c->ctx, &model->views.layout, m, whole), "whole rows");
    return whole;
}

void golden_compare_columns(golden_case *c, const kd_kdiffe *model, const char *name, kd_mat m) {
    kd_pool pool;
    kd_pool_init(&pool, c->ctx);
    golden_compare_mat(c, name, golden_whole(c, model, &pool, m), false);
    kd_pool_free(&pool);
}

void golden_take_columns(golden_case *c, const kd_kdiffe *model, const float *from, kd_mat m) {
    kd_pool pool;
    float *device;
    int64_t width = model->plan->shape.dim;
    kd_pool_init(&pool, c->ctx);
    golden_require(kd_pool_upload(&pool, from, m.rows * width, sizeof *from, "test", &device), "columns");
    golden_require(kd_add_scaled(c->ctx, 1.0f,
                                 kd_mat_cols(kd_mat_make(device, m.rows, width), model->plan->shape.column, m.cols),
                                 0.0f, m),
                   "columns");
    golden_require(kd_synchronize(c->ctx), "columns");
    kd_pool_free(&pool);
}

void golden_upload_columns(golden_case *c, const kd_kdiffe *model, const char *name, kd_mat m) {
    int64_t shape[4];
    float *host = golden_floats(c, name, shape);
    if (!host) return;
    if (shape[0] != m.rows || shape[1] != model->plan->shape.dim)
        fail(c, name, "has another size");
    else
        golden_take_columns(c, model, host, m);
    free(host);
    c->inputs++;
}

const char *golden_name(const char *format, ...) {
    static char buffer[8][160];
    static int next;
    char *name = buffer[next++ % 8];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof buffer[0], format, args);
    va_end(args);
    return name;
}

bool golden_has(const golden_case *c, const char *name) { return cJSON_HasObjectItem(c->files, name); }

/* The path of an array; marks it in the manifest. NULL if the manifest has none of that name. */
static const char *path_of(golden_case *c, const char *name) {
    cJSON *entry = cJSON_GetObjectItemCaseSensitive(c->files, name);
    if (!entry) {
        fail(c, name, "is not in the manifest");
        return NULL;
    }
    if (!cJSON_HasObjectItem(entry, "used")) cJSON_AddTrueToObject(entry, "used");
    return golden_name("%s/%s.npy", c->folder, name);
}

float *golden_floats(golden_case *c, const char *name, int64_t shape[4]) {
    int64_t rank;
    float *values = NULL;
    const char *path = path_of(c, name);
    if (path && kd_npy_read_f32(path, &rank, shape, &values) != KD_OK) fail(c, name, kd_last_error());
    return values;
}

int32_t *golden_ints(golden_case *c, const char *name, int64_t shape[4]) {
    int64_t rank;
    int32_t *values = NULL;
    const char *path = path_of(c, name);
    if (path && kd_npy_read_i32(path, &rank, shape, &values) != KD_OK) fail(c, name, kd_last_error());
    return values;
}

double *golden_doubles(golden_case *c, const char *name, int64_t *count) {
    kd_npy npy;
    double *values = NULL;
    const char *path = path_of(c, name);
    if (!path) return NULL;
    if (kd_npy_open(path, &npy) != KD_OK) {
        fail(c, name, kd_last_error());
        return NULL;
    }
    golden_require(kd_host_alloc(&values, npy.count, sizeof *values, name), name);
    for (int64_t i = 0; i < npy.count; i++) memcpy(&values[i], npy.data + i * 8, 8);
    *count = npy.count;
    kd_npy_close(&npy);
    return values;
}

/* largest = max|b|, miss = max|a-b|; a NaN anywhere makes miss NaN. */
static void report(golden_case *c, const char *name, double miss, double largest, double tolerance, bool absolute) {
    double error = absolute || largest == 0.0 ? miss : miss / largest;
    double bound = largest == 0.0 && !absolute ? ZERO_TOLERANCE : tolerance;
    bool pass = error <= bound;
    printf("%-44s %.2e %.0e %s\n", name, error, bound, pass ? "PASS" : "FAIL");
    c->compared++;
    if (!pass) c->failed++;
}

static void compare(golden_case *c, const char *name, const float *actual, int64_t count, bool absolute) {
    int64_t shape[4];
    float *expected = golden_floats(c, name, shape);
    double miss = 0.0, largest = 0.0;
    if (!expected) return;
    if (shape[0] * shape[1] * shape[2] * shape[3] != count) {
        fail(c, name, "has another size");
    } else {
        for (int64_t i = 0; i < count; i++) {
            double d = fabs((double)actual[i] - expected[i]);
            if (!(d <= miss)) miss = d;
            largest = fmax(largest, fabs((double)expected[i]));
        }
        report(c, name, miss, largest, TOLERANCE, absolute);
    }
    free(expected);
}

void golden_compare(golden_case *c, const char *name, const float *actual, int64_t count) {
    compare(c, name, actual, count, false);
}

void golden_compare_absolute(golden_case *c, const char *name, const float *actual, int64_t count) {
    compare(c, name, actual, count, true);
}

void golden_compare_doubles(golden_case *c, const char *name, const double *actual, int64_t count, double tolerance) {
    int64_t n;
    double *expected = golden_doubles(c, name, &n), miss = 0.0, largest = 0.0;
    if (!expected) return;
    if (n != count) {
        fail(c, name, "has another size");
    } else {
        for (int64_t i = 0; i < n; i++) {
            double d = fabs(actual[i] - expected[i]);
            if (!(d <= miss)) miss = d;
            largest = fmax(largest, fabs(expected[i]));
        }
        report(c, name, miss, largest, tolerance, false);
    }
    free(expected);
}

void golden_compare_ints(golden_case *c, const char *name, const int32_t *actual, int64_t count) {
    int64_t shape[4], wrong = 0;
    int32_t *expected = golden_ints(c, name, shape);
    if (!expected) return;
    if (shape[0] * shape[1] * shape[2] * shape[3] != count) {
        fail(c, name, "has another size");
    } else {
        for (int64_t i = 0; i < count; i++) wrong += actual[i] != expected[i];
        report(c, name, (double)wrong, 1.0, 0.0, true);
    }
    free(expected);
}

static float *transposed(const float *x, int64_t rows, int64_t cols) {
    float *y;
    golden_require(kd_host_alloc(&y, rows * cols, sizeof *y, "transpose"), "transpose");
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < cols; k++) y[k * rows + r] = x[r * cols + k];
    return y;
}

void golden_compare_mat(golden_case *c, const char *name, kd_mat m, bool transpose) {
    float *host;
    golden_require(kd_host_alloc(&host, m.rows * m.cols, sizeof *host, name), name);
    golden_require(kd_mat_download(c->ctx, m, host), name);
    if (transpose) {
        float *other = transposed(host, m.rows, m.cols);
        free(host);
        host = other;
    }
    golden_compare(c, name, host, m.rows * m.cols);
    free(host);
}

void golden_upload(golden_case *c, const char *name, kd_mat m, bool transpose) {
    int64_t shape[4];
    float *host = golden_floats(c, name, shape);
    if (!host) return;
    if (shape[0] * shape[1] != m.rows * m.cols) {
        fail(c, name, "has another size");
    } else {
        float *turned = transpose ? transposed(host, shape[0], shape[1]) : NULL;
        golden_require(kd_mat_upload(c->ctx, turned ? turned : host, m), name);
        free(turned);
    }
    free(host);
    c->inputs++;
}
