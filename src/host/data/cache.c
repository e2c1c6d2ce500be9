/* The mapped binary cache: NAME.cache beside the text files, a header, then every array of the data set as it lies in
 * memory. It is only ever a copy: when anything about it is doubtful it is left aside and written again. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "host/data/format.h"
#include "host/util/error.h"
#include "host/util/file.h"

enum { VERSION = 1, MAX_ARRAYS = 17 + 64, MAX_CACHED_MODALITIES = 64 };
static const char MAGIC[8] = "KDCACHE";

typedef struct array_place {
    int64_t offset, bytes; /* from the start of the file */
} array_place;

/* Little-endian as the machine has it; a file from another machine fails the hash of the header. */
typedef struct header {
    char magic[8];
    int64_t version, bytes;
    uint64_t sources;  /* names, sizes and times of the files it was made of */
    uint64_t contents; /* xxh3 of everything after the header */
    uint64_t data_hash;
    int64_t users, items, entities, relations, train, valid, test, triples, linked, modalities;
    int64_t ids[4]; /* counts of the id maps */
    int64_t width[MAX_CACHED_MODALITIES];
    char modality[MAX_CACHED_MODALITIES][64];
    array_place place[MAX_ARRAYS];
} header;

/* One array: where its pointer is, its bytes. */
typedef struct array {
    void *pointer; /* address of the pointer in the data set */
    int64_t bytes;
} array;

static int64_t ids_bytes(int64_t n) { return n * (int64_t)sizeof(int32_t); }

/* Every array in the file's order; text sizes are known only to the writer (map != NULL). Returns their number. */
static int list_arrays(kd_dataset *d, bool writing, array *out) {
    kd_interactions *split[] = {&d->train, &d->valid, &d->test};
    kd_id_map *map[] = {&d->user_ids, &d->item_ids, &d->entity_ids, &d->relation_ids};
    int n = 0;
    for (int i = 0; i < 3; i++) {
        out[n++] = (array){&split[i]->user, ids_bytes(split[i]->count)};
        out[n++] = (array){&split[i]->item, ids_bytes(split[i]->count)};
    }
    out[n++] = (array){&d->kg.head, ids_bytes(d->kg.count)};
    out[n++] = (array){&d->kg.relation, ids_bytes(d->kg.count)};
    out[n++] = (array){&d->kg.tail, ids_bytes(d->kg.count)};
    for (int i = 0; i < 4; i++) {
        int64_t last = map[i]->count - 1, text = 0;
        if (writing && last >= 0) text = map[i]->offset[last] + (int64_t)strlen(kd_id_token(map[i], last)) + 1;
        out[n++] = (array){&map[i]->text, writing ? text : -1};
        out[n++] = (array){&map[i]->offset, map[i]->count * (int64_t)sizeof(int64_t)};
    }
    for (int64_t m = 0; m < d->modality_count; m++)
        out[n++] = (array){&d->modalities[m].values, d->items * d->modalities[m].width * (int64_t)sizeof(float)};
    return n;
}

static int is_source(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot && strcmp(dot, ".cache") != 0 && strcmp(dot, ".tsv") != 0 &&
           strcmp(dot, ".json") != 0 && !strstr(entry->d_name, ".tmp.");
}

/* Names, sizes and modification times of the folder's files; 0 if it cannot be listed. */
static uint64_t sources_hash(const char *folder) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_source, alphasort);
    uint64_t hash = 1;
    for (int i = 0; i < count; i++) {
        char *path;
        struct stat info = {0};
        if (kd_path_join(folder, entries[i]->d_name, &path) == KD_OK) {
            stat(path, &info);
            free(path);
        }
        int64_t facts[] = {(int64_t)info.st_size, (int64_t)info.st_mtim.tv_sec, (int64_t)info.st_mtim.tv_nsec};
        hash = XXH3_64bits_withSeed(entries[i]->d_name, strlen(entries[i]->d_name), hash);
        hash = XXH3_64bits_withSeed(facts, sizeof facts, hash);
        free(entries[i]);
    }
    free(entries);
    return count < 0 ? 0 : hash;
}

static bool cache_path(const char *folder, const char *name, char **path) {
    char file[256];
    snprintf(file, sizeof file, "%s.cache", name);
    return kd_path_join(folder, file, path) == KD_OK;
}

static void fill_header(const kd_dataset *d, uint64_t sources, header *h) {
    const kd_id_map *map[] = {&d->user_ids, &d->item_ids, &d->entity_ids, &d->relation_ids};
    memset(h, 0, sizeof *h);
    memcpy(h->magic, MAGIC, sizeof MAGIC);
    h->version = VERSION;
    h->sources = sources;
    h->data_hash = d->hash;
    h->users = d->users;
    h->items = d->items;
    h->entities = d->entities;
    h->relations = d->relations;
    h->train = d->train.count;
    h->valid = d->valid.count;
    h->test = d->test.count;
    h->triples = d->kg.count;
    h->linked = d->kg_linked;
    h->modalities = d->modality_count;
    for (int i = 0; i < 4; i++) h->ids[i] = map[i]->count;
    for (int64_t m = 0; m < d->modality_count; m++) {
        h->width[m] = d->modalities[m].width;
        memcpy(h->modality[m], d->modalities[m].name, sizeof h->modality[m]);
    }
}

