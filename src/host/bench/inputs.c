#include "host/bench/inputs.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/memory.h"
#include "host/ranks/layout.h"

kd_status kd_bench_host(kd_bench *b, int64_t count, int64_t size, void *out) {
    kd_status status = kd_host_grow(&b->host, &b->host_capacity, b->host_count + 1, sizeof(void *), "bench");
    if (status == KD_OK) status = kd_host_alloc(&b->host[b->host_count], count, size, "bench");
    if (status != KD_OK) return status;
    *(void **)out = b->host[b->host_count++];
    return KD_OK;
}

kd_status kd_bench_zeros(kd_bench *b, int64_t count, int64_t size, void *out) {
    return kd_pool_alloc(&b->pool, count, size, "bench", out);
}

kd_status kd_bench_upload(kd_bench *b, const void *host, int64_t count, int64_t size, void *out) {
    return kd_pool_upload(&b->pool, host, count, size, "bench", out);
}

/* splitmix64 of a counter. */
uint64_t kd_bench_draw(kd_bench *b) {
    uint64_t z = ++b->draws * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

int64_t kd_bench_below(kd_bench *b, int64_t n) { return (int64_t)(kd_bench_draw(b) % (uint64_t)n); }

/* [n], uniform in [-scale, scale). */
static kd_status draw_floats(kd_bench *b, int64_t n, float scale, float **out) {
    KD_OR_RETURN(kd_host_alloc(out, n, sizeof **out, "bench"));
    for (int64_t i = 0; i < n; i++) (*out)[i] = scale * ((float)(kd_bench_draw(b) >> 40) * 0x1p-23f - 1.0f);
    return KD_OK;
}

/* The matrix [rows, cols] of host numbers, which are freed. */
static kd_status give_mat(kd_bench *b, int64_t rows, int64_t cols, float *value, kd_mat *out) {
    *out = kd_mat_make(NULL, rows, cols);
    kd_status status = kd_bench_upload(b, value, rows * cols, sizeof *value, &out->data);
    free(value);
    return status;
}

kd_status kd_bench_mat(kd_bench *b, int64_t rows, int64_t cols, float scale, kd_mat *out) {
    float *value;
    KD_OR_RETURN(draw_floats(b, rows * cols, scale, &value));
    return give_mat(b, rows, cols, value, out);
}

kd_status kd_bench_unit_mat(kd_bench *b, int64_t rows, int64_t cols, kd_mat *out) {
    float *value;
    KD_OR_RETURN(draw_floats(b, rows * cols, 1.0f, &value));
    for (int64_t r = 0; r < rows; r++) {
        float *row = value + r * cols;
        double square = 1e-30;
        for (int64_t c = 0; c < cols; c++) square += (double)row[c] * row[c];
        for (int64_t c = 0; c < cols; c++) row[c] = (float)(row[c] / sqrt(square));
    }
    return give_mat(b, rows, cols, value, out);
}

kd_status kd_bench_positive_mat(kd_bench *b, int64_t rows, int64_t cols, kd_mat *out) {
    float *value;
    KD_OR_RETURN(draw_floats(b, rows * cols, 1.0f, &value));
    for (int64_t i = 0; i < rows * cols; i++) value[i] = fabsf(value[i]);
    return give_mat(b, rows, cols, value, out);
}

int64_t kd_bench_samples(int64_t n, int64_t most) { return n < most ? n : most; }

int64_t kd_bench_sample(kd_bench *b, int64_t i, int64_t n, int64_t most) {
    int64_t samples = kd_bench_samples(n, most), first = i * n / samples, end = (i + 1) * n / samples;
    return i == 0 ? 0 : i == samples - 1 ? n - 1 : first + kd_bench_below(b, end - first);
}

kd_status kd_bench_some_rows(kd_bench *ref, int64_t n, int64_t most, kd_groups *out) {
    *out = (kd_groups){.capacity = kd_bench_samples(n, most)};
    KD_OR_RETURN(kd_bench_zeros(ref, 1, sizeof *out->count, &out->count));
    KD_OR_RETURN(kd_bench_zeros(ref, out->capacity, sizeof *out->key, &out->key));
    for (int64_t i = 0; i < out->capacity; i++) out->key[i] = (int32_t)kd_bench_sample(ref, i, n, most);
    out->count[0] = out->capacity;
    return KD_OK;
}

double kd_bench_float32(int64_t terms) {
    const double FEW = 1e4;
    return KD_BENCH_FLOAT32 * sqrt(fmax(1.0, (double)terms / FEW));
}

static void compare(kd_bench *b, double actual, double expected, double scale, double tolerance) {
    double error = fabs(actual - expected) / scale;
    b->checked++;
    if (!(error <= tolerance)) b->wrong++;
    if (!(error <= b->max_err) && !isnan(b->max_err)) b->max_err = error;
}

/* Of nothing but zeros so little that no other number is near them. */
static double largest(kd_mat m) {
    double most = 1e-30;
    for (int64_t r = 0; r < m.rows; r++)
        for (int64_t c = 0; c < m.cols; c++) most = fmax(most, fabs((double)m.data[r * m.ld + c]));
    return most;
}

kd_status kd_bench_same_mat(kd_bench *b, kd_mat device, kd_mat expected, double tolerance) {
    double scale = largest(expected);
    float *actual;
    KD_OR_RETURN(kd_host_alloc(&actual, device.rows * device.cols, sizeof *actual, "bench"));
    kd_status status = kd_mat_download(b->ctx, device, actual);
    for (int64_t r = 0; status == KD_OK && r < device.rows; r++)
        for (int64_t c = 0; c < device.cols; c++)
            compare(b, actual[r * device.cols + c], expected.data[r * expected.ld + c], scale, tolerance);
    free(actual);
    return status;
}

kd_status kd_bench_same_floats(kd_bench *b, const float *device, const float *expected, int64_t n, double tolerance) {
    return kd_bench_same_mat(b, kd_mat_make((float *)(uintptr_t)device, 1, n),
                             kd_mat_make((float *)(uintptr_t)expected, 1, n), tolerance);
}

kd_status kd_bench_same_loss(kd_bench *b, const double *device, const double *expected, double tolerance) {
    double actual;
    KD_OR_RETURN(kd_download(b->ctx, &actual, device, sizeof actual));
    compare(b, actual, *expected, fmax(fabs(*expected), 1e-30), tolerance);
    return KD_OK;
}

static double integer_at(const void *x, int64_t i, int64_t size) {
    return size == sizeof(int32_t) ? (double)((const int32_t *)x)[i] : (double)((const int64_t *)x)[i];
}

kd_status kd_bench_same_integers(kd_bench *b, const void *device, const void *expected, int64_t n, int64_t size) {
    void *actual;
    KD_OR_RETURN(kd_host_alloc(&actual, n, size, "bench"));
    kd_status status = kd_download(b->ctx, actual, device, n * size);
    for (int64_t i = 0; status == KD_OK && i < n; i++)
        compare(b, integer_at(actual, i, size), integer_at(expected, i, size), 1.0, 0.0);
    free(actual);
    return status;
}
