#include "host/loop/arrays.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

void kd_run_arrays_add(kd_run_arrays *a, const char *prefix, const char *name, kd_dtype dtype, int64_t n,
                       void *device) {
    kd_tensor *t = &a->tensor[a->count];
    *t = (kd_tensor){.rank = 1, .shape = {n, 1}, .dtype = dtype};
    snprintf(t->name, sizeof t->name, "%s%s%s", prefix, prefix[0] ? "." : "", name);
    a->device[a->count++] = device;
}

void kd_run_arrays_add_columns(kd_run_arrays *a, const char *prefix, const char *name, kd_mat local) {
    int64_t cols = a->layout ? local.cols / a->layout->own.count * a->layout->width : local.cols;
    kd_run_arrays_add(a, prefix, name, KD_DTYPE_F32, local.rows * cols, local.data);
    if (a->layout) a->split[a->count - 1].columns = local;
}

void kd_run_arrays_add_rows(kd_run_arrays *a, const char *prefix, const char *name, int64_t rows, int64_t cols,
                            float *device) {
    kd_run_arrays_add(a, prefix, name, KD_DTYPE_F32, rows * cols, device);
    a->split[a->count - 1].rows = rows;
    a->split[a->count - 1].bytes = cols * (int64_t)sizeof(float);
}

static bool is_wide(const kd_tensor *t) { return t->dtype == KD_DTYPE_F64 || t->dtype == KD_DTYPE_I64; }

void kd_run_arrays_sort(kd_run_arrays *a) {
    kd_run_arrays from = *a;
    a->count = 0;
    for (int wide = 1; wide >= 0; wide--)
        for (int64_t i = 0; i < from.count; i++) {
            if (is_wide(&from.tensor[i]) != wide) continue;
            a->tensor[a->count] = from.tensor[i];
            a->split[a->count] = from.split[i];
            a->device[a->count++] = from.device[i];
        }
}

/* The bytes of a split array that are rank r's. */
static int64_t first_byte(const kd_run_arrays *a, int64_t i, int64_t r) {
    return kd_share_begin(kd_share_columns(a->split[i].rows), r, kd_comm_ranks(a->comm)) * a->split[i].bytes;
}

/* Bytes first .. end - 1 of array i, all of them rank r's, through all ranks' memories into the first one's `to`. */
static kd_status pass_on(const kd_run_arrays *a, int64_t i, int64_t r, int64_t first, int64_t end, char *to) {
    for (int64_t at = first; at < end; at += a->passing_bytes) {
        int64_t bytes = end - at < a->passing_bytes ? end - at : a->passing_bytes, n = bytes / (int64_t)sizeof(float);
        const char *mine = (const char *)a->device[i] + (at - first_byte(a, i, r));
        if (r == kd_comm_rank(a->comm))
            KD_OR_RETURN(kd_add_scaled(a->ctx, 1.0f, kd_mat_make((float *)(uintptr_t)mine, 1, n), 0.0f,
                                       kd_mat_make(a->passing, 1, n)));
        KD_OR_RETURN(kd_comm_broadcast(a->comm, a->ctx, r, bytes, a->passing));
        if (to) KD_OR_RETURN(kd_download(a->ctx, to + (at - first), a->passing, bytes));
    }
    return KD_OK;
}

kd_status kd_run_arrays_read(void *context, int64_t i, int64_t first, int64_t bytes, void *to) {
    const kd_run_arrays *a = context;
    if (a->split[i].columns.data) return kd_layout_read(a->ctx, a->layout, a->split[i].columns, first, bytes, to);
    if (!a->comm || a->split[i].rows == 0)
        return to ? kd_download(a->ctx, to, (const char *)a->device[i] + first, bytes) : KD_OK;
    for (int64_t r = 0; r < kd_comm_ranks(a->comm); r++) {
        int64_t begin = first_byte(a, i, r), end = first_byte(a, i, r + 1);
        begin = begin > first ? begin : first;
        end = end < first + bytes ? end : first + bytes;
        if (begin < end) KD_OR_RETURN(pass_on(a, i, r, begin, end, to ? (char *)to + (begin - first) : NULL));
    }
    return KD_OK;
}

/* The local columns, of whole rows in the file. */
static kd_status take_columns(const kd_run_arrays *a, int64_t i, const float *whole) {
    kd_status status = KD_OK;
    const kd_layout *t = a->layout;
    kd_mat local = a->split[i].columns;
    float *packed;
    KD_TRY(kd_host_alloc(&packed, local.rows * local.cols, sizeof *packed, "columns of a checkpoint"));
    for (int64_t r = 0; r < local.rows; r++)
        memcpy(packed + r * local.cols, whole + r * t->width + t->own.first, (size_t)local.cols * sizeof *packed);
    status = kd_mat_upload(a->ctx, packed, local);
    if (status == KD_OK) status = kd_synchronize(a->ctx); /* before it is freed */
cleanup:
    free(packed);
    return status;
}

kd_status kd_run_arrays_take(const kd_run_arrays *a, int64_t i, const void *whole) {
    const kd_tensor *t = &a->tensor[i];
    int64_t rank = kd_comm_rank(a->comm), first = 0, end = t->shape[0] * (is_wide(t) ? 8 : 4);
    if (a->split[i].columns.data) return take_columns(a, i, whole);
    if (a->split[i].rows > 0) {
        first = first_byte(a, i, rank);
        end = first_byte(a, i, rank + 1);
    }
    return kd_upload(a->ctx, a->device[i], (const char *)whole + first, end - first);
}
