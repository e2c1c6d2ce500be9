/* Vector variants of expf, logf, sinf, cosf, powf for `omp simd` loops: glibc's libmvec (at most 4 ulp by its
 * documentation) on x86-64; elsewhere the scalar functions. glibc declares them itself only under -ffast-math, whose
 * other licences (no NaN, reordered sums) this code does not want. */
#ifndef KD_CPU_VECTOR_MATH_H
#define KD_CPU_VECTOR_MATH_H

#include <math.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((__simd__("notinbranch"))) extern float expf(float);
__attribute__((__simd__("notinbranch"))) extern float logf(float);
__attribute__((__simd__("notinbranch"))) extern float sinf(float);
__attribute__((__simd__("notinbranch"))) extern float cosf(float);
#endif

/* tanh to about 1e-7 absolute: an odd series near 0, where the exponential form would cancel. Written so that it
 * vectorises: both branches are computed. */
static inline float kd_tanhf(float x) {
    float a = fabsf(x), s = x * x;
    float e = expf(-2.0f * a);
    float far = (1.0f - e) / (1.0f + e);
    float near = a + a * s * (-1.0f / 3.0f + s * (2.0f / 15.0f + s * (-17.0f / 315.0f + s * (62.0f / 2835.0f))));
    return copysignf(a < 0.3f ? near : far, x);
}

#endif
