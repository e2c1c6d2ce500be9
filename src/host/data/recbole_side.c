/* What stands beside the interactions: the linked knowledge graph and the features. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/features.h"
#include "host/data/recbole_inner.h"

static kd_status side_path(const char *folder, const char *name, const char *suffix, char **out) {
    char file[256];
    snprintf(file, sizeof file, "%s%s", name, suffix);
    return kd_path_join(folder, file, out);
}

/* entity_of [items] = a token for each item: its entity's, or "item:<id>" for one without a link. */
static kd_status read_links(const char *path, const kd_interner *items, kd_interner *entities) {
    kd_status status = KD_OK;
    kd_table t = {0};
    kd_field *entity_of = NULL;
    char own[512];
    int item, entity;
    bool more = true;
    KD_TRY(kd_host_alloc(&entity_of, items->count, sizeof *entity_of, "links"));
    KD_TRY(kd_table_open(path, &t));
    KD_TRY(kd_table_require(&t, "item_id", &item));
    KD_TRY(kd_table_require(&t, "entity_id", &entity));
    while (true) {
        KD_TRY(kd_table_next(&t, &more));
        if (!more) break;
        int32_t i = kd_interner_find(items, t.field[item]);
        if (i < 0) continue; /* filtered away */
        if (entity_of[i].text)
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s:%lld: item '%s' is linked twice", path, (long long)t.line,
                               items->text + items->offset[i]);
        entity_of[i] = t.field[entity];
    }
    for (int64_t i = 0; i < items->count; i++) {
        int32_t id;
        if (!entity_of[i].text) {
            snprintf(own, sizeof own, "item:%s", items->text + items->offset[i]);
            entity_of[i] = (kd_field){own, (int64_t)strlen(own)};
        }
        KD_TRY(kd_interner_add(entities, &t, entity_of[i], &id));
        if (id != i)
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: entity '%s' is linked to two items, '%s' and '%s'", path,
                               entities->text + entities->offset[id], items->text + items->offset[id],
                               items->text + items->offset[i]);
    }
cleanup:
    kd_table_close(&t);
    free(entity_of);
    return status;
}

static kd_status read_triples(const char *path, kd_interner *entities, kd_interner *relations, kd_triples *out) {
    kd_status status = KD_OK;
    kd_table t = {0};
    int head, relation, tail;
    bool more;
    KD_TRY(kd_table_open(path, &t));
    KD_TRY(kd_table_require(&t, "head_id", &head));
    KD_TRY(kd_table_require(&t, "relation_id", &relation));
    KD_TRY(kd_table_require(&t, "tail_id", &tail));
    KD_TRY(kd_host_alloc(&out->head, kd_table_lines(&t), sizeof *out->head, path));
    KD_TRY(kd_host_alloc(&out->relation, kd_table_lines(&t), sizeof *out->head, path));
    KD_TRY(kd_host_alloc(&out->tail, kd_table_lines(&t), sizeof *out->head, path));
    while (true) {
        KD_TRY(kd_table_next(&t, &more));
        if (!more) break;
        KD_TRY(kd_interner_add(entities, &t, t.field[head], &out->head[out->count]));
        KD_TRY(kd_interner_add(relations, &t, t.field[relation], &out->relation[out->count]));
        KD_TRY(kd_interner_add(entities, &t, t.field[tail], &out->tail[out->count]));
        out->count++;
    }
cleanup:
    kd_table_close(&t);
    return status;
}

kd_status kd_recbole_graph(const char *folder, const char *name, const kd_interner *items, kd_dataset *out) {
    kd_status status = KD_OK;
    kd_interner entities = {0}, relations = {0};
    char *kg = NULL, *link = NULL;
    KD_TRY(side_path(folder, name, ".kg", &kg));
    KD_TRY(side_path(folder, name, ".link", &link));
    out->entities = items->count;
    if (!kd_file_exists(kg)) {
        KD_TRY(kd_id_map_decimal(items->count, &out->entity_ids));
        goto cleanup;
    }
    if (!kd_file_exists(link))
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: expected it beside %s, to say which entity each item is", link, kg);
    KD_TRY(read_links(link, items, &entities));
    KD_TRY(read_triples(kg, &entities, &relations, &out->kg));
    out->kg_linked = true;
    out->entities = entities.count;
    out->relations = relations.count;
    kd_interner_give(&entities, &out->entity_ids);
    kd_interner_give(&relations, &out->relation_ids);
cleanup:
    kd_interner_free(&entities);
    kd_interner_free(&relations);
    free(kg);
    free(link);
    return status;
}

/* Rows of m in the order of the items. */
static kd_status reorder(const char *folder, const kd_interner *ids, const kd_interner *items, kd_modality *m) {
    float *values;
    KD_OR_RETURN(kd_host_alloc(&values, items->count * m->width, sizeof *values, "features"));
    for (int64_t i = 0; i < items->count; i++) {
        const char *token = items->text + items->offset[i];
        int32_t row = kd_interner_find(ids, (kd_field){token, (int64_t)strlen(token)});
        if (row < 0) {
            free(values);
            return KD_FAIL(KD_ERR_FORMAT, "%s/%s_feat.npy: no row for item '%s'", folder, m->name, token);
        }
        memcpy(values + i * m->width, m->values + row * m->width, (size_t)m->width * sizeof *values);
    }
    free(m->values);
    m->values = values;
    return KD_OK;
}

kd_status kd_recbole_features(const char *folder, const kd_interner *ids, const kd_interner *items, kd_dataset *out) {
    kd_status status = KD_OK;
    struct dirent **files = NULL;
    int64_t final_items = out->items;
    int count = kd_features_scan(folder, &files);
    if (count > 0 && ids->count == 0)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT,
                           "%s/%s: expected NAME.item or --feature-ids=FILE, to say whose rows these are", folder,
                           files[0]->d_name);
    out->items = ids->count; /* the files have a row for each id, kept or not */
    status = kd_features_load(folder, out);
    out->items = final_items;
    for (int64_t m = 0; status == KD_OK && m < out->modality_count; m++)
        status = reorder(folder, ids, items, &out->modalities[m]);
cleanup:
    for (int i = 0; i < count; i++) free(files[i]);
    free(files);
    return status;
}
