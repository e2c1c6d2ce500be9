#include "host/ranks/mpi.h"

#include <inttypes.h>

#ifdef KD_WITH_MPI
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/memory.h"

typedef struct mpi {
    kd_control control;
    int64_t timeout_s;
    bool initialized; /* by kd_mpi_open, whose it is then to finalize */
} mpi;

enum { MOST = 1 << 30 /* elements of one call: MPI counts in int */, UNDER_WAY = 64 };

/* Sums in host memory; those that were begun are waited for together. */
typedef struct mpi_ranks {
    kd_ranks ranks;
    const mpi *job;
    int count;
    MPI_Request begun[UNDER_WAY];
} mpi_ranks;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Waits with a deadline. Other ranks may share this core: after a moment's polling it is given up between looks. */
static kd_status wait_for(const mpi *m, int code, int count, MPI_Request *request) {
    double deadline = now() + (double)m->timeout_s, looked = now();
    int done = 0;
    for (int64_t looks = 0; code == MPI_SUCCESS && !done; looks++) {
        code = MPI_Testall(count, request, &done, MPI_STATUSES_IGNORE);
        if (done || looks < 1000) continue;
        double pause = now() - looked;
        looked += pause;
        if (pause > 1.0) deadline += pause; /* this rank was stopped itself: it does not blame the others */
        if (looked > deadline)
            return KD_FAIL(KD_ERR_MPI, "no answer from the other ranks within %" PRId64 " s (--comm-timeout)",
                           m->timeout_s);
        usleep(20);
    }
    return code == MPI_SUCCESS ? KD_OK : KD_FAIL(KD_ERR_MPI, "MPI failed with code %d", code);
}

static kd_status gather(kd_control *control, const void *mine, void *all, int64_t bytes) {
    const mpi *m = (const mpi *)control;
    MPI_Request request;
    int code = MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD, &request);
    return wait_for(m, code, 1, &request);
}

static void leave(kd_control *control) {
    if (((const mpi *)control)->initialized) MPI_Finalize();
    free(control);
}

static void abort_job(kd_control *control, int code, const char *line) {
    (void)control;
    dprintf(STDERR_FILENO, "kdiffe: %s\n", line);
    MPI_Abort(MPI_COMM_WORLD, code);
}

kd_status kd_mpi_open(int64_t ranks, int64_t timeout_s, kd_control **out) {
    int provided, rank, size, before, over;
    mpi *m = NULL;
    *out = NULL;
    MPI_Initialized(&before);
    MPI_Finalized(&over);
    if (over) return KD_FAIL(KD_ERR_MPI, "MPI was finalized and cannot start again in this process");
    if (!before && MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return KD_FAIL(KD_ERR_MPI, "MPI does not start");
    KD_OR_RETURN(kd_host_alloc(&m, 1, sizeof *m, "communicator"));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size < 2) { /* each of them would train on its own, into one folder */
        free(m);
        return KD_FAIL(KD_ERR_ARGUMENT,
                       "the launcher says %" PRId64
                       " ranks, but to MPI this one is alone: the launcher is of another MPI "
                       "than this build's Open MPI",
                       ranks);
    }
    *m = (mpi){{rank, size, gather, leave, abort_job}, timeout_s, !before};
    *out = &m->control;
    return KD_OK;
}

static kd_status end_allreduce(kd_ranks *ranks, kd_ctx *ctx) {
    mpi_ranks *r = (mpi_ranks *)ranks;
    int count = r->count;
    (void)ctx;
    r->count = 0;
    return wait_for(r->job, MPI_SUCCESS, count, r->begun);
}

static kd_status begin_sum(mpi_ranks *r, kd_sum_type type, int64_t n, void *x) {
    int64_t bytes = type == KD_SUM_F32 ? 4 : 8;
    for (int64_t at = 0; at < n; at += MOST) {
        int count = (int)(n - at < MOST ? n - at : MOST);
        KD_OR_RETURN(r->count < UNDER_WAY ? KD_OK : end_allreduce(&r->ranks, NULL));
        int code =
            MPI_Iallreduce(MPI_IN_PLACE, (char *)x + at * bytes, count, type == KD_SUM_F32 ? MPI_FLOAT : MPI_DOUBLE,
                           MPI_SUM, MPI_COMM_WORLD, &r->begun[r->count]);
        if (code != MPI_SUCCESS) return KD_FAIL(KD_ERR_MPI, "MPI failed with code %d", code);
        r->count++;
    }
    return KD_OK;
}

