/* The ranks of one job. A communicator is NULL for a run of one rank, which every function here takes. */
#ifndef KDIFFE_RANKS_H
#define KDIFFE_RANKS_H

#include <stdint.h>

#include "kdiffe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kd_comm kd_comm;

/* *out = this job's communicator, NULL where no launcher started several ranks. rendezvous: where ranks meet that MPI
 * did not start, HOST:PORT or file:PATH; NULL: what their launcher says. timeout_s: of every wait. KD_ERR_ARGUMENT for
 * an environment that does not make sense, or MPI in a build without it; KD_ERR_MPI if ranks do not meet. MPI is
 * initialized unless it is already, and then finalized by kd_comm_close: such a job can open one communicator only. */
KD_API kd_status kd_comm_open(const char *rendezvous, int64_t timeout_s, kd_comm **out);

/* Ends the communicator; before the context that it is bound to. A failure that kd_comm_agree has not made known to
 * all ends every rank of the job at once, with one line that names the rank and its machine: then it does not return.
 * One that is known to all is said here, by the rank that keeps its message, before ranks part. */
KD_API void kd_comm_close(kd_comm *comm, kd_status status);

KD_API int64_t kd_comm_rank(const kd_comm *comm);  /* 0 without a communicator */
KD_API int64_t kd_comm_ranks(const kd_comm *comm); /* 1 without */

/* The failure of the lowest rank that has one, on all ranks, or KD_OK. Only that rank keeps its message. To be called
 * where all ranks come whatever happened to them. */
KD_API kd_status kd_comm_agree(kd_comm *comm, kd_status mine);

#ifdef __cplusplus
}
#endif
#endif
