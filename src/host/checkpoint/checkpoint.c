#include "host/checkpoint/checkpoint.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "host/checkpoint/safetensors.h"
#include "host/util/memory.h"
#include "kdiffe/version.h"

enum { MOST_ARRAYS = 32 + 14 * KD_MAX_MODALITIES };

static const char PREFIX[] = "checkpoint-", SUFFIX[] = ".safetensors";

/* The device arrays that a run is made of at a position: whole on every rank, or a range of rows or of columns on each.
 */
typedef struct run_arrays {
    kd_ctx *ctx;
    kd_comm *comm;
    const kd_turn *turn; /* of divided columns */
    float *passing;      /* where ranks pass on what is only on one of them */
    int64_t passing_bytes, count;
    kd_tensor tensor[MOST_ARRAYS]; /* as in the file, without data */
    void *device[MOST_ARRAYS];
    struct {
        int64_t rows, bytes; /* kd_share_columns divides `rows` rows of `bytes` bytes; rows 0: not */
        kd_mat columns;      /* some of whose columns are here; data NULL: not */
    } split[MOST_ARRAYS];
} run_arrays;

static void add(run_arrays *a, const char *prefix, const char *name, kd_dtype dtype, int64_t n, void *device) {
    kd_tensor *t = &a->tensor[a->count];
    *t = (kd_tensor){.rank = 1, .shape = {n, 1}, .dtype = dtype};
    snprintf(t->name, sizeof t->name, "%s%s%s", prefix, prefix[0] ? "." : "", name);
    a->device[a->count++] = device;
}

/* The model's tables and all else of one of the copies of its parameters. */
static void add_parameters(run_arrays *a, const kd_model *m, const char *prefix, const float *copy) {
    const kd_params *p = &m->params;
    const char *const name[] = {"users", "items", "entities"};
    const kd_mat table[] = {p->user, p->item, p->entity};
    int64_t rest = p->relation.data - p->value;
    for (int i = 0; i < 3; i++) {
        kd_mat here = table[i];
        here.data = (float *)(uintptr_t)copy + (table[i].data - p->value);
        add(a, prefix, name[i], KD_DTYPE_F32, here.rows * m->shape.whole_dim, here.data);
        if (kd_is_divided(&m->shape)) a->split[a->count - 1].columns = here;
    }
    add(a, prefix, "others", KD_DTYPE_F32, p->count - rest, (float *)(uintptr_t)copy + rest);
}

/* The rows of a denoiser's wide layer that are here. */
static void add_layer(run_arrays *a, const char *prefix, const char *name, const kd_denoiser *d, kd_mat layer,
                      float *copy) {
    add(a, prefix, name, KD_DTYPE_F32, d->shape.width * layer.cols, copy + (layer.data - d->value));
    a->split[a->count - 1].rows = d->shape.width;
    a->split[a->count - 1].bytes = layer.cols * (int64_t)sizeof(float);
}

static void add_denoiser(run_arrays *a, const char *of, kd_denoiser *d) {
    char prefix[80];
    const char *const what[] = {"value", "adam_m", "adam_v"};
    float *const copy[] = {d->value, d->m, d->v};
    int64_t whole = d->w1_time.data - d->value;
    for (int i = 0; i < 3; i++) {
        snprintf(prefix, sizeof prefix, "denoiser.%s.%s", of, what[i]);
        add_layer(a, prefix, "input", d, d->w1, copy[i]);
        add_layer(a, prefix, "output", d, d->output, copy[i]);
        add(a, prefix, "time", KD_DTYPE_F32, d->count - whole, copy[i] + whole);
    }
    snprintf(prefix, sizeof prefix, "denoiser.%s", of);
    add(a, prefix, "cursor", KD_DTYPE_I64, sizeof(kd_cursor) / sizeof(int64_t), d->cursor);
}

/* What the sample stage has rebuilt and the rest of the epoch reads. */
static void add_graphs(run_arrays *a, kd_model *m) {
    for (int64_t i = 0; i < m->shape.modalities; i++) {
        const kd_modality_graph *g = &m->graphs.modality[i];
        int64_t entries = g->nodes + 2 * g->users * g->q;
        char prefix[80];
        snprintf(prefix, sizeof prefix, "graph.%s", m->shape.modality[i]);
        add(a, prefix, "row_ptr", KD_DTYPE_I64, g->nodes + 1, g->row_ptr);
        add(a, prefix, "col", KD_DTYPE_I32, entries, g->col);
        add(a, prefix, "val", KD_DTYPE_F32, entries, g->val);
        add(a, prefix, "val_transpose", KD_DTYPE_F32, entries, g->val_transpose);
    }
    if (!m->denoises_kg) return;
    const kd_kg *kg = &m->graphs.generated;
    add(a, "kg", "head_ptr", KD_DTYPE_I64, kg->entities + 1, kg->head_ptr);
    add(a, "kg", "tail", KD_DTYPE_I32, kg->capacity, kg->tail);
    add(a, "kg", "relation", KD_DTYPE_I32, kg->capacity, kg->relation);
    add(a, "kg", "tail_ptr", KD_DTYPE_I64, kg->entities + 1, kg->tail_ptr);
    add(a, "kg", "in_head", KD_DTYPE_I32, kg->capacity, kg->in_head);
    add(a, "kg", "in_edge", KD_DTYPE_I64, kg->capacity, kg->in_edge);
}