void kd_cache_write(const char *folder, const char *name, const kd_dataset *data) {
    kd_dataset d = *data;
    array arrays[MAX_ARRAYS];
    header h;
    kd_atomic_file f;
    char *path;
    XXH3_state_t state;
    int64_t at = sizeof h;
    if (d.modality_count > MAX_CACHED_MODALITIES || !cache_path(folder, name, &path)) return;
    bool opened = kd_atomic_open(path, &f) == KD_OK;
    free(path);
    if (!opened) return;
    fill_header(&d, sources_hash(folder), &h);
    int n = list_arrays(&d, true, arrays);
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    fwrite(&h, sizeof h, 1, f.stream); /* again at the end, with places and hash */
    for (int i = 0; i < n; i++) {
        static const char zeros[8];
        void *values;
        int64_t padding = -arrays[i].bytes & 7;
        memcpy(&values, arrays[i].pointer, sizeof values);
        h.place[i] = (array_place){at, arrays[i].bytes};
        if (arrays[i].bytes > 0) {
            fwrite(values, 1, (size_t)arrays[i].bytes, f.stream);
            XXH3_64bits_update(&state, values, (size_t)arrays[i].bytes);
        }
        fwrite(zeros, 1, (size_t)padding, f.stream);
        XXH3_64bits_update(&state, zeros, (size_t)padding);
        at += arrays[i].bytes + padding;
    }
    h.bytes = at;
    h.contents = XXH3_64bits_digest(&state) ^ XXH3_64bits(&h, offsetof(header, contents));
    if (fseek(f.stream, 0, SEEK_SET) == 0 && fwrite(&h, sizeof h, 1, f.stream) == 1)
        kd_atomic_commit(&f); /* a folder that cannot be written only costs time */
    kd_atomic_abort(&f);
}

/* Sizes of the data set from the header. */
static void take_sizes(const header *h, kd_dataset *d) {
    kd_id_map *map[] = {&d->user_ids, &d->item_ids, &d->entity_ids, &d->relation_ids};
    d->users = h->users;
    d->items = h->items;
    d->entities = h->entities;
    d->relations = h->relations;
    d->train.count = h->train;
    d->valid.count = h->valid;
    d->test.count = h->test;
    d->kg.count = h->triples;
    d->kg_linked = h->linked != 0;
    d->hash = h->data_hash;
    for (int i = 0; i < 4; i++) map[i]->count = h->ids[i];
    d->modality_count = h->modalities;
    for (int64_t m = 0; m < h->modalities; m++) {
        d->modalities[m].width = h->width[m];
        memcpy(d->modalities[m].name, h->modality[m], sizeof d->modalities[m].name);
        d->modalities[m].name[sizeof d->modalities[m].name - 1] = '\0';
    }
}

/* Points every array into the mapping; false if a place does not fit. */
static bool place_arrays(const header *h, const unsigned char *file, kd_dataset *d) {
    array arrays[MAX_ARRAYS];
    int n = list_arrays(d, false, arrays);
    for (int i = 0; i < n; i++) {
        array_place p = h->place[i];
        const void *values = file + p.offset;
        if (p.offset < (int64_t)sizeof *h || p.bytes < 0 || p.offset > h->bytes - p.bytes || p.offset % 8 != 0 ||
            (arrays[i].bytes >= 0 && arrays[i].bytes != p.bytes))
            return false;
        memcpy(arrays[i].pointer, &values, sizeof values);
    }
    return true;
}

static bool is_whole(const header *h, const kd_mapped_file *file, uint64_t sources) {
    if (file->bytes < (int64_t)sizeof *h || memcmp(h->magic, MAGIC, sizeof MAGIC) != 0 || h->version != VERSION ||
        h->bytes != file->bytes || h->sources != sources || h->modalities < 0 || h->modalities > MAX_CACHED_MODALITIES)
        return false;
    uint64_t contents = XXH3_64bits(file->data + sizeof *h, (size_t)(file->bytes - (int64_t)sizeof *h));
    return h->contents == (contents ^ XXH3_64bits(h, offsetof(header, contents)));
}

bool kd_cache_read(const char *folder, const char *name, kd_dataset *out) {
    kd_mapped_file file;
    char *path;
    bool good = false;
    if (!cache_path(folder, name, &path)) return false;
    if (!kd_file_exists(path) || kd_file_map(path, &file) != KD_OK) {
        free(path);
        return false;
    }
    free(path);
    const header *h = (const header *)(const void *)file.data;
    *out = (kd_dataset){0};
    if (is_whole(h, &file, sources_hash(folder))) {
        out->modalities = calloc((size_t)h->modalities + 1, sizeof *out->modalities);
        if (out->modalities) {
            take_sizes(h, out);
            snprintf(out->name, sizeof out->name, "%s", name);
            good = place_arrays(h, file.data, out) && kd_dataset_hash(out) == out->hash;
        }
    }
    if (!good) {
        free(out->modalities);
        *out = (kd_dataset){0};
        kd_file_unmap(&file);
        return false;
    }
    out->mapping = (void *)(uintptr_t)file.data;
    out->mapping_bytes = file.bytes;
    return true;
}
