/* A run's folder: config.yaml, metrics.jsonl, model.safetensors. */
#ifndef KD_REPORT_RUN_FOLDER_H
#define KD_REPORT_RUN_FOLDER_H

#include <stdbool.h>

#include "host/base/error.h"

typedef struct kd_run_folder {
    char *path, *config, *metrics, *model; /* paths of the folder and its files */
} kd_run_folder;

/* Makes the folder, and those above it. KD_ERR_ARGUMENT if it is there and not empty, unless `overwrite`: then the
 * three files of an earlier run are removed and everything else is left alone. KD_ERR_IO if it cannot be made. *out is
 * overwritten; on failure it is empty. Free with kd_run_folder_free. */
kd_status kd_run_folder_create(const char *path, bool overwrite, kd_run_folder *out);

/* The paths of a run that was begun and may have no model yet; KD_ERR_FORMAT if it has no configuration. */
kd_status kd_run_folder_resume(const char *path, kd_run_folder *out);

/* The paths of a run that is there; KD_ERR_FORMAT if it has no model. */
kd_status kd_run_folder_open(const char *path, kd_run_folder *out);

void kd_run_folder_free(kd_run_folder *folder);

#endif
