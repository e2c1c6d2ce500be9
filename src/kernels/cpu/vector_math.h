/* exp, tanh, log and the sine and cosine of a turn for `omp simd` loops: arithmetic, comparisons and integer shifts
 * only, so that they become vectors of any width, with or without fused multiply-add, and need no library. Within 2
 * units in the last place for every float (tests/test_vector_math.c); infinities, NaN and denormal numbers as in
 * <math.h>. */
#ifndef KD_CPU_VECTOR_MATH_H
#define KD_CPU_VECTOR_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t kd_bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float kd_float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x + KD_ROUNDER holds the integer next to x (|x| < 2^22) in its lowest bits; minus KD_ROUNDER it is that integer. */
static const float KD_ROUNDER = 0x1.8p+23f;
static const uint32_t KD_ROUNDER_BITS = 0x4B400000u;

/* 2^n for n in -126 .. 127. */
static inline float kd_power_of_two(int32_t n) { return kd_float_of((uint32_t)(n + 127) << 23); }

/* exp(x) = 2^n (1 + rest) for |x| <= 104 or NaN; rest is accurate relative to itself. ln 2 is subtracted in two parts,
 * of which the first has so few digits that its product with n is exact. */
typedef struct kd_exp_parts {
    int32_t n;
    float rest;
} kd_exp_parts;

static inline kd_exp_parts kd_exp_split(float x) {
    float rounded = x * 0x1.715476p+0f + KD_ROUNDER, n = rounded - KD_ROUNDER;
    float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float p = 0x1.6d3c9cp-10f + r * 0x1.a2476cp-13f;
    p = 0x1.5554f6p-5f + r * (0x1.111002p-7f + r * p);
    p = 0.5f + r * (0x1.555556p-3f + r * p);
    return (kd_exp_parts){(int32_t)(kd_bits_of(rounded) - KD_ROUNDER_BITS), r + r * r * p};
}

static inline float kd_expf(float x) {
    x = x > 89.0f ? 89.0f : x; /* beyond these exp is infinite and 0 */
    x = x < -104.0f ? -104.0f : x;
    kd_exp_parts e = kd_exp_split(x);
    /* in two steps: 2^n alone may be too large or too small for a float */
    float first = kd_power_of_two(e.n >> 1), second = kd_power_of_two(e.n - (e.n >> 1));
    return (first + first * e.rest) * second;
}

/* q / (q + 2) with q = exp(2|x|) - 1; of a small x, |x| and a correction, which rounding errors in q hardly touch. */
static inline float kd_tanhf(float x) {
    float a = fabsf(x);
    a = a > 9.02f ? 9.02f : a; /* beyond it tanh rounds to 1 */
    kd_exp_parts e = kd_exp_split(2.0f * a);
    float scale = kd_power_of_two(e.n), q = (scale - 1.0f) + scale * e.rest;
    float near = a < 0.5f ? a : 0.0f;
    return copysignf(near + ((q - 2.0f * near) - near * q) / (q + 2.0f), x);
}

/* x = 2^n m with m within sqrt(1/2) .. sqrt(2); log x = n ln 2 + log m. */
static inline float kd_logf(float x) {
    int denormal = x < 0x1p-126f;
    uint32_t bits = kd_bits_of(denormal ? x * 0x1p23f : x);
    uint32_t above = bits - 0x3F3504F3u; /* the bits of sqrt(1/2): exponents now step there */
    float n = (float)((int32_t)above >> 23) - (denormal ? 23.0f : 0.0f);
    float f = kd_float_of((above & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f, s = f * f;
    float p = 0x1.07d75p-3f + f * -0x1.4200dap-4f;
    p = 0x1.226d0cp-3f + f * (-0x1.0cdf5ep-3f + f * p);
    p = 0x1.99a5aap-3f + f * (-0x1.54788ep-3f + f * p);
    p = 0x1.55554ap-2f + f * (-0x1.00022p-2f + f * p);
    float result = n * 0x1.62e4p-1f + (f + (n * 0x1.7f7d1cp-20f + s * (f * p - 0.5f)));
    result = x > 0.0f ? result : x == 0.0f ? -INFINITY : NAN;
    return x < INFINITY ? result : x; /* infinity and NaN */
}

/* sine and cosine of 2 pi turn. Unlike an angle, a turn loses nothing when its quarters are taken away. */
static inline void kd_sincos_turn(float turn, float *sine, float *cosine) {
    float t = turn - rintf(turn);
    float rounded = 4.0f * t + KD_ROUNDER, s = t - 0.25f * (rounded - KD_ROUNDER), z = s * s;
    uint32_t quarter = kd_bits_of(rounded);
    float ps = -0x1.777a5cp-23f + z * (-0x1.4abbc0p+5f + z * (0x1.46607ep+6f + z * -0x1.2ddce2p+6f));
    float pc = -0x1.3bd3ccp+4f + z * (0x1.03c1aep+6f + z * (-0x1.55b13p+6f + z * 0x1.d46c44p+5f));
    float along = s * 0x1.921fb6p+2f + s * ps, across = 1.0f + z * pc;
    uint32_t swapped = (quarter & 1) ? 0xFFFFFFFFu : 0u;
    uint32_t sine_bits = (kd_bits_of(across) & swapped) | (kd_bits_of(along) & ~swapped);
    uint32_t cosine_bits = (kd_bits_of(along) & swapped) | (kd_bits_of(across) & ~swapped);
    *sine = kd_float_of(sine_bits ^ ((quarter & 2) << 30));
    *cosine = kd_float_of(cosine_bits ^ (((quarter + 1) & 2) << 30));
}

#endif
