#include "kernels/ref/ref.h"

static double element(kd_mat m, bool transpose, int64_t row, int64_t col) {
    return transpose ? *kd_ref_at(m, col, row) : *kd_ref_at(m, row, col);
}

/* Element (row, col) of op(A) op(B), op(A) [.., depth]. */
static double product(bool transpose_a, bool transpose_b, kd_mat a, kd_mat b, int64_t row, int64_t col) {
    int64_t depth = transpose_a ? a.rows : a.cols;
    double sum = 0.0;
    for (int64_t k = 0; k < depth; k++) sum += element(a, transpose_a, row, k) * element(b, transpose_b, k, col);
    return sum;
}

kd_status kd_ref_gemm(kd_ctx *ctx, const kd_gemm_args *a) {
    (void)ctx;
    for (int64_t row = 0; row < a->c.rows; row++)
        for (int64_t col = 0; col < a->c.cols; col++) {
            double sum = a->alpha * product(a->transpose_a, a->transpose_b, a->a, a->b, row, col);
            if (a->beta != 0.0f) sum += (double)a->beta * *kd_ref_at(a->c, row, col);
            *kd_ref_at(a->c, row, col) = (float)sum;
        }
    return KD_OK;
}

kd_status kd_ref_gram(kd_ctx *ctx, kd_mat x, kd_mat g) {
    (void)ctx;
    for (int64_t row = 0; row < g.rows; row++)
        for (int64_t col = 0; col < g.cols; col++)
            *kd_ref_at(g, row, col) = (float)product(true, false, x, x, row, col);
    return KD_OK;
}

kd_status kd_ref_linear(kd_ctx *ctx, bool transpose_w, kd_mat x, kd_mat w, kd_mat b, kd_mat y) {
    (void)ctx;
    for (int64_t row = 0; row < y.rows; row++)
        for (int64_t col = 0; col < y.cols; col++)
            *kd_ref_at(y, row, col) =
                (float)(product(false, transpose_w, x, w, row, col) + (b.data ? (double)b.data[col] : 0.0));
    return KD_OK;
}
