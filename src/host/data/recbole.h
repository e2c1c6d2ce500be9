/* RecBole's atomic files as a data set: ids of any kind, thresholds, k-core filter, splits, linked knowledge graphs. */
#ifndef KD_DATA_RECBOLE_H
#define KD_DATA_RECBOLE_H

#include "host/data/dataset.h"

typedef struct kd_recbole_options {
    double threshold; /* rows with a rating below it are dropped */
    bool has_threshold;
    const char *rating_column; /* NULL: rating, weight or label, whichever the header has */
    int64_t k_core;            /* users and items with fewer interactions are dropped until none is left; 0: keep all */
    double split[3];           /* shares of each user's interactions for train, valid and test */
    bool split_by_label;       /* by the x_label column: 0 train, 1 valid, 2 test */
    uint64_t seed;             /* of the split by shares */
    const char *feature_ids;   /* file that names the rows of the features, one item id a line; NULL: NAME.item */
} kd_recbole_options;

/* threshold none, no k-core, split 0.8, 0.1, 0.1, seed 421. */
void kd_recbole_defaults(kd_recbole_options *out);

/* Reads folder `path`: NAME.inter, or NAME.train.inter, NAME.valid.inter and NAME.test.inter; NAME.kg with NAME.link;
 * <modality>_feat.npy. On failure *out is empty; KD_ERR_FORMAT names file and line. */
kd_status kd_recbole_load(const char *path, const kd_recbole_options *options, kd_dataset *out);

#endif
