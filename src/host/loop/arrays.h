/* The arrays of a checkpoint, between files, which hold them whole, and the memories of one or several ranks. */
#ifndef KD_LOOP_ARRAYS_H
#define KD_LOOP_ARRAYS_H

#include "host/base/safetensors.h"
#include "host/ranks/layout.h"

/* Of any model: KDiffE has 14 for each modality, and matrices 24 for each. */
enum { KD_MOST_RUN_ARRAYS = 256, KD_MOST_RUN_MATRICES = 512 };

/* The device arrays that a run is made of at a position: whole on every rank, or a range of rows or of columns on each.
 */
typedef struct kd_run_arrays {
    kd_ctx *ctx;
    kd_comm *comm;
    const kd_layout *layout; /* of what is divided by columns */
    float *passing;          /* where matrices are packed, and ranks pass on what is only on one of them */
    int64_t passing_bytes, count, matrices;
    kd_tensor tensor[KD_MOST_RUN_ARRAYS]; /* as in the file, without data */
    void *device[KD_MOST_RUN_ARRAYS];
    struct {
        int64_t matrices, first; /* it is these of `matrix`, each without what lies between its rows; 0: one block */
        int64_t rows;            /* kd_share_columns divides `rows` rows of the one matrix; 0: not */
        kd_mat columns;          /* of which these are the local columns; data NULL: not divided so */
    } parts[KD_MOST_RUN_ARRAYS];
    kd_mat matrix[KD_MOST_RUN_MATRICES];
} kd_run_arrays;

/* Add an array "PREFIX.NAME": n elements that are whole on every rank; a matrix of whose columns a->layout says which
 * are local, or, where that is NULL, all; matrices, one after the other, that are whole on every rank; and `rows` rows
 * that kd_share_columns divides, of which `local` has this rank's. An empty prefix is left out. */
void kd_run_arrays_add(kd_run_arrays *a, const char *prefix, const char *name, kd_dtype dtype, int64_t n, void *device);
void kd_run_arrays_add_columns(kd_run_arrays *a, const char *prefix, const char *name, kd_mat local);
void kd_run_arrays_add_matrices(kd_run_arrays *a, const char *prefix, const char *name, int64_t count,
                                const kd_mat *matrix);
void kd_run_arrays_add_rows(kd_run_arrays *a, const char *prefix, const char *name, int64_t rows, kd_mat local);

/* Eight-byte elements first, so that they are aligned in the file: once, after the last one was added. */
void kd_run_arrays_sort(kd_run_arrays *a);

/* A kd_tensor_source over kd_run_arrays: a piece of an array, whole; `to` NULL: this rank hands over its part of it.
 * Called by all ranks in the same order. */
kd_tensor_source kd_run_arrays_read;

/* Array i = what is local of `whole`, which stays until the context has been synchronized. */
kd_status kd_run_arrays_take(const kd_run_arrays *a, int64_t i, const void *whole);

#endif
