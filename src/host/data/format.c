/* Reading the engine's own format. */
#include "host/data/format.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/features.h"
#include "host/data/interner.h"
#include "host/data/pairs.h"

/* folder/name.suffix; free with free(). */
static kd_status file_path(const char *folder, const char *name, const char *suffix, char **out) {
    char file[256];
    snprintf(file, sizeof file, "%s%s", name, suffix);
    return kd_path_join(folder, file, out);
}

/* Ids in the order of a one-column file. `optional`: no file, no ids. */
static kd_status read_ids(const char *folder, const char *name, const char *suffix, const char *column, bool optional,
                          kd_interner *out) {
    kd_status status = KD_OK;
    kd_table t = {0};
    char *path = NULL;
    int at;
    bool more;
    KD_TRY(file_path(folder, name, suffix, &path));
    if (optional && !kd_file_exists(path)) goto cleanup;
    KD_TRY(kd_table_open(path, &t));
    KD_TRY(kd_table_require(&t, column, &at));
    for (;;) {
        int32_t id;
        int64_t before = out->count;
        KD_TRY(kd_table_next(&t, &more));
        if (!more) break;
        KD_TRY(kd_interner_add(out, &t, t.field[at], &id));
        if (id != before) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s:%lld: this id is there twice", path, (long long)t.line);
    }
cleanup:
    kd_table_close(&t);
    free(path);
    return status;
}

/* The dense id of a field; KD_ERR_FORMAT where no list has it. */
static kd_status look_up(const kd_table *t, int column, const kd_interner *ids, const char *list, int32_t *out) {
    kd_field f = t->field[column];
    *out = kd_interner_find(ids, f);
    if (*out >= 0) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s:%lld: '%.*s' is not in the .%s file", t->path, (long long)t->line,
                   (int)(f.length < 60 ? f.length : 60), f.text, list);
}

static kd_status read_split(const char *folder, const char *name, const char *suffix, bool optional,
                            const kd_interner *users, const kd_interner *items, kd_interactions *out) {
    kd_status status = KD_OK;
    kd_table t = {0};
    char *path = NULL;
    int user, item;
    bool more;
    KD_TRY(file_path(folder, name, suffix, &path));
    if (optional && !kd_file_exists(path)) goto cleanup;
    KD_TRY(kd_table_open(path, &t));
    KD_TRY(kd_table_require(&t, "user_id", &user));
    KD_TRY(kd_table_require(&t, "item_id", &item));
    KD_TRY(kd_host_alloc(&out->user, kd_table_lines(&t), sizeof *out->user, path));
    KD_TRY(kd_host_alloc(&out->item, kd_table_lines(&t), sizeof *out->item, path));
    for (;;) {
        KD_TRY(kd_table_next(&t, &more));
        if (!more) break;
        KD_TRY(look_up(&t, user, users, "user", &out->user[out->count]));
        KD_TRY(look_up(&t, item, items, "item", &out->item[out->count]));
        out->count++;
    }
    KD_TRY(kd_pairs_sort(users->count, items->count, out->count, out->user, out->item, NULL));
    out->count = kd_pairs_unique(out->count, out->user, out->item);
cleanup:
    kd_table_close(&t);
    free(path);
    return status;
}

static kd_status read_triples(const char *folder, const char *name, const kd_interner *entities,
                              const kd_interner *relations, kd_triples *out) {
    kd_status status = KD_OK;
    kd_table t = {0};
    char *path = NULL;
    int head, relation, tail;
    bool more;
    KD_TRY(file_path(folder, name, ".kg", &path));
    if (!kd_file_exists(path)) goto cleanup;
    KD_TRY(kd_table_open(path, &t));
    KD_TRY(kd_table_require(&t, "head_id", &head));
    KD_TRY(kd_table_require(&t, "relation_id", &relation));
    KD_TRY(kd_table_require(&t, "tail_id", &tail));
    KD_TRY(kd_host_alloc(&out->head, kd_table_lines(&t), sizeof *out->head, path));
    KD_TRY(kd_host_alloc(&out->relation, kd_table_lines(&t), sizeof *out->head, path));
    KD_TRY(kd_host_alloc(&out->tail, kd_table_lines(&t), sizeof *out->head, path));
    for (;;) {
        KD_TRY(kd_table_next(&t, &more));
        if (!more) break;
        KD_TRY(look_up(&t, head, entities, "entity", &out->head[out->count]));
        KD_TRY(look_up(&t, relation, relations, "relation", &out->relation[out->count]));
        KD_TRY(look_up(&t, tail, entities, "entity", &out->tail[out->count]));
        out->count++;
    }
cleanup:
    kd_table_close(&t);
    free(path);
    return status;
}

/* The .link file only says that the graph is linked, and which entity each item is: item i must be entity i. */
static kd_status read_links(const char *folder, const char *name, const kd_interner *items, const kd_interner *entities,
                            bool *linked) {
    kd_status status = KD_OK;
    kd_table t = {0};
    char *path = NULL;
    int item, entity;
    bool more;
    KD_TRY(file_path(folder, name, ".link", &path));
    *linked = kd_file_exists(path);
    if (!*linked) goto cleanup;
    KD_TRY(kd_table_open(path, &t));
    KD_TRY(kd_table_require(&t, "item_id", &item));
    KD_TRY(kd_table_require(&t, "entity_id", &entity));
    for (;;) {
        int32_t i, e;
        KD_TRY(kd_table_next(&t, &more));
        if (!more) break;
        KD_TRY(look_up(&t, item, items, "item", &i));
        KD_TRY(look_up(&t, entity, entities, "entity", &e));
        if (i != e)
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT,
                               "%s:%lld: item %d is linked to entity %d; expected items to come first among the "
                               "entities, in the same order",
                               path, (long long)t.line, (int)i, (int)e);
    }
