#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/outer.h"

enum {
    WIDEST = KD_OUTER_LANES == 16 ? 16 : 8, /* vectors of a strip of columns: their sums stay in registers */
    AHEAD = 8, /* entries whose rows are on their way while one is added: they lie anywhere */
    LINE = 16  /* floats */
};

/* What a strip of a row is computed from. */
typedef struct row_of_product {
    const kd_csr *a;
    int64_t begin, end; /* entries */
    float alpha, beta;
    const kd_mat *x;
    const float *addend;
    float *out;
} row_of_product;

static inline __attribute__((always_inline)) void strip(const row_of_product *p, int64_t first, const int vecs) {
    const kd_csr *a = p->a;
    int64_t all = a->row_ptr[a->rows];
    kd_vec sum[WIDEST];
#pragma GCC unroll 16
    for (int v = 0; v < vecs; v++) sum[v] = (kd_vec){0};
    for (int64_t e = p->begin; e < p->end; e++) {
        const float *from = p->x->data + a->col[e] * p->x->ld + first;
        float value = a->val ? a->val[e] : 1.0f;
        if (e + AHEAD < all) {
            const float *later = p->x->data + a->col[e + AHEAD] * p->x->ld + first;
            for (int c = 0; c < vecs * KD_OUTER_LANES; c += LINE) __builtin_prefetch(later + c);
        }
#pragma GCC unroll 16
        for (int v = 0; v < vecs; v++) sum[v] += value * *(const kd_vec *)(from + v * KD_OUTER_LANES);
    }
#pragma GCC unroll 16
    for (int v = 0; v < vecs; v++) {
        int64_t at = first + v * KD_OUTER_LANES;
        kd_vec value = p->alpha * sum[v];
        if (p->beta != 0.0f) value += p->beta * *(const kd_vec *)(p->addend + at);
        *(kd_vec *)(p->out + at) = value;
    }
}

/* The columns from `first` on that fill no vector. */
static void rest(const row_of_product *p, int64_t first) {
    for (int64_t c = first; c < p->x->cols; c++) {
        float sum = 0.0f;
        for (int64_t e = p->begin; e < p->end; e++)
            sum += (p->a->val ? p->a->val[e] : 1.0f) * p->x->data[p->a->col[e] * p->x->ld + c];
        p->out[c] = p->alpha * sum + (p->beta == 0.0f ? 0.0f : p->beta * p->addend[c]);
    }
}

static void spmm_row(const kd_csr *a, int64_t r, float alpha, const kd_mat *x, float beta, const float *addend,
                     float *out) {
    row_of_product p = {a, a->row_ptr[r], a->row_ptr[r + 1], alpha, beta, x, addend, out};
    int64_t at = 0;
    for (; at + WIDEST * KD_OUTER_LANES <= x->cols; at += WIDEST * KD_OUTER_LANES) strip(&p, at, WIDEST);
    for (; at + 4 * KD_OUTER_LANES <= x->cols; at += 4 * KD_OUTER_LANES) strip(&p, at, 4);
    for (; at + KD_OUTER_LANES <= x->cols; at += KD_OUTER_LANES) strip(&p, at, 1);
    rest(&p, at);
}

/* Rows are dealt out in small blocks as threads become free: hubs and empty rows even out. */
kd_status kd_cpu_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    (void)ctx;
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t r = 0; r < a.rows; r++)
        spmm_row(&a, r, alpha, &x, beta, beta == 0.0f ? NULL : c.data + r * c.ld, y.data + r * y.ld);
    return KD_OK;
}

kd_status kd_cpu_spmm_rows(kd_ctx *ctx, const kd_spmm_rows_args *a) {
    (void)ctx;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < a->only->count[0]; i++) {
        int64_t r = a->only->key[i];
        spmm_row(&a->a, r, a->alpha, &a->x, a->beta, a->beta == 0.0f ? NULL : a->c.data + r * a->c.ld,
                 a->y.data + r * a->y.ld);
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

kd_status kd_cpu_spmm_batch(kd_ctx *ctx, const kd_spmm_batch_args *a) {
    (void)ctx;
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t r = 0; r < a->y.rows; r++) {
        float *out = a->y.data + r * a->y.ld;
        if (a->row) {
            spmm_row(&a->a, a->row[r], a->alpha, &a->x, a->beta, out, out);
        } else {
            if (a->beta == 0.0f) memset(out, 0, (size_t)a->y.cols * sizeof(float));
            placed_row(&a->a, r, a->alpha, a->place, &a->x, out);
        }
    }
    return KD_OK;
}
