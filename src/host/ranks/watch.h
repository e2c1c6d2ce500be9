/* A thread that ends the job when the program can no longer do it: it waits for a GPU that waits for ranks which do not
 * come. */
#ifndef KD_RANKS_WATCH_H
#define KD_RANKS_WATCH_H

#include "host/ranks/control.h"
#include "kernels/ranks.h"

typedef struct kd_watch kd_watch;

/* Watches ctx's waits, each of which has timeout_s, and the health of `ranks`. A failure is said in one line that
 * begins with `who`, and ends every rank. */
kd_status kd_watch_begin(kd_ctx *ctx, kd_ranks *ranks, kd_control *control, const char *who, int64_t timeout_s,
                         kd_watch **out);
/* Looks at waits alone from now on: the ranks are about to go away. */
void kd_watch_forget(kd_watch *watch);
void kd_watch_end(kd_watch *watch);

#endif
