/* The files that the model's authors published: pickled splits, a text knowledge graph, .npy features. */
#ifndef KD_DATA_PUBLISHED_H
#define KD_DATA_PUBLISHED_H

#include "host/data/dataset.h"

/* Reads folder `path` into *out, which is overwritten:
 * - trnMat.pkl, and tstMat.pkl and valMat.pkl if they are there: [users, items] interactions; what is not 0 is one,
 * repeats count once. Held-out pairs that are also in training stay (kd_dataset_check counts them).
 * - kg.txt if it is there: lines "head relation tail", '#' starts a comment. entities = max(items, 1 + largest entity
 * id), relations = 1 + largest relation id, kg_linked = false.
 * - every <modality>_feat.npy: [items, width], or [items] for width 1.
 * Ids are their own names ("0", "1", ...); the data set is named after the folder.
 * KD_ERR_FORMAT (file, and line or offset): a file that is missing or malformed, shapes that disagree, no training
 * interaction, ids so far beyond the number of rows that they cannot be dense. On failure *out is empty. */
kd_status kd_published_load(const char *path, kd_dataset *out);

#endif
