/* What the cases share: inputs, alike on the device and for the reference, freed with the case; and comparisons of what
 * the two left behind. */
#ifndef KD_BENCH_INPUTS_H
#define KD_BENCH_INPUTS_H

#include "host/bench/bench.h"

/* *out (a pointer variable) = count * size zeroed host bytes. */
kd_status kd_bench_host(kd_bench *b, int64_t count, int64_t size, void *out);

/* *out = count * size zeroed device bytes; the same from host memory. */
kd_status kd_bench_zeros(kd_bench *b, int64_t count, int64_t size, void *out);
kd_status kd_bench_upload(kd_bench *b, const void *host, int64_t count, int64_t size, void *out);

/* A device matrix, uniform in [-scale, scale); with rows of length 1; uniform in [0, 1). */
kd_status kd_bench_mat(kd_bench *b, int64_t rows, int64_t cols, float scale, kd_mat *out);
kd_status kd_bench_unit_mat(kd_bench *b, int64_t rows, int64_t cols, kd_mat *out);
kd_status kd_bench_positive_mat(kd_bench *b, int64_t rows, int64_t cols, kd_mat *out);

/* The next random number, and one below n. */
uint64_t kd_bench_draw(kd_bench *b);
int64_t kd_bench_below(kd_bench *b, int64_t n);

/* Item i of a sample of kd_bench_samples(n, most) out of n, ascending and distinct: all of them where there are few,
 * else the first, the last and one of each range between. */
int64_t kd_bench_samples(int64_t n, int64_t most);
int64_t kd_bench_sample(kd_bench *b, int64_t i, int64_t n, int64_t most);

/* Such a sample of n rows for ops of the reference that take `only`. */
kd_status kd_bench_some_rows(kd_bench *ref, int64_t n, int64_t most, kd_groups *out);

/* Compare what the op left on the device with what the reference left in host memory. A real number may be off by
 * `tolerance` of the largest that is expected beside it, which NaN fails; integers of `size` bytes are equal. */
kd_status kd_bench_same_mat(kd_bench *b, kd_mat device, kd_mat expected, double tolerance);
kd_status kd_bench_same_floats(kd_bench *b, const float *device, const float *expected, int64_t n, double tolerance);
kd_status kd_bench_same_loss(kd_bench *b, const double *device, const double *expected, double tolerance);
kd_status kd_bench_same_integers(kd_bench *b, const void *device, const void *expected, int64_t n, int64_t size);

/* Tolerance of what is summed in float32; and of sums of so many terms, whose rounding errors grow as their root. */
#define KD_BENCH_FLOAT32 1e-5
double kd_bench_float32(int64_t terms);

#endif
