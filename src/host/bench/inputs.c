#include "host/bench/inputs.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/memory.h"

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

kd_status kd_bench_read(kd_bench *b, const void *device, int64_t count, int64_t size, void *out) {
    kd_status status = kd_bench_host(b, count, size, out);
    return status == KD_OK ? kd_download(b->ctx, *(void **)out, device, count * size) : status;
}

/* splitmix64 of a counter. */
uint64_t kd_bench_draw(kd_bench *b) {
    uint64_t z = ++b->draws * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

int64_t kd_bench_below(kd_bench *b, int64_t n) { return (int64_t)(kd_bench_draw(b) % (uint64_t)n); }

kd_status kd_bench_mat(kd_bench *b, int64_t rows, int64_t cols, float scale, float **host, kd_mat *device) {
    float *value;
    KD_OR_RETURN(kd_bench_host(b, rows * cols, sizeof *value, &value));
    for (int64_t i = 0; i < rows * cols; i++) value[i] = scale * ((float)(kd_bench_draw(b) >> 40) * 0x1p-23f - 1.0f);
    *device = kd_mat_make(NULL, rows, cols);
    if (host) *host = value;
    return kd_bench_upload(b, value, rows * cols, sizeof *value, &device->data);
}

kd_status kd_bench_unit_mat(kd_bench *b, int64_t rows, int64_t cols, float **host, kd_mat *device) {
    kd_status status = kd_bench_mat(b, rows, cols, 1.0f, host, device);
    for (int64_t r = 0; status == KD_OK && r < rows; r++) {
        float *row = *host + r * cols;
        double square = 1e-30;
        for (int64_t c = 0; c < cols; c++) square += (double)row[c] * row[c];
        for (int64_t c = 0; c < cols; c++) row[c] = (float)(row[c] / sqrt(square));
    }
    return status == KD_OK ? kd_mat_upload(b->ctx, *host, *device) : status;
}

kd_status kd_bench_csr(kd_bench *b, kd_csr device, kd_csr *host) {
    int64_t *ptr, first, count;
    int32_t *col;
    float *val = NULL;
    KD_OR_RETURN(kd_bench_read(b, device.row_ptr, device.rows + 1, sizeof *ptr, &ptr));
    first = ptr[0];
    count = ptr[device.rows] - first;
    KD_OR_RETURN(kd_bench_read(b, device.col + first, count, sizeof *col, &col));
    if (device.val) KD_OR_RETURN(kd_bench_read(b, device.val + first, count, sizeof *val, &val));
    for (int64_t r = 0; r <= device.rows; r++) ptr[r] -= first;
    *host = (kd_csr){device.rows, device.cols, ptr, col, val};
    return KD_OK;
}

int64_t kd_bench_samples(int64_t n, int64_t most) { return n < most ? n : most; }

int64_t kd_bench_sample(kd_bench *b, int64_t i, int64_t n, int64_t most) {
    return n <= most ? i : i == 0 ? 0 : i == 1 ? n - 1 : kd_bench_below(b, n);
}

void kd_bench_real(kd_bench *b, double actual, double expected, double scale, double tolerance) {
    double error = fabs(actual - expected) / fmax(scale, 1e-30);
    b->checked++;
    if (!(error <= tolerance)) b->wrong++;
    if (!(error <= b->max_err) && !isnan(b->max_err)) b->max_err = error;
}

void kd_bench_integer(kd_bench *b, int64_t actual, int64_t expected) {
    kd_bench_real(b, (double)actual, (double)expected, 1.0, 0.0);
}
