#include "kernels/ref/ref.h"

/* Y's row `to` = alpha A[r] X + beta C's row `to`. */
static void row_product(double alpha, kd_csr a, int64_t r, kd_mat x, double beta, kd_mat c, kd_mat y, int64_t to) {
    for (int64_t col = 0; col < y.cols; col++) {
        double sum = 0.0;
        for (int64_t e = a.row_ptr[r]; e < a.row_ptr[r + 1]; e++)
            sum += kd_ref_value(a, e) * *kd_ref_at(x, a.col[e], col);
        *kd_ref_at(y, to, col) = (float)(alpha * sum + (beta != 0.0 ? beta * *kd_ref_at(c, to, col) : 0.0));
    }
}

kd_status kd_ref_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    (void)ctx;
    for (int64_t r = 0; r < a.rows; r++) row_product(alpha, a, r, x, beta, c, y, r);
    return KD_OK;
}

kd_status kd_ref_spmm_rows(kd_ctx *ctx, const kd_groups *only, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c,
                           kd_mat y) {
    (void)ctx;
    for (int64_t g = 0; g < only->count[0]; g++) row_product(alpha, a, only->key[g], x, beta, c, y, only->key[g]);
    return KD_OK;
}

kd_status kd_ref_place_rows(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t rows, int32_t *place) {
    (void)ctx;
    for (int64_t r = 0; r < rows; r++) {
        place[r] = -1;
        for (int64_t i = 0; i < n; i++)
            if (row[i] == r) place[r] = (int32_t)i;
    }
    return KD_OK;
}

/* Y's row r = alpha sum over the entries whose column has a place, of that row of X, + beta Y's row r. */
static void placed_product(double alpha, kd_csr a, int64_t r, const int32_t *place, kd_mat x, double beta, kd_mat y) {
    for (int64_t col = 0; col < y.cols; col++) {
        double sum = beta != 0.0 ? beta * *kd_ref_at(y, r, col) : 0.0;
        for (int64_t e = a.row_ptr[r]; e < a.row_ptr[r + 1]; e++)
            if (place[a.col[e]] >= 0) sum += alpha * kd_ref_value(a, e) * *kd_ref_at(x, place[a.col[e]], col);
        *kd_ref_at(y, r, col) = (float)sum;
    }
}

kd_status kd_ref_spmm_batch(kd_ctx *ctx, float alpha, kd_csr a, const int32_t *row, const int32_t *place, kd_mat x,
                            float beta, kd_mat y) {
    (void)ctx;
    for (int64_t r = 0; r < y.rows; r++)
        if (row)
            row_product(alpha, a, row[r], x, beta, y, y, r);
        else
            placed_product(alpha, a, r, place, x, beta, y);
    return KD_OK;
}
