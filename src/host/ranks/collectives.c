#include "host/ranks/collectives.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "host/ranks/mpi.h"
#include "host/ranks/tcp.h"
#include "host/ranks/watch.h"
#include "kernels/cuda/nccl.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "kernels/trace.h"

enum { HOST = 64, LINE = 1400, AHEAD = 16 /* steps that a GPU may be given before ranks meet */ };

struct kd_comm {
    int64_t ranks, rank, local_ranks, local_rank, timeout_s;
    int64_t sharing; /* ranks that have the cores of this one */
    bool mpi, ahead;
    kd_status settled;       /* the last failure that is known to all, */
    char settled_line[1024]; /* and what this rank has to say of it */
    char host[HOST], who[HOST + 64];
    kd_control *control;
    kd_ctx *ctx;    /* NULL: not bound yet */
    kd_ranks *sums; /* as well */
    kd_watch *watch;
    int64_t exchanges, bytes; /* traffic */
};

/* A machine, by its name and this start of it (names may be the same), and the cores a rank may use there. */
typedef struct seat {
    char host[HOST], boot[40];
    cpu_set_t cores;
} seat;

static seat seat_of(const kd_comm *c) {
    seat s;
    memset(&s, 0, sizeof s); /* compared as it lies in memory */
    memcpy(s.host, c->host, sizeof s.host);
    FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (boot && !fgets(s.boot, sizeof s.boot, boot)) s.boot[0] = '\0';
    if (boot) fclose(boot);
    sched_getaffinity(0, sizeof s.cores, &s.cores);
    return s;
}

/* Ranks on this machine, and those that have the same cores there: bound ranks do not share. */
static kd_status count_neighbours(kd_comm *c) {
    seat mine = seat_of(c), *all = NULL;
    int64_t before = 0;
    kd_status status = kd_host_alloc(&all, c->ranks, sizeof *all, "communicator");
    if (status != KD_OK) return status;
    KD_TRY(c->control->gather(c->control, &mine, all, sizeof mine));
    for (int64_t r = 0; r < c->ranks; r++) {
        if (memcmp(all[r].host, mine.host, HOST) != 0 || memcmp(all[r].boot, mine.boot, sizeof mine.boot) != 0)
            continue;
        c->local_ranks++;
        before += r < c->rank;
        c->sharing += CPU_EQUAL(&all[r].cores, &mine.cores) ? 1 : 0;
    }
    if (c->local_rank < 0) c->local_rank = before;
cleanup:
    free(all);
    return status;
}

kd_status kd_comm_open(const char *rendezvous, int64_t timeout_s, kd_comm **out) {
    kd_status status = KD_OK;
    kd_world world;
    kd_comm *c = NULL;
    *out = NULL;
    KD_TRY(kd_world_of_environment(rendezvous, &world));
    if (world.ranks < 2) return KD_OK;
    KD_TRY(kd_host_alloc(&c, 1, sizeof *c, "communicator"));
    *c = (kd_comm){.local_rank = world.local_rank, .timeout_s = timeout_s, .mpi = world.mpi};
    KD_TRY(world.mpi ? kd_mpi_open(world.ranks, timeout_s, &c->control) : kd_tcp_open(&world, timeout_s, &c->control));
    c->rank = c->control->rank;
    c->ranks = c->control->ranks;
    gethostname(c->host, sizeof c->host - 1);
    snprintf(c->who, sizeof c->who, "rank %lld of %lld on %s", (long long)c->rank, (long long)c->ranks, c->host);
    KD_TRY(count_neighbours(c));
    *out = c;
cleanup:
    if (status != KD_OK && c && c->control) kd_comm_close(c, status);
    if (status != KD_OK) free(c);
    return status;
}

