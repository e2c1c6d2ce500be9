/* The CPU column's own exp and tanh, in loops as the kernels have them and compiled like these, against the C library
 * in double: at most 2 ulp. Every KDIFFE_TEST_STRIDE-th float is tried (default 61; 1: all 2^32), and the ends of
 * ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "kernels/cpu/vector_math.h"

enum { AT_ONCE = 4096 };

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The distance of neighbouring floats at |x|. */
static double ulp(double x) {
    int exponent;
    if (fabs(x) < 1.1754943508222875e-38) return 1.4012984643248171e-45;
    frexp(x, &exponent);
    return ldexp(1.0, exponent - 24);
}

typedef struct subject {
    const char *name;
    void (*loop)(const float *x, float *y);
    double (*truth)(double);
} subject;

static __attribute__((noinline)) void exp_loop(const float *x, float *y) {
#pragma omp simd
    for (int i = 0; i < AT_ONCE; i++) y[i] = kd_expf(x[i]);
}

static __attribute__((noinline)) void tanh_loop(const float *x, float *y) {
#pragma omp simd
    for (int i = 0; i < AT_ONCE; i++) y[i] = kd_tanhf(x[i]);
}

/* The error in ulp; NaN where one side alone is NaN or infinite. */
static double error_of(double y, double truth) {
    float rounded = (float)truth;
    if (isnan(truth)) return isnan(y) ? 0.0 : NAN;
    if (isinf(y) || isinf(rounded)) return y == (double)rounded ? 0.0 : NAN;
    return fabs(y - truth) / ulp(truth);
}

static double worst_of_block(const subject *s, const float *x, double worst) {
    float y[AT_ONCE];
    s->loop(x, y);
    for (int i = 0; i < AT_ONCE; i++) {
        double error = error_of(y[i], s->truth(x[i]));
        if (!(error <= 2.0)) fail_msg("%s(%a) = %a, %.3g ulp off", s->name, x[i], y[i], error);
        if (error > worst) worst = error;
    }
    return worst;
}

static void stays_within_two_ulp(const subject *s) {
    const char *given = getenv("KDIFFE_TEST_STRIDE");
    uint64_t stride = given ? strtoull(given, NULL, 10) : 61;
    double worst = 0.0;
    float x[AT_ONCE];
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32;) {
        for (int i = 0; i < AT_ONCE; i++, bits += stride)
            x[i] = float_of((uint32_t)bits); /* beyond the last: from 0 on */
        worst = worst_of_block(s, x, worst);
    }
    print_message("%s: at most %.3f ulp\n", s->name, worst);
    assert_true(worst > 0.4); /* rounding alone leaves half an ulp: less means that nothing was compared */
}

static void ends_of_ranges(const subject *s) {
    static const float ends[] = {0.0f,      -0.0f,      INFINITY,    -INFINITY,   NAN,     88.72283f,
                                 88.72284f, -87.33654f, -103.97208f, -103.97209f, -105.0f, -106.0f,
                                 89.0f,     90.0f,      0.625f,      0.62499994f, 1e-45f,  -1e-38f};
    float x[AT_ONCE] = {0.0f};
    memcpy(x, ends, sizeof ends);
    worst_of_block(s, x, 0.0);
}

static const subject EXP = {"exp", exp_loop, exp}, TANH = {"tanh", tanh_loop, tanh};

static void exp_is_close(void **state) {
    (void)state;
    ends_of_ranges(&EXP);
    stays_within_two_ulp(&EXP);
}

static void tanh_is_close(void **state) {
    (void)state;
    ends_of_ranges(&TANH);
    stays_within_two_ulp(&TANH);
    assert_true(signbit(kd_tanhf(-0.0f)));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(exp_is_close), cmocka_unit_test(tanh_is_close)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
