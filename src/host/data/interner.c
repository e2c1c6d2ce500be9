#include "host/data/interner.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "host/base/memory.h"

static bool is_token(const kd_interner *n, int32_t id, kd_field token) {
    const char *text = n->text + n->offset[id];
    return strncmp(text, token.text, (size_t)token.length) == 0 && text[token.length] == '\0';
}

/* The token's slot, or the free one where it would go. slots is a power of two and never full. */
static int64_t slot_of(const kd_interner *n, kd_field token) {
    uint64_t at = XXH3_64bits(token.text, (size_t)token.length);
    while (true) {
        int32_t id = n->slot[at & (uint64_t)(n->slots - 1)];
        if (id == 0 || is_token(n, id - 1, token)) return (int64_t)(at & (uint64_t)(n->slots - 1));
        at++;
    }
}

int32_t kd_interner_find(const kd_interner *n, kd_field token) {
    if (n->slots == 0 || memchr(token.text, '\0', (size_t)token.length)) return -1;
    return n->slot[slot_of(n, token)] - 1;
}

/* Twice the slots, every token put again. */
static kd_status grow(kd_interner *n) {
    int32_t *old = n->slot;
    kd_status status = kd_host_alloc(&n->slot, n->slots ? 2 * n->slots : 1024, sizeof *n->slot, "ids");
    if (status != KD_OK) {
        n->slot = old;
        return status;
    }
    n->slots = n->slots ? 2 * n->slots : 1024;
    free(old);
    for (int64_t id = 0; id < n->count; id++) {
        const char *text = n->text + n->offset[id];
        n->slot[slot_of(n, (kd_field){text, (int64_t)strlen(text)})] = (int32_t)(id + 1);
    }
    return KD_OK;
}

kd_status kd_interner_add(kd_interner *n, const kd_table *t, kd_field token, int32_t *id) {
    if (token.length == 0) return KD_FAIL(KD_ERR_FORMAT, "%s:%lld: expected an id", t->path, (long long)t->line);
    if (memchr(token.text, '\0', (size_t)token.length) || memchr(token.text, '\r', (size_t)token.length))
        return KD_FAIL(KD_ERR_FORMAT, "%s:%lld: expected an id without NUL bytes and carriage returns", t->path,
                       (long long)t->line);
    if (2 * n->count >= n->slots) KD_OR_RETURN(grow(n));
    int64_t slot = slot_of(n, token);
    if (n->slot[slot] == 0) {
        if (n->count == INT32_MAX - 1) return KD_FAIL(KD_ERR_FORMAT, "%s: more than 2^31 ids", t->path);
        KD_OR_RETURN(kd_host_grow(&n->offset, &n->capacity, n->count + 1, sizeof *n->offset, "ids"));
        KD_OR_RETURN(kd_host_grow(&n->text, &n->text_capacity, n->text_bytes + token.length + 1, 1, "ids"));
        memcpy(n->text + n->text_bytes, token.text, (size_t)token.length);
        n->text[n->text_bytes + token.length] = '\0';
        n->offset[n->count++] = n->text_bytes;
        n->text_bytes += token.length + 1;
        n->slot[slot] = (int32_t)n->count;
    }
    *id = n->slot[slot] - 1;
    return KD_OK;
}

void kd_interner_give(kd_interner *n, kd_id_map *out) {
    *out = (kd_id_map){n->count, n->text, n->offset};
    n->text = NULL;
    n->offset = NULL;
    kd_interner_free(n);
}

kd_status kd_interner_take(const kd_id_map *map, const char *what, kd_interner *out) {
    kd_status status = KD_OK;
    *out = (kd_interner){0};
    kd_table place = {.path = what};
    for (int64_t i = 0; i < map->count; i++) {
        int32_t id = -1;
        const char *text = kd_id_token(map, i);
        place.line = i + 1;
        KD_TRY(kd_interner_add(out, &place, (kd_field){text, (int64_t)strlen(text)}, &id));
        if (id != i) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: id '%s' is there twice", what, text);
    }
cleanup:
    if (status != KD_OK) kd_interner_free(out);
    return status;
}

void kd_interner_free(kd_interner *n) {
    free(n->text);
    free(n->offset);
    free(n->slot);
    *n = (kd_interner){0};
}
