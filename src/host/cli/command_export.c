/* kdiffe export: embeddings and id maps of a finished run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/base/safetensors.h"
#include "host/cli/command.h"
#include "host/data/npy.h"
#include "kdiffe/kdiffe.h"

static const char HELP[] =
    "usage: kdiffe export RUN OUT [--data=DIR]\n\n"
    "Writes the run's arrays into folder OUT: embeddings.safetensors (all of them), one NAME.npy for each,\n"
    "and users.tsv, items.tsv, entities.tsv, relations.tsv (row number, id). view.user and view.item are the\n"
    "tables whose dot products rank; the others are parameters under their published names.\n\n"
    "  --data=DIR    where the data set is now\n\n"
    "example: kdiffe export runs/tiktok embeddings\n";

static kd_status write_ids(const char *folder, const char *name, const kd_dataset *data, kd_id_kind kind) {
    kd_status status = KD_OK;
    kd_atomic_file file = {0};
    char *path = NULL;
    KD_TRY(kd_path_join(folder, name, &path));
    KD_TRY(kd_atomic_open(path, &file));
    fputs("row\tid\n", file.stream);
    for (int64_t i = 0; i < kd_dataset_ids(data, kind); i++)
        fprintf(file.stream, "%lld\t%s\n", (long long)i, kd_dataset_id(data, kind, i));
    KD_TRY(kd_atomic_commit(&file));
cleanup:
    kd_atomic_abort(&file);
    free(path);
    return status;
}

static kd_status write_array(const char *folder, const kd_array *a) {
    char name[128], *path;
    if (strchr(a->name, '/')) /* a model is input too: its names must not lead out of the folder */
        return KD_FAIL(KD_ERR_FORMAT, "array '%s': its name cannot be a file's", a->name);
    snprintf(name, sizeof name, "%s.npy", a->name);
    KD_OR_RETURN(kd_path_join(folder, name, &path));
    kd_status status = kd_npy_write_f32(path, a->rank, a->shape, a->data);
    free(path);
    return status;
}

/* All arrays in one file, and each in its own. */
static kd_status write_arrays(const char *folder, const kd_run *run) {
    kd_status status = KD_OK;
    int64_t count = kd_run_array_count(run);
    kd_tensor *tensor = NULL;
    char *path = NULL;
    const char *const metadata[] = {"format", "kdiffe"};
    KD_TRY(kd_host_alloc(&tensor, count, sizeof *tensor, "arrays"));
    for (int64_t i = 0; i < count; i++) {
        kd_array a = kd_run_array(run, i);
        tensor[i] = (kd_tensor){.rank = a.rank, .shape = {a.shape[0], a.shape[1]}, .data = a.data};
        snprintf(tensor[i].name, sizeof tensor[i].name, "%s", a.name);
    }
    KD_TRY(kd_path_join(folder, "embeddings.safetensors", &path));
    KD_TRY(kd_safetensors_save(path, &(kd_snapshot){.count = count, .tensor = tensor}, 1, metadata));
    for (int64_t i = 0; i < count; i++) {
        kd_array a = kd_run_array(run, i);
        KD_TRY(write_array(folder, &a));
    }
cleanup:
    free(tensor);
    free(path);
    return status;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_run *run = NULL;
    const char *data = kd_args_take(args, "data"), *folder;
    KD_TRY(kd_args_finish(args, 2));
    KD_TRY(kd_run_open(args->positional[0], data, &run));
    folder = args->positional[1];
    KD_TRY(kd_folder_make(folder));
    KD_TRY(write_arrays(folder, run));
    KD_TRY(write_ids(folder, "users.tsv", kd_run_dataset(run), KD_ID_USER));
    KD_TRY(write_ids(folder, "items.tsv", kd_run_dataset(run), KD_ID_ITEM));
    KD_TRY(write_ids(folder, "entities.tsv", kd_run_dataset(run), KD_ID_ENTITY));
    KD_TRY(write_ids(folder, "relations.tsv", kd_run_dataset(run), KD_ID_RELATION));
cleanup:
    kd_run_close(run);
    return status;
}

const kd_command kd_command_export = {"export", "embeddings and id maps of a run", HELP, command};
