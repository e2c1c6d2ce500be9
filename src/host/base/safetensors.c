#include "host/base/safetensors.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/base/memory.h"

enum { ALIGNMENT = 8, PIECE = 16 << 20 /* bytes that an array is streamed in */ };

static const struct {
    const char *name;
    int64_t bytes;
} TYPES[KD_DTYPE_COUNT] = {{"F32", 4}, {"F64", 8}, {"I32", 4}, {"I64", 8}};

static const char METADATA[] = "__metadata__";

static const kd_tensor *find(int64_t count, const kd_tensor *tensors, const char *name) {
    for (int64_t i = 0; i < count; i++)
        if (strcmp(tensors[i].name, name) == 0) return &tensors[i];
    return NULL;
}

static int64_t bytes_of(const kd_tensor *t) {
    int64_t bytes = TYPES[t->dtype].bytes;
    for (int64_t i = 0; i < t->rank; i++) bytes *= t->shape[i];
    return bytes;
}

/* What the header and the reader can hold: one or two sizes whose product fits, and a name of its own. */
static kd_status check_tensors(const char *path, int64_t count, const kd_tensor *tensors) {
    int64_t total = 0;
    for (int64_t i = 0; i < count; i++) {
        const kd_tensor *t = &tensors[i];
        int64_t bytes = TYPES[t->dtype].bytes;
        bool fits = t->rank == 1 || t->rank == 2;
        for (int64_t k = 0; fits && k < t->rank; k++)
            fits = t->shape[k] >= 0 && !__builtin_mul_overflow(bytes, t->shape[k], &bytes);
        if (!fits || __builtin_add_overflow(total, bytes, &total))
            return KD_FAIL(KD_ERR_ARGUMENT, "%s: array '%s': expected one or two sizes that fit in memory", path,
                           t->name);
        if (find(i, tensors, t->name) || strcmp(t->name, METADATA) == 0)
            return KD_FAIL(KD_ERR_ARGUMENT, "%s: array '%s': the name is taken", path, t->name);
    }
    return KD_OK;
}

/* The JSON header: metadata, then each array's type, shape and place. */
static cJSON *describe(int64_t count, const kd_tensor *tensors, int64_t metadata_count, const char *const *metadata) {
    cJSON *root = cJSON_CreateObject(), *about = cJSON_AddObjectToObject(root, METADATA);
    int64_t at = 0;
    for (int64_t i = 0; i < metadata_count; i++) cJSON_AddStringToObject(about, metadata[2 * i], metadata[2 * i + 1]);
    for (int64_t i = 0; i < count; i++) {
        cJSON *entry = cJSON_AddObjectToObject(root, tensors[i].name);
        cJSON_AddStringToObject(entry, "dtype", TYPES[tensors[i].dtype].name);
        cJSON *shape = cJSON_AddArrayToObject(entry, "shape"), *place = cJSON_AddArrayToObject(entry, "data_offsets");
        for (int64_t k = 0; k < tensors[i].rank; k++)
            cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensors[i].shape[k]));
        cJSON_AddItemToArray(place, cJSON_CreateNumber((double)at));
        at += bytes_of(&tensors[i]);
        cJSON_AddItemToArray(place, cJSON_CreateNumber((double)at));
    }
    return root;
}

/* Array i's bytes into the stream, whose failures are found when it is committed; NULL: they are only asked for. */
static kd_status write_array(FILE *stream, const kd_snapshot *s, int64_t i) {
    kd_status status = KD_OK;
    const kd_tensor *t = &s->tensor[i];
    int64_t bytes = bytes_of(t);
    char *piece = NULL;
    if (t->data || bytes == 0) {
        if (bytes > 0 && stream) fwrite(t->data, 1, (size_t)bytes, stream);
        return KD_OK;
    }
    if (stream) KD_TRY(kd_host_alloc(&piece, bytes < PIECE ? bytes : PIECE, 1, "a piece of a file"));
    for (int64_t at = 0; at < bytes; at += PIECE) {
        int64_t some = bytes - at < PIECE ? bytes - at : PIECE;
        KD_TRY(s->source(s->context, i, at, some, piece));
        if (stream) fwrite(piece, 1, (size_t)some, stream);
    }
cleanup:
    free(piece);
    return status;
}

static kd_status write_arrays(FILE *stream, const kd_snapshot *s) {
    for (int64_t i = 0; i < s->count; i++) KD_OR_RETURN(write_array(stream, s, i));
    return s->confirm ? s->confirm(s->context) : KD_OK;
}

kd_status kd_safetensors_ask(const kd_snapshot *arrays) { return write_arrays(NULL, arrays); }

kd_status kd_safetensors_save(const char *path, const kd_snapshot *arrays, int64_t metadata_count,
                              const char *const *metadata) {
    kd_status status = KD_OK;
    kd_atomic_file file = {0};
    unsigned char length[8];
    cJSON *root = NULL;
    char *header = NULL;
    KD_TRY(check_tensors(path, arrays->count, arrays->tensor));
    root = describe(arrays->count, arrays->tensor, metadata_count, metadata);
    header = cJSON_PrintUnformatted(root);
    if (!header) KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "%s: out of memory for its header", path);
    uint64_t text = strlen(header), padded = (text + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(padded >> (8 * i));
    KD_TRY(kd_atomic_open(path, &file));
    fwrite(length, 1, sizeof length, file.stream);
    fprintf(file.stream, "%s%*s", header, (int)(padded - text), "");
    KD_TRY(write_arrays(file.stream, arrays));
    KD_TRY(kd_atomic_commit(&file)); /* checks the stream for any failed write */
cleanup:
    kd_atomic_abort(&file);
    cJSON_Delete(root);
    cJSON_free(header);
    return status;
}

