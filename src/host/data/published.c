#include "host/data/published.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/features.h"
#include "host/data/lines.h"
#include "host/data/pairs.h"
#include "host/data/pickle.h"

/* Ids are dense, so a declared size far beyond what the file mentions is a damaged file or a wrong column; believing it
 * would make names and embeddings for every id that nobody uses. */
static kd_status check_density(const char *path, const char *what, int64_t declared, int64_t mentioned) {
    if (declared <= 64 * mentioned + (1 << 20)) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s: %" PRId64 " %s, but only %" PRId64 " rows; expected dense ids from 0", path,
                   declared, what, mentioned);
}

/* Stored values become pairs: zeros are dropped, the rest sorted, each pair once. The matrix gives its arrays away. */
static kd_status to_interactions(kd_sparse_file *matrix, kd_interactions *out) {
    int64_t kept = 0;

    for (int64_t i = 0; i < matrix->nnz; i++) {
        if (matrix->value[i] == 0) continue;
        matrix->row[kept] = matrix->row[i];
        matrix->col[kept++] = matrix->col[i];
    }
    KD_OR_RETURN(kd_pairs_sort(matrix->rows, matrix->cols, kept, matrix->row, matrix->col, NULL));
    out->count = kd_pairs_unique(kept, matrix->row, matrix->col);
    out->user = matrix->row;
    out->item = matrix->col;
    matrix->row = matrix->col = NULL;
    return KD_OK;
}

/* One split. The training split, which comes first, gives users and items; the others have to agree with it. */
static kd_status load_split(const char *folder, const char *name, bool is_train, kd_dataset *dataset,
                            kd_interactions *out) {
    kd_status status = KD_OK;
    kd_sparse_file matrix = {0};
    char *path = NULL;

    KD_TRY(kd_path_join(folder, name, &path));
    if (!is_train && !kd_file_exists(path)) goto cleanup;
    KD_TRY(kd_pickle_read_sparse(path, &matrix));
    if (is_train) {
        KD_TRY(check_density(path, "users", matrix.rows, matrix.nnz));
        KD_TRY(check_density(path, "items", matrix.cols, matrix.nnz));
        dataset->users = matrix.rows;
        dataset->items = matrix.cols;
    }
    if (matrix.rows != dataset->users || matrix.cols != dataset->items)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT,
                           "%s: the matrix is %" PRId64 " x %" PRId64 "; expected %" PRId64 " x %" PRId64
                           " as in trnMat.pkl",
                           path, matrix.rows, matrix.cols, dataset->users, dataset->items);
    KD_TRY(to_interactions(&matrix, out));
    if (is_train && out->count == 0) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: no training interaction", path);
cleanup:
    kd_sparse_file_free(&matrix);
    free(path);
    return status;
}

/* Reads the triples of an open file; entities and relations grow to hold the largest ids. */
static kd_status read_triples(kd_line_reader *reader, kd_dataset *dataset) {
    kd_triples *kg = &dataset->kg;
    int64_t head_capacity = 0, relation_capacity = 0, tail_capacity = 0;
    const int64_t largest = INT32_MAX - 1;

    while (kd_lines_next(reader)) {
        int64_t head = 0, relation = 0, tail = 0, i = kg->count;
        KD_OR_RETURN(kd_lines_integer(reader, "a head", 0, largest, &head));
        KD_OR_RETURN(kd_lines_integer(reader, "a relation", 0, largest, &relation));
        KD_OR_RETURN(kd_lines_integer(reader, "a tail", 0, largest, &tail));
        KD_OR_RETURN(kd_lines_finish(reader, "head, relation and tail"));
        KD_OR_RETURN(kd_host_grow(&kg->head, &head_capacity, i + 1, sizeof *kg->head, reader->path));
        KD_OR_RETURN(kd_host_grow(&kg->relation, &relation_capacity, i + 1, sizeof *kg->relation, reader->path));
        KD_OR_RETURN(kd_host_grow(&kg->tail, &tail_capacity, i + 1, sizeof *kg->tail, reader->path));
        kg->head[i] = (int32_t)head;
        kg->relation[i] = (int32_t)relation;
        kg->tail[i] = (int32_t)tail;
        kg->count++;
        if (head >= dataset->entities) dataset->entities = head + 1;
        if (tail >= dataset->entities) dataset->entities = tail + 1;
        if (relation >= dataset->relations) dataset->relations = relation + 1;
    }
    return KD_OK;
}

static kd_status load_knowledge_graph(const char *folder, kd_dataset *dataset) {
    kd_status status = KD_OK;
    kd_line_reader reader = {0};
    char *path = NULL;

    dataset->entities = dataset->items;
    KD_TRY(kd_path_join(folder, "kg.txt", &path));
    if (!kd_file_exists(path)) goto cleanup;
    KD_TRY(kd_lines_open(path, &reader));
    KD_TRY(read_triples(&reader, dataset));
    if (dataset->entities > dataset->items)
        KD_TRY(check_density(path, "entities", dataset->entities, dataset->kg.count));
    KD_TRY(check_density(path, "relations", dataset->relations, dataset->kg.count));
cleanup:
    kd_lines_close(&reader);
    free(path);
    return status;
}

kd_status kd_published_load(const char *path, kd_dataset *out) {
    kd_status status = KD_OK;

    *out = (kd_dataset){0};
    KD_TRY(kd_dataset_take_name(path, out));
    KD_TRY(load_split(path, "trnMat.pkl", true, out, &out->train));
    KD_TRY(load_split(path, "valMat.pkl", false, out, &out->valid));
    KD_TRY(load_split(path, "tstMat.pkl", false, out, &out->test));
    KD_TRY(load_knowledge_graph(path, out));
    KD_TRY(kd_features_load(path, out));
    KD_TRY(kd_id_map_decimal(out->users, &out->user_ids));
    KD_TRY(kd_id_map_decimal(out->items, &out->item_ids));
    KD_TRY(kd_id_map_decimal(out->entities, &out->entity_ids));
    KD_TRY(kd_id_map_decimal(out->relations, &out->relation_ids));
    out->hash = kd_dataset_hash(out);
cleanup:
    if (status != KD_OK) kd_dataset_free(out);
    return status;
}