/* NCCL between the ranks' GPUs: rank 0's id is what they meet by. */
static kd_status bind_gpu(kd_comm *c, kd_ctx *ctx) {
    kd_status status = KD_OK;
    char mine[KD_NCCL_ID] = {0}, *all = NULL;
    KD_TRY(kd_comm_agree(c, kd_nccl_new(&c->sums))); /* no library: on all ranks alike, one says so */
    KD_TRY(kd_host_alloc(&all, c->ranks, KD_NCCL_ID, "communicator"));
    if (c->rank == 0) KD_TRY(kd_nccl_id(mine));
    KD_TRY(c->control->gather(c->control, mine, all, KD_NCCL_ID));
    KD_TRY(kd_watch_begin(ctx, c->sums, c->control, c->who, c->timeout_s, &c->watch));
    KD_TRY(kd_nccl_join(c->sums, ctx, all, c->rank, c->ranks));
    c->ahead = true;
cleanup:
    free(all);
    return status;
}

kd_status kd_comm_bind(kd_comm *c, kd_ctx *ctx) {
    if (!c) return KD_OK;
    c->exchanges = c->bytes = 0;
    KD_OR_RETURN(kd_comm_agree(c, kd_comm_require_same(c, "kind of device", (uint64_t)kd_ctx_is_gpu(ctx))));
    c->ctx = ctx;
    if (kd_ctx_is_gpu(ctx)) return bind_gpu(c, ctx);
    if (c->mpi) return kd_mpi_ranks(c->control, &c->sums);
    return KD_FAIL(KD_ERR_ARGUMENT,
                   "ranks on CPUs are summed by MPI: start them with mpirun -n %lld, or srun with PMIx",
                   (long long)c->ranks);
}

static void unbind(kd_comm *c) {
    kd_watch_forget(c->watch);
    if (c->sums) c->sums->close(c->sums, c->ctx);
    kd_watch_end(c->watch);
    c->watch = NULL;
    c->sums = NULL;
    c->ctx = NULL;
    c->ahead = false;
}

/* Whether all ranks know what has happened: it is what they last agreed on. */
static bool is_known(const kd_comm *c, kd_status status) {
    return status == KD_OK || (status == c->settled && strcmp(kd_last_error(), c->settled_line) == 0);
}

bool kd_comm_unbind(kd_comm *c, kd_status status) {
    if (!c) return true;
    if (!is_known(c, status)) return false;
    unbind(c);
    return true;
}

void kd_comm_close(kd_comm *c, kd_status status) {
    if (!c) return;
    if (!is_known(c, status)) {
        char line[LINE];
        fflush(stdout);
        snprintf(line, sizeof line, "%s: %s", c->who, kd_last_error());
        c->control->abort(c->control, kd_exit_code(status), line);
    }
    if (status != KD_OK && kd_last_error()[0]) { /* before ranks part: a launcher ends the others once one has gone */
        fflush(stdout);
        dprintf(STDERR_FILENO, "kdiffe: %s\n", kd_last_error());
        kd_forget_error();
    }
    unbind(c);
    c->control->leave(c->control);
    free(c);
}

int64_t kd_comm_rank(const kd_comm *c) { return c ? c->rank : 0; }
int64_t kd_comm_ranks(const kd_comm *c) { return c ? c->ranks : 1; }
int64_t kd_comm_local_ranks(const kd_comm *c) { return c ? c->local_ranks : 1; }
int64_t kd_comm_sharing(const kd_comm *c) { return c ? c->sharing : 1; }
int64_t kd_comm_local_rank(const kd_comm *c) { return c ? c->local_rank : 0; }
const char *kd_comm_library(const kd_comm *c) { return c && c->sums ? c->sums->name : ""; }

