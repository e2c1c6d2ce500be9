#include <string.h>

#include "kernels/cpu/cpu.h"

enum {
    STRIP = 64, /* accumulators of one strip of columns stay in registers and L1 */
    AHEAD = 8,  /* entries whose rows are on their way while one is added: they lie anywhere in X */
    LINE = 16   /* floats */
};

static void spmm_row(const kd_csr *a, int64_t r, float alpha, const kd_mat *x, float beta, const float *addend,
                     float *out) {
    int64_t begin = a->row_ptr[r], end = a->row_ptr[r + 1], all = a->row_ptr[a->rows];
    for (int64_t first = 0; first < x->cols; first += STRIP) {
        int64_t width = x->cols - first < STRIP ? x->cols - first : STRIP;
        float sum[STRIP];
        memset(sum, 0, (size_t)width * sizeof(float));
        for (int64_t e = begin; e < end; e++) {
            const float *from = x->data + a->col[e] * x->ld + first;
            if (e + AHEAD < all) {
                const float *later = x->data + a->col[e + AHEAD] * x->ld + first;
                for (int64_t c = 0; c < width; c += LINE) __builtin_prefetch(later + c);
            }
            float value = a->val ? a->val[e] : 1.0f;
#pragma omp simd
            for (int64_t c = 0; c < width; c++) sum[c] += value * from[c];
        }
        if (beta == 0.0f)
            for (int64_t c = 0; c < width; c++) out[first + c] = alpha * sum[c];
        else
            for (int64_t c = 0; c < width; c++) out[first + c] = alpha * sum[c] + beta * addend[first + c];
    }
}

/* Rows are dealt out in small blocks as threads become free: hubs and empty rows even out. */
kd_status kd_cpu_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    (void)ctx;
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t r = 0; r < a.rows; r++)
        spmm_row(&a, r, alpha, &x, beta, beta == 0.0f ? NULL : c.data + r * c.ld, y.data + r * y.ld);
    return KD_OK;
}

kd_status kd_cpu_spmm_rows(kd_ctx *ctx, const kd_groups *only, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c,
                           kd_mat y) {
    (void)ctx;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < only->count[0]; i++) {
        int64_t r = only->key[i];
        spmm_row(&a, r, alpha, &x, beta, beta == 0.0f ? NULL : c.data + r * c.ld, y.data + r * y.ld);
    }
    return KD_OK;
}

kd_status kd_cpu_place_rows(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t rows, int32_t *place) {
    (void)ctx;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) place[r] = -1;
    for (int64_t i = 0; i < n; i++) place[row[i]] = (int32_t)i;
    return KD_OK;
}

/* Few entries of a row are in the batch, so each adds its whole row of X where it is found. */
static void placed_row(const kd_csr *a, int64_t r, float alpha, const int32_t *place, const kd_mat *x, float *out) {
    for (int64_t e = a->row_ptr[r]; e < a->row_ptr[r + 1]; e++) {
        int64_t at = place[a->col[e]];
        if (at < 0) continue;
        const float *from = x->data + at * x->ld;
        float value = alpha * (a->val ? a->val[e] : 1.0f);
#pragma omp simd
        for (int64_t c = 0; c < x->cols; c++) out[c] += value * from[c];
    }
}

kd_status kd_cpu_spmm_batch(kd_ctx *ctx, float alpha, kd_csr a, const int32_t *row, const int32_t *place, kd_mat x,
                            float beta, kd_mat y) {
    (void)ctx;
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t r = 0; r < y.rows; r++) {
        float *out = y.data + r * y.ld;
        if (row) {
            spmm_row(&a, row[r], alpha, &x, beta, out, out);
        } else {
            if (beta == 0.0f) memset(out, 0, (size_t)y.cols * sizeof(float));
            placed_row(&a, r, alpha, place, &x, out);
        }
    }
    return KD_OK;
}
