/* A run: a model, and what it takes to train any. Laid out once, before the first epoch. */
#ifndef KD_TRAIN_TRAINER_H
#define KD_TRAIN_TRAINER_H

#include "host/loop/loop.h"
#include "host/model/model.h"

typedef struct kd_trainer {
    kd_ctx *ctx;   /* NULL: counting mode */
    kd_comm *comm; /* NULL: one rank */
    const kd_config *config;
    const kd_dataset *data;
    kd_pool pool;
    kd_plan *plan;
    kd_model *model;
    kd_progress progress;
    kd_loop loop;
    int32_t *user, *positive, *negative; /* [interactions] */
    kd_cursor *cursor;                   /* of the interactions */
    kd_recording *step[2];               /* a step of a whole batch, and of the last, shorter one */
    kd_ranker ranker;
    kd_csr valid, test; /* held-out rows; row_ptr NULL where the split is empty */
} kd_trainer;

/* Plans the model and lays out all device memory. ctx NULL: nothing is allocated, bytes are counted into *memory.
 * To be closed also after a failure. The trainer is not to be copied afterwards. */
kd_status kd_trainer_open(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, kd_comm *comm,
                          kd_memory_plan *memory, kd_trainer *out);

/* Uploads data and graphs, draws initial parameters. similarity: S in the bipartite graph's CSR order or NULL. */
kd_status kd_trainer_fill(kd_trainer *trainer, const kd_bipartite *graph, const float *similarity);

void kd_trainer_close(kd_trainer *trainer);

/* One whole epoch, or what a resumed run has left of it; fills progress.record but for its `best`. */
kd_status kd_train_epoch(kd_trainer *trainer, int64_t epoch);

/* BPR and contrastive steps over all interactions; fills the record's losses. */
kd_status kd_train_steps(kd_trainer *trainer, int64_t epoch);

/* Metrics of the held-out splits; leaves the evaluated views where the model's matrices find them. */
kd_status kd_evaluate_epoch(kd_trainer *trainer, int64_t epoch);

#endif
