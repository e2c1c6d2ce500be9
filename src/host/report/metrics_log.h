/* metrics.jsonl: one JSON object a line; a start record, one per epoch, an end record. */
#ifndef KD_REPORT_METRICS_LOG_H
#define KD_REPORT_METRICS_LOG_H

#include <stdio.h>

#include "host/train/train.h"

typedef struct cJSON cJSON;

typedef struct kd_metrics_log {
    FILE *stream;
    const char *path;
} kd_metrics_log;

/* Creates the file; `path` must outlive the log. */
kd_status kd_metrics_log_open(const char *path, kd_metrics_log *out);

/* The file of a run that goes on in `epoch`, to be appended to: records of that epoch and later ones, which are to come
 * again, the end record and a line that a killed run left half-written are taken out first; {"event":"resume", epoch,
 * device} follows what is left. The file is whole at any time. KD_ERR_IO, KD_ERR_FORMAT. */
kd_status kd_metrics_log_resume(const char *path, int64_t epoch, const char *device, kd_metrics_log *out);

/* {"event":"start", version, device, data name, hash and split sizes, the ranking protocol}. */
kd_status kd_metrics_log_start(kd_metrics_log *log, const kd_config *config, const kd_dataset *data,
                               const char *device);

/* {"event":"epoch", epoch, losses, denoise, valid, test, seconds, best}; a split without users is left out. */
kd_status kd_metrics_log_epoch(kd_metrics_log *log, const kd_epoch_record *record);

/* {"event":"end", best_epoch, peak_memory_bytes}. */
kd_status kd_metrics_log_end(kd_metrics_log *log, int64_t best_epoch, int64_t peak_bytes);

void kd_metrics_log_close(kd_metrics_log *log);

/* {"recall@20": .., "ndcg@20": .., "precision@20": .., "users": ..}; the caller owns it. */
cJSON *kd_metrics_json(const kd_metrics *metrics);

#endif
