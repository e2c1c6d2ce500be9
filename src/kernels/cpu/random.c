#include "kernels/cpu/random.h"

#include "kernels/cpu/vector_math.h"

/* Box-Muller, cosine and sine in loops of their own: together they would become one sincosf, which has no vector
 * variant here. */
void kd_normal_row(const kd_rng *rng, uint32_t row, uint32_t first, float noise[KD_RANDOM_WIDTH]) {
    enum { PAIRS = KD_RANDOM_WIDTH / 2 };
    uint32_t bits[KD_RANDOM_WIDTH];
    float radius[PAIRS], angle[PAIRS];
    kd_random_bits(rng, row, first, bits);
    for (int i = 0; i < PAIRS; i++) {
        radius[i] = ((float)(bits[2 * i] >> 8) + 1.0f) * 0x1p-24f; /* in (0, 1]: the logarithm is finite */
        angle[i] = kd_uniform(bits[2 * i + 1]) * 6.28318530717958647692f;
    }
#pragma omp simd
    for (int i = 0; i < PAIRS; i++) radius[i] = sqrtf(-2.0f * logf(radius[i]));
#pragma omp simd
    for (int i = 0; i < PAIRS; i++) noise[2 * i] = radius[i] * cosf(angle[i]);
#pragma omp simd
    for (int i = 0; i < PAIRS; i++) noise[2 * i + 1] = radius[i] * sinf(angle[i]);
}
