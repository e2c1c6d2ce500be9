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

/* xxh3 of sizes, splits, triples, features and id maps; not of the name or of where the arrays live, so the same data
 * gives the same hash whichever files it was read from. The field `hash` itself takes no part. */
uint64_t kd_dataset_hash(const kd_dataset *dataset);

/* Fills *out with the names "0", "1", ..., "count - 1"; free out->text and out->offset with free(). KD_ERR_MEMORY. */
kd_status kd_id_map_decimal(int64_t count, kd_id_map *out);

/* The order in which a data set keeps modalities: image, text, audio, then the others by name. Less than, equal to or
 * greater than 0, as strcmp. */
int kd_modality_compare(const char *a, const char *b);

#endif
