/* What stands behind the library's opaque run: a model's matrices, from a file or in memory, and its data set. */
#ifndef KD_API_RUN_H
#define KD_API_RUN_H

#include "host/base/safetensors.h"
#include "host/data/dataset.h"
#include "host/eval/evaluate.h"
#include "kdiffe/kdiffe.h"
#include "kernels/device.h"

struct kd_run {
    const kd_dataset *data;
    kd_dataset *opened; /* the same, where it is closed with the run */
    int64_t count;
    const kd_tensor *tensor; /* [count] of `file`, or of `kept` */
    kd_safetensors file;
    kd_tensor *kept;
    float *room; /* of the arrays in `kept` */
    kd_views_host views;
    int64_t epoch;
    kd_device device;
    int64_t threads;
    kd_ctx *ctx; /* from the first evaluation or recommendation on */
};

/* *out = the run of a model file, without a data set yet. KD_ERR_FORMAT. */
kd_status kd_run_of_file(const char *model, kd_run **out);

/* *run = the snapshot, taken whole; one that was there is replaced. On every rank of a job, which read in step; those
 * with keep false keep nothing. KD_ERR_MEMORY. */
kd_status kd_run_of_snapshot(const kd_snapshot *snapshot, int64_t epoch, bool keep, kd_run **run);

#endif