static bool is_wide(const kd_tensor *t) { return t->dtype == KD_DTYPE_F64 || t->dtype == KD_DTYPE_I64; }

/* Eight-byte elements first, so that they are aligned in the file. */
static void widest_first(run_arrays *a) {
    run_arrays from = *a;
    a->count = 0;
    for (int wide = 1; wide >= 0; wide--)
        for (int64_t i = 0; i < from.count; i++) {
            if (is_wide(&from.tensor[i]) != wide) continue;
            a->tensor[a->count] = from.tensor[i];
            a->split[a->count] = from.split[i];
            a->device[a->count++] = from.device[i];
        }
}

static void list_arrays(kd_model *m, kd_position at, run_arrays *a) {
    /* between steps a denoiser's output is not read; what all ranks have room for */
    *a = (run_arrays){.ctx = m->ctx, .comm = m->comm, .turn = &m->views.turn, .passing = m->diffusion.out};
    a->passing_bytes = m->diffusion.batch * m->diffusion.columns * (int64_t)sizeof(float);
    add_parameters(a, m, "value", m->params.value);
    add_parameters(a, m, "adam_m", m->params.m);
    add_parameters(a, m, "adam_v", m->params.v);
    add(a, "", "cursor", KD_DTYPE_I64, sizeof(kd_cursor) / sizeof(int64_t), m->cursor);
    for (int64_t i = 0; i < m->shape.modalities; i++) add_denoiser(a, m->shape.modality[i], &m->modality_denoiser[i]);
    if (m->denoises_kg) {
        add_denoiser(a, "/kg", &m->kg_denoiser); /* no modality is called so */
        add(a, "", "entity_mean", KD_DTYPE_F32, m->shape.entities, m->guidance.entity_mean);
    }
    if (at.batch > 0) add(a, "", "losses", KD_DTYPE_F64, m->loss_steps * KD_LOSS_PARTS, m->loss);
    if (at.stage > KD_STAGE_SAMPLE) add_graphs(a, m);
    widest_first(a);
}

/* The bytes of a split array that are rank r's. */
static int64_t first_byte(const run_arrays *a, int64_t i, int64_t r) {
    return kd_share_begin(kd_share_columns(a->split[i].rows), r, kd_comm_ranks(a->comm)) * a->split[i].bytes;
}

/* Bytes first .. end - 1 of array i, all of them rank r's, through all ranks' memories into the first one's `to`. */
static kd_status pass_on(const run_arrays *a, int64_t i, int64_t r, int64_t first, int64_t end, char *to) {
    kd_status status = KD_OK;
    for (int64_t at = first; at < end; at += a->passing_bytes) {
        int64_t bytes = end - at < a->passing_bytes ? end - at : a->passing_bytes, n = bytes / (int64_t)sizeof(float);
        const char *mine = (const char *)a->device[i] + (at - first_byte(a, i, r));
        if (r == kd_comm_rank(a->comm))
            KD_TRY(kd_add_scaled(a->ctx, 1.0f, kd_mat_make((float *)(uintptr_t)mine, 1, n), 0.0f,
                                 kd_mat_make(a->passing, 1, n)));
        KD_TRY(kd_comm_broadcast(a->comm, a->ctx, r, bytes, a->passing));
        if (to) KD_TRY(kd_download(a->ctx, to + (at - first), a->passing, bytes));
    }
cleanup:
    return status;
}

/* The rows of divided columns that bytes first .. first + bytes - 1 lie in. */
static kd_range rows_around(const run_arrays *a, int64_t first, int64_t bytes) {
    int64_t row = a->turn->width * (int64_t)sizeof(float), begin = first / row;
    return (kd_range){begin, (first + bytes + row - 1) / row - begin};
}

