/* A training run: what it needs, what it tells its observer, how it ends. */
#ifndef KD_TRAIN_TRAIN_H
#define KD_TRAIN_TRAIN_H

#include "host/base/pool.h"
#include "host/base/tensor.h"
#include "host/config/config.h"
#include "host/data/dataset.h"
#include "host/eval/evaluate.h"

typedef struct kd_ctx kd_ctx;
typedef struct kd_comm kd_comm;

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
    double denoise_modality[KD_MAX_MODALITIES]; /* mean row loss of each modality's denoiser */
    double denoise_kg;                          /* mean row loss; 0 without a knowledge graph */
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

/* Fills *plan; KD_ERR_MEMORY when a size overflows. Allocates nothing. */
kd_status kd_train_plan(const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_memory_plan *plan);

/* Runs the whole training (MODEL section 6 for each epoch), or what is left of it. KD_ERR_NUMERIC names stage and step
 * of a non-finite loss; KD_ERR_INTERRUPTED after a signal, at the next step boundary. The best model was handed over
 * through observer->best. checkpoints: NULL for none; a run that goes on from one gives the bits of one that was never
 * stopped.
 */
kd_status kd_train(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, const kd_observer *observer,
                   const kd_checkpointing *checkpoints, kd_comm *comm);

#endif
