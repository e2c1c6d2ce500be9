/* Sums over columns, rows and whole matrices, in orders that do not depend on the number of threads. */
#include "kernels/cpu/cpu.h"

enum { RANGES = 64 };

kd_status kd_cpu_column_sum(kd_ctx *ctx, kd_mat x, float beta, kd_mat y) {
    (void)ctx;
    enum { STRIP = 256 }; /* columns of one strip stay in cache while the rows stream by */
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < x.cols; first += STRIP) {
        int64_t count = x.cols - first < STRIP ? x.cols - first : STRIP;
        float sum[STRIP] = {0};
        for (int64_t r = 0; r < x.rows; r++) {
            const float *row = x.data + r * x.ld + first;
            for (int64_t c = 0; c < count; c++) sum[c] += row[c];
        }
        for (int64_t c = 0; c < count; c++)
            y.data[first + c] = sum[c] + (beta != 0.0f ? beta * y.data[first + c] : 0.0f);
    }
    return KD_OK;
}

kd_status kd_cpu_row_mean(kd_ctx *ctx, kd_mat x, float *out) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < x.rows; r++) {
        const float *row = x.data + r * x.ld;
        double sum = 0.0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < x.cols; c++) sum += row[c];
        out[r] = (float)(sum / (double)x.cols);
    }
    return KD_OK;
}

static double row_dot(const float *x, const float *y, int64_t n) {
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

/* Rows are split into a fixed number of ranges whose partial sums are added in order. */
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
