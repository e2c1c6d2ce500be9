/* Control and sums by MPI, where mpirun or srun with PMIx started the job. */
#ifndef KD_RANKS_MPI_H
#define KD_RANKS_MPI_H

#include "host/ranks/control.h"
#include "kernels/ranks.h"

/* Starts MPI. KD_ERR_ARGUMENT in a build without it, KD_ERR_MPI if it does not start. */
kd_status kd_mpi_open(int64_t ranks, int64_t timeout_s, kd_control **out);

/* Sums over host memory, for a job that kd_mpi_open opened. */
kd_status kd_mpi_ranks(kd_control *control, kd_ranks **out);

#endif
