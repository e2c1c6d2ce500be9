#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "host/api/run.h"
#include "host/base/memory.h"
#include "host/data/dataset_check.h"

kd_status kd_dataset_open(const char *folder, kd_dataset **out) {
    kd_status status = KD_OK;
    *out = NULL;
    KD_TRY(kd_host_alloc(out, 1, sizeof **out, "data set"));
    KD_TRY(kd_dataset_load(folder, *out));
    KD_TRY(kd_dataset_check(*out, NULL));
    return KD_OK;
cleanup:
    kd_dataset_close(*out);
    *out = NULL;
    return status;
}

void kd_dataset_close(kd_dataset *data) {
    if (data) kd_dataset_free(data);
    free(data);
}

static const kd_id_map *ids_of(const kd_dataset *data, kd_id_kind kind) {
    switch (kind) {
    case KD_ID_USER: return &data->user_ids;
    case KD_ID_ITEM: return &data->item_ids;
    case KD_ID_ENTITY: return &data->entity_ids;
    case KD_ID_RELATION: return &data->relation_ids;
    }
    return NULL;
}

int64_t kd_dataset_ids(const kd_dataset *data, kd_id_kind kind) { return ids_of(data, kind)->count; }

const char *kd_dataset_id(const kd_dataset *data, kd_id_kind kind, int64_t i) {
    const kd_id_map *ids = ids_of(data, kind);
    return i >= 0 && i < ids->count ? kd_id_token(ids, i) : NULL;
}

typedef struct token {
    const char *name;
    int64_t index;
    UT_hash_handle hh;
} token;

kd_status kd_dataset_find(const kd_dataset *data, kd_id_kind kind, int64_t count, const char *const *id,
                          int64_t *index) {
    const kd_id_map *ids = ids_of(data, kind);
    token *table = NULL, *tokens = NULL, *found;
    KD_OR_RETURN(kd_host_alloc(&tokens, ids->count, sizeof *tokens, "ids"));
    for (int64_t i = 0; i < ids->count; i++) {
        tokens[i] = (token){.name = kd_id_token(ids, i), .index = i};
        HASH_ADD_KEYPTR(hh, table, tokens[i].name, strlen(tokens[i].name), &tokens[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        HASH_FIND_STR(table, id[i], found);
        index[i] = found ? found->index : -1;
    }
    HASH_CLEAR(hh, table);
    free(tokens);
    return KD_OK;
}

int64_t kd_dataset_interactions(const kd_dataset *data, kd_subset subset, const int32_t **user, const int32_t **item) {
    const kd_interactions *split = kd_dataset_split(data, subset);
    *user = split->user;
    *item = split->item;
    return split->count;
}
