#include "host/data/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define XXH_STATIC_LINKING_ONLY /* the state on the stack: hashing cannot fail */
#include <xxhash.h>

#include "host/base/memory.h"

static void free_id_map(kd_id_map *map) {
    free(map->text);
    free(map->offset);
}

void kd_dataset_free(kd_dataset *dataset) {
    if (dataset->mapping != NULL) {
        munmap(dataset->mapping, (size_t)dataset->mapping_bytes);
    } else {
        kd_interactions *splits[] = {&dataset->train, &dataset->valid, &dataset->test};
        for (int i = 0; i < 3; i++) {
            free(splits[i]->user);
            free(splits[i]->item);
        }
        free(dataset->kg.head);
        free(dataset->kg.relation);
        free(dataset->kg.tail);
        for (int64_t i = 0; i < dataset->modality_count; i++) free(dataset->modalities[i].values);
        free_id_map(&dataset->user_ids);
        free_id_map(&dataset->item_ids);
        free_id_map(&dataset->entity_ids);
        free_id_map(&dataset->relation_ids);
    }
    free(dataset->modalities);
    free(dataset->path);
    *dataset = (kd_dataset){0};
}

static void hash_number(XXH3_state_t *state, int64_t number) { XXH3_64bits_update(state, &number, sizeof number); }

/* The count goes in before each array, so that moving an element from one to the next changes the hash. */
static void hash_ids(XXH3_state_t *state, int64_t count, const int32_t *ids) {
    hash_number(state, count);
    if (count > 0) XXH3_64bits_update(state, ids, (size_t)count * sizeof *ids);
}

static void hash_names(XXH3_state_t *state, const kd_id_map *map) {
    hash_number(state, map->count);
    for (int64_t i = 0; i < map->count; i++) {
        const char *token = kd_id_token(map, i);
        XXH3_64bits_update(state, token, strlen(token) + 1);
    }
}

uint64_t kd_dataset_hash(const kd_dataset *dataset) {
    const kd_interactions *splits[] = {&dataset->train, &dataset->valid, &dataset->test};
    XXH3_state_t state;

    XXH3_INITSTATE(&state); /* reset alone leaves a field unread but uninitialised */
    XXH3_64bits_reset(&state);
    hash_number(&state, dataset->users);
    hash_number(&state, dataset->items);
    hash_number(&state, dataset->entities);
    hash_number(&state, dataset->relations);
    hash_number(&state, dataset->kg_linked);
    for (int i = 0; i < 3; i++) {
        hash_ids(&state, splits[i]->count, splits[i]->user);
        hash_ids(&state, splits[i]->count, splits[i]->item);
    }
    hash_ids(&state, dataset->kg.count, dataset->kg.head);
    hash_ids(&state, dataset->kg.count, dataset->kg.relation);
    hash_ids(&state, dataset->kg.count, dataset->kg.tail);
    hash_number(&state, dataset->modality_count);
    for (int64_t i = 0; i < dataset->modality_count; i++) {
        const kd_modality *modality = &dataset->modalities[i];
        size_t bytes = (size_t)dataset->items * (size_t)modality->width * sizeof *modality->values;
        XXH3_64bits_update(&state, modality->name, strlen(modality->name) + 1);
        hash_number(&state, modality->width);
        if (bytes > 0) XXH3_64bits_update(&state, modality->values, bytes);
    }
    hash_names(&state, &dataset->user_ids);
    hash_names(&state, &dataset->item_ids);
    hash_names(&state, &dataset->entity_ids);
    hash_names(&state, &dataset->relation_ids);
    return XXH3_64bits_digest(&state);
}

/* How many characters the decimal numbers 0..count-1 take, each with its '\0'. */
static int64_t decimal_bytes(int64_t count) {
    int64_t bytes = 0, digits = 1;
    for (int64_t low = 0, high = 10; low < count; low = high, high *= 10, digits++)
        bytes += ((count < high ? count : high) - low) * (digits + 1);
    return bytes;
}

kd_status kd_id_map_decimal(int64_t count, kd_id_map *out) {
    kd_status status = KD_OK;
    int64_t used = 0;

    *out = (kd_id_map){.count = count};
    KD_TRY(kd_host_alloc(&out->text, decimal_bytes(count) + 1, 1, "id names"));
    KD_TRY(kd_host_alloc(&out->offset, count, sizeof *out->offset, "id names"));
    for (int64_t i = 0; i < count; i++) {
        out->offset[i] = used;
        used += snprintf(out->text + used, 24, "%lld", (long long)i) + 1;
    }
cleanup:
    if (status != KD_OK) {
        free_id_map(out);
        *out = (kd_id_map){0};
    }
    return status;
}

/* Place in the published order; the others come after it. */
static int modality_place(const char *name) {
    static const char *const published[] = {"image", "text", "audio"};
    int place = 0;
    while (place < 3 && strcmp(name, published[place]) != 0) place++;
    return place;
}

int kd_modality_compare(const char *a, const char *b) {
    int difference = modality_place(a) - modality_place(b);
    return difference != 0 ? difference : strcmp(a, b);
}
