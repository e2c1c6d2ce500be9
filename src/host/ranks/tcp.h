/* Control by a TCP connection of each rank to rank 0, for jobs that no MPI has started. A thread reads it: the death of
 * a rank shows at once, and one that is silent for timeout_s counts as dead, whatever the program is doing then. */
#ifndef KD_RANKS_TCP_H
#define KD_RANKS_TCP_H

#include "host/ranks/control.h"
#include "host/ranks/world.h"

/* Meets the other ranks where `world` says, for at most timeout_s. KD_ERR_MPI: not all came, or another job's did. */
kd_status kd_tcp_open(const kd_world *world, int64_t timeout_s, kd_control **out);

#endif
