/* Draws in registers, the same numbers as the CPU column's rows of draws: column c of a row is word c % 4 of Philox
 * block c / 4. */
#ifndef KD_CUDA_RANDOM_H
#define KD_CUDA_RANDOM_H

#include "kernels/cuda/cuda.h"

/* Dropout's factor for one element: 1 / (1 - p) with probability 1 - p, else 0; p = 0: 1 without a draw. rng: its clock
 * read. */
__device__ inline float kd_dropout_at(const kd_rng *rng, int64_t row, int64_t col, float p) {
    if (!(p > 0.0f)) return 1.0f;
    uint32_t draw[4];
    kd_rng_draw4(rng, (uint32_t)row, (uint32_t)(col / 4), draw);
    uint32_t word = col % 4 < 2 ? (col % 4 == 0 ? draw[0] : draw[1]) : (col % 4 == 2 ? draw[2] : draw[3]);
    return kd_uniform(word) >= p ? 1.0f / (1.0f - p) : 0.0f;
}

/* Four standard normals for columns 4 block .. 4 block + 3 of a row, by Box-Muller; each pair shares two draws. */
__device__ inline void kd_normal4(const kd_rng *rng, int64_t row, int64_t block, float noise[4]) {
    uint32_t draw[4];
    kd_rng_draw4(rng, (uint32_t)row, (uint32_t)block, draw);
    for (int i = 0; i < 4; i += 2) {
        float radius = sqrtf(-2.0f * logf(((float)(draw[i] >> 8) + 1.0f) * 0x1p-24f));
        float angle = kd_uniform(draw[i + 1]) * 6.28318530717958647692f;
        noise[i] = radius * cosf(angle);
        noise[i + 1] = radius * sinf(angle);
    }
}

#endif
