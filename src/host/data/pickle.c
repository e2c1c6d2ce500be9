#include "host/data/pickle.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "host/base/memory.h"
#include "host/data/pickle_machine.h"

/* The built array under `key` of the matrix's state. */
static kd_status find_array(kd_pickle_machine *machine, const kd_pickle_value *state, const char *key,
                            const kd_pickle_value **out) {
    *out = kd_pickle_lookup(machine, state, key);
    if (*out == NULL || (*out)->kind != KD_PICKLE_ARRAY || (*out)->integer < 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s: the matrix has no array '%s'", machine->path, key);
    return KD_OK;
}

static kd_status read_shape(kd_pickle_machine *machine, const kd_pickle_value *state, kd_sparse_file *out) {
    const kd_pickle_value *shape = kd_pickle_lookup(machine, state, "_shape");
    int64_t size[2] = {-1, -1};
    for (int32_t i = 0; shape != NULL && i < 2; i++) {
        const kd_pickle_value *dimension = kd_pickle_item(machine, shape, i);
        if (dimension != NULL && dimension->kind == KD_PICKLE_INTEGER) size[i] = dimension->integer;
    }
    if (size[0] < 0 || size[1] < 0 || shape->count != 2)
        return KD_FAIL(KD_ERR_FORMAT, "%s: the matrix has no shape of two sizes", machine->path);
    if (size[0] > INT32_MAX || size[1] > INT32_MAX)
        return KD_FAIL(KD_ERR_FORMAT, "%s: shape %" PRId64 " x %" PRId64 "; expected sizes that fit 31 bits",
                       machine->path, size[0], size[1]);
    out->rows = size[0];
    out->cols = size[1];
    return KD_OK;
}

static kd_status allocate_entries(const char *path, int64_t count, kd_sparse_file *out) {
    KD_OR_RETURN(kd_host_alloc(&out->row, count, sizeof *out->row, path));
    KD_OR_RETURN(kd_host_alloc(&out->col, count, sizeof *out->col, path));
    KD_OR_RETURN(kd_host_alloc(&out->value, count, sizeof *out->value, path));
    out->nnz = count;
    return KD_OK;
}

/* into[0..count-1] <- the first elements of an index array, each in 0..limit-1. */
static kd_status read_indices(const char *path, const char *what, const kd_pickle_value *array, int64_t count,
                              int64_t limit, int32_t *into) {
    for (int64_t i = 0; i < count; i++) {
        int64_t index = -1;
        if (!kd_element_integer(array->element, array->data + i * array->element.size, &index) || index < 0 ||
            index >= limit)
            return KD_FAIL(KD_ERR_FORMAT, "%s: entry %" PRId64 ": %s %g is outside 0..%" PRId64, path, i, what,
                           kd_element_real(array->element, array->data + i * array->element.size), limit - 1);
        into[i] = (int32_t)index;
    }
    return KD_OK;
}

static kd_status read_values(const char *path, const kd_pickle_value *array, kd_sparse_file *out) {
    for (int64_t i = 0; i < out->nnz; i++) {
        out->value[i] = kd_element_real(array->element, array->data + i * array->element.size);
        if (!isfinite(out->value[i]))
            return KD_FAIL(KD_ERR_FORMAT,
                           "%s: entry %" PRId64 " (row %d, column %d): expected a finite value, found %g", path, i,
                           out->row[i], out->col[i], out->value[i]);
    }
    return KD_OK;
}

static kd_status read_coo(kd_pickle_machine *machine, const kd_pickle_value *state, kd_sparse_file *out) {
    const kd_pickle_value *row = NULL, *col = NULL, *data = NULL;
    const kd_pickle_value *coords = kd_pickle_lookup(machine, state, "coords"); /* scipy 1.13 and later */

    if (coords != NULL) {
        row = kd_pickle_item(machine, coords, 0);
        col = kd_pickle_item(machine, coords, 1);
        if (row == NULL || col == NULL || coords->count != 2 || row->kind != KD_PICKLE_ARRAY || row->integer < 0 ||
            col->kind != KD_PICKLE_ARRAY || col->integer < 0)
            return KD_FAIL(KD_ERR_FORMAT, "%s: expected 'coords' to be two arrays", machine->path);
    } else {
        KD_OR_RETURN(find_array(machine, state, "row", &row));
        KD_OR_RETURN(find_array(machine, state, "col", &col));
    }
    KD_OR_RETURN(find_array(machine, state, "data", &data));
    if (row->integer != data->integer || col->integer != data->integer)
        return KD_FAIL(KD_ERR_FORMAT, "%s: %" PRId64 " rows, %" PRId64 " columns and %" PRId64 " values", machine->path,
                       row->integer, col->integer, data->integer);
    KD_OR_RETURN(allocate_entries(machine->path, data->integer, out));
    KD_OR_RETURN(read_indices(machine->path, "row", row, out->nnz, out->rows, out->row));
    KD_OR_RETURN(read_indices(machine->path, "column", col, out->nnz, out->cols, out->col));
    return read_values(machine->path, data, out);
}

/* row[indptr[r] .. indptr[r+1]-1] <- r; indptr has to start at 0 and never fall, and to end at nnz. */
static kd_status expand_rows(const char *path, const kd_pickle_value *indptr, kd_sparse_file *out) {
    int64_t previous = 0;
    for (int64_t r = 0; r <= out->rows; r++) {
        int64_t next = -1;
        bool whole = kd_element_integer(indptr->element, indptr->data + r * indptr->element.size, &next);
        if (!whole || next < previous || next > out->nnz || (r == 0 && next != 0))
            return KD_FAIL(KD_ERR_FORMAT, "%s: indptr[%" PRId64 "] is %" PRId64 "; expected %" PRId64 "..%" PRId64,
                           path, r, next, previous, r == 0 ? 0 : out->nnz);
        for (; previous < next; previous++) out->row[previous] = (int32_t)(r - 1);
    }
    return KD_OK;
}

static kd_status read_csr(kd_pickle_machine *machine, const kd_pickle_value *state, kd_sparse_file *out) {
    const kd_pickle_value *indptr = NULL, *indices = NULL, *data = NULL;
    int64_t nnz = -1;

    KD_OR_RETURN(find_array(machine, state, "indptr", &indptr));
    KD_OR_RETURN(find_array(machine, state, "indices", &indices));
    KD_OR_RETURN(find_array(machine, state, "data", &data));
    if (indptr->integer != out->rows + 1)
        return KD_FAIL(KD_ERR_FORMAT, "%s: indptr has %" PRId64 " elements; expected %" PRId64 " (rows + 1)",
                       machine->path, indptr->integer, out->rows + 1);
    /* scipy allows spare room behind the last entry, so the arrays may be longer than indptr says. */
    bool whole = kd_element_integer(indptr->element, indptr->data + out->rows * indptr->element.size, &nnz);
    if (!whole || nnz < 0 || nnz > indices->integer || nnz > data->integer)
        return KD_FAIL(KD_ERR_FORMAT,
                       "%s: indptr ends at %" PRId64 ", but there are %" PRId64 " indices and %" PRId64 " values",
                       machine->path, nnz, indices->integer, data->integer);
    KD_OR_RETURN(allocate_entries(machine->path, nnz, out));
    KD_OR_RETURN(expand_rows(machine->path, indptr, out));
    KD_OR_RETURN(read_indices(machine->path, "column", indices, out->nnz, out->cols, out->col));
    return read_values(machine->path, data, out);
}

kd_status kd_pickle_read_sparse(const char *path, kd_sparse_file *out) {
    kd_status status = KD_OK;
    kd_pickle_machine machine = {0};
    int32_t result = 0;

    *out = (kd_sparse_file){0};
    KD_TRY(kd_pickle_run(path, &machine, &result));
    const kd_pickle_value *matrix = &machine.values[result];
    if (matrix->kind != KD_PICKLE_MATRIX || matrix->state < 0)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: the pickle holds no scipy coo or csr matrix", path);
    const kd_pickle_value *state = &machine.values[matrix->state];
    KD_TRY(read_shape(&machine, state, out));
    KD_TRY(matrix->global == KD_PICKLE_COO_MATRIX ? read_coo(&machine, state, out) : read_csr(&machine, state, out));
cleanup:
    if (status != KD_OK) kd_sparse_file_free(out);
    kd_pickle_close(&machine);
    return status;
}

void kd_sparse_file_free(kd_sparse_file *matrix) {
    free(matrix->row);
    free(matrix->col);
    free(matrix->value);
    *matrix = (kd_sparse_file){0};
}
