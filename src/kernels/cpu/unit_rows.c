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

kd_status kd_cpu_unit_rows_forward(kd_ctx *ctx, kd_mat x, float p, const kd_rng *rng, kd_mat y, float *norm) {
    (void)ctx;
    kd_rng now = p > 0.0f ? kd_rng_now(*rng) : (kd_rng){0};
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < x.rows; r++) {
        const float *from = x.data + r * x.ld;
        float *to = y.data + r * y.ld;
        if (p > 0.0f) {
            drop_row(from, to, x.cols, (uint32_t)r, p, &now);
            from = to;
        }
        double square = 0.0;
#pragma omp simd reduction(+ : square)
        for (int64_t c = 0; c < x.cols; c++) square += (double)from[c] * from[c];
        float length = fmaxf((float)sqrt(square), SMALLEST_NORM);
        norm[r] = length;
        for (int64_t c = 0; c < x.cols; c++) to[c] = from[c] / length;
    }
    return KD_OK;
}

kd_status kd_cpu_unit_rows_backward(kd_ctx *ctx, kd_mat y, const float *norm, kd_mat dy, float p, const kd_rng *rng,
                                    float beta, kd_mat dx) {
    (void)ctx;
    kd_rng now = p > 0.0f ? kd_rng_now(*rng) : (kd_rng){0};
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < y.rows; r++) {
        const float *unit = y.data + r * y.ld, *up = dy.data + r * dy.ld;
        float *to = dx.data + r * dx.ld;
        double along = 0.0;
#pragma omp simd reduction(+ : along)
        for (int64_t c = 0; c < y.cols; c++) along += (double)unit[c] * up[c];
        float shrink = 1.0f / norm[r], inner = norm[r] > SMALLEST_NORM ? (float)along : 0.0f;
        for (int64_t first = 0; first < y.cols; first += KD_RANDOM_WIDTH) {
            float scale[KD_RANDOM_WIDTH];
            int64_t count = y.cols - first < KD_RANDOM_WIDTH ? y.cols - first : KD_RANDOM_WIDTH;
            if (p > 0.0f)
                kd_dropout_scale(&now, (uint32_t)r, (uint32_t)first, p, scale);
            else
                for (int64_t c = 0; c < count; c++) scale[c] = 1.0f;
            for (int64_t c = first; c < first + count; c++) {
                float gradient = (up[c] - unit[c] * inner) * shrink * scale[c - first];
                to[c] = beta == 0.0f ? gradient : gradient + beta * to[c];
            }
        }
    }
    return KD_OK;
}
