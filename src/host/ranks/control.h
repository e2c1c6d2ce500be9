/* What ranks tell each other besides numbers to be summed: few bytes, in host memory, seldom. Two ways: MPI (mpi.c)
 * where it started the job, else a connection of each rank to rank 0 (tcp.c). */
#ifndef KD_RANKS_CONTROL_H
#define KD_RANKS_CONTROL_H

#include <stdint.h>

#include "host/base/error.h"

typedef struct kd_control kd_control;
struct kd_control {
    int64_t rank, ranks;
    /* all [ranks, bytes] = every rank's `mine`. KD_ERR_MPI at the deadline, or when a rank is gone. */
    kd_status (*gather)(kd_control *control, const void *mine, void *all, int64_t bytes);
    /* Leaves the job, which has ended well or with what all ranks know of; frees the control. */
    void (*leave)(kd_control *control);
    /* Ends every rank of the job with `code`, from any thread, and says why in `line`: of several ranks that do so at
     * once one is heard. Does not return. */
    void (*abort)(kd_control *control, int code, const char *line);
};

#endif
