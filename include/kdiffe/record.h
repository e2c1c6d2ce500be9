/* What a run tells of itself: its memory before it begins, its losses, metrics and times epoch by epoch. */
#ifndef KDIFFE_RECORD_H
#define KDIFFE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "kdiffe/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { KD_MAX_TOPK = 8, KD_MAX_MODALITIES = 16, KD_MAX_MEMORY_PARTS = 24 };

/* Bytes that a run needs on its device, by part, computed before anything is allocated. */
typedef struct kd_memory_plan {
    int64_t parts;
    struct {
        const char *what;
        int64_t bytes;
    } part[KD_MAX_MEMORY_PARTS];
    int64_t total;
} kd_memory_plan;

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
KD_API const char *kd_stage_name(kd_stage stage);

/* Parts of a step's loss, in the order they lie on the device; a model adds to those that it has. */
typedef enum kd_loss_part { KD_LOSS_BPR, KD_LOSS_WEIGHT_DECAY, KD_LOSS_CONTRASTIVE, KD_LOSS_PARTS } kd_loss_part;

/* "bpr", "weight_decay", "contrastive". */
KD_API const char *kd_loss_part_name(kd_loss_part part);

/* What a ranking is worth: averages over users that have held-out items; entry k belongs to topk[k]. */
typedef struct kd_metrics {
    int64_t users; /* users with held-out items */
    int64_t topk_count, topk[KD_MAX_TOPK];
    double recall[KD_MAX_TOPK], ndcg[KD_MAX_TOPK], precision[KD_MAX_TOPK];
} kd_metrics;

typedef struct kd_epoch_record {
    int64_t epoch; /* from 0 */
    /* sums over the steps divided by floor(interactions/batch), as the published code logs them */
    double loss, loss_part[KD_LOSS_PARTS];      /* loss: their sum */
    double denoise_modality[KD_MAX_MODALITIES]; /* mean over batches of the mean row loss of each modality's denoiser,
                                                   guidance included */
    double denoise_kg;                          /* the same; 0 without a knowledge graph */
    int64_t modality_count;
    char modality[KD_MAX_MODALITIES][64];
    bool evaluated, best;                          /* best: the highest selecting recall so far */
    kd_metrics valid, test;                        /* users == 0 where the split is empty */
    double seconds[KD_STAGE_COUNT], total_seconds; /* wall time of this epoch; ATTENTION only in epoch 0's record */
} kd_epoch_record;

#ifdef __cplusplus
}
#endif
#endif
