#include "kernels/ref/ref.h"

static void add(double alpha, kd_mat x, double beta, kd_mat y) {
    for (int64_t r = 0; r < y.rows; r++)
        for (int64_t c = 0; c < y.cols; c++) {
            double before = beta != 0.0 ? beta * *kd_ref_at(y, r, c) : 0.0;
            *kd_ref_at(y, r, c) = (float)(alpha * *kd_ref_at(x, r, c) + before);
        }
}

kd_status kd_ref_add_scaled(kd_ctx *ctx, float alpha, kd_mat x, float beta, kd_mat y) {
    (void)ctx;
    add(alpha, x, beta, y);
    return KD_OK;
}

kd_status kd_ref_add_weighted(kd_ctx *ctx, float scale, const float *alpha, kd_mat x, float beta, kd_mat y) {
    (void)ctx;
    add((double)scale * alpha[0], x, beta, y);
    return KD_OK;
}

kd_status kd_ref_leaky_relu_forward(kd_ctx *ctx, float slope, kd_mat x) {
    (void)ctx;
    for (int64_t r = 0; r < x.rows; r++)
        for (int64_t c = 0; c < x.cols; c++)
            if (!(*kd_ref_at(x, r, c) > 0.0f)) *kd_ref_at(x, r, c) *= slope;
    return KD_OK;
}

kd_status kd_ref_leaky_relu_backward(kd_ctx *ctx, float slope, kd_mat y, kd_mat dy) {
    (void)ctx;
    for (int64_t r = 0; r < dy.rows; r++)
        for (int64_t c = 0; c < dy.cols; c++)
            if (!(*kd_ref_at(y, r, c) > 0.0f)) *kd_ref_at(dy, r, c) *= slope;
    return KD_OK;
}

kd_status kd_ref_take_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat x, kd_mat y) {
    (void)ctx;
    for (int64_t g = 0; g < y.rows; g++)
        for (int64_t c = 0; c < y.cols; c++)
            *kd_ref_at(y, g, c) = g < groups->count[0] ? *kd_ref_at(x, groups->key[g], c) : 0.0f;
    return KD_OK;
}

kd_status kd_ref_give_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat y, kd_mat x) {
    (void)ctx;
    for (int64_t g = 0; g < groups->count[0]; g++)
        for (int64_t c = 0; c < y.cols; c++) *kd_ref_at(x, groups->key[g], c) += *kd_ref_at(y, g, c);
    return KD_OK;
}
