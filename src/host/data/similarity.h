/* A given attention-aware matrix: read from a pickled scipy matrix or a text table, and written as text. */
#ifndef KD_DATA_SIMILARITY_H
#define KD_DATA_SIMILARITY_H

#include <stdint.h>

#include "host/base/error.h"

/* Entries of a sparse [users + items, users + items] matrix, users first, sorted by row then column, each pair once. */
typedef struct kd_similarity {
    int64_t count;
    int32_t *row;
    int32_t *col;
    float *value; /* finite */
} kd_similarity;

/* Reads `path`: a pickle (kd_pickle_read_sparse) if the name ends in .pkl, otherwise text with lines
 * "row<TAB>column<TAB>value" where empty lines and lines that start with '#' are skipped. *out is overwritten.
 * KD_ERR_FORMAT names the line or entry: a matrix of another shape, an index outside 0..users+items-1, a value that is
 * not a finite float32, a pair given twice. On failure *out is empty. */
kd_status kd_similarity_load(const char *path, int64_t users, int64_t items, kd_similarity *out);

/* Writes that text with a '#' header line, whole or not at all; the values read back to the same bits. KD_ERR_IO. */
kd_status kd_similarity_save(const char *path, const kd_similarity *similarity);

/* Frees the arrays and leaves *similarity empty; an empty one is allowed. */
void kd_similarity_free(kd_similarity *similarity);

#endif
