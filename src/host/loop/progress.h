/* How far a run has come: stages, losses, positions; whom it tells, and when it stops or is kept. */
#ifndef KD_LOOP_PROGRESS_H
#define KD_LOOP_PROGRESS_H

#include "host/base/tensor.h"
#include "host/config/config.h"
#include "host/eval/metrics.h"
#include "host/ranks/collectives.h"
#include "kernels/pool.h"

typedef enum kd_stage {
    KD_STAGE_ATTENTION, /* once, before the first epoch */
    KD_STAGE_DENOISE_MODALITIES,
    KD_STAGE_DENOISE_KG,
    KD_STAGE_SAMPLE, /* reverse chains and graph rebuilding */
    KD_STAGE_STEPS,  /* BPR and contrastive steps */
    KD_STAGE_EVALUATE,
    KD_STAGE_COUNT
} kd_stage;

/* Short name of a stage: "attention", "denoise_modalities", ... */
const char *kd_stage_name(kd_stage stage);

typedef struct kd_epoch_record {
    int64_t epoch; /* from 0 */
    /* sums over the steps divided by floor(interactions/batch), as the published code logs them */
    double loss, bpr, weight_decay, contrastive;
    double denoise_modality[KD_MAX_MODALITIES]; /* mean over batches of the mean row loss of each modality's denoiser,
                                                   guidance included */
    double denoise_kg;                          /* the same; 0 without a knowledge graph */
    int64_t modality_count;
    char modality[KD_MAX_MODALITIES][64];
    bool evaluated, best;                          /* best: the highest selecting recall so far */
    kd_metrics valid, test;                        /* users == 0 where the split is empty */
    double seconds[KD_STAGE_COUNT], total_seconds; /* wall time of this epoch; ATTENTION only in epoch 0's record */
} kd_epoch_record;

/* Called by the trainer; a failure stops the run. The snapshot is valid during the call only. */
typedef struct kd_observer {
    void *context;
    void (*progress)(void *context, int64_t epoch, kd_stage stage, int64_t done, int64_t total);
    kd_status (*epoch)(void *context, const kd_epoch_record *record);
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

/* Parts of a step's loss, in the order they lie on the device. */
typedef enum kd_loss_part { KD_LOSS_BPR, KD_LOSS_WEIGHT_DECAY, KD_LOSS_CONTRASTIVE, KD_LOSS_PARTS } kd_loss_part;

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
    int64_t steps;  /* since the last one */
    int64_t pauses; /* all of them */
    bool resuming;  /* until the part that `start` names goes on */
    kd_position start;
    double best; /* selecting recall; below 0: none yet */
    int64_t best_epoch, since_best;
    kd_epoch_record record; /* of the epoch under way, as far as it has come */
} kd_progress;

/* Between two steps, before the one at `at`: tells the observer, keeps a checkpoint if one is due, and stops the run
 * with KD_ERR_INTERRUPTED if a signal has asked for it on any rank, which is kept as well. */
kd_status kd_progress_pause(kd_progress *progress, kd_position at, int64_t done, int64_t total);

/* The batch at which a part of a stage begins: 0, or where a resumed run goes on; -1 if it had done the part. To be
 * asked once, when the part begins. */
int64_t kd_progress_first_batch(const kd_progress *progress, kd_stage stage, int64_t part);

#endif
