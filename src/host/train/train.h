/* A training run: what it needs, what it tells its observer, how it ends. */
#ifndef KD_TRAIN_TRAIN_H
#define KD_TRAIN_TRAIN_H

#include "host/data/dataset.h"
#include "host/loop/progress.h"

/* Fills *plan; KD_ERR_MEMORY when a size overflows. Allocates nothing. */
kd_status kd_train_plan(const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_memory_plan *plan);

/* Runs the whole training (docs/model.md#an-epoch for each epoch), or what is left of it. KD_ERR_NUMERIC names stage
 * and step of a non-finite loss; KD_ERR_INTERRUPTED after a signal, at the next step boundary. The best model was
 * handed over through observer->best. checkpoints: NULL for none; a run that goes on from one gives the bits of one
 * that was never stopped.
 */
kd_status kd_train(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, const kd_observer *observer,
                   const kd_checkpointing *checkpoints, kd_comm *comm);

#endif
