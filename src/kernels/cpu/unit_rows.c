#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/random.h"

static const float SMALLEST_NORM = 1e-12f;

/* to = from .* dropout scale of row r. */
static void drop_row(const float *from, float *to, int64_t n, uint32_t r, float p, const kd_rng *rng) {
    for (int64_t first = 0; first < n; first += KD_RANDOM_WIDTH) {
        float scale[KD_RANDOM_WIDTH];
        int64_t count = n - first < KD_RANDOM_WIDTH ? n - first : KD_RANDOM_WIDTH;
        kd_dropout_scale(rng, r, (uint32_t)first, p, scale);
        for (int64_t c = 0; c < count; c++) to[first + c] = from[first + c] * scale[c];
    }
}

static void unit_row(int64_t r, const kd_mat *x, float p, const kd_rng *rng, const kd_mat *y, float *norm) {
    const float *from = x->data + r * x->ld;
    float *to = y->data + r * y->ld;
    if (p > 0.0f) {
        drop_row(from, to, x->cols, (uint32_t)r, p, rng);
        from = to;
    }
    double square = 0.0;
#pragma omp simd reduction(+ : square)
    for (int64_t c = 0; c < x->cols; c++) square += (double)from[c] * from[c];
    float length = fmaxf((float)sqrt(square), SMALLEST_NORM);
    norm[r] = length;
    for (int64_t c = 0; c < x->cols; c++) to[c] = from[c] / length;
}

/* Rows of an op that takes some of them: their number, and which the i-th one is. */
static int64_t rows_of(const kd_groups *only, int64_t all) { return only ? only->count[0] : all; }
static int64_t row_of(const kd_groups *only, int64_t i) { return only ? only->key[i] : i; }

kd_status kd_cpu_unit_rows_forward(kd_ctx *ctx, const kd_groups *only, kd_mat x, float p, const kd_rng *rng, kd_mat y,
                                   float *norm) {
    (void)ctx;
    kd_rng now = p > 0.0f ? kd_rng_now(*rng) : (kd_rng){0};
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows_of(only, x.rows); i++) unit_row(row_of(only, i), &x, p, &now, &y, norm);
    return KD_OK;
}

typedef struct unit_gradient {
    float alpha, beta, p;
    kd_mat y, dy, dx;
    const float *norm;
    kd_rng rng;
} unit_gradient;

static void unit_row_backward(int64_t r, const unit_gradient *g) {
    int64_t cols = g->y.cols;
    const float *unit = g->y.data + r * g->y.ld, *up = g->dy.data + r * g->dy.ld;
    float *to = g->dx.data + r * g->dx.ld, norm = g->norm[r];
    double along = 0.0;
#pragma omp simd reduction(+ : along)
    for (int64_t c = 0; c < cols; c++) along += (double)unit[c] * up[c];
    float shrink = g->alpha / norm, inner = norm > SMALLEST_NORM ? (float)along : 0.0f;
    for (int64_t first = 0; first < cols; first += KD_RANDOM_WIDTH) {
        float scale[KD_RANDOM_WIDTH];
        int64_t count = cols - first < KD_RANDOM_WIDTH ? cols - first : KD_RANDOM_WIDTH;
        if (g->p > 0.0f)
            kd_dropout_scale(&g->rng, (uint32_t)r, (uint32_t)first, g->p, scale);
        else
            for (int64_t c = 0; c < count; c++) scale[c] = 1.0f;
        for (int64_t c = first; c < first + count; c++) {
            float gradient = (up[c] - unit[c] * inner) * shrink * scale[c - first];
            to[c] = g->beta == 0.0f ? gradient : gradient + g->beta * to[c];
        }
    }
}

kd_status kd_cpu_unit_rows_backward(kd_ctx *ctx, const kd_groups *only, float alpha, kd_mat y, const float *norm,
                                    kd_mat dy, float p, const kd_rng *rng, float beta, kd_mat dx) {
    (void)ctx;
    unit_gradient g = {alpha, beta, p, y, dy, dx, norm, p > 0.0f ? kd_rng_now(*rng) : (kd_rng){0}};
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows_of(only, y.rows); i++) unit_row_backward(row_of(only, i), &g);
    return KD_OK;
}
