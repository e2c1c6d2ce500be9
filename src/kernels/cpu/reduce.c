/* Sums over whole matrices: rows are split into a fixed number of ranges whose partial sums are added in order, so that
 * the result does not depend on the number of threads. */
#include "kernels/cpu/cpu.h"

enum { RANGES = 64 };

static double row_dot(const float *x, const float *y, int64_t n) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static double matrix_dot(kd_mat x, kd_mat y) {
    double part[RANGES];
#pragma omp parallel for schedule(static)
    for (int range = 0; range < RANGES; range++) {
        double sum = 0.0;
        for (int64_t r = x.rows * range / RANGES; r < x.rows * (range + 1) / RANGES; r++)
            sum += row_dot(x.data + r * x.ld, y.data + r * y.ld, x.cols);
        part[range] = sum;
    }
    double total = 0.0;
    for (int range = 0; range < RANGES; range++) total += part[range];
    return total;
}

kd_status kd_cpu_matrix_dot(kd_ctx *ctx, kd_mat x, kd_mat y, float beta, float *out) {
    (void)ctx;
    out[0] = (float)(matrix_dot(x, y) + (beta != 0.0f ? (double)beta * out[0] : 0.0));
    return KD_OK;
}

kd_status kd_cpu_squared_norm(kd_ctx *ctx, float weight, kd_mat x, kd_mat dx, double *loss) {
    loss[0] += (double)weight * matrix_dot(x, x);
    return kd_cpu_add_scaled(ctx, 2.0f * weight, x, 1.0f, dx);
}
