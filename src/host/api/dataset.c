#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) (element)->left_out = true
#include <uthash.h>

#include "host/api/subset.h"
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

int64_t kd_dataset_ids(const kd_dataset *data, kd_id_kind kind) {
    const kd_id_map *ids = ids_of(data, kind);
    return ids ? ids->count : 0;
}

const char *kd_dataset_id(const kd_dataset *data, kd_id_kind kind, int64_t i) {
    const kd_id_map *ids = ids_of(data, kind);
    return ids && i >= 0 && i < ids->count ? kd_id_token(ids, i) : NULL;
}

typedef struct token {
    const char *name;
    int64_t index;
    bool left_out; /* for want of memory */
    UT_hash_handle hh;
} token;

kd_status kd_dataset_find(const kd_dataset *data, kd_id_kind kind, int64_t count, const char *const *id,
                          int64_t *index) {
    kd_status status = KD_OK;
    const kd_id_map *ids = ids_of(data, kind);
    token *table = NULL, *tokens = NULL, *found;
    if (!ids) return KD_FAIL(KD_ERR_ARGUMENT, "ids: expected those of users, items, entities or relations");
    KD_OR_RETURN(kd_host_alloc(&tokens, ids->count, sizeof *tokens, "ids"));
    for (int64_t i = 0; i < ids->count && status == KD_OK; i++) {
        tokens[i] = (token){.name = kd_id_token(ids, i), .index = i};
        HASH_ADD_KEYPTR(hh, table, tokens[i].name, strlen(tokens[i].name), &tokens[i]);
        if (tokens[i].left_out) status = KD_FAIL(KD_ERR_MEMORY, "ids: out of memory for %lld", (long long)ids->count);
    }
    for (int64_t i = 0; i < count && status == KD_OK; i++) {
        HASH_FIND_STR(table, id[i], found);
        index[i] = found ? found->index : -1;
    }
    HASH_CLEAR(hh, table);
    free(tokens);
    return status;
}

int64_t kd_dataset_interactions(const kd_dataset *data, kd_subset subset, const int32_t **user, const int32_t **item) {
    const kd_interactions *split = kd_dataset_split(data, subset);
    *user = split->user;
    *item = split->item;
    return split->count;
}
