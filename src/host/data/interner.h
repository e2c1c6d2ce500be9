/* Tokens to dense ids in order of first appearance. */
#ifndef KD_DATA_INTERNER_H
#define KD_DATA_INTERNER_H

#include "host/data/dataset.h"
#include "host/data/table.h"

typedef struct kd_interner {
    int64_t count, capacity, text_bytes, text_capacity, slots;
    char *text;
    int64_t *offset; /* [count] */
    int32_t *slot;   /* [slots] id + 1, 0 where free; open addressing by xxh3 */
} kd_interner;

/* Id of the token, -1 if it is not there. */
int32_t kd_interner_find(const kd_interner *interner, kd_field token);

/* *id = the token's id, a new one at first sight. KD_ERR_FORMAT for an empty token, a NUL byte or carriage return in
 * it, or too many. */
kd_status kd_interner_add(kd_interner *interner, const kd_table *table, kd_field token, int32_t *id);

/* The tokens as an id map; the interner is left empty. */
void kd_interner_give(kd_interner *interner, kd_id_map *out);

/* Every token of a map, in order, so that ids are the same. KD_ERR_FORMAT when one is there twice. */
kd_status kd_interner_take(const kd_id_map *map, const char *what, kd_interner *out);

void kd_interner_free(kd_interner *interner);

#endif
