/* The ranks of one job. A communicator is NULL for a run of one rank, which every function here takes and which costs
 * nothing. Collectives are called by all ranks in the same order; each has a deadline, after which it fails with
 * KD_ERR_MPI. MPI moves the bytes; it is started only under a launcher (mpirun, srun). */
#ifndef KD_DIST_COMM_H
#define KD_DIST_COMM_H

#include <stdbool.h>
#include <stdint.h>

#include "host/util/error.h"

typedef struct kd_comm kd_comm;

/* *out = this job's communicator, NULL where no launcher started several ranks. timeout_s: of every wait.
 * KD_ERR_ARGUMENT for a job of several ranks in a build without MPI, KD_ERR_MPI if MPI does not start. */
kd_status kd_comm_open(int64_t timeout_s, kd_comm **out);

/* Ends the communicator. A failure that kd_comm_settle has not made known to all ends every rank of the job at once,
 * with one line that names the rank and its machine: then it does not return. */
void kd_comm_close(kd_comm *comm, kd_status status);

int64_t kd_comm_rank(const kd_comm *comm);  /* 0 without a communicator */
int64_t kd_comm_ranks(const kd_comm *comm); /* 1 without */
/* Ranks of the job on this machine. */
int64_t kd_comm_local_ranks(const kd_comm *comm);

/* The part of 0 .. n - 1 that is rank r's: parts are contiguous, ascending, and differ by at most one in length. */
static inline int64_t kd_share_first(int64_t n, int64_t rank, int64_t ranks) {
    return n / ranks * rank + (n % ranks < rank ? n % ranks : rank);
}

/* The failure of the lowest rank that has one, on all ranks, or KD_OK. Only that rank keeps its message. To be called
 * where all ranks come whatever happened to them. */
kd_status kd_comm_settle(kd_comm *comm, kd_status mine);

/* KD_ERR_MPI unless `hash` is the same on all ranks; the message names the first rank whose `what` differs from
 * rank 0's. */
kd_status kd_comm_same(kd_comm *comm, const char *what, uint64_t hash);

/* x [n] = its sum over the ranks, the same bits on all of them. */
kd_status kd_comm_sum_f32(kd_comm *comm, int64_t n, float *x);
kd_status kd_comm_sum_f64(kd_comm *comm, int64_t n, double *x);

/* x [n * bytes]: each rank's part of 0 .. n - 1 (kd_share_first, in units of `unit` elements) is sent to all others. */
kd_status kd_comm_gather(kd_comm *comm, int64_t n, int64_t unit, int64_t bytes, void *x);

/* *value = the largest of all ranks'. */
kd_status kd_comm_most(kd_comm *comm, int *value);

#endif
