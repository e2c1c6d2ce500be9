/* The model as it is handed over when an epoch is the best so far. */
#ifndef KD_TRAIN_SNAPSHOT_H
#define KD_TRAIN_SNAPSHOT_H

#include "host/model/model.h"

/* Hands the parameters and the evaluated views to observer->best; by all ranks. */
kd_status kd_snapshot_hand_over(const kd_model *model, int64_t epoch, const kd_observer *observer);

#endif
