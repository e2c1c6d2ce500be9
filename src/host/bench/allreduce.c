#include "host/bench/allreduce.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "host/base/memory.h"
#include "kdiffe/version.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "kernels/pool.h"

enum { FEWEST_BYTES = 8, WARM_UPS = 5, PATTERN = 61 };

typedef struct sums {
    kd_comm *comm;
    kd_ctx *ctx;
    float *host, *device;
} sums;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Small integers, so that every order of adding them gives the same float. */
static float value_of(int64_t i, int64_t rank) { return (float)((i + rank) % PATTERN); }

static kd_status count_wrong(const sums *s, int64_t n, int *wrong) {
    int64_t ranks = kd_comm_ranks(s->comm);
    *wrong = 0;
    for (int64_t i = 0; i < n; i++) s->host[i] = value_of(i, kd_comm_rank(s->comm));
    KD_OR_RETURN(kd_upload(s->ctx, s->device, s->host, n * (int64_t)sizeof(float)));
    KD_OR_RETURN(kd_comm_allreduce_f32(s->comm, s->ctx, n, s->device));
    KD_OR_RETURN(kd_download(s->ctx, s->host, s->device, n * (int64_t)sizeof(float)));
    for (int64_t i = 0; i < n; i++) {
        float expected = 0.0f;
        for (int64_t r = 0; r < ranks; r++) expected += value_of(i, r);
        if (!(s->host[i] == expected)) (*wrong)++;
    }
    return kd_comm_allreduce_max(s->comm, wrong);
}

/* Seconds of a sum: `iterations` of them between two waits, on the rank where they took longest. */
static kd_status measure(const sums *s, int64_t n, int64_t iterations, double *seconds) {
    int together = 0, microseconds;
    KD_OR_RETURN(
        kd_zero(s->ctx, s->device, n * (int64_t)sizeof(float))); /* zeros stay zeros, however often they are added */
    for (int64_t i = 0; i < WARM_UPS; i++) KD_OR_RETURN(kd_comm_allreduce_f32(s->comm, s->ctx, n, s->device));
    KD_OR_RETURN(kd_synchronize(s->ctx));
    KD_OR_RETURN(kd_comm_allreduce_max(s->comm, &together));
    double begin = now();
    for (int64_t i = 0; i < iterations; i++) KD_OR_RETURN(kd_comm_allreduce_f32(s->comm, s->ctx, n, s->device));
    KD_OR_RETURN(kd_synchronize(s->ctx));
    microseconds = (int)(1e6 * (now() - begin));
    KD_OR_RETURN(kd_comm_allreduce_max(s->comm, &microseconds));
    *seconds = 1e-6 * (double)microseconds / (double)iterations;
    return KD_OK;
}

kd_status kd_bench_allreduce(kd_comm *comm, kd_ctx *ctx, int64_t most, int64_t iterations) {
    kd_status status = KD_OK;
    kd_pool pool;
    sums s = {.comm = comm, .ctx = ctx};
    int64_t ranks = kd_comm_ranks(comm);
    int bad = 0;
    kd_pool_init(&pool, ctx);
    if (ranks < 2)
        KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "allreduce: is between ranks; start several with mpirun or kdiffe launch");
    KD_TRY(kd_host_alloc(&s.host, most / 4, sizeof(float), "allreduce"));
    KD_TRY(kd_pool_alloc(&pool, most / 4, sizeof(float), "allreduce", &s.device));
    printf("# kdiffe %s, all-reduce in place, %" PRId64 " ranks, %" PRId64 " of them on this machine\n# device: %s\n"
           "# library: %s\n%14s %12s %6s %6s %12s %12s %12s %8s\n",
           KDIFFE_VERSION, ranks, kd_comm_local_ranks(comm), kd_ctx_describe(ctx), kd_comm_library(comm), "size_B",
           "count", "type", "redop", "time_us", "algbw_GB/s", "busbw_GB/s", "n_wrong");
    for (int64_t bytes = FEWEST_BYTES; bytes <= most; bytes *= 4) {
        double seconds;
        int wrong;
        KD_TRY(count_wrong(&s, bytes / 4, &wrong));
        KD_TRY(measure(&s, bytes / 4, iterations, &seconds));
        double rate = (double)bytes / seconds * 1e-9, sent = 2.0 * (double)(ranks - 1) / (double)ranks;
        printf("%14" PRId64 " %12" PRId64 " %6s %6s %12.1f %12.3f %12.3f %8d\n", bytes, bytes / 4, "float", "sum",
               1e6 * seconds, rate, rate * sent, wrong);
        bad |= wrong;
    }
    if (bad) status = KD_FAIL(KD_ERR_CHECK, "allreduce: wrong sums");
cleanup:
    free(s.host);
    kd_pool_free(&pool);
    return status;
}