static kd_status begin_allreduce(kd_ranks *ranks, kd_ctx *ctx, int64_t n, float *x) {
    (void)ctx;
    return begin_sum((mpi_ranks *)ranks, KD_SUM_F32, n, x);
}

static kd_status allreduce(kd_ranks *ranks, kd_ctx *ctx, kd_sum_type type, int64_t n, void *x) {
    kd_status status = begin_sum((mpi_ranks *)ranks, type, n, x);
    return status == KD_OK ? end_allreduce(ranks, ctx) : status;
}

static kd_status allgatherv(kd_ranks *ranks, kd_ctx *ctx, const int64_t *first, void *x) {
    const mpi_ranks *r = (const mpi_ranks *)ranks;
    (void)ctx;
    for (int64_t from = 0; from < r->job->control.ranks; from++)
        for (int64_t at = first[from]; at < first[from + 1]; at += MOST) {
            MPI_Request request;
            int count = (int)(first[from + 1] - at < MOST ? first[from + 1] - at : MOST);
            int code = MPI_Ibcast((char *)x + at, count, MPI_BYTE, (int)from, MPI_COMM_WORLD, &request);
            KD_OR_RETURN(wait_for(r->job, code, 1, &request));
        }
    return KD_OK;
}

/* A block to one rank while another's is taken: in pieces, of which each side has as many as its own block needs. */
static kd_status swap(const mpi *m, int to, const char *send, int64_t send_bytes, int from, char *take,
                      int64_t take_bytes) {
    kd_status status = KD_OK;
    for (int64_t at = 0; (at < send_bytes || at < take_bytes) && status == KD_OK; at += MOST) {
        MPI_Request request[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
        int code = MPI_SUCCESS;
        if (at < take_bytes)
            code = MPI_Irecv(take + at, (int)(take_bytes - at < MOST ? take_bytes - at : MOST), MPI_BYTE, from, 0,
                             MPI_COMM_WORLD, &request[0]);
        if (at < send_bytes && code == MPI_SUCCESS)
            code = MPI_Isend(send + at, (int)(send_bytes - at < MOST ? send_bytes - at : MOST), MPI_BYTE, to, 0,
                             MPI_COMM_WORLD, &request[1]);
        status = wait_for(m, code, 2, request);
    }
    return status;
}

/* By distance: in every step all ranks send, and every rank to another one. */
static kd_status alltoallv(kd_ranks *ranks, kd_ctx *ctx, const int64_t *send_first, const void *send,
                           const int64_t *take_first, void *take) {
    const mpi *m = ((const mpi_ranks *)ranks)->job;
    int64_t mine = m->control.rank, count = m->control.ranks;
    (void)ctx;
    memcpy((char *)take + take_first[mine], (const char *)send + send_first[mine],
           (size_t)(send_first[mine + 1] - send_first[mine]));
    for (int64_t distance = 1; distance < count; distance++) {
        int64_t to = (mine + distance) % count, from = (mine - distance + count) % count;
        KD_OR_RETURN(swap(m, (int)to, (const char *)send + send_first[to], send_first[to + 1] - send_first[to],
                          (int)from, (char *)take + take_first[from], take_first[from + 1] - take_first[from]));
    }
    return KD_OK;
}

static kd_status health(kd_ranks *ranks) { return (void)ranks, KD_OK; /* every wait has seen to it */ }
static void close_ranks(kd_ranks *ranks, kd_ctx *ctx) {
    (void)ctx;
    free(ranks);
}

kd_status kd_mpi_ranks(kd_control *control, kd_ranks **out) {
    mpi_ranks *r;
    KD_OR_RETURN(kd_host_alloc(&r, 1, sizeof *r, "communicator"));
    *r = (mpi_ranks){{"MPI", allreduce, begin_allreduce, end_allreduce, allgatherv, alltoallv, health, close_ranks},
                     (const mpi *)control,
                     0,
                     {0}};
    *out = &r->ranks;
    return KD_OK;
}

#else

kd_status kd_mpi_open(int64_t ranks, int64_t timeout_s, kd_control **out) {
    (void)timeout_s;
    *out = NULL;
    return KD_FAIL(KD_ERR_ARGUMENT,
                   "%" PRId64 " ranks were launched, but this build has no MPI; install libopenmpi-dev and build again",
                   ranks);
}

kd_status kd_mpi_ranks(kd_control *control, kd_ranks **out) {
    (void)control, (void)out;
    return KD_FAIL(KD_ERR_ARGUMENT, "this build has no MPI");
}
#endif
