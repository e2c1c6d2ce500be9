/* Which rank of which job this process is, by what its launcher says in the environment. */
#ifndef KD_RANKS_WORLD_H
#define KD_RANKS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"

typedef struct kd_world {
    int64_t ranks;        /* 1: no launcher started several */
    bool mpi;             /* MPI knows the rest: mpirun, or srun with PMIx */
    int64_t rank;         /* the following without MPI */
    int64_t local_rank;   /* -1: to be found out from the machines' names */
    const char *launcher; /* whose variables these are */
    char host[256];       /* where rank 0 listens, */
    int port;
    const char *file; /* or the file that will say it; NULL: host and port */
    uint64_t job;     /* what ranks of one job have in common and others have not; 0 where nothing tells */
} kd_world;

/* *out from the variables of mpirun, srun, torchrun or kdiffe launch. rendezvous: HOST:PORT or file:PATH, before
 * MASTER_ADDR and MASTER_PORT; NULL: those. KD_ERR_ARGUMENT names the variable that is missing or wrong. */
kd_status kd_world_of_environment(const char *rendezvous, kd_world *out);

#endif