static kd_status read_columns(const run_arrays *a, int64_t i, int64_t first, int64_t bytes, void *to) {
    kd_status status = KD_OK;
    int64_t width = a->turn->width;
    kd_range rows = rows_around(a, first, bytes);
    float *room = NULL;
    if (to) KD_TRY(kd_host_alloc(&room, rows.count * width, sizeof *room, "rows of all ranks"));
    KD_TRY(kd_turn_download(a->ctx, a->turn, a->split[i].columns, rows.first, rows.count, room, width));
    if (to) memcpy(to, (const char *)room + (first - rows.first * width * (int64_t)sizeof *room), (size_t)bytes);
cleanup:
    free(room);
    return status;
}

/* A piece of an array; `to` NULL: for another rank. */
static kd_status read_device(void *context, int64_t i, int64_t first, int64_t bytes, void *to) {
    kd_status status = KD_OK;
    const run_arrays *a = context;
    if (a->split[i].columns.data) return read_columns(a, i, first, bytes, to);
    if (!a->comm || a->split[i].rows == 0)
        return to ? kd_download(a->ctx, to, (const char *)a->device[i] + first, bytes) : KD_OK;
    for (int64_t r = 0; r < kd_comm_ranks(a->comm); r++) {
        int64_t begin = first_byte(a, i, r), end = first_byte(a, i, r + 1);
        begin = begin > first ? begin : first;
        end = end < first + bytes ? end : first + bytes;
        if (begin < end) KD_TRY(pass_on(a, i, r, begin, end, to ? (char *)to + (begin - first) : NULL));
    }
cleanup:
    return status;
}

/* Names in the order of positions, newest last: what sorts as text. */
static int format_name(kd_position at, char *out, size_t size) {
    return snprintf(out, size, "%s%010" PRId64 "-%d-%02" PRId64 "-%010" PRId64 "%s", PREFIX, at.epoch, (int)at.stage,
                    at.part, at.batch, SUFFIX);
}

/* The fixed part of the metadata, and the losses so far: numbers in hexadecimal, so that they come back as they were.
 */
enum { ENTRIES = 16, TEXT = 40 };
typedef struct metadata {
    char text[ENTRIES][TEXT];
    char denoise[KD_MAX_MODALITIES * TEXT];
    const char *pair[2 * ENTRIES];
    int64_t count;
} metadata;

