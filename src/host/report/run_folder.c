#include "host/report/run_folder.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/base/file.h"

static kd_status name_files(const char *path, kd_run_folder *out) {
    kd_status status = KD_OK;
    *out = (kd_run_folder){0};
    KD_TRY(kd_path_join(path, "config.yaml", &out->config));
    KD_TRY(kd_path_join(path, "metrics.jsonl", &out->metrics));
    KD_TRY(kd_path_join(path, "model.safetensors", &out->model));
    out->path = strdup(path);
    if (!out->path) KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "%s: out of memory", path);
cleanup:
    if (status != KD_OK) kd_run_folder_free(out);
    return status;
}

static bool is_empty(const char *path) {
    DIR *folder = opendir(path);
    const struct dirent *entry;
    bool empty = folder != NULL;
    while (folder && (entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = false;
    if (folder) closedir(folder);
    return empty;
}

kd_status kd_run_folder_create(const char *path, bool overwrite, kd_run_folder *out) {
    kd_status status = name_files(path, out);
    if (status != KD_OK) return status;
    KD_TRY(kd_folder_make(path));
    if (overwrite) {
        unlink(out->config);
        unlink(out->metrics);
        unlink(out->model);
    } else if (!is_empty(path)) {
        KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "--out=%s: is there and not empty; choose another or add --overwrite",
                           path);
    }
cleanup:
    if (status != KD_OK) kd_run_folder_free(out);
    return status;
}

kd_status kd_run_folder_open(const char *path, kd_run_folder *out) {
    KD_OR_RETURN(name_files(path, out));
    if (kd_file_exists(out->model)) return KD_OK;
    kd_status status = KD_FAIL(KD_ERR_FORMAT, "%s: expected a run folder with a model.safetensors", path);
    kd_run_folder_free(out);
    return status;
}

kd_status kd_run_folder_resume(const char *path, kd_run_folder *out) {
    KD_OR_RETURN(name_files(path, out));
    if (kd_file_exists(out->config)) return KD_OK;
    kd_status status = KD_FAIL(KD_ERR_FORMAT, "%s: expected a run folder with a config.yaml", path);
    kd_run_folder_free(out);
    return status;
}

void kd_run_folder_free(kd_run_folder *folder) {
    free(folder->path);
    free(folder->config);
    free(folder->metrics);
    free(folder->model);
    *folder = (kd_run_folder){0};
}