static bool whole(const cJSON *item, int64_t most, int64_t *out) {
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1.0;
    if (!(value >= 0.0 && value <= (double)most && value == floor(value))) return false;
    *out = (int64_t)value;
    return true;
}

/* The type of that name; KD_DTYPE_COUNT for none that is accepted. */
static kd_dtype type_named(const cJSON *name, bool any_type) {
    int type = 0, known = any_type ? KD_DTYPE_COUNT : KD_DTYPE_F32 + 1;
    while (type < known && !(cJSON_IsString(name) && strcmp(name->valuestring, TYPES[type].name) == 0)) type++;
    return type < known ? (kd_dtype)type : KD_DTYPE_COUNT;
}

/* One array's entry: a known type, rank 1 or 2, and a place of exactly its size within the data. */
static kd_status read_entry(const char *path, const cJSON *entry, bool any_type, const unsigned char *data,
                            int64_t bytes, kd_tensor *out) {
    kd_dtype type = type_named(cJSON_GetObjectItemCaseSensitive(entry, "dtype"), any_type);
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    const cJSON *place = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    int64_t begin, end, count = 1;
    *out = (kd_tensor){.rank = cJSON_GetArraySize(shape), .shape = {1, 1}};
    if (strlen(entry->string) >= sizeof out->name || type == KD_DTYPE_COUNT || !cJSON_IsArray(shape) || out->rank < 1 ||
        out->rank > 2)
        return KD_FAIL(KD_ERR_FORMAT, "%s: array '%.80s': expected F32%s of one or two dimensions", path, entry->string,
                       any_type ? ", F64, I32 or I64" : "");
    strcpy(out->name, entry->string);
    out->dtype = type;
    for (int i = 0; i < (int)out->rank; i++)
        if (!whole(cJSON_GetArrayItem(shape, i), INT64_C(1) << 53, &out->shape[i]) ||
            __builtin_mul_overflow(count, out->shape[i], &count))
            return KD_FAIL(KD_ERR_FORMAT, "%s: array '%s': its shape is no pair of sizes", path, out->name);
    if (cJSON_GetArraySize(place) != 2 || !whole(cJSON_GetArrayItem(place, 0), bytes, &begin) ||
        !whole(cJSON_GetArrayItem(place, 1), bytes, &end) || begin % TYPES[type].bytes != 0 ||
        count > bytes / TYPES[type].bytes || end - begin != count * TYPES[type].bytes)
        return KD_FAIL(KD_ERR_FORMAT, "%s: array '%s': its data_offsets do not fit its shape and the file", path,
                       out->name);
    out->data = data + begin;
    return KD_OK;
}

static int by_place(const void *a, const void *b) {
    const kd_tensor *x = a, *y = b;
    return ((const char *)x->data > (const char *)y->data) - ((const char *)x->data < (const char *)y->data);
}

static kd_status read_header(const char *path, bool any_type, const unsigned char *file, int64_t bytes,
                             kd_safetensors *out) {
    kd_status status = KD_OK;
    uint64_t length = 0;
    cJSON *root = NULL, *entry;
    if (bytes < 8) return KD_FAIL(KD_ERR_FORMAT, "%s: expected at least 8 bytes, got %lld", path, (long long)bytes);
    for (int i = 0; i < 8; i++) length |= (uint64_t)file[i] << (8 * i);
    if (length > (uint64_t)(bytes - 8) || length % ALIGNMENT != 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s: offset 0: the header's length does not fit the file", path);
    root = cJSON_ParseWithLength((const char *)file + 8, (size_t)length);
    if (!cJSON_IsObject(root)) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: offset 8: expected a JSON object", path);
    KD_TRY(kd_host_alloc(&out->tensor, cJSON_GetArraySize(root), sizeof *out->tensor, path));
    cJSON_ArrayForEach(entry, root) {
        if (strcmp(entry->string, METADATA) == 0) continue;
        KD_TRY(read_entry(path, entry, any_type, file + 8 + length, bytes - 8 - (int64_t)length,
                          &out->tensor[out->count]));
        if (kd_safetensors_find(out, entry->string))
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: array '%s' is there twice", path, entry->string);
        out->count++;
    }
    qsort(out->tensor, (size_t)out->count, sizeof *out->tensor, by_place);
    for (int64_t i = 1; i < out->count; i++)
        if ((const char *)out->tensor[i].data < (const char *)out->tensor[i - 1].data + bytes_of(&out->tensor[i - 1]))
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: arrays '%s' and '%s' overlap", path, out->tensor[i - 1].name,
                               out->tensor[i].name);
    out->metadata = cJSON_DetachItemFromObjectCaseSensitive(root, METADATA);
cleanup:
    cJSON_Delete(root);
    return status;
}

kd_status kd_safetensors_open(const char *path, bool any_type, kd_safetensors *out) {
    kd_mapped_file file;
    *out = (kd_safetensors){0};
    KD_OR_RETURN(kd_file_map(path, &file));
    out->file = file;
    kd_status status = read_header(path, any_type, file.data, file.bytes, out);
    if (status != KD_OK) kd_safetensors_close(out);
    return status;
}

void kd_safetensors_close(kd_safetensors *s) {
    free(s->tensor);
    cJSON_Delete(s->metadata);
    if (s->file.data) kd_file_unmap(&s->file);
    *s = (kd_safetensors){0};
}

const kd_tensor *kd_safetensors_find(const kd_safetensors *s, const char *name) {
    return find(s->count, s->tensor, name);
}

const char *kd_safetensors_metadata(const kd_safetensors *s, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(s->metadata, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}
