/* What the parts of the RecBole reader hand to each other. */
#ifndef KD_DATA_RECBOLE_INNER_H
#define KD_DATA_RECBOLE_INNER_H

#include "host/data/dataset.h"
#include "host/data/interner.h"

/* Rows of the interaction files, in file order; split 0 train, 1 valid, 2 test, -1 not yet said. */
typedef struct kd_recbole_rows {
    int64_t count, capacity;
    struct kd_recbole_row {
        int32_t user, item, split;
    } * row;
} kd_recbole_rows;

/* Drops users and items with fewer than k rows until none is left. */
kd_status kd_recbole_core(int64_t k, int64_t users, int64_t items, kd_recbole_rows *rows);

/* Gives every row a split by shares: each user's n rows are ordered by a draw keyed (seed, user, item); the first
 * floor(n share) are validation, the next test, the rest training. As in RecBole a user too short for a share still
 * gives one row to test, then one to validation, while training keeps at least one. */
kd_status kd_recbole_split(const double share[3], uint64_t seed, kd_recbole_rows *rows);

/* NAME.kg and NAME.link, once items are final; items come first among the entities. */
kd_status kd_recbole_graph(const char *folder, const char *name, const kd_interner *items, kd_dataset *out);

/* Every <modality>_feat.npy; its rows are named by `ids` and put in the order of the items. KD_ERR_FORMAT for an item
 * without a row, or features without ids. */
kd_status kd_recbole_features(const char *folder, const kd_interner *ids, const kd_interner *items, kd_dataset *out);

#endif
