/* The arrays of a checkpoint, between files, which hold them whole, and the memories of one or several ranks. */
#ifndef KD_TRAIN_ARRAYS_H
#define KD_TRAIN_ARRAYS_H

#include "host/base/safetensors.h"
#include "host/model/kdiffe/model.h"

enum { KD_MOST_RUN_ARRAYS = 32 + 14 * KD_MAX_MODALITIES };

/* The device arrays that a run is made of at a position: whole on every rank, or a range of rows or of columns on each.
 */
typedef struct kd_run_arrays {
    kd_ctx *ctx;
    kd_comm *comm;
    const kd_model *model;
    float *passing; /* where ranks pass on what is only on one of them */
    int64_t passing_bytes, count;
    kd_tensor tensor[KD_MOST_RUN_ARRAYS]; /* as in the file, without data */
    void *device[KD_MOST_RUN_ARRAYS];
    struct {
        int64_t rows, bytes; /* kd_share_columns divides `rows` rows of `bytes` bytes; rows 0: not */
        kd_mat columns;      /* some of whose columns are here; data NULL: not */
    } split[KD_MOST_RUN_ARRAYS];
} kd_run_arrays;

/* What is kept of a run at a position. */
void kd_run_arrays_list(kd_model *m, kd_position at, kd_run_arrays *out);

/* A kd_tensor_source over kd_run_arrays: a piece of an array, whole; `to` NULL: this rank hands over its part of it.
 * Called by all ranks in the same order. */
kd_tensor_source kd_run_arrays_read;

/* Array i = what is here of `whole`, which stays until the context has been synchronized. */
kd_status kd_run_arrays_take(const kd_run_arrays *a, int64_t i, const void *whole);

#endif