static void put(metadata *d, const char *key, const char *value) {
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

static void describe(const kd_model *m, kd_position at, const char *identity, metadata *d) {
    const kd_run *run = &m->run;
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
    put_real(d, "bpr", r->bpr);
    put_real(d, "weight_decay", r->weight_decay);
    put_real(d, "contrastive", r->contrastive);
    for (int64_t i = 0; i <= m->shape.modalities; i++) {
        size_t used = strlen(d->denoise);
        snprintf(d->denoise + used, sizeof d->denoise - used, "%a ",
                 i < m->shape.modalities ? r->denoise_modality[i] : r->denoise_kg);
    }
    put(d, "denoise", d->denoise);
}

/* Rank 0 takes over the losses of all ranks. */
static kd_status collect_losses(kd_model *m) {
    int64_t count = m->loss_steps * KD_LOSS_PARTS;
    kd_status status = kd_comm_sum_f64(m->comm, m->ctx, count, m->loss);
    if (status != KD_OK || kd_comm_rank(m->comm) == 0) return status;
    return kd_zero(m->ctx, m->loss, count * (int64_t)sizeof(double));
}

/* Rank 0 writes; the others hand over what it has not. */
static kd_status write_checkpoint(kd_model *m, kd_position at) {
    kd_status status = KD_OK;
    const kd_checkpointing *c = m->run.checkpoints;
    char name[96], *path = NULL, *identity = NULL;
    run_arrays arrays;
    metadata about;
    list_arrays(m, at, &arrays);
    if (kd_comm_rank(m->comm) > 0) return kd_safetensors_ask(arrays.count, arrays.tensor, read_device, &arrays);
    KD_TRY(kd_config_identity(m->config, &identity));
    format_name(at, name, sizeof name);
    KD_TRY(kd_path_join(c->folder, name, &path));
    describe(m, at, identity, &about);
    KD_TRY(kd_safetensors_save(path, arrays.count, arrays.tensor, about.count, about.pair, read_device, &arrays));
    kd_checkpoint_prune(c->folder, c->keep);
cleanup:
    free(path);
    free(identity);
    return status;
}

kd_status kd_checkpoint_save(kd_model *m, kd_position at) {
    kd_status status = KD_OK;
    int done = 0;
    m->run.steps = 0;
    if (at.batch > 0) KD_TRY(collect_losses(m));
    KD_TRY(write_checkpoint(m, at));
    KD_TRY(kd_comm_most(m->comm, &done)); /* none stops, and ends the job, before it is written */
cleanup:
    return status;
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

static kd_status check_origin(const char *path, const kd_safetensors *file, const kd_model *m) {
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

static bool take_denoise(const kd_safetensors *file, const kd_model *m, kd_epoch_record *r) {
    const char *text = text_of(file, "denoise");
    for (int64_t i = 0; i <= m->shape.modalities; i++) {
        char *end;
        double value = strtod(text, &end);
        if (end == text) return false;
        *(i < m->shape.modalities ? &r->denoise_modality[i] : &r->denoise_kg) = value;
        text = end;
    }
    return true;
}

static kd_status take_run(const char *path, const kd_safetensors *file, kd_model *m) {
    kd_run *run = &m->run;
    kd_epoch_record *r = &run->record;
    int64_t stage;
    *r = (kd_epoch_record){0};
    if (!take_int(file, "epoch", 0, INT64_MAX, &run->start.epoch) ||
        !take_int(file, "stage", KD_STAGE_DENOISE_MODALITIES, KD_STAGE_COUNT - 1, &stage) ||
        !take_int(file, "part", 0, KD_MAX_MODALITIES, &run->start.part) ||
        !take_int(file, "batch", 0, m->loss_steps, &run->start.batch) || !take_real(file, "best", &run->best) ||
        !take_int(file, "best_epoch", -1, INT64_MAX, &run->best_epoch) ||
        !take_int(file, "since_best", 0, INT64_MAX, &run->since_best) || !take_real(file, "bpr", &r->bpr) ||
        !take_real(file, "weight_decay", &r->weight_decay) || !take_real(file, "contrastive", &r->contrastive) ||
        !take_denoise(file, m, r))
        return KD_FAIL(KD_ERR_FORMAT, "%s: its metadata do not say where the run stood", path);
    r->loss = r->bpr + r->weight_decay + r->contrastive;
    run->start.stage = (kd_stage)stage;
    run->resuming = true;
    return KD_OK;
}

/* The columns that are here, of whole rows in the file. */
static kd_status take_columns(const run_arrays *a, int64_t i, const float *whole) {
    kd_status status = KD_OK;
    kd_mat here = a->split[i].columns;
    float *packed;
    KD_TRY(kd_host_alloc(&packed, here.rows * here.cols, sizeof *packed, "columns of a checkpoint"));
    for (int64_t r = 0; r < here.rows; r++)
        memcpy(packed + r * here.cols, whole + r * a->turn->width + a->turn->own.first,
               (size_t)here.cols * sizeof *packed);
    status = kd_mat_upload(a->ctx, packed, here);
    if (status == KD_OK) status = kd_synchronize(a->ctx); /* before it is freed */
cleanup:
    free(packed);
    return status;
}

static kd_status take_arrays(const char *path, const kd_safetensors *file, kd_model *m) {
    kd_status status = KD_OK;
    run_arrays arrays;
    list_arrays(m, m->run.start, &arrays);
    for (int64_t i = 0; i < arrays.count; i++) {
        const kd_tensor *want = &arrays.tensor[i], *got = kd_safetensors_find(file, want->name);
        int64_t bytes = want->shape[0] * (is_wide(want) ? 8 : 4), first = 0;
        if (!got || got->dtype != want->dtype || got->rank != 1 || got->shape[0] != want->shape[0])
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: array '%s': expected one of %" PRId64 " elements", path, want->name,
                               want->shape[0]);
        if (arrays.split[i].columns.data) {
            KD_TRY(take_columns(&arrays, i, got->data));
            continue;
        }
        if (arrays.split[i].rows > 0) {
            first = first_byte(&arrays, i, kd_comm_rank(m->comm));
            bytes = first_byte(&arrays, i, kd_comm_rank(m->comm) + 1) - first;
        }
        KD_TRY(kd_upload(m->ctx, arrays.device[i], (const char *)got->data + first, bytes));
    }
    if (kd_comm_rank(m->comm) > 0) KD_TRY(kd_zero(m->ctx, m->loss, m->loss_steps * KD_LOSS_PARTS * 8));
    KD_TRY(kd_synchronize(m->ctx)); /* the file stays mapped until it is all there */
cleanup:
    return status;
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

kd_status kd_checkpoint_load(kd_model *m) {
    kd_status status = KD_OK;
    const char *folder = m->run.checkpoints->folder;
    kd_safetensors file = {0};
    char *path = NULL;
    KD_TRY(kd_checkpoint_newest(folder, &path));
    if (!path) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: holds no checkpoint", folder);
    KD_TRY(kd_safetensors_open(path, true, &file));
    KD_TRY(kd_comm_settle(m->comm, kd_comm_same(m->comm, "newest checkpoint", hash_of(path))));
    KD_TRY(check_origin(path, &file, m));
    KD_TRY(take_run(path, &file, m));
    KD_TRY(take_arrays(path, &file, m));
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
