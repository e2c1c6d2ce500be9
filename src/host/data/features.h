/* What every text format shares: feature arrays beside the interactions, and the name of the folder. */
#ifndef KD_DATA_FEATURES_H
#define KD_DATA_FEATURES_H

#include <dirent.h>

#include "host/data/dataset.h"

/* Every <modality>_feat.npy of the folder by name, as scandir gives them; -1 if it cannot be listed. Free each entry
 * and the list. */
int kd_features_scan(const char *folder, struct dirent ***entries);

/* dataset->modalities = every <modality>_feat.npy of the folder, in kd_modality_compare's order; each must have a row
 * for each of dataset->items. KD_ERR_FORMAT names file and place. */
kd_status kd_features_load(const char *folder, kd_dataset *dataset);

/* dataset->name = the folder's own name, also for "." and names that end in '/'. */
kd_status kd_dataset_take_name(const char *folder, kd_dataset *dataset);

#endif
