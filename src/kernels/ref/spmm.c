#include "kernels/ref/ref.h"

/* Y's row `to` = alpha A[r] X + beta C's row `to`; `only` is not read. */
static void row_product(const kd_spmm_rows_args *p, int64_t r, int64_t to) {
    for (int64_t col = 0; col < p->y.cols; col++) {
        double sum = 0.0;
        for (int64_t e = p->a.row_ptr[r]; e < p->a.row_ptr[r + 1]; e++)
            sum += kd_ref_value(p->a, e) * *kd_ref_at(p->x, p->a.col[e], col);
        double before = p->beta != 0.0f ? (double)p->beta * *kd_ref_at(p->c, to, col) : 0.0;
        *kd_ref_at(p->y, to, col) = (float)((double)p->alpha * sum + before);
    }
}

kd_status kd_ref_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    (void)ctx;
    kd_spmm_rows_args product = {.alpha = alpha, .a = a, .x = x, .beta = beta, .c = c, .y = y};
    for (int64_t r = 0; r < a.rows; r++) row_product(&product, r, r);
    return KD_OK;
}

kd_status kd_ref_spmm_rows(kd_ctx *ctx, const kd_spmm_rows_args *a) {
    (void)ctx;
    for (int64_t g = 0; g < a->only->count[0]; g++) row_product(a, a->only->key[g], a->only->key[g]);
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
static void placed_product(const kd_spmm_batch_args *p, int64_t r) {
    for (int64_t col = 0; col < p->y.cols; col++) {
        double sum = p->beta != 0.0f ? (double)p->beta * *kd_ref_at(p->y, r, col) : 0.0;
        for (int64_t e = p->a.row_ptr[r]; e < p->a.row_ptr[r + 1]; e++) {
            int32_t place = p->place[p->a.col[e]];
            if (place >= 0) sum += (double)p->alpha * kd_ref_value(p->a, e) * *kd_ref_at(p->x, place, col);
        }
        *kd_ref_at(p->y, r, col) = (float)sum;
    }
}

kd_status kd_ref_spmm_batch(kd_ctx *ctx, const kd_spmm_batch_args *a) {
    (void)ctx;
    kd_spmm_rows_args rows = {.alpha = a->alpha, .a = a->a, .x = a->x, .beta = a->beta, .c = a->y, .y = a->y};
    for (int64_t r = 0; r < a->y.rows; r++)
        if (a->row)
            row_product(&rows, a->row[r], r);
        else
            placed_product(a, r);
    return KD_OK;
}
