#include "kernels/cpu/random.h"

#include "kernels/cpu/vector_math.h"

void kd_normal_row(const kd_rng *rng, uint32_t row, uint32_t first, float noise[KD_RANDOM_WIDTH]) {
    uint32_t bits[KD_RANDOM_WIDTH];
    kd_random_bits(rng, row, first, bits);
#pragma omp simd
    for (int i = 0; i < KD_RANDOM_WIDTH; i += 2) {
        float uniform = ((float)(bits[i] >> 8) + 1.0f) * 0x1p-24f; /* in (0, 1]: the logarithm is finite */
        float radius = sqrtf(-2.0f * kd_logf(uniform)), sine, cosine;
        kd_sincos_turn(kd_uniform(bits[i + 1]), &sine, &cosine);
        noise[i] = radius * cosine;
        noise[i + 1] = radius * sine;
    }
}
