/* Pickled scipy matrices, read by a machine that can construct nothing else (pickle_machine.h). */
#ifndef KD_DATA_PICKLE_H
#define KD_DATA_PICKLE_H

#include <stdint.h>

#include "host/base/error.h"

/* A sparse matrix as the file holds it: entries in file order, duplicates and explicit zeros kept. */
typedef struct kd_sparse_file {
    int64_t rows, cols, nnz;
    int32_t *row;  /* [nnz] in 0..rows-1 */
    int32_t *col;  /* [nnz] in 0..cols-1 */
    double *value; /* [nnz] finite */
} kd_sparse_file;

/* Reads a scipy coo_matrix or csr_matrix pickled with protocol 2 to 5; *out is overwritten. KD_ERR_FORMAT, with the
 * file and the byte offset, for anything else that the pickle asks for (it is named, and nothing of it is run), a
 * truncated file, and indices or values out of range. Memory is bounded by a small multiple of the file's size. On
 * failure *out is empty. */
kd_status kd_pickle_read_sparse(const char *path, kd_sparse_file *out);

/* Frees the arrays and leaves *matrix empty; an empty one is allowed. */
void kd_sparse_file_free(kd_sparse_file *matrix);

#endif
