/* Small dense products whose sums stay in registers, for ops that do more with a tile than a BLAS call can. */
#ifndef KD_CPU_OUTER_H
#define KD_CPU_OUTER_H

#include <stdint.h>

/* A block of KD_OUTER_ROWS x KD_OUTER_VECS vectors fills the registers: 24 of 32, or 12 of 16. */
enum {
#if defined(__AVX512F__)
    KD_OUTER_LANES = 16,
    KD_OUTER_VECS = 4,
#elif defined(__AVX__)
    KD_OUTER_LANES = 8,
    KD_OUTER_VECS = 2,
#elif defined(__aarch64__)
    KD_OUTER_LANES = 4,
    KD_OUTER_VECS = 4,
#else
    KD_OUTER_LANES = 4,
    KD_OUTER_VECS = 2,
#endif
    KD_OUTER_ROWS = 6,
    KD_OUTER_STRIP = KD_OUTER_LANES * KD_OUTER_VECS /* columns of a whole block */
};

typedef float kd_vec __attribute__((vector_size(4 * KD_OUTER_LANES), aligned(4), may_alias));

static inline __attribute__((always_inline)) void kd_outer_block(int64_t depth, const float *a, int64_t row_step,
                                                                 int64_t depth_step, const float *b, int64_t ldb,
                                                                 float beta, float *c, int64_t ldc, const int vecs) {
    kd_vec sum[KD_OUTER_ROWS][KD_OUTER_VECS];
#pragma GCC unroll 6
    for (int i = 0; i < KD_OUTER_ROWS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++)
            sum[i][v] = beta != 0.0f ? *(const kd_vec *)(c + i * ldc + v * KD_OUTER_LANES) : (kd_vec){0};
    for (int64_t k = 0; k < depth; k++) {
        kd_vec right[KD_OUTER_VECS];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) right[v] = *(const kd_vec *)(b + k * ldb + v * KD_OUTER_LANES);
#pragma GCC unroll 6
        for (int i = 0; i < KD_OUTER_ROWS; i++) {
            float left = a[i * row_step + k * depth_step];
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) sum[i][v] += left * right[v];
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < KD_OUTER_ROWS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) *(kd_vec *)(c + i * ldc + v * KD_OUTER_LANES) = sum[i][v];
}

/* C [KD_OUTER_ROWS, columns] = A B + beta C, beta 0 or 1: element (i, k) of A is a[i row_step + k depth_step], B is
 * [depth, columns] with rows ldb apart; columns a multiple of KD_OUTER_LANES. */
static inline void kd_outer(int64_t depth, const float *a, int64_t row_step, int64_t depth_step, const float *b,
                            int64_t ldb, float beta, float *c, int64_t ldc, int64_t columns) {
    int64_t at = 0;
    for (; at + KD_OUTER_STRIP <= columns; at += KD_OUTER_STRIP)
        kd_outer_block(depth, a, row_step, depth_step, b + at, ldb, beta, c + at, ldc, KD_OUTER_VECS);
    for (; at < columns; at += KD_OUTER_LANES)
        kd_outer_block(depth, a, row_step, depth_step, b + at, ldb, beta, c + at, ldc, 1);
}

/* The sum of x [n]: a lane's terms in order, then the lanes. */
static inline float kd_sum(const float *x, int64_t n) {
    kd_vec lanes = {0};
    float sum = 0.0f;
    int64_t at = 0;
    for (; at + KD_OUTER_LANES <= n; at += KD_OUTER_LANES) lanes += *(const kd_vec *)(x + at);
    for (int i = 0; i < KD_OUTER_LANES; i++) sum += lanes[i];
    for (; at < n; at++) sum += x[at];
    return sum;
}

/* n rounded up to a multiple of `of`. */
static inline int64_t kd_round_up(int64_t n, int64_t of) { return (n + of - 1) / of * of; }

#endif
