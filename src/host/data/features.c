#include "host/data/features.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/npy.h"

static const char feature_suffix[] = "_feat.npy";

static kd_status load_features(const char *folder, const char *file, kd_dataset *dataset, kd_modality *out) {
    kd_status status = KD_OK;
    size_t name_length = strlen(file) - strlen(feature_suffix);
    int64_t rank = 0, shape[KD_NPY_MAX_RANK] = {0};
    char *path = NULL;

    KD_TRY(kd_path_join(folder, file, &path));
    if (name_length == 0 || name_length >= sizeof out->name)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: expected 1 to %zu characters before %s", path, sizeof out->name - 1,
                           feature_suffix);
    memcpy(out->name, file, name_length);
    KD_TRY(kd_npy_read_f32(path, &rank, shape, &out->values));
    if (rank < 1 || rank > 2 || shape[1] < 1)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: expected a matrix of items x features", path);
    if (shape[0] != dataset->items)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: %" PRId64 " rows; expected %" PRId64 ", one for each item", path,
                           shape[0], dataset->items);
    out->width = shape[1];
cleanup:
    free(path);
    return status;
}

static int is_feature_file(const struct dirent *entry) {
    size_t length = strlen(entry->d_name), suffix = strlen(feature_suffix);
    return length >= suffix && strcmp(entry->d_name + length - suffix, feature_suffix) == 0;
}

int kd_features_scan(const char *folder, struct dirent ***entries) {
    return scandir(folder, entries, is_feature_file, alphasort);
}

static int compare_modalities(const void *a, const void *b) {
    return kd_modality_compare(((const kd_modality *)a)->name, ((const kd_modality *)b)->name);
}

kd_status kd_features_load(const char *folder, kd_dataset *dataset) {
    kd_status status = KD_OK;
    struct dirent **entries = NULL;
    int count = kd_features_scan(folder, &entries);

    if (count < 0) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: cannot list: %s", folder, strerror(errno));
    KD_TRY(kd_host_alloc(&dataset->modalities, count, sizeof *dataset->modalities, "modalities"));
    for (; dataset->modality_count < count; dataset->modality_count++)
        KD_TRY(load_features(folder, entries[dataset->modality_count]->d_name, dataset,
                             &dataset->modalities[dataset->modality_count]));
    qsort(dataset->modalities, (size_t)count, sizeof *dataset->modalities, compare_modalities);
cleanup:
    if (status != KD_OK && dataset->modalities != NULL) /* the one that failed is not counted and may hold values */
        free(dataset->modalities[dataset->modality_count].values);
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return status;
}

kd_status kd_dataset_take_name(const char *folder, kd_dataset *dataset) {
    char *resolved = realpath(folder, NULL);
    if (resolved == NULL) return KD_FAIL(KD_ERR_FORMAT, "%s: %s", folder, strerror(errno));
    const char *slash = strrchr(resolved, '/');
    snprintf(dataset->name, sizeof dataset->name, "%s", slash == NULL ? resolved : slash + 1);
    free(resolved);
    return KD_OK;
}
