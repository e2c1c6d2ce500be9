#include "host/train/checkpoint.h"
#include "host/config/load.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "host/base/memory.h"
#include "host/loop/arrays.h"
#include "kdiffe/version.h"

static const char PREFIX[] = "checkpoint-", SUFFIX[] = ".safetensors";

/* Names in the order of positions, newest last: what sorts as text. */
static int format_name(kd_position at, char *out, size_t size) {
    return snprintf(out, size, "%s%010" PRId64 "-%d-%02" PRId64 "-%010" PRId64 "%s", PREFIX, at.epoch, (int)at.stage,
                    at.part, at.batch, SUFFIX);
}

/* The fixed part of the metadata, and the losses so far: numbers in hexadecimal, so that they come back as they were.
 */
enum { ENTRIES = 13 + KD_LOSS_PARTS, TEXT = 40 };
typedef struct metadata {
    char text[ENTRIES][TEXT];
    char denoise[KD_MAX_MODALITIES * TEXT];
    const char *pair[2 * ENTRIES];
    int64_t count;
} metadata;

static void put(metadata *d, const char *key, const char *value) {
    assert(d->count < ENTRIES);
    d->pair[2 * d->count] = key;
    d->pair[2 * d->count++ + 1] = value;
}

static void put_real(metadata *d, const char *key, double value) {
    snprintf(d->text[d->count], TEXT, "%a", value);
    put(d, key, d->text[d->count]);
}

static void put_int(metadata *d, const char *key, int64_t value) {
    snprintf(d->text[d->count], TEXT, "%" PRId64, value);
    put(d, key, d->text[d->count]);
}

static void describe(const kd_trainer *m, kd_position at, const char *identity, metadata *d) {
    const kd_progress *run = &m->progress;
    const kd_epoch_record *r = &run->record;
    *d = (metadata){0};
    put(d, "format", "kdiffe-checkpoint");
    put(d, "version", KDIFFE_VERSION);
    put(d, "config", identity);
    put(d, "data_path", run->checkpoints->data_path);
    snprintf(d->text[d->count], TEXT, "%016" PRIx64, m->data->hash);
    put(d, "data_hash", d->text[d->count]);
    put_int(d, "epoch", at.epoch);
    put_int(d, "stage", at.stage);
    put_int(d, "part", at.part);
    put_int(d, "batch", at.batch);
    put_real(d, "best", run->best);
    put_int(d, "best_epoch", run->best_epoch);
    put_int(d, "since_best", run->since_best);
    for (int i = 0; i < KD_LOSS_PARTS; i++) put_real(d, kd_loss_part_name(i), r->loss_part[i]);
    for (int64_t i = 0; i <= r->modality_count; i++) {
        size_t used = strlen(d->denoise);
        snprintf(d->denoise + used, sizeof d->denoise - used, "%a ",
                 i < r->modality_count ? r->denoise_modality[i] : r->denoise_kg);
    }
    put(d, "denoise", d->denoise);
}

/* Rank 0 takes over the losses of all ranks. */
static kd_status collect_losses(kd_trainer *m) {
    int64_t count = m->loop.steps * KD_LOSS_PARTS;
    kd_status status = kd_comm_allreduce_f64(m->comm, m->ctx, count, m->loop.loss);
    if (status != KD_OK || kd_comm_rank(m->comm) == 0) return status;
    return kd_zero(m->ctx, m->loop.loss, count * (int64_t)sizeof(double));
}

/* What is kept of the run at that place. */
static void list_arrays(kd_trainer *m, kd_position at, kd_run_arrays *a) {
    *a = (kd_run_arrays){.ctx = m->ctx, .comm = m->comm, .layout = m->model->layout};
    m->model->plan->kind->arrays(m->model, at, a);
    kd_run_arrays_add(a, "", "cursor", KD_DTYPE_I64, sizeof(kd_cursor) / sizeof(int64_t), m->cursor);
    if (at.batch > 0) kd_run_arrays_add(a, "", "losses", KD_DTYPE_F64, m->loop.steps * KD_LOSS_PARTS, m->loop.loss);
    kd_run_arrays_sort(a);
}

static kd_status confirm(void *context) { return kd_comm_confirm(((const kd_run_arrays *)context)->comm); }

/* Rank 0 writes; the others hand over what it has not. */
static kd_status write_checkpoint(kd_trainer *m, kd_position at) {
    kd_status status = KD_OK;
    const kd_checkpointing *c = m->progress.checkpoints;
    char name[96], *path = NULL, *identity = NULL;
    kd_run_arrays arrays;
    metadata about;
    list_arrays(m, at, &arrays);
    kd_snapshot all = {arrays.count, arrays.tensor, kd_run_arrays_read, confirm, &arrays};
    if (kd_comm_rank(m->comm) > 0) return kd_safetensors_ask(&all);
    KD_TRY(kd_config_identity(m->config, &identity));
    format_name(at, name, sizeof name);
    KD_TRY(kd_path_join(c->folder, name, &path));
    describe(m, at, identity, &about);
    KD_TRY(kd_safetensors_save(path, &all, about.count, about.pair));
    kd_checkpoint_prune(c->folder, c->keep);
cleanup:
    free(path);
    free(identity);
    return status;
}

