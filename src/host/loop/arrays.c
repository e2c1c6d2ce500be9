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
    if (a->layout) a->parts[a->count - 1].columns = local;
}

void kd_run_arrays_add_matrices(kd_run_arrays *a, const char *prefix, const char *name, int64_t count,
                                const kd_mat *matrix) {
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++) {
        a->matrix[a->matrices + i] = matrix[i];
        n += matrix[i].rows * matrix[i].cols;
    }
    kd_run_arrays_add(a, prefix, name, KD_DTYPE_F32, n, NULL);
    a->parts[a->count - 1].matrices = count;
    a->parts[a->count - 1].first = a->matrices;
    a->matrices += count;
}

void kd_run_arrays_add_rows(kd_run_arrays *a, const char *prefix, const char *name, int64_t rows, kd_mat local) {
    kd_run_arrays_add_matrices(a, prefix, name, 1, &local);
    a->tensor[a->count - 1].shape[0] = rows * local.cols;
    a->parts[a->count - 1].rows = rows;
}

static bool is_wide(const kd_tensor *t) { return t->dtype == KD_DTYPE_F64 || t->dtype == KD_DTYPE_I64; }

void kd_run_arrays_sort(kd_run_arrays *a) {
    kd_run_arrays from = *a;
    a->count = 0;
    for (int wide = 1; wide >= 0; wide--)
        for (int64_t i = 0; i < from.count; i++) {
            if (is_wide(&from.tensor[i]) != wide) continue;
            a->tensor[a->count] = from.tensor[i];
            a->parts[a->count] = from.parts[i];
            a->device[a->count++] = from.device[i];
        }
}

static int64_t packed_bytes(kd_mat m) { return m.rows * m.cols * (int64_t)sizeof(float); }

/* Where rank r's rows begin in an array that is divided by rows. */
static int64_t first_byte(const kd_run_arrays *a, int64_t i, int64_t r) {
    int64_t row = a->matrix[a->parts[i].first].cols * (int64_t)sizeof(float);
    return kd_share_begin(kd_share_columns(a->parts[i].rows), r, kd_comm_ranks(a->comm)) * row;
}

/* What begins with byte `first` of a matrix without what lies between its rows, as far as it is a matrix too and room
 * for it: whole rows, or some of one. */
static kd_mat piece(const kd_run_arrays *a, kd_mat m, int64_t first, int64_t end) {
    int64_t at = first / (int64_t)sizeof(float),
            bytes = end - first < a->passing_bytes ? end - first : a->passing_bytes;
    int64_t n = bytes / (int64_t)sizeof(float), column = at % m.cols;
    m.data += at / m.cols * m.ld + column;
    m.rows = column == 0 && n >= m.cols ? n / m.cols : 1;
    if (column > 0 || n < m.cols) m.cols = n < m.cols - column ? n : m.cols - column;
    return m;
}

/* Bytes first .. end - 1 of a matrix into `to`, which may be NULL: every rank's own, or, from >= 0, those of that rank,
 * by way of all ranks' memories. */
static kd_status read_matrix(const kd_run_arrays *a, kd_mat m, int64_t from, int64_t first, int64_t end, char *to) {
    int64_t bytes;
    if (from < 0 && !to) return KD_OK;
    if (from < 0 && m.ld == m.cols) return kd_download(a->ctx, to, (const char *)m.data + first, end - first);
    for (int64_t at = first; at < end; at += bytes) {
        kd_mat some = piece(a, m, at, end), passing = kd_mat_make(a->passing, some.rows, some.cols);
        bytes = packed_bytes(some);
        if (from < 0 || from == kd_comm_rank(a->comm)) KD_OR_RETURN(kd_add_scaled(a->ctx, 1.0f, some, 0.0f, passing));
        if (from >= 0) KD_OR_RETURN(kd_comm_broadcast(a->comm, a->ctx, from, bytes, a->passing));
        if (to) KD_OR_RETURN(kd_download(a->ctx, to + (at - first), a->passing, bytes));
    }
    return KD_OK;
}

static kd_status read_rows(const kd_run_arrays *a, int64_t i, int64_t first, int64_t end, char *to) {
    for (int64_t r = 0; r < kd_comm_ranks(a->comm); r++) {
        int64_t base = first_byte(a, i, r), begin = base > first ? base : first, last = first_byte(a, i, r + 1);
        if (last > end) last = end;
        if (begin < last)
            KD_OR_RETURN(read_matrix(a, a->matrix[a->parts[i].first], a->comm ? r : -1, begin - base, last - base,
                                     to ? to + (begin - first) : NULL));
    }
    return KD_OK;
}

static kd_status read_matrices(const kd_run_arrays *a, int64_t i, int64_t first, int64_t end, char *to) {
    int64_t base = 0;
    for (int64_t k = 0; to && k < a->parts[i].matrices; k++) {
        kd_mat m = a->matrix[a->parts[i].first + k];
        int64_t begin = base > first ? base : first, last = base + packed_bytes(m);
        if (last > end) last = end;
        if (begin < last) KD_OR_RETURN(read_matrix(a, m, -1, begin - base, last - base, to + (begin - first)));
        base += packed_bytes(m);
    }
    return KD_OK;
}

kd_status kd_run_arrays_read(void *context, int64_t i, int64_t first, int64_t bytes, void *to) {
    const kd_run_arrays *a = context;
    if (a->parts[i].columns.data) return kd_layout_read(a->ctx, a->layout, a->parts[i].columns, first, bytes, to);
    if (a->parts[i].rows > 0) return read_rows(a, i, first, first + bytes, to);
    if (a->parts[i].matrices > 0) return read_matrices(a, i, first, first + bytes, to);
    return to ? kd_download(a->ctx, to, (const char *)a->device[i] + first, bytes) : KD_OK;
}

/* The local columns, of whole rows in the file. */
static kd_status take_columns(const kd_run_arrays *a, int64_t i, const float *whole) {
    kd_status status = KD_OK;
    const kd_layout *t = a->layout;
    kd_mat local = a->parts[i].columns;
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

static kd_status take_matrix(const kd_run_arrays *a, kd_mat m, const char *packed) {
    int64_t bytes, end = packed_bytes(m);
    if (m.ld == m.cols) return kd_upload(a->ctx, m.data, packed, end);
    for (int64_t at = 0; at < end; at += bytes) {
        kd_mat some = piece(a, m, at, end), passing = kd_mat_make(a->passing, some.rows, some.cols);
        bytes = packed_bytes(some);
        KD_OR_RETURN(kd_upload(a->ctx, a->passing, packed + at, bytes));
        KD_OR_RETURN(kd_add_scaled(a->ctx, 1.0f, passing, 0.0f, some));
    }
    return KD_OK;
}

kd_status kd_run_arrays_take(const kd_run_arrays *a, int64_t i, const void *whole) {
    const kd_tensor *t = &a->tensor[i];
    const char *from = whole;
    if (a->parts[i].columns.data) return take_columns(a, i, whole);
    if (a->parts[i].matrices == 0) return kd_upload(a->ctx, a->device[i], whole, t->shape[0] * (is_wide(t) ? 8 : 4));
    if (a->parts[i].rows > 0) from += first_byte(a, i, kd_comm_rank(a->comm));
    for (int64_t k = 0; k < a->parts[i].matrices; k++) {
        kd_mat m = a->matrix[a->parts[i].first + k];
        KD_OR_RETURN(take_matrix(a, m, from));
        from += packed_bytes(m);
    }
    return KD_OK;
}
