/* The splits of a data set by the library's names for them. */
#ifndef KD_API_SUBSET_H
#define KD_API_SUBSET_H

#include "host/data/dataset.h"
#include "kdiffe/kdiffe.h"

/* The interactions of a split. */
static inline const kd_interactions *kd_dataset_split(const kd_dataset *data, kd_subset subset) {
    return subset == KD_SUBSET_TRAIN ? &data->train : subset == KD_SUBSET_VALID ? &data->valid : &data->test;
}

#endif