kd_status kd_checkpoint_save(kd_trainer *m, kd_position at) {
    m->progress.steps = 0;
    if (at.batch > 0) KD_OR_RETURN(collect_losses(m));
    KD_OR_RETURN(write_checkpoint(m, at));
    return kd_comm_confirm(m->comm); /* none stops, and ends the job, before it is written */
}

/* The first key in which the configurations differ, both as kd_config_identity writes them. */
static kd_status compare_identity(const char *path, const char *saved, const char *now) {
    if (strcmp(saved, now) == 0) return KD_OK;
    while (*saved && *now) {
        int a = (int)strcspn(saved, "\n"), b = (int)strcspn(now, "\n");
        if (a != b || strncmp(saved, now, (size_t)a) != 0)
            return KD_FAIL(KD_ERR_ARGUMENT, "%s: was made with %.*s, not with %.*s: that is another model", path, a,
                           saved, b, now);
        saved += a + (saved[a] == '\n');
        now += b + (now[b] == '\n');
    }
    return KD_FAIL(KD_ERR_ARGUMENT, "%s: was made with more or fewer guidance weights", path);
}

static const char *text_of(const kd_safetensors *file, const char *key) {
    const char *text = kd_safetensors_metadata(file, key);
    return text ? text : "";
}

static kd_status check_origin(const char *path, const kd_safetensors *file, const kd_trainer *m) {
    kd_status status = KD_OK;
    char hash[TEXT], *identity = NULL;
    snprintf(hash, sizeof hash, "%016" PRIx64, m->data->hash);
    if (strcmp(text_of(file, "format"), "kdiffe-checkpoint") != 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s: expected a checkpoint", path);
    if (strcmp(text_of(file, "version"), KDIFFE_VERSION) != 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s: was made by version %s, this is %s", path, text_of(file, "version"),
                       KDIFFE_VERSION);
    if (strcmp(text_of(file, "data_hash"), hash) != 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s: was made with other data (hash %s, here %s)", path,
                       text_of(file, "data_hash"), hash);
    KD_TRY(kd_config_identity(m->config, &identity));
    KD_TRY(compare_identity(path, text_of(file, "config"), identity));
cleanup:
    free(identity);
    return status;
}

static bool take_int(const kd_safetensors *file, const char *key, int64_t low, int64_t high, int64_t *out) {
    char *end;
    const char *text = text_of(file, key);
    *out = strtoll(text, &end, 10);
    return end != text && !*end && *out >= low && *out <= high;
}

static bool take_real(const kd_safetensors *file, const char *key, double *out) {
    char *end;
    const char *text = text_of(file, key);
    *out = strtod(text, &end);
    return end != text && !*end;
}

static bool take_denoise(const kd_safetensors *file, kd_epoch_record *r) {
    const char *text = text_of(file, "denoise");
    for (int64_t i = 0; i <= r->modality_count; i++) {
        char *end;
        double value = strtod(text, &end);
        if (end == text) return false;
        *(i < r->modality_count ? &r->denoise_modality[i] : &r->denoise_kg) = value;
        text = end;
    }
    return true;
}

static bool take_losses(const kd_safetensors *file, kd_epoch_record *r) {
    for (int i = 0; i < KD_LOSS_PARTS; i++) {
        if (!take_real(file, kd_loss_part_name(i), &r->loss_part[i])) return false;
        r->loss += r->loss_part[i];
    }
    return true;
}

static kd_status take_run(const char *path, const kd_safetensors *file, kd_trainer *m) {
    kd_progress *run = &m->progress;
    kd_epoch_record *r = &run->record;
    int64_t stage;
    *r = (kd_epoch_record){0};
    if (m->model->plan->kind->begin_record) m->model->plan->kind->begin_record(m->model, r);
    if (!take_int(file, "epoch", 0, INT64_MAX, &run->start.epoch) ||
        !take_int(file, "stage", KD_STAGE_DENOISE_MODALITIES, KD_STAGE_COUNT - 1, &stage) ||
        !take_int(file, "part", 0, KD_MAX_MODALITIES, &run->start.part) ||
        !take_int(file, "batch", 0, m->loop.steps, &run->start.batch) || !take_real(file, "best", &run->best) ||
        !take_int(file, "best_epoch", -1, INT64_MAX, &run->best_epoch) ||
        !take_int(file, "since_best", 0, INT64_MAX, &run->since_best) || !take_losses(file, r) ||
        !take_denoise(file, r))
        return KD_FAIL(KD_ERR_FORMAT, "%s: its metadata do not say where the run stood", path);
    run->start.stage = (kd_stage)stage;
    run->resuming = true;
    return KD_OK;
}

static kd_status take_arrays(const char *path, const kd_safetensors *file, kd_trainer *m) {
    kd_run_arrays arrays;
    list_arrays(m, m->progress.start, &arrays);
    for (int64_t i = 0; i < arrays.count; i++) {
        const kd_tensor *want = &arrays.tensor[i], *got = kd_safetensors_find(file, want->name);
        if (!got || got->dtype != want->dtype || got->rank != 1 || got->shape[0] != want->shape[0])
            return KD_FAIL(KD_ERR_FORMAT, "%s: array '%s': %s, expected one of %" PRId64 " elements", path, want->name,
                           got ? "is of another kind" : "is not there", want->shape[0]);
        KD_OR_RETURN(kd_run_arrays_take(&arrays, i, got->data));
    }
    if (kd_comm_rank(m->comm) > 0) KD_OR_RETURN(kd_zero(m->ctx, m->loop.loss, m->loop.steps * KD_LOSS_PARTS * 8));
    KD_OR_RETURN(kd_synchronize(m->ctx)); /* the file stays mapped until it is all there */
    return KD_OK;
}

static bool ends_with(const char *name, const char *suffix) {
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

static int is_checkpoint(const struct dirent *entry) {
    return strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 && ends_with(entry->d_name, SUFFIX);
}

/* A temporary of one of the run's own files, whose writer was killed. */
static int is_half_written(const struct dirent *entry) {
    static const char *const FILES[] = {"config.yaml.tmp.", "metrics.jsonl.tmp.", "model.safetensors.tmp."};
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++)
        if (strncmp(entry->d_name, FILES[i], strlen(FILES[i])) == 0) return 1;
    return strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 && strstr(entry->d_name, ".safetensors.tmp.") != NULL;
}

/* Removes the first of what `which` selects, in the order of names, until `keep` are left. */
static void prune(const char *folder, int64_t keep, int (*which)(const struct dirent *)) {
    struct dirent **entry;
    int count = scandir(folder, &entry, which, alphasort);
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if (i < count - keep && kd_path_join(folder, entry[i]->d_name, &path) == KD_OK) unlink(path);
        free(path);
        free(entry[i]);
    }
    if (count >= 0) free(entry);
}

