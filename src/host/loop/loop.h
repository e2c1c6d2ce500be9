/* The one training loop: every row of something once, in a new order, a batch a step. */
#ifndef KD_LOOP_LOOP_H
#define KD_LOOP_LOOP_H

#include "host/loop/progress.h"

/* What all loops of a run share; only one is at work at a time. */
typedef struct kd_loop {
    kd_ctx *ctx;
    kd_comm *comm; /* NULL: one rank */
    kd_progress *progress;
    uint64_t seed;
    int64_t batch;
    int32_t *order;    /* [rows] the order of the present pass, on the device */
    double *step_loss; /* [KD_LOSS_PARTS] of a step, which adds to them */
    double *loss;      /* [steps, KD_LOSS_PARTS at most] of the pass's steps so far */
    int64_t steps;     /* the most of any pass */
} kd_loop;

/* For passes over up to `rows` rows. */
kd_status kd_loop_allocate(kd_pool *pool, int64_t rows, int64_t batch, kd_loop *out);
int64_t kd_loop_workspace(int64_t rows);

/* One pass. Forward, losses, backward and update of a step are `step`: its batch is entries *cursor->first ..
 * *cursor->first + count - 1 of loop->order, its losses are added to loop->step_loss [parts]. It is enqueued or
 * recorded, and so must not wait. */
typedef struct kd_pass {
    kd_stage stage;
    int64_t part;      /* of the stage */
    int64_t rows;      /* that are permuted */
    uint32_t instance; /* keys the order, beside seed and epoch */
    int64_t parts;     /* of a step's loss */
    kd_cursor *cursor;
    kd_recording **recording; /* [2] a step of a whole batch, and of the last, shorter one */
    kd_status (*step)(kd_ctx *ctx, void *context, int64_t count, const kd_loop *loop);
    void *context;       /* of step */
    int64_t done, total; /* steps of the whole stage, for the observer */
} kd_pass;

static inline int64_t kd_loop_steps(const kd_loop *loop, int64_t rows) {
    return (rows + loop->batch - 1) / loop->batch;
}

/* Runs the pass, or what a resumed run has left of it, and adds its steps to pass->done. sums [parts] = the sums of its
 * steps' losses over all ranks; where a resumed run had done the pass, they stay as they are and *done is true.
 * KD_ERR_NUMERIC names the first step whose loss is not finite; KD_ERR_INTERRUPTED after a signal. */
kd_status kd_loop_run(kd_loop *loop, int64_t epoch, kd_pass *pass, double *sums, bool *done);

#endif
