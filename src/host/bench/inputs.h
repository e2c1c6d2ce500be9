/* What the cases share: inputs with their host copies, both freed with the case, and comparisons. */
#ifndef KD_BENCH_INPUTS_H
#define KD_BENCH_INPUTS_H

#include "host/bench/bench.h"

/* *out (a pointer variable) = count * size zeroed host bytes. */
kd_status kd_bench_host(kd_bench *b, int64_t count, int64_t size, void *out);

/* *out = count * size zeroed device bytes; the same from host memory. */
kd_status kd_bench_zeros(kd_bench *b, int64_t count, int64_t size, void *out);
kd_status kd_bench_upload(kd_bench *b, const void *host, int64_t count, int64_t size, void *out);

/* *out = a host copy of device memory. */
kd_status kd_bench_read(kd_bench *b, const void *device, int64_t count, int64_t size, void *out);

/* A device matrix, uniform in [-scale, scale), and its host copy (NULL: not wanted). */
kd_status kd_bench_mat(kd_bench *b, int64_t rows, int64_t cols, float scale, float **host, kd_mat *device);

/* The same with rows of length 1. */
kd_status kd_bench_unit_mat(kd_bench *b, int64_t rows, int64_t cols, float **host, kd_mat *device);

/* A host copy of a graph on the device; row_ptr begins at 0. */
kd_status kd_bench_csr(kd_bench *b, kd_csr device, kd_csr *host);

/* The next random number, and one below n. */
uint64_t kd_bench_draw(kd_bench *b);
int64_t kd_bench_below(kd_bench *b, int64_t n);

/* Item i of a sample of kd_bench_samples(n, most) out of n: all of them where there are few, else the first, the last
 * and random ones. */
int64_t kd_bench_samples(int64_t n, int64_t most);
int64_t kd_bench_sample(kd_bench *b, int64_t i, int64_t n, int64_t most);

/* Compares one output: |actual - expected| <= tolerance * scale, which NaN fails. */
void kd_bench_real(kd_bench *b, double actual, double expected, double scale, double tolerance);
void kd_bench_integer(kd_bench *b, int64_t actual, int64_t expected);

/* A sum and the sum of its terms' magnitudes, which is what its rounding error is relative to. */
typedef struct kd_bench_sum {
    double value, magnitude;
} kd_bench_sum;
static inline void kd_bench_add(kd_bench_sum *sum, double term) {
    sum->value += term;
    sum->magnitude += term < 0.0 ? -term : term;
}

/* Tolerance of what is summed in float32, relative to the sum of magnitudes. */
#define KD_BENCH_FLOAT32 1e-5

#endif