/* Of the name, which says the position, and the size. */
static uint64_t hash_of(const char *path) {
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct stat about = {0};
    uint64_t size = stat(path, &about) == 0 ? (uint64_t)about.st_size : 0;
    return XXH3_64bits_withSeed(name, strlen(name), size);
}

static kd_status open_newest(const char *folder, char **path, kd_safetensors *file) {
    KD_OR_RETURN(kd_checkpoint_newest(folder, path));
    if (!*path) return KD_FAIL(KD_ERR_FORMAT, "%s: holds no checkpoint", folder);
    return kd_safetensors_open(*path, true, file);
}

static kd_status take(const char *path, const kd_safetensors *file, kd_trainer *m) {
    KD_OR_RETURN(check_origin(path, file, m));
    KD_OR_RETURN(take_run(path, file, m));
    return take_arrays(path, file, m);
}

/* What is wrong with a file is wrong for all ranks, of which one says it. */
kd_status kd_checkpoint_load(kd_trainer *m) {
    kd_status status = KD_OK;
    const char *folder = m->progress.checkpoints->folder;
    kd_safetensors file = {0};
    char *path = NULL;
    KD_TRY(kd_comm_agree(m->comm, open_newest(folder, &path, &file)));
    KD_TRY(kd_comm_agree(m->comm, kd_comm_require_same(m->comm, "newest checkpoint", hash_of(path))));
    KD_TRY(kd_comm_agree(m->comm, take(path, &file, m)));
    if (kd_comm_rank(m->comm) == 0) prune(folder, 0, is_half_written);
cleanup:
    kd_safetensors_close(&file);
    free(path);
    return status;
}

void kd_checkpoint_prune(const char *folder, int64_t keep) {
    prune(folder, keep, is_checkpoint);
    prune(folder, 0, is_half_written);
}

kd_status kd_checkpoint_newest(const char *folder, char **out) {
    kd_status status = KD_OK;
    struct dirent **entry;
    *out = NULL;
    int count = scandir(folder, &entry, is_checkpoint, alphasort);
    if (count > 0) status = kd_path_join(folder, entry[count - 1]->d_name, out);
    for (int i = 0; i < count; i++) free(entry[i]);
    if (count >= 0) free(entry);
    return status;
}

kd_status kd_checkpoint_data_path(const char *path, char **out) {
    kd_safetensors file;
    *out = NULL;
    kd_status status = kd_safetensors_open(path, true, &file);
    if (status != KD_OK) return status;
    const char *text = text_of(&file, "data_path");
    *out = text[0] ? strdup(text) : NULL;
    if (!*out) status = KD_FAIL(KD_ERR_FORMAT, "%s: does not say which data it was made with", path);
    kd_safetensors_close(&file);
    return status;
}
