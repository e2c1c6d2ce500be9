/* How ranks find rank 0: at an address, or at one that a shared file tells. */
#ifndef KD_DIST_RENDEZVOUS_H
#define KD_DIST_RENDEZVOUS_H

#include <stddef.h>

#include "host/dist/world.h"

enum { KD_HOST_NAME = 64 };

/* What a rank says when it arrives. */
typedef struct kd_hello {
    char magic[8]; /* of this protocol */
    uint64_t job;
    int64_t rank, ranks;
    char host[KD_HOST_NAME];
} kd_hello;

/* A connection to every other rank, on rank 0, or to rank 0. */
typedef struct kd_link {
    int fd; /* -1: none */
    char host[KD_HOST_NAME];
} kd_link;

/* Fills link[1 .. ranks - 1] on rank 0, link[0] elsewhere. KD_ERR_MPI at the deadline (it says who is missing), or
 * where a rank of another job, or of another number of ranks, is met; then nothing is left open. */
kd_status kd_rendezvous(const kd_world *world, int64_t timeout_s, kd_link *link);

/* Reads or writes all of it; false when the other side is gone or silent for the socket's timeout. */
bool kd_read_all(int fd, void *to, size_t bytes);
bool kd_write_all(int fd, const void *from, size_t bytes);

#endif
