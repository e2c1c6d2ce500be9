/* The clock: one case, and the machine's ceilings. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/base/memory.h"
#include "host/base/signals.h"
#include "host/bench/inputs.h"

enum { WARM_UPS = 3, LEAST_ITERATIONS = 5, MOST_CALLS = 1000 };
static const double LONG_ENOUGH = 1000.0;   /* of one timed batch of calls, in microseconds */
static const double LONG_RUN = 5e6;         /* a case that has taken longer stops early */
static const double COPY_LONG = 100e3;      /* a copy this long is large enough */
static const double PRODUCT_LONG = 1e6;     /* and this is no place for a larger product */
static const int64_t COPY_MOST = 64 << 20;  /* floats */
static const int64_t COPY_LEAST = 64 << 10; /* floats */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* *microseconds = a call's share of `calls` calls between two waits. */
static kd_status time_calls(kd_bench *b, const kd_bench_case *c, int64_t calls, double *microseconds) {
    KD_OR_RETURN(kd_synchronize(b->ctx));
    double begin = now();
    for (int64_t i = 0; i < calls; i++) KD_OR_RETURN(c->run(b));
    KD_OR_RETURN(kd_synchronize(b->ctx));
    *microseconds = (now() - begin) / (double)calls;
    if (kd_signal_caught()) return KD_FAIL(KD_ERR_INTERRUPTED, "%s: stopped by signal %d", c->name, kd_signal_caught());
    return KD_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void summarise(int64_t n, double *sample, kd_bench_result *out) {
    qsort(sample, (size_t)n, sizeof *sample, ascending);
    out->iterations = n;
    out->min = sample[0];
    out->median = n % 2 ? sample[n / 2] : 0.5 * (sample[n / 2 - 1] + sample[n / 2]);
    out->p99 = sample[(int64_t)ceil(0.99 * (double)n) - 1];
}

static kd_status time_case(kd_bench *b, const kd_bench_case *c, int64_t iterations, kd_bench_result *out) {
    kd_status status = KD_OK;
    double *sample = NULL, once = 0.0, begin = now();
    int64_t n = 0;
    KD_TRY(kd_host_alloc(&sample, iterations, sizeof *sample, "timings"));
    for (int64_t i = 0; i < WARM_UPS && (i == 0 || now() - begin < LONG_RUN); i++) KD_TRY(time_calls(b, c, 1, &once));
    int64_t calls = once >= LONG_ENOUGH ? 1 : (int64_t)fmin(LONG_ENOUGH / fmax(once, 1e-3) + 1.0, MOST_CALLS);
    while (n < iterations && (n < LEAST_ITERATIONS || now() - begin < LONG_RUN))
        KD_TRY(time_calls(b, c, calls, &sample[n++]));
    summarise(n, sample, out);
cleanup:
    free(sample);
    return status;
}

static void close_bench(kd_bench *b) {
    kd_pool_free(&b->pool);
    for (int64_t i = 0; i < b->host_count; i++) free(b->host[i]);
    free(b->host);
}

/* The same case, set up from the same random numbers, for the reference. */
static kd_status check_case(kd_bench *b, const kd_bench_case *c) {
    kd_status status = KD_OK;
    const kd_bench_setting *setting = b->setting;
    kd_bench ref = {.setting = setting, .ctx = setting->ref, .graphs = &setting->ref_graphs};
    kd_pool_init(&ref.pool, setting->ref);
    KD_TRY(c->set_up(&ref, c->parameter));
    KD_TRY(c->check(b, &ref));
    if (b->checked == 0) b->wrong = 1; /* a check that looked at nothing has found nothing right */
cleanup:
    close_bench(&ref);
    return status;
}

kd_status kd_bench_measure(const kd_bench_setting *setting, const kd_bench_case *c, int64_t iterations,
                           kd_bench_result *out) {
    kd_status status = KD_OK;
    kd_bench b = {.setting = setting, .ctx = setting->ctx, .graphs = &setting->graphs};
    *out = (kd_bench_result){0};
    kd_pool_init(&b.pool, setting->ctx);
    KD_TRY(c->set_up(&b, c->parameter));
    KD_TRY(c->run(&b));
    KD_TRY(check_case(&b, c));
    KD_TRY(time_case(&b, c, iterations, out));
    snprintf(out->name, sizeof out->name, "%s", c->name);
    snprintf(out->shape, sizeof out->shape, "%s", b.shape);
    out->nnz = b.nnz;
    out->bytes = b.bytes;
    out->flops = b.flops;
    out->max_err = b.max_err;
    out->wrong = b.wrong;
cleanup:
    close_bench(&b);
    return status;
}

/* The ceilings are cases too: what they call is in state. */
typedef struct ceiling {
    kd_mat a, b, c;
} ceiling;

static kd_status copy(kd_bench *b) {
    const ceiling *m = b->state;
    return kd_add_scaled(b->ctx, 1.0f, m->a, 0.0f, m->b);
}
static kd_status product(kd_bench *b) {
    const ceiling *m = b->state;
    return kd_gemm(b->ctx, &(kd_gemm_args){.alpha = 1.0f, .a = m->a, .b = m->b, .c = m->c});
}
static const kd_bench_case COPY = {.name = "copy", .run = copy}, PRODUCT = {.name = "product", .run = product};

/* *rate of copies that grow until one is long. What disturbs a copy makes it slower, so the fastest is the ceiling. */
static kd_status copy_rate(kd_bench *b, double *rate) {
    ceiling *m = b->state;
    kd_mat whole[2];
    kd_bench_result result = {0};
    KD_OR_RETURN(kd_pool_mat(&b->pool, 1, COPY_MOST, "bench", &whole[0]));
    KD_OR_RETURN(kd_pool_mat(&b->pool, 1, COPY_MOST, "bench", &whole[1]));
    for (int64_t n = COPY_LEAST; n <= COPY_MOST && result.min < COPY_LONG; n *= 2) {
        m->a = kd_mat_cols(whole[0], 0, n);
        m->b = kd_mat_cols(whole[1], 0, n);
        KD_OR_RETURN(kd_add_scaled(b->ctx, 1.0f, m->b, 0.0f, m->a)); /* pages never written share one page of zeros */
        KD_OR_RETURN(time_case(b, &COPY, n < COPY_MOST ? 3 : 30, &result));
        *rate = 8.0 * (double)n / result.min;
    }
    return KD_OK;
}

/* *rate of 1024 x 6710 x 1000, or of an eighth, a quarter, a half of each where that takes long already. */
static kd_status product_rate(kd_bench *b, double *rate) {
    ceiling *m = b->state;
    kd_bench_result result = {0};
    for (int64_t shrink = 8; shrink >= 1 && result.min < PRODUCT_LONG; shrink /= 2) {
        int64_t rows = 1024 / shrink, inner = 6710 / shrink, cols = 1000 / shrink;
        KD_OR_RETURN(kd_bench_mat(b, rows, inner, 1.0f, &m->a));
        KD_OR_RETURN(kd_bench_mat(b, inner, cols, 1.0f, &m->b));
        KD_OR_RETURN(kd_pool_mat(&b->pool, rows, cols, "bench", &m->c));
        KD_OR_RETURN(time_case(b, &PRODUCT, shrink > 1 ? 1 : 15, &result));
        *rate = 2.0 * (double)rows * (double)inner * (double)cols / result.min;
    }
    return KD_OK;
}

kd_status kd_bench_ceilings_measure(kd_ctx *ctx, kd_bench_ceilings *out) {
    kd_status status = KD_OK;
    ceiling matrices;
    kd_bench b = {.ctx = ctx, .state = &matrices};
    kd_pool_init(&b.pool, ctx);
    KD_TRY(copy_rate(&b, &out->copy));
    KD_TRY(product_rate(&b, &out->gemm));
cleanup:
    close_bench(&b);
    return status;
}

double kd_bench_floor(const kd_bench_ceilings *ceilings, double bytes, double flops) {
    return fmax(bytes / ceilings->copy, flops / ceilings->gemm);
}
