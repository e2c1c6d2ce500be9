/* The CPU column's exp, tanh, log, sine and cosine against <math.h> in double precision: within 2 units in the last
 * place for every float. A stride of KDIFFE_TEST_STRIDE (default 2003) goes through all 2^32 of them, a finer one
 * through those that matter, and every single one around the limits is taken; KDIFFE_TEST_STRIDE=1 leaves none out
 * (minutes). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cpu/vector_math.h"
#include "kernels/cpu_level.h"

enum { BLOCK = 4096, AROUND = 2000, FINER = 32 };
static const double MOST_ULPS = 2.0;
static const uint64_t ALL = UINT64_C(1) << 32;

typedef enum function { EXP, TANH, LOG, SINE, COSINE } function;

/* The loops that are measured, vectorised as those of the kernels are: inlined into a function for each level. */
static inline __attribute__((always_inline)) void evaluate(function which, const float *x, float *y) {
    float other[BLOCK];
    switch (which) {
    case EXP:
#pragma omp simd
        for (int i = 0; i < BLOCK; i++) y[i] = kd_expf(x[i]);
        break;
    case TANH:
#pragma omp simd
        for (int i = 0; i < BLOCK; i++) y[i] = kd_tanhf(x[i]);
        break;
    case LOG:
#pragma omp simd
        for (int i = 0; i < BLOCK; i++) y[i] = kd_logf(x[i]);
        break;
    case SINE:
#pragma omp simd
        for (int i = 0; i < BLOCK; i++) kd_sincos_turn(x[i], &y[i], &other[i]);
        break;
    case COSINE:
#pragma omp simd
        for (int i = 0; i < BLOCK; i++) kd_sincos_turn(x[i], &other[i], &y[i]);
        break;
    }
}

typedef void evaluate_fn(function which, const float *x, float *y);
typedef struct level {
    const char *name;
    evaluate_fn *evaluate;
} level;

#ifdef __x86_64__
__attribute__((target("arch=x86-64-v2"))) static void at_v2(function which, const float *x, float *y) {
    evaluate(which, x, y);
}
__attribute__((target("arch=x86-64-v3"))) static void at_v3(function which, const float *x, float *y) {
    evaluate(which, x, y);
}
__attribute__((target("arch=x86-64-v4"))) static void at_v4(function which, const float *x, float *y) {
    evaluate(which, x, y);
}
static const level LEVELS[] = {{"v2", at_v2}, {"v3", at_v3}, {"v4", at_v4}};
#else
static void at_native(function which, const float *x, float *y) { evaluate(which, x, y); }
static const level LEVELS[] = {{"native", at_native}};
#endif
enum { LEVEL_COUNT = sizeof LEVELS / sizeof LEVELS[0] };

/* Of a turn the quarters are taken away first, which is exact: the angle of a large one would be rounded. */
static double expected(function which, double x) {
    double turn = x - rint(x), quarters = rint(4.0 * turn), angle = 2.0 * M_PI * (turn - 0.25 * quarters);
    int quarter = isnan(quarters) ? 0 : (int)quarters + (which == COSINE) + 4;
    switch (which) {
    case EXP: return exp(x);
    case TANH: return tanh(x);
    case LOG: return log(x);
    default: return (quarter & 2 ? -1.0 : 1.0) * (quarter & 1 ? cos(angle) : sin(angle));
    }
}

/* |got - want| in units of the last place of a float like want. Infinity counts as the number after the largest. */
static double ulps(float got, double want) {
    int exponent;
    if (isnan(want)) return isnan(got) ? 0.0 : INFINITY;
    double near = fmax(-0x1p128, fmin(want, 0x1p128)), there = isnan(got) ? NAN : fmax(-0x1p128, fmin(got, 0x1p128));
    frexp(near, &exponent);
    return fabs(there - near) / ldexp(1.0, (exponent < -125 || near == 0.0 ? -125 : exponent) - 24);
}

