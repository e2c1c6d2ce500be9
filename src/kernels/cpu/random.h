/* Random rows for the CPU ops: blocks of four columns a Philox call, in batches that the compiler vectorises. */
#ifndef KD_CPU_RANDOM_H
#define KD_CPU_RANDOM_H

#include <math.h>

#include "kernels/common/philox.h"

enum { KD_RANDOM_BATCH = 16, KD_RANDOM_WIDTH = 4 * KD_RANDOM_BATCH };

/* word[w * stride + l] = draw w of kd_rng_draw4 for (row[l], block[l]). */
static inline void kd_draw_lanes(const kd_rng *rng, const uint32_t row[KD_RANDOM_BATCH],
                                 const uint32_t block[KD_RANDOM_BATCH], int64_t stride, uint32_t *word) {
    uint32_t c0[KD_RANDOM_BATCH], c1[KD_RANDOM_BATCH], c2[KD_RANDOM_BATCH], c3[KD_RANDOM_BATCH];
    uint32_t k0 = (uint32_t)rng->seed, k1 = (uint32_t)(rng->seed >> 32);
    for (int l = 0; l < KD_RANDOM_BATCH; l++) {
        c0[l] = block[l];
        c1[l] = row[l];
        c2[l] = rng->step;
        c3[l] = rng->stream << 16 | rng->instance;
    }
    for (int round = 0; round < 10; round++) {
#pragma omp simd
        for (int l = 0; l < KD_RANDOM_BATCH; l++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[l], p1 = (uint64_t)0xCD9E8D57u * c2[l];
            uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1[l] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3[l] ^ k1;
            c1[l] = (uint32_t)p1;
            c3[l] = (uint32_t)p0;
            c0[l] = n0;
            c2[l] = n2;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int l = 0; l < KD_RANDOM_BATCH; l++) {
        word[l] = c0[l];
        word[stride + l] = c1[l];
        word[2 * stride + l] = c2[l];
        word[3 * stride + l] = c3[l];
    }
}

/* bits [64] = draws for columns first..first+63 of `row`; first is a multiple of 4. Draw w of lane l is column
 * first + 4 l + w. */
static inline void kd_random_bits(const kd_rng *rng, uint32_t row, uint32_t first, uint32_t bits[KD_RANDOM_WIDTH]) {
    uint32_t rows[KD_RANDOM_BATCH], block[KD_RANDOM_BATCH], word[4][KD_RANDOM_BATCH];
    uint32_t even[KD_RANDOM_WIDTH / 2],
        odd[KD_RANDOM_WIDTH / 2]; /* woven by twos: processors have instructions for it */
    for (int l = 0; l < KD_RANDOM_BATCH; l++) {
        rows[l] = row;
        block[l] = first / 4 + (uint32_t)l;
    }
    kd_draw_lanes(rng, rows, block, KD_RANDOM_BATCH, word[0]);
#pragma omp simd
    for (int l = 0; l < KD_RANDOM_BATCH; l++) {
        even[2 * l] = word[0][l];
        even[2 * l + 1] = word[2][l];
    }
#pragma omp simd
    for (int l = 0; l < KD_RANDOM_BATCH; l++) {
        odd[2 * l] = word[1][l];
        odd[2 * l + 1] = word[3][l];
    }
#pragma omp simd
    for (int i = 0; i < KD_RANDOM_WIDTH / 2; i++) {
        bits[2 * i] = even[i];
        bits[2 * i + 1] = odd[i];
    }
}

/* scale [count] for columns first..first+count-1: 1/(1-p) with probability 1 - p, else 0. count <= 64. */
static inline void kd_dropout_scale(const kd_rng *rng, uint32_t row, uint32_t first, float p,
                                    float scale[KD_RANDOM_WIDTH]) {
    uint32_t bits[KD_RANDOM_WIDTH];
    kd_random_bits(rng, row, first, bits);
    float kept = 1.0f / (1.0f - p);
#pragma omp simd
    for (int i = 0; i < KD_RANDOM_WIDTH; i++) scale[i] = kd_uniform(bits[i]) >= p ? kept : 0.0f;
}

/* noise [64]: standard normal by Box-Muller; columns 2i and 2i+1 share one pair of draws. */
void kd_normal_row(const kd_rng *rng, uint32_t row, uint32_t first, float noise[KD_RANDOM_WIDTH]);

#endif
