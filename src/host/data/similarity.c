#include "host/data/similarity.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/data/lines.h"
#include "host/data/pairs.h"
#include "host/data/pickle.h"

static kd_status load_pickle(const char *path, int64_t nodes, kd_similarity *out) {
    kd_status status = KD_OK;
    kd_sparse_file matrix = {0};

    KD_TRY(kd_pickle_read_sparse(path, &matrix));
    if (matrix.rows != nodes || matrix.cols != nodes)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT,
                           "%s: the matrix is %" PRId64 " x %" PRId64 "; expected users + items = %" PRId64
                           " rows and columns",
                           path, matrix.rows, matrix.cols, nodes);
    KD_TRY(kd_host_alloc(&out->value, matrix.nnz, sizeof *out->value, path));
    for (int64_t i = 0; i < matrix.nnz; i++) {
        out->value[i] = (float)matrix.value[i];
        if (!isfinite(out->value[i]))
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: entry %" PRId64 ": %g does not fit float32", path, i,
                               matrix.value[i]);
    }
    out->row = matrix.row;
    out->col = matrix.col;
    out->count = matrix.nnz;
    matrix.row = matrix.col = NULL;
cleanup:
    kd_sparse_file_free(&matrix);
    return status;
}

static kd_status load_text(const char *path, int64_t nodes, kd_similarity *out) {
    kd_status status = KD_OK;
    kd_line_reader reader = {0};
    int64_t row_capacity = 0, col_capacity = 0, value_capacity = 0;

    KD_TRY(kd_lines_open(path, &reader));
    while (kd_lines_next(&reader)) {
        int64_t row = 0, col = 0, i = out->count;
        KD_TRY(kd_host_grow(&out->row, &row_capacity, i + 1, sizeof *out->row, path));
        KD_TRY(kd_host_grow(&out->col, &col_capacity, i + 1, sizeof *out->col, path));
        KD_TRY(kd_host_grow(&out->value, &value_capacity, i + 1, sizeof *out->value, path));
        KD_TRY(kd_lines_integer(&reader, "a row", 0, nodes - 1, &row));
        KD_TRY(kd_lines_integer(&reader, "a column", 0, nodes - 1, &col));
        KD_TRY(kd_lines_float(&reader, "a value", &out->value[i]));
        KD_TRY(kd_lines_finish(&reader, "row, column and value"));
        out->row[i] = (int32_t)row;
        out->col[i] = (int32_t)col;
        out->count++;
    }
cleanup:
    kd_lines_close(&reader);
    return status;
}

kd_status kd_similarity_load(const char *path, int64_t users, int64_t items, kd_similarity *out) {
    kd_status status = KD_OK;
    int64_t nodes = users + items;
    size_t length = strlen(path);
    bool is_pickle = length >= 4 && strcmp(path + length - 4, ".pkl") == 0;

    *out = (kd_similarity){0};
    KD_TRY(is_pickle ? load_pickle(path, nodes, out) : load_text(path, nodes, out));
    KD_TRY(kd_pairs_sort(nodes, nodes, out->count, out->row, out->col, out->value));
    for (int64_t i = 1; i < out->count; i++)
        if (out->row[i] == out->row[i - 1] && out->col[i] == out->col[i - 1])
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: row %d, column %d is given more than once", path, out->row[i],
                               out->col[i]);
cleanup:
    if (status != KD_OK) kd_similarity_free(out);
    return status;
}

kd_status kd_similarity_save(const char *path, const kd_similarity *similarity) {
    kd_status status = KD_OK;
    kd_atomic_file file = {0};

    KD_TRY(kd_atomic_open(path, &file));
    fprintf(file.stream, "# row\tcolumn\tvalue (nodes: users first, then items)\n");
    for (int64_t i = 0; i < similarity->count; i++) /* 9 digits bring every float32 back */
        fprintf(file.stream, "%d\t%d\t%.9g\n", similarity->row[i], similarity->col[i], (double)similarity->value[i]);
    KD_TRY(kd_atomic_commit(&file)); /* a failed write shows here */
cleanup:
    kd_atomic_abort(&file);
    return status;
}

void kd_similarity_free(kd_similarity *similarity) {
    free(similarity->row);
    free(similarity->col);
    free(similarity->value);
    *similarity = (kd_similarity){0};
}
