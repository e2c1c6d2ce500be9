/* What can be trained and what deserves a look, whatever files a data set came from. */
#ifndef KD_DATA_DATASET_CHECK_H
#define KD_DATA_DATASET_CHECK_H

#include "host/data/dataset.h"

enum { KD_DATASET_MAX_WARNINGS = 8 };

/* Findings that do not forbid training, worst first as they stand in dataset_check.c; only those with count > 0. */
typedef struct kd_dataset_warnings {
    int64_t count;
    struct {
        int64_t affected; /* how many users, items, pairs or entities */
        char text[160];   /* one line that begins with that number, as "12 users without training items" */
    } warning[KD_DATASET_MAX_WARNINGS];
} kd_dataset_warnings;

/* KD_ERR_FORMAT, naming the split, row and column, for what cannot be trained: sizes that disagree, ids out of range,
 * pairs unsorted or given twice, no training interaction, a user who has every item (no negative could be drawn), a
 * feature that is not finite, a modality's name given twice. Otherwise fills *warnings, unless it is NULL.
 * KD_ERR_MEMORY. */
kd_status kd_dataset_check(const kd_dataset *dataset, kd_dataset_warnings *warnings);

/* KD_ERR_FORMAT without a validation and a test split: a training could not select its best epoch. */
kd_status kd_dataset_check_held_out(const kd_dataset *dataset);

#endif
