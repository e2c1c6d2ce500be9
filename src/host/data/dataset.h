/* A data set in host memory, whatever files it came from. All ids are dense, 0-based and checked when it is loaded. */
#ifndef KD_DATA_DATASET_H
#define KD_DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"

/* One split: (user, item) pairs, sorted by user then item, each pair once. */
typedef struct kd_interactions {
    int64_t count;
    int32_t *user; /* [count] in 0..users-1 */
    int32_t *item; /* [count] in 0..items-1 */
} kd_interactions;

/* Item features of one modality. */
typedef struct kd_modality {
    char name[64];
    int64_t width; /* F */
    float *values; /* [items, width] row-major, finite */
} kd_modality;

/* Raw triples in file order, duplicates kept (graph/kg_edges.c sorts, removes duplicates and adds inverse relations).
 */
typedef struct kd_triples {
    int64_t count;
    int32_t *head;     /* [count] in 0..entities-1 */
    int32_t *relation; /* [count] in 0..relations-1 */
    int32_t *tail;     /* [count] in 0..entities-1 */
} kd_triples;

/* The users' own names of dense ids: token of id i is text + offset[i]. */
typedef struct kd_id_map {
    int64_t count;
    char *text;      /* count strings, each ended by '\0' */
    int64_t *offset; /* [count] */
} kd_id_map;

typedef struct kd_dataset {
    char name[128];
    int64_t users, items;
    int64_t entities;                   /* >= items; items are entities 0..items-1 */
    int64_t relations;                  /* without inverses; 0 without a knowledge graph */
    kd_interactions train, valid, test; /* valid and test may be empty (count 0); train may not */
    kd_triples kg;
    /* True if a .link file says which entity each item is: then kg.id_space changes nothing. False: head and tail ids
     * are the published kind, where a tail such as 1..3 collides with an item of the same number. */
    bool kg_linked;
    int64_t modality_count;
    kd_modality *modalities; /* image, text, audio first and in that order where present, then the others by name */
    kd_id_map user_ids, item_ids, entity_ids, relation_ids;
    uint64_t hash; /* xxh3 of everything above, the same whichever files it was read from */
    char *path;    /* absolute, of the folder it was loaded from; NULL: made in memory */
    void *mapping; /* the mapped binary cache that the arrays point into; NULL if they are malloc'ed one by one */
    int64_t mapping_bytes;
} kd_dataset;

/* Loads the engine's own format (docs/formats.md) from folder `path`; uses or rewrites the binary cache beside it.
 * On failure *out is empty and the message names file and line or offset. */
kd_status kd_dataset_load(const char *path, kd_dataset *out);

/* Frees everything and leaves *dataset empty; an empty one is allowed. With a mapping only `modalities` itself is
 * malloc'ed, every other array lies in the mapping. */
void kd_dataset_free(kd_dataset *dataset);

/* xxh3 of sizes, splits, triples, features and id maps, as they stand in the fields; `name`, `hash` and `mapping` take
 * no part, so the same data gives the same hash whichever files it was read from. Stores nothing. */
uint64_t kd_dataset_hash(const kd_dataset *dataset);

/* *out = the names "0", "1", ..., "count - 1"; free text and offset with free(). KD_ERR_MEMORY leaves *out empty. */
kd_status kd_id_map_decimal(int64_t count, kd_id_map *out);

/* The order in which a data set keeps modalities: image, text, audio, then the others by name; as strcmp. */
int kd_modality_compare(const char *a, const char *b);

/* Token of dense id i. */
static inline const char *kd_id_token(const kd_id_map *map, int64_t i) { return map->text + map->offset[i]; }

#endif
