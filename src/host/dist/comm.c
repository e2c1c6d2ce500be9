#include "host/dist/comm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/util/memory.h"

/* What launchers say of the number of ranks. Without any of them MPI is not even started. */
static int64_t ranks_of_launcher(void) {
    static const char *const NAMES[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const char *text = getenv(NAMES[i]);
        if (text && atoll(text) > 1) return atoll(text);
    }
    const char *tasks = getenv("SLURM_NTASKS"), *step = getenv("SLURM_STEP_ID"); /* a step: started by srun */
    return tasks && step && getenv("PMIX_RANK") ? atoll(tasks) : 1;
}

#ifdef KD_WITH_MPI
#include <mpi.h>

struct kd_comm {
    int rank, ranks, local_ranks;
    int64_t timeout_s;
    bool settled; /* a failure is known to all */
    char host[64];
};

enum { MOST = 1 << 30 /* elements of one call: MPI counts in int */ };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Waits with a deadline. Other ranks may share this core: after a moment's polling it is given up between looks. */
static kd_status wait_for(const kd_comm *c, int code, MPI_Request *request) {
    double deadline = now() + (double)c->timeout_s, looked = now();
    int done = 0;
    for (int64_t looks = 0; code == MPI_SUCCESS && !done; looks++) {
        code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (done || looks < 1000) continue;
        double pause = now() - looked;
        looked += pause;
        if (pause > 1.0) deadline += pause; /* this rank was stopped itself: it does not blame the others */
        if (looked > deadline)
            return KD_FAIL(KD_ERR_MPI, "no answer from the other ranks within %" PRId64 " s (--comm-timeout)",
                           c->timeout_s);
        usleep(20);
    }
    return code == MPI_SUCCESS ? KD_OK : KD_FAIL(KD_ERR_MPI, "MPI failed with code %d", code);
}

static kd_status sum(kd_comm *c, int64_t n, int64_t bytes, MPI_Datatype type, void *x) {
    kd_status status = KD_OK;
    if (!c) return KD_OK;
    for (int64_t at = 0; at < n; at += MOST) {
        MPI_Request request;
        int count = (int)(n - at < MOST ? n - at : MOST);
        int code = MPI_Iallreduce(MPI_IN_PLACE, (char *)x + at * bytes, count, type, MPI_SUM, MPI_COMM_WORLD, &request);
        KD_TRY(wait_for(c, code, &request));
    }
cleanup:
    return status;
}

kd_status kd_comm_sum_f32(kd_comm *c, int64_t n, float *x) { return sum(c, n, sizeof *x, MPI_FLOAT, x); }
kd_status kd_comm_sum_f64(kd_comm *c, int64_t n, double *x) { return sum(c, n, sizeof *x, MPI_DOUBLE, x); }

kd_status kd_comm_gather(kd_comm *c, int64_t n, int64_t unit, int64_t bytes, void *x) {
    kd_status status = KD_OK;
    if (!c) return KD_OK;
    int64_t units = (n + unit - 1) / unit;
    for (int r = 0; r < c->ranks; r++) {
        int64_t first = kd_share_first(units, r, c->ranks) * unit, end = kd_share_first(units, r + 1, c->ranks) * unit;
        if (end > n) end = n;
        for (int64_t at = first * bytes; at < end * bytes; at += MOST) {
            MPI_Request request;
            int count = (int)(end * bytes - at < MOST ? end * bytes - at : MOST);
            KD_TRY(wait_for(c, MPI_Ibcast((char *)x + at, count, MPI_BYTE, r, MPI_COMM_WORLD, &request), &request));
        }
    }
cleanup:
    return status;
}

kd_status kd_comm_most(kd_comm *c, int *value) {
    MPI_Request request;
    if (!c) return KD_OK;
    return wait_for(c, MPI_Iallreduce(MPI_IN_PLACE, value, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD, &request), &request);
}

/* all [ranks] = every rank's value. */
static kd_status everyones(kd_comm *c, const void *mine, void *all, int bytes) {
    MPI_Request request;
    int code = MPI_Iallgather(mine, bytes, MPI_BYTE, all, bytes, MPI_BYTE, MPI_COMM_WORLD, &request);
    return wait_for(c, code, &request);
}