kd_status kd_comm_agree(kd_comm *c, kd_status mine) {
    kd_status status = KD_OK;
    int *all = NULL, value = (int)mine;
    char message[1024];
    if (!c) return mine;
    c->settled = KD_OK;
    snprintf(message, sizeof message, "%s", kd_last_error());
    KD_TRY(kd_host_alloc(&all, c->ranks, sizeof *all, "communicator"));
    KD_TRY(c->control->gather(c->control, &value, all, sizeof value));
    for (int64_t r = 0; r < c->ranks && status == KD_OK; r++) {
        if (all[r] == KD_OK) continue;
        status = r != c->rank ? KD_FAIL((kd_status)all[r], "%s", "")
                 : r == 0     ? KD_FAIL(mine, "%s", message)
                              : KD_FAIL(mine, "%s: %s", c->who, message);
        c->settled = status;
        snprintf(c->settled_line, sizeof c->settled_line, "%s", kd_last_error());
    }
cleanup:
    free(all);
    return status;
}

kd_status kd_comm_require_same(kd_comm *c, const char *what, uint64_t hash) {
    kd_status status = KD_OK;
    struct {
        uint64_t hash;
        char host[HOST];
    } *all = NULL, mine = {.hash = hash};
    if (!c) return KD_OK;
    memcpy(mine.host, c->host, sizeof mine.host);
    KD_TRY(kd_host_alloc(&all, c->ranks, sizeof *all, "communicator"));
    KD_TRY(c->control->gather(c->control, &mine, all, sizeof mine));
    for (int64_t r = 1; r < c->ranks; r++)
        if (all[r].hash != all[0].hash)
            KD_FAIL_TO_CLEANUP(KD_ERR_MPI, "rank %lld of %lld on %s has another %s than rank 0 on %s", (long long)r,
                               (long long)c->ranks, all[r].host, what, all[0].host);
cleanup:
    free(all);
    return status;
}

kd_status kd_comm_allreduce_max(kd_comm *c, int *value) {
    kd_status status = KD_OK;
    int *all = NULL;
    if (!c) return KD_OK;
    if (c->ctx) KD_TRY(kd_synchronize(c->ctx)); /* others may wait for a sum that this rank has only enqueued */
    if (c->sums) KD_TRY(c->sums->health(c->sums));
    KD_TRY(kd_host_alloc(&all, c->ranks, sizeof *all, "communicator"));
    KD_TRY(c->control->gather(c->control, value, all, sizeof *value));
    for (int64_t r = 0; r < c->ranks; r++)
        if (all[r] > *value) *value = all[r];
cleanup:
    free(all);
    return status;
}

kd_status kd_comm_confirm(kd_comm *c) {
    int nothing = 0;
    return kd_comm_allreduce_max(c, &nothing);
}

bool kd_comm_synchronizes_before(const kd_comm *c, int64_t step) { return !c || !c->ahead || step % AHEAD == 0; }

void kd_comm_traffic(const kd_comm *c, int64_t *exchanges, int64_t *bytes) {
    *exchanges = c ? c->exchanges : 0;
    *bytes = c ? c->bytes : 0;
}

/* Sums are ranges of the trace like ops. */
static kd_status sum(kd_comm *c, kd_ctx *ctx, kd_sum_type type, int64_t n, void *x) {
    if (!c) return KD_OK;
    c->exchanges++;
    c->bytes += n * (type == KD_SUM_F32 ? 4 : 8);
    kd_range_push(ctx, "sum_ranks");
    kd_status status = c->sums->allreduce(c->sums, ctx, type, n, x);
    kd_range_pop(ctx);
    return status;
}

kd_status kd_comm_allreduce_f32(kd_comm *c, kd_ctx *ctx, int64_t n, float *x) { return sum(c, ctx, KD_SUM_F32, n, x); }
kd_status kd_comm_allreduce_f64(kd_comm *c, kd_ctx *ctx, int64_t n, double *x) { return sum(c, ctx, KD_SUM_F64, n, x); }

kd_status kd_comm_begin_allreduce(kd_comm *c, kd_ctx *ctx, int64_t n, float *x) {
    if (!c || n == 0) return KD_OK;
    c->exchanges++;
    c->bytes += n * (int64_t)sizeof(float);
    kd_trace_span_begin(ctx, "sum_ranks beside");
    return c->sums->begin_allreduce(c->sums, ctx, n, x);
}