cleanup:
    kd_table_close(&t);
    free(path);
    return status;
}

kd_status kd_format_read(const char *folder, const char *name, kd_dataset *d) {
    kd_status status = KD_OK;
    kd_interner users = {0}, items = {0}, entities = {0}, relations = {0};
    *d = (kd_dataset){0};
    snprintf(d->name, sizeof d->name, "%s", name);
    KD_TRY(read_ids(folder, name, ".user", "user_id", false, &users));
    KD_TRY(read_ids(folder, name, ".item", "item_id", false, &items));
    KD_TRY(read_ids(folder, name, ".entity", "entity_id", true, &entities));
    KD_TRY(read_ids(folder, name, ".relation", "relation_id", true, &relations));
    d->users = users.count;
    d->items = items.count;
    KD_TRY(read_split(folder, name, ".train.inter", false, &users, &items, &d->train));
    KD_TRY(read_split(folder, name, ".valid.inter", true, &users, &items, &d->valid));
    KD_TRY(read_split(folder, name, ".test.inter", true, &users, &items, &d->test));
    KD_TRY(read_triples(folder, name, &entities, &relations, &d->kg));
    KD_TRY(read_links(folder, name, &items, &entities, &d->kg_linked));
    KD_TRY(kd_features_load(folder, d));
    d->entities = entities.count > 0 ? entities.count : items.count;
    d->relations = relations.count;
    if (d->entities < d->items)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT,
                           "%s/%s.entity: %lld entities; expected at least one for each of the %lld items", folder,
                           name, (long long)d->entities, (long long)d->items);
    kd_interner_give(&users, &d->user_ids);
    kd_interner_give(&items, &d->item_ids);
    kd_interner_give(&relations, &d->relation_ids);
    if (entities.count > 0)
        kd_interner_give(&entities, &d->entity_ids);
    else
        KD_TRY(kd_id_map_decimal(d->items, &d->entity_ids));
    d->hash = kd_dataset_hash(d);
cleanup:
    kd_interner_free(&users);
    kd_interner_free(&items);
    kd_interner_free(&entities);
    kd_interner_free(&relations);
    if (status != KD_OK) kd_dataset_free(d);
    return status;
}

/* The NAME of the folder's one NAME.train.inter; KD_ERR_FORMAT says what the folder seems to hold instead. */
static kd_status find_name(const char *folder, char name[128]) {
    static const char suffix[] = ".train.inter";
    DIR *listing = opendir(folder);
    const struct dirent *entry;
    int found = 0;
    const char *hint = "";
    if (!listing) return KD_FAIL(KD_ERR_FORMAT, "%s: %s", folder, strerror(errno));
    while ((entry = readdir(listing)) != NULL) {
        size_t length = strlen(entry->d_name), tail = strlen(suffix);
        if (strcmp(entry->d_name, "trnMat.pkl") == 0)
            hint = "; these are the published files: kdiffe convert --from=published makes a data set of them";
        else if (length > 6 && strcmp(entry->d_name + length - 6, ".inter") == 0 && !hint[0])
            hint = "; for RecBole files: kdiffe convert --from=recbole makes a data set of them";
        if (length <= tail || length - tail >= 128 || strcmp(entry->d_name + length - tail, suffix) != 0) continue;
        snprintf(name, 128, "%.*s", (int)(length - tail), entry->d_name);
        found++;
    }
    closedir(listing);
    if (found == 1) return KD_OK;
    return KD_FAIL(KD_ERR_FORMAT, "%s: expected one NAME%s, found %d%s", folder, suffix, found, found ? "" : hint);
}

/* Raw RecBole files with given splits look like a data set, but list no users and items. */
static kd_status check_lists(const char *folder, const char *name) {
    char *path;
    kd_status status = file_path(folder, name, ".user", &path);
    if (status != KD_OK) return status;
    if (!kd_file_exists(path))
        status = KD_FAIL(KD_ERR_FORMAT,
                         "%s: is not there; for RecBole files: kdiffe convert --from=recbole makes a data set of them",
                         path);
    free(path);
    return status;
}

kd_status kd_dataset_load(const char *path, kd_dataset *out) {
    char name[128];
    kd_cache_key key;
    *out = (kd_dataset){0};
    KD_OR_RETURN(find_name(path, name));
    KD_OR_RETURN(check_lists(path, name));
    if (!kd_cache_read(path, name, out)) {
        bool cacheable = kd_cache_key_of(path, name, &key);
        KD_OR_RETURN(kd_format_read(path, name, out));
        if (cacheable) kd_cache_write(path, name, &key, out);
    }
    out->path = realpath(path, NULL);
    if (out->path) return KD_OK;
    kd_status status = KD_FAIL(KD_ERR_FORMAT, "%s: cannot be resolved: %s", path, strerror(errno));
    kd_dataset_free(out);
    return status;
}