/* The largest error over the floats whose bits are first, first + stride, ... below end. */
static double worst_of(const level *l, function which, uint64_t first, uint64_t end, uint64_t stride) {
    float x[BLOCK], y[BLOCK];
    double worst = 0.0;
    for (uint64_t at = first; at < end;) {
        int count = 0;
        for (int i = 0; i < BLOCK; i++, at += stride) {
            x[i] = kd_float_of((uint32_t)(at < end ? at : first));
            count += at < end;
        }
        l->evaluate(which, x, y);
        for (int i = 0; i < count; i++) {
            double error = ulps(y[i], expected(which, x[i]));
            if (!(error <= MOST_ULPS))
                fail_msg("%a gives %a, %.3g ulp from %a", x[i], y[i], error, expected(which, x[i]));
            worst = fmax(worst, error);
        }
    }
    return worst;
}

/* from .. to: the magnitudes at which the function does something, on both sides of 0. */
static void check_level(const level *l, function which, const char *name, float from, float to) {
    static const float LIMITS[] = {0.0f,      0x1p-126f, 0.25f,     0.5f,    1.0f,    9.02f,   87.33655f,
                                   88.72284f, 103.2789f, 103.9721f, 0x1p22f, 0x1p23f, 0x1p24f, INFINITY};
    const char *wish = getenv("KDIFFE_TEST_STRIDE");
    uint64_t stride = wish ? strtoull(wish, NULL, 10) : 2003, finer = stride > FINER ? stride / FINER : 1;
    double worst = worst_of(l, which, 0, ALL, stride);
    for (uint64_t sign = 0; sign < ALL; sign += ALL / 2) {
        worst = fmax(worst, worst_of(l, which, sign + kd_bits_of(from), sign + kd_bits_of(to), finer));
        for (size_t i = 0; i < sizeof LIMITS / sizeof LIMITS[0]; i++) {
            uint64_t at = sign + kd_bits_of(LIMITS[i]);
            worst = fmax(worst, worst_of(l, which, at < AROUND ? 0 : at - AROUND, at + AROUND, 1));
        }
    }
    printf("%s at level %s: at most %.3f ulp\n", name, l->name, worst);
    assert_true(worst > 0.25); /* less would say that nothing was compared */
}

static void check(function which, const char *name, float from, float to) {
    int checked = 0;
    for (int i = 0; i < LEVEL_COUNT; i++) {
        if (!kd_cpu_level_runs(LEVELS[i].name)) continue;
        check_level(&LEVELS[i], which, name, from, to);
        checked++;
    }
    assert_true(checked > 0);
}

static void exp_is_within_two_ulp(void **state) {
    (void)state;
    check(EXP, "exp", 0x1p-13f, 104.0f);
}
static void tanh_is_within_two_ulp(void **state) {
    (void)state;
    check(TANH, "tanh", 0x1p-13f, 9.1f);
}
static void log_is_within_two_ulp(void **state) {
    (void)state;
    check(LOG, "log", 0x1p-4f, 16.0f);
}
static void sine_and_cosine_are_within_two_ulp(void **state) {
    (void)state;
    check(SINE, "sine", 0x1p-13f, 2.0f);
    check(COSINE, "cosine", 0x1p-13f, 2.0f);
}

/* What a bound in ulp does not say: the signs of zeros and what lies beyond the limits. */
static void limits_are_those_of_the_library(void **state) {
    (void)state;
    float sine, cosine;
    kd_sincos_turn(0.25f, &sine, &cosine);
    assert_true(sine == 1.0f && cosine == 0.0f);
    assert_true(signbit(kd_tanhf(-0.0f)) && !signbit(kd_tanhf(0.0f)));
    assert_true(kd_tanhf(INFINITY) == 1.0f && kd_tanhf(-INFINITY) == -1.0f);
    assert_true(kd_expf(-INFINITY) == 0.0f && kd_expf(INFINITY) == INFINITY && kd_expf(0.0f) == 1.0f);
    assert_true(kd_logf(0.0f) == -INFINITY && kd_logf(INFINITY) == INFINITY && kd_logf(1.0f) == 0.0f);
    assert_true(isnan(kd_logf(-1.0f)) && isnan(kd_logf(NAN)) && isnan(kd_expf(NAN)) && isnan(kd_tanhf(NAN)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_two_ulp),           cmocka_unit_test(tanh_is_within_two_ulp),
        cmocka_unit_test(log_is_within_two_ulp),           cmocka_unit_test(sine_and_cosine_are_within_two_ulp),
        cmocka_unit_test(limits_are_those_of_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
