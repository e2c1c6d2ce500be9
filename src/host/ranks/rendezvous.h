/* How ranks find rank 0: at an address, or at one that a shared file tells. */
#ifndef KD_RANKS_RENDEZVOUS_H
#define KD_RANKS_RENDEZVOUS_H

#include "host/ranks/world.h"

enum { KD_HOST_NAME = 64 };

/* A connection to every other rank, on rank 0, or to rank 0. */
typedef struct kd_link {
    int fd; /* -1: none */
    char host[KD_HOST_NAME];
} kd_link;

/* Fills link[1 .. ranks - 1] on rank 0, link[0] elsewhere. KD_ERR_MPI at the deadline (rank 0 says who is missing, the
 * others nothing), or where a rank of another job is met at the address; then nothing is left open. */
kd_status kd_rendezvous(const kd_world *world, int64_t timeout_s, kd_link *link);

#endif
