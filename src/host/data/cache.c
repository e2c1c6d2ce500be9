/* The mapped binary cache: NAME.cache beside the text files, a header, then every array of the data set as it lies in
 * memory. It is only ever a copy: when anything about it is doubtful it is left aside and written again. */
#include <dirent.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "host/base/error.h"
#include "host/base/file.h"
#include "host/data/features.h"
#include "host/data/format.h"

enum { VERSION = 2, MAX_ARRAYS = 17 + 64, MAX_CACHED_MODALITIES = 64 };
static const char MAGIC[8] = "KDCACHE";

typedef struct array_place {
    int64_t offset, bytes; /* from the start of the file */
} array_place;

/* In the machine's own byte order: another machine's version is not VERSION. */
typedef struct header {
    char magic[8];
    int64_t version, bytes;
    uint64_t check; /* xxh3 of everything after it: the rest of the header, and the arrays */
    kd_cache_key key;
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

/* Every array in the file's order: 6 of the splits, 3 of the graph, text and offsets of 4 id maps, then the features.
 * Text sizes are known only to the writer (-1 otherwise). Returns their number. */
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

/* Adds one source file to the key and its modification time to *newest, in seconds; one that is not there counts as
 * such. False if it cannot be read. */
static bool add_source(const char *folder, const char *file, bool contents, kd_cache_key *key, int64_t *newest) {
    char *path;
    struct stat info = {0};
    kd_mapped_file mapped = {0};
    bool read = true;
    if (kd_path_join(folder, file, &path) != KD_OK) return false;
    bool there = stat(path, &info) == 0;
    const int64_t facts[] = {there, (int64_t)info.st_size, (int64_t)info.st_mtim.tv_sec, (int64_t)info.st_mtim.tv_nsec};
    if (facts[2] > *newest) *newest = facts[2];
    key->times = XXH3_64bits_withSeed(file, strlen(file), key->times);
    key->times = XXH3_64bits_withSeed(facts, sizeof facts, key->times);
    if (contents && there) {
        read = kd_file_map(path, &mapped) == KD_OK;
        key->contents = XXH3_64bits_withSeed(file, strlen(file), key->contents);
        if (read) key->contents = XXH3_64bits_withSeed(mapped.data, (size_t)mapped.bytes, key->contents);
        kd_file_unmap(&mapped);
    }
    free(path);
    return read;
}

static bool make_key(const char *folder, const char *name, bool contents, kd_cache_key *key, int64_t *newest) {
    static const char *const suffixes[] = {".user",        ".item",       ".entity", ".relation", ".train.inter",
                                           ".valid.inter", ".test.inter", ".kg",     ".link"};
    struct dirent **features = NULL;
    char file[256];
    int count = kd_features_scan(folder, &features);
    bool good = count >= 0;
    *newest = 0;
    *key = (kd_cache_key){1, 1};
    for (size_t i = 0; good && i < sizeof suffixes / sizeof *suffixes; i++) {
        snprintf(file, sizeof file, "%s%s", name, suffixes[i]);
        good = add_source(folder, file, contents, key, newest);
    }
    for (int i = 0; i < count; i++) {
        if (good) good = add_source(folder, features[i]->d_name, contents, key, newest);
        free(features[i]);
    }
    free(features);
    return good;
}

bool kd_cache_key_of(const char *folder, const char *name, kd_cache_key *key) {
    int64_t newest;
    if (!make_key(folder, name, true, key, &newest)) return false;
    if (newest + 1 >= (int64_t)time(NULL)) key->times = 0; /* a change in the same tick of the clock would not show */
    return true;
}

/* Whether the sources are those that the cache was made of. Times decide quickly; where they differ (a copied folder)
 * the contents do. */
static bool same_sources(const char *folder, const char *name, const kd_cache_key *made_of) {
    kd_cache_key now;
    int64_t newest;
    if (make_key(folder, name, false, &now, &newest) && now.times == made_of->times) return true;
    return make_key(folder, name, true, &now, &newest) && now.contents == made_of->contents;
}

static bool cache_path(const char *folder, const char *name, char **path) {
    char file[256];
    snprintf(file, sizeof file, "%s.cache", name);
    return kd_path_join(folder, file, path) == KD_OK;
}

static void fill_header(const kd_dataset *d, const kd_cache_key *key, header *h) {
    const kd_id_map *map[] = {&d->user_ids, &d->item_ids, &d->entity_ids, &d->relation_ids};
    memset(h, 0, sizeof *h);
    memcpy(h->magic, MAGIC, sizeof MAGIC);
    h->version = VERSION;
    h->key = *key;
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

/* xxh3 of everything after `check`, given the xxh3 of the arrays. */
static uint64_t check_of(const header *h, uint64_t arrays) {
    size_t begin = offsetof(header, key);
    return XXH3_64bits_withSeed((const char *)h + begin, sizeof *h - begin, arrays);
}

/* Writes the arrays, each padded to 8 bytes; fills in their places, h->bytes and h->check. */
static void write_arrays(FILE *stream, int n, const array *arrays, header *h) {
    static const char zeros[8];
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    h->bytes = sizeof *h;
    for (int i = 0; i < n; i++) {
        void *values;
        int64_t padding = -arrays[i].bytes & 7;
        memcpy(&values, arrays[i].pointer, sizeof values);
        h->place[i] = (array_place){h->bytes, arrays[i].bytes};
        if (arrays[i].bytes > 0) {
            fwrite(values, 1, (size_t)arrays[i].bytes, stream);
            XXH3_64bits_update(&state, values, (size_t)arrays[i].bytes);
        }
        fwrite(zeros, 1, (size_t)padding, stream);
        XXH3_64bits_update(&state, zeros, (size_t)padding);
        h->bytes += arrays[i].bytes + padding;
    }
    h->check = check_of(h, XXH3_64bits_digest(&state));
}

void kd_cache_write(const char *folder, const char *name, const kd_cache_key *key, const kd_dataset *data) {
    kd_dataset d = *data;
    array arrays[MAX_ARRAYS];
    header h;
    kd_atomic_file f;
    char *path;
    if (d.modality_count > MAX_CACHED_MODALITIES || !cache_path(folder, name, &path)) return;
    bool opened = kd_atomic_open(path, &f) == KD_OK;
    free(path);
    if (!opened) return;
    fill_header(&d, key, &h);
    fwrite(&h, sizeof h, 1, f.stream); /* again at the end, with places and check */
    write_arrays(f.stream, list_arrays(&d, true, arrays), arrays, &h);
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

/* Every token of a map lies inside its text. */
static bool is_map_whole(const kd_id_map *map, int64_t text_bytes) {
    if (map->count == 0) return true;
    if (text_bytes < 1 || map->text[text_bytes - 1] != '\0') return false;
    for (int64_t i = 0; i < map->count; i++)
        if (map->offset[i] < 0 || map->offset[i] >= text_bytes) return false;
    return true;
}

/* Points every array into the mapping; false if a place does not fit. */
static bool place_arrays(const header *h, const unsigned char *file, kd_dataset *d) {
    const kd_id_map *map[] = {&d->user_ids, &d->item_ids, &d->entity_ids, &d->relation_ids};
    array arrays[MAX_ARRAYS];
    int n = list_arrays(d, false, arrays);
    for (int i = 0; i < n; i++) {
        array_place p = h->place[i];
        if (p.offset < (int64_t)sizeof *h || p.bytes < 0 || p.bytes > h->bytes || p.offset > h->bytes - p.bytes ||
            p.offset % 8 != 0 || (arrays[i].bytes >= 0 && arrays[i].bytes != p.bytes))
            return false;
        const void *values = file + p.offset;
        memcpy(arrays[i].pointer, &values, sizeof values);
    }
    for (int i = 0; i < 4; i++)
        if (!is_map_whole(map[i], h->place[9 + 2 * i].bytes)) return false;
    return true;
}

/* No count is so large that the size of an array could overflow. */
static bool are_counts_sane(const header *h) {
    const int64_t counts[] = {h->users, h->items,   h->entities, h->relations, h->train,  h->valid,
                              h->test,  h->triples, h->ids[0],   h->ids[1],    h->ids[2], h->ids[3]};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i] < 0 || counts[i] > INT64_MAX / 64) return false;
    if (h->items > INT32_MAX || h->modalities < 0 || h->modalities > MAX_CACHED_MODALITIES) return false;
    for (int64_t m = 0; m < h->modalities; m++)
        if (h->width[m] < 1 || h->width[m] > INT32_MAX / 8) return false;
    return true;
}

static bool is_whole(const header *h, const kd_mapped_file *file) {
    if (file->bytes < (int64_t)sizeof *h || memcmp(h->magic, MAGIC, sizeof MAGIC) != 0 || h->version != VERSION ||
        h->bytes != file->bytes)
        return false;
    uint64_t arrays = XXH3_64bits(file->data + sizeof *h, (size_t)(file->bytes - (int64_t)sizeof *h));
    return h->check == check_of(h, arrays) && are_counts_sane(h);
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
    if (is_whole(h, &file) && same_sources(folder, name, &h->key)) {
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
