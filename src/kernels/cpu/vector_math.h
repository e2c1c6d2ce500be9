/* Functions for `omp simd` loops. exp and tanh are written here, without branches or calls, so that they vectorise for
 * any instruction set; tests/test_vector_math.c holds them to 2 ulp over every float. logf, sinf and cosf are glibc's
 * libmvec (at most 4 ulp by its documentation) on x86-64 and the scalar functions elsewhere; glibc declares the vector
 * variants itself only under -ffast-math, whose other licences (no NaN, reordered sums) this code does not want. */
#ifndef KD_CPU_VECTOR_MATH_H
#define KD_CPU_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((__simd__("notinbranch"))) extern float logf(float);
__attribute__((__simd__("notinbranch"))) extern float sinf(float);
__attribute__((__simd__("notinbranch"))) extern float cosf(float);
#endif

/* 2^n, -127 < n < 128. */
static inline float kd_power_of_two(int32_t n) {
    uint32_t bits = ((uint32_t)n + 127) << 23;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(x) = 2^n exp(r), |r| <= ln 2 / 2, by a polynomial of degree 7 (coefficients of Cephes' expf, Moshier 1989). 2^n
 * is applied in two halves, so that results below the normal numbers, and above the largest, come out right. */
static inline float kd_expf(float x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: a sum with it has no fraction left, and ends in the bits of n */
    float in = x < -105.0f ? -105.0f : x > 89.0f ? 89.0f : x; /* NaN stays */
    float shifted = in * 1.44269504088896341f + round, n = shifted - round;
    float r = in - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts */
    float p = 1.9875691500e-4f;
    int32_t bits;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    memcpy(&bits, &shifted, sizeof bits);
    bits -= 0x4b400000; /* the bits of `round` */
    return p * kd_power_of_two(bits / 2) * kd_power_of_two(bits - bits / 2);
}

/* tanh(x): an odd polynomial near 0 (Cephes' tanhf), 1 - 2 / (exp(2|x|) + 1) elsewhere; both are computed. */
static inline float kd_tanhf(float x) {
    float a = fabsf(x), s = x * x, p = -5.70498872745e-3f;
    float far = 1.0f - 2.0f / (kd_expf(2.0f * a) + 1.0f);
    p = p * s + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    float near = p * s * a + a;
    return copysignf(a < 0.625f ? near : far, x);
}

#endif
