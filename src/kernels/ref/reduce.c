#include "kernels/ref/ref.h"

kd_status kd_ref_column_sum(kd_ctx *ctx, kd_mat x, float beta, kd_mat y) {
    (void)ctx;
    for (int64_t c = 0; c < x.cols; c++) {
        double sum = beta != 0.0f ? (double)beta * y.data[c] : 0.0;
        for (int64_t r = 0; r < x.rows; r++) sum += *kd_ref_at(x, r, c);
        y.data[c] = (float)sum;
    }
    return KD_OK;
}

kd_status kd_ref_row_mean(kd_ctx *ctx, kd_mat x, float *out) {
    (void)ctx;
    for (int64_t r = 0; r < x.rows; r++) {
        double sum = 0.0;
        for (int64_t c = 0; c < x.cols; c++) sum += *kd_ref_at(x, r, c);
        out[r] = (float)(sum / (double)x.cols);
    }
    return KD_OK;
}

static double dot(kd_mat x, kd_mat y) {
    double sum = 0.0;
    for (int64_t r = 0; r < x.rows; r++)
        for (int64_t c = 0; c < x.cols; c++) sum += (double)*kd_ref_at(x, r, c) * *kd_ref_at(y, r, c);
    return sum;
}

kd_status kd_ref_matrix_dot(kd_ctx *ctx, kd_mat x, kd_mat y, float beta, float *out) {
    (void)ctx;
    out[0] = (float)(dot(x, y) + (beta != 0.0f ? (double)beta * out[0] : 0.0));
    return KD_OK;
}

kd_status kd_ref_squared_norm(kd_ctx *ctx, float weight, kd_mat x, kd_mat dx, double *loss) {
    (void)ctx;
    loss[0] += weight * dot(x, x);
    for (int64_t r = 0; r < x.rows; r++)
        for (int64_t c = 0; c < x.cols; c++)
            *kd_ref_at(dx, r, c) = (float)(*kd_ref_at(dx, r, c) + 2.0 * weight * *kd_ref_at(x, r, c));
    return KD_OK;
}
