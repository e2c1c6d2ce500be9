/* How far a run has come: stages, losses, positions; whom it tells, and when it stops or is kept. */
#ifndef KD_LOOP_PROGRESS_H
#define KD_LOOP_PROGRESS_H

#include "host/base/tensor.h"
#include "host/config/config.h"
#include "host/ranks/collectives.h"
#include "kdiffe/record.h"
#include "kernels/pool.h"

/* Called by the trainer; a failure stops the run. The snapshot is valid during the call only. */
typedef struct kd_observer {
    void *context;
    /* between two steps; false stops the run before the next one, as a signal does */
    bool (*progress)(void *context, int64_t epoch, kd_stage stage, int64_t done, int64_t total);
    kd_status (*epoch)(void *context, const kd_epoch_record *record);
    /* after each epoch: true ends the run, as when its patience is over */
    bool (*enough)(void *context);
    /* parameters under their published names and shapes, and "view.user" [U,w], "view.item" [I,w] whose rows' dot
     * products are the scores */
    kd_status (*best)(void *context, int64_t epoch, const kd_snapshot *snapshot);
    /* once, before a run goes on in `epoch`; best_epoch: the best of the earlier ones, -1 for none */
    kd_status (*resumed)(void *context, int64_t epoch, int64_t best_epoch);
} kd_observer;

/* Where and how often a run is kept on disk, so that it can go on from there. A signal keeps it too. */
typedef struct kd_checkpointing {
    const char *folder, *data_path; /* of the run; of its data, for whoever goes on */
    int64_t epochs, steps;          /* between checkpoints; 0: not by that count */
    int64_t keep;                   /* newest ones that stay */
    bool resume;                    /* go on from the folder's newest */
} kd_checkpointing;

/* The place between two steps of a run: before batch `batch` of part `part` (a denoiser) of a stage of an epoch. */
typedef struct kd_position {
    int64_t epoch;
    kd_stage stage;
    int64_t part, batch;
} kd_position;

/* How far a run has come. */
typedef struct kd_progress {
    const kd_observer *observer;
    kd_comm *comm;                                   /* NULL: one rank */
    const kd_checkpointing *checkpoints;             /* NULL: none are made */
    kd_status (*keep)(void *keeper, kd_position at); /* makes one */
    void *keeper;
    int64_t steps;      /* since the last one */
    int64_t pauses;     /* all of them */
    bool asked_to_stop; /* by the observer */
    bool resuming;      /* until the part that `start` names goes on */
    kd_position start;
    double best; /* selecting recall; below 0: none yet */
    int64_t best_epoch, since_best;
    kd_epoch_record record; /* of the epoch under way, as far as it has come */
} kd_progress;

/* Between two steps, before the one at `at`: tells the observer, keeps a checkpoint if one is due, and stops the run
 * with KD_ERR_INTERRUPTED if a signal or the observer has asked for it on any rank, which is kept as well. */
kd_status kd_progress_pause(kd_progress *progress, kd_position at, int64_t done, int64_t total);

/* The batch at which a part of a stage begins: 0, or where a resumed run goes on; -1 if it had done the part. To be
 * asked once, when the part begins. */
int64_t kd_progress_first_batch(const kd_progress *progress, kd_stage stage, int64_t part);

#endif