kd_status kd_comm_settle(kd_comm *c, kd_status mine) {
    kd_status status = KD_OK;
    int *all = NULL, value = (int)mine;
    char message[1024];
    if (!c) return mine;
    snprintf(message, sizeof message, "%s", kd_last_error());
    KD_TRY(kd_host_alloc(&all, c->ranks, sizeof *all, "ranks"));
    KD_TRY(everyones(c, &value, all, sizeof value));
    for (int r = 0; r < c->ranks && status == KD_OK; r++) {
        if (all[r] == KD_OK) continue;
        c->settled = true;
        status = r != c->rank ? KD_FAIL((kd_status)all[r], "%s", "")
                 : r == 0     ? KD_FAIL(mine, "%s", message)
                              : KD_FAIL(mine, "rank %d of %d on %s: %s", c->rank, c->ranks, c->host, message);
    }
cleanup:
    free(all);
    return status;
}

kd_status kd_comm_same(kd_comm *c, const char *what, uint64_t hash) {
    kd_status status = KD_OK;
    struct {
        uint64_t hash;
        char host[64];
    } *all = NULL, mine = {.hash = hash};
    if (!c) return KD_OK;
    memcpy(mine.host, c->host, sizeof mine.host);
    KD_TRY(kd_host_alloc(&all, c->ranks, sizeof *all, "ranks"));
    KD_TRY(everyones(c, &mine, all, sizeof mine));
    for (int r = 1; r < c->ranks; r++)
        if (all[r].hash != all[0].hash)
            KD_FAIL_TO_CLEANUP(KD_ERR_MPI, "rank %d of %d on %s has another %s than rank 0 on %s", r, c->ranks,
                               all[r].host, what, all[0].host);
cleanup:
    free(all);
    return status;
}

kd_status kd_comm_open(int64_t timeout_s, kd_comm **out) {
    int provided;
    MPI_Comm local;
    kd_comm *c = NULL;
    *out = NULL;
    if (ranks_of_launcher() < 2) return KD_OK;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return KD_FAIL(KD_ERR_MPI, "MPI does not start");
    kd_status status = kd_host_alloc(&c, 1, sizeof *c, "communicator");
    if (status != KD_OK) return status;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &c->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &c->ranks);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &local);
    MPI_Comm_size(local, &c->local_ranks);
    MPI_Comm_free(&local);
    gethostname(c->host, sizeof c->host - 1);
    c->timeout_s = timeout_s;
    *out = c;
    return KD_OK;
}

void kd_comm_close(kd_comm *c, kd_status status) {
    if (!c) return;
    if (status != KD_OK && !c->settled) {
        fprintf(stderr, "kdiffe: rank %d of %d on %s: %s\n", c->rank, c->ranks, c->host, kd_last_error());
        fflush(NULL);
        MPI_Abort(MPI_COMM_WORLD, kd_exit_code(status));
    }
    MPI_Finalize();
    free(c);
}

int64_t kd_comm_rank(const kd_comm *c) { return c ? c->rank : 0; }
int64_t kd_comm_ranks(const kd_comm *c) { return c ? c->ranks : 1; }
int64_t kd_comm_local_ranks(const kd_comm *c) { return c ? c->local_ranks : 1; }

#else

kd_status kd_comm_open(int64_t timeout_s, kd_comm **out) {
    (void)timeout_s;
    *out = NULL;
    if (ranks_of_launcher() < 2) return KD_OK;
    return KD_FAIL(KD_ERR_ARGUMENT,
                   "%" PRId64 " ranks were launched, but this build has no MPI; install "
                   "libopenmpi-dev and build again",
                   ranks_of_launcher());
}

void kd_comm_close(kd_comm *c, kd_status status) { (void)c, (void)status; }
int64_t kd_comm_rank(const kd_comm *c) { return (void)c, 0; }
int64_t kd_comm_ranks(const kd_comm *c) { return (void)c, 1; }
int64_t kd_comm_local_ranks(const kd_comm *c) { return (void)c, 1; }
kd_status kd_comm_settle(kd_comm *c, kd_status mine) { return (void)c, mine; }
kd_status kd_comm_same(kd_comm *c, const char *what, uint64_t hash) { return (void)c, (void)what, (void)hash, KD_OK; }
kd_status kd_comm_sum_f32(kd_comm *c, int64_t n, float *x) { return (void)c, (void)n, (void)x, KD_OK; }
kd_status kd_comm_sum_f64(kd_comm *c, int64_t n, double *x) { return (void)c, (void)n, (void)x, KD_OK; }
kd_status kd_comm_gather(kd_comm *c, int64_t n, int64_t unit, int64_t bytes, void *x) {
    return (void)c, (void)n, (void)unit, (void)bytes, (void)x, KD_OK;
}
kd_status kd_comm_most(kd_comm *c, int *value) { return (void)c, (void)value, KD_OK; }
#endif
