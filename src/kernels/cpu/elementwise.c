/* Ops that touch each element once. */
#include <string.h>

#include "kernels/cpu/cpu.h"

static void add_scaled(float alpha, kd_mat x, float beta, kd_mat y) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < y.rows; r++) {
        const float *from = x.data + r * x.ld;
        float *to = y.data + r * y.ld;
        if (beta == 0.0f)
            for (int64_t c = 0; c < y.cols; c++) to[c] = alpha * from[c];
        else
            for (int64_t c = 0; c < y.cols; c++) to[c] = alpha * from[c] + beta * to[c];
    }
}

kd_status kd_cpu_add_scaled(kd_ctx *ctx, float alpha, kd_mat x, float beta, kd_mat y) {
    (void)ctx;
    add_scaled(alpha, x, beta, y);
    return KD_OK;
}

kd_status kd_cpu_add_weighted(kd_ctx *ctx, float scale, const float *alpha, kd_mat x, float beta, kd_mat y) {
    (void)ctx;
    add_scaled(scale * alpha[0], x, beta, y);
    return KD_OK;
}

kd_status kd_cpu_leaky_relu_forward(kd_ctx *ctx, float slope, kd_mat x) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < x.rows; r++) {
        float *row = x.data + r * x.ld;
        for (int64_t c = 0; c < x.cols; c++) row[c] = row[c] > 0.0f ? row[c] : slope * row[c];
    }
    return KD_OK;
}

kd_status kd_cpu_leaky_relu_backward(kd_ctx *ctx, float slope, kd_mat y, kd_mat dy) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < y.rows; r++) {
        const float *out = y.data + r * y.ld;
        float *up = dy.data + r * dy.ld;
        for (int64_t c = 0; c < y.cols; c++) up[c] = out[c] > 0.0f ? up[c] : slope * up[c];
    }
    return KD_OK;
}

kd_status kd_cpu_take_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat x, kd_mat y) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t g = 0; g < y.rows; g++)
        if (g < groups->count[0])
            memcpy(y.data + g * y.ld, x.data + groups->key[g] * x.ld, (size_t)y.cols * sizeof(float));
        else
            memset(y.data + g * y.ld, 0, (size_t)y.cols * sizeof(float));
    return KD_OK;
}

kd_status kd_cpu_give_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat y, kd_mat x) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t g = 0; g < groups->count[0]; g++)
        for (int64_t c = 0; c < y.cols; c++) x.data[groups->key[g] * x.ld + c] += y.data[g * y.ld + c];
    return KD_OK;
}
