/* kdiffe export: embeddings and id maps of a finished run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/shared.h"
#include "host/data/npy.h"

static const char HELP[] =
    "usage: kdiffe export RUN OUT [--data=DIR]\n\n"
    "Writes the run's arrays into folder OUT: embeddings.safetensors (all of them), one NAME.npy for each,\n"
    "and users.tsv, items.tsv, entities.tsv, relations.tsv (row number, id). view.user and view.item are the\n"
    "tables whose dot products rank; the others are parameters under their published names.\n\n"
    "  --data=DIR    where the data set is now\n\n"
    "example: kdiffe export runs/tiktok embeddings\n";

static kd_status write_ids(const char *folder, const char *name, const kd_id_map *ids) {
    kd_status status = KD_OK;
    kd_atomic_file file = {0};
    char *path = NULL;
    KD_TRY(kd_path_join(folder, name, &path));
    KD_TRY(kd_atomic_open(path, &file));
    fputs("row\tid\n", file.stream);
    for (int64_t i = 0; i < ids->count; i++) fprintf(file.stream, "%lld\t%s\n", (long long)i, kd_id_token(ids, i));
    KD_TRY(kd_atomic_commit(&file));
cleanup:
    kd_atomic_abort(&file);
    free(path);
    return status;
}

static kd_status write_array(const char *folder, const kd_tensor *t) {
    char name[128], *path;
    if (strchr(t->name, '/')) /* a model is input too: its names must not lead out of the folder */
        return KD_FAIL(KD_ERR_FORMAT, "array '%s': its name cannot be a file's", t->name);
    snprintf(name, sizeof name, "%s.npy", t->name);
    KD_OR_RETURN(kd_path_join(folder, name, &path));
    kd_status status = kd_npy_write_f32(path, t->rank, t->shape, t->data);
    free(path);
    return status;
}

static kd_status write_all(const char *folder, const kd_cli_run *run) {
    kd_status status = KD_OK;
    const kd_dataset *d = &run->data;
    char *path = NULL;
    const char *const metadata[] = {"format", "kdiffe"};
    KD_TRY(kd_path_join(folder, "embeddings.safetensors", &path));
    KD_TRY(kd_safetensors_save(path, run->model.count, run->model.tensor, 1, metadata, NULL, NULL));
    for (int64_t i = 0; i < run->model.count; i++) KD_TRY(write_array(folder, &run->model.tensor[i]));
    KD_TRY(write_ids(folder, "users.tsv", &d->user_ids));
    KD_TRY(write_ids(folder, "items.tsv", &d->item_ids));
    KD_TRY(write_ids(folder, "entities.tsv", &d->entity_ids));
    KD_TRY(write_ids(folder, "relations.tsv", &d->relation_ids));
cleanup:
    free(path);
    return status;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_cli_run run = {0};
    const char *data = kd_args_take(args, "data");
    KD_TRY(kd_args_finish(args, 2));
    KD_TRY(kd_cli_run_open(args->positional[0], data, &run));
    KD_TRY(kd_folder_make(args->positional[1]));
    KD_TRY(write_all(args->positional[1], &run));
cleanup:
    kd_cli_run_close(&run);
    return status;
}

const kd_command kd_command_export = {"export", "embeddings and id maps of a run", HELP, command};