kd_status kd_comm_end_allreduce(kd_comm *c, kd_ctx *ctx) {
    if (!c) return KD_OK;
    kd_range_push(ctx, "sum_ranks wait");
    kd_status status = c->sums->end_allreduce(c->sums, ctx);
    kd_range_pop(ctx);
    kd_trace_span_end(ctx);
    return status;
}

kd_status kd_comm_allgatherv(kd_comm *c, kd_ctx *ctx, const int64_t *first, void *x) {
    if (!c) return KD_OK;
    c->exchanges++;
    c->bytes += first[c->ranks];
    kd_range_push(ctx, "exchange_ranks");
    kd_status status = c->sums->allgatherv(c->sums, ctx, first, x);
    kd_range_pop(ctx);
    return status;
}

kd_status kd_comm_broadcast(kd_comm *c, kd_ctx *ctx, int64_t from, int64_t bytes, void *x) {
    kd_status status = KD_OK;
    int64_t *first = NULL;
    if (!c) return KD_OK;
    KD_TRY(kd_host_alloc(&first, c->ranks + 1, sizeof *first, "communicator"));
    for (int64_t r = from + 1; r <= c->ranks; r++) first[r] = bytes;
    status = kd_comm_allgatherv(c, ctx, first, x);
cleanup:
    free(first);
    return status;
}

kd_status kd_comm_alltoallv(kd_comm *c, kd_ctx *ctx, const int64_t *send_first, const void *send,
                            const int64_t *take_first, void *take) {
    c->exchanges++;
    c->bytes += send_first[c->ranks] - send_first[0] - (send_first[c->rank + 1] - send_first[c->rank]);
    kd_range_push(ctx, "turn_ranks");
    kd_status status = c->sums->alltoallv(c->sums, ctx, send_first, send, take_first, take);
    kd_range_pop(ctx);
    return status;
}

kd_status kd_comm_connect(kd_comm *c, kd_ctx *ctx) {
    kd_status status = KD_OK;
    int64_t *first = NULL;
    void *x = NULL;
    if (!c) return KD_OK;
    KD_TRY(kd_host_alloc(&first, c->ranks + 1, sizeof *first, "communicator"));
    KD_TRY(kd_alloc(ctx, 2 * c->ranks, "communicator", &x));
    for (int64_t r = 0; r <= c->ranks; r++) first[r] = r;
    KD_TRY(c->sums->alltoallv(c->sums, ctx, first, x, first, (char *)x + c->ranks));
    KD_TRY(kd_synchronize(ctx));
cleanup:
    kd_release(ctx, x);
    free(first);
    return status;
}

kd_status kd_comm_allgather(kd_comm *c, kd_ctx *ctx, int64_t n, int64_t bytes, void *x) {
    kd_status status = KD_OK;
    int64_t *first = NULL;
    if (!c) return KD_OK;
    KD_TRY(kd_host_alloc(&first, c->ranks + 1, sizeof *first, "communicator"));
    for (int64_t r = 0; r <= c->ranks; r++) first[r] = kd_share_first(n, r, c->ranks) * bytes;
    status = kd_comm_allgatherv(c, ctx, first, x);
cleanup:
    free(first);
    return status;
}

kd_status kd_comm_merge_top(kd_comm *c, kd_ctx *ctx, const kd_rank_lists *l) {
    kd_merge_top_args all = {.rows = l->rows,
                             .k = l->k,
                             .parts = c->ranks,
                             .first = l->first,
                             .index = l->list,
                             .value = l->value,
                             .top = l->top};
    KD_OR_RETURN(kd_comm_allgather(c, ctx, c->ranks, l->rows * l->k * (int64_t)sizeof *l->list, l->list));
    KD_OR_RETURN(kd_comm_allgather(c, ctx, c->ranks, l->rows * l->k * (int64_t)sizeof *l->value, l->value));
    return kd_merge_top(ctx, &all);
}
