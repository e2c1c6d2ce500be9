#include "host/data/recbole.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/features.h"
#include "host/data/pairs.h"
#include "host/data/recbole_inner.h"

void kd_recbole_defaults(kd_recbole_options *out) {
    *out = (kd_recbole_options){.split = {0.8, 0.1, 0.1}, .seed = 421};
}

static bool ends_with(const char *text, const char *suffix) {
    size_t n = strlen(text), m = strlen(suffix);
    return n > m && strcmp(text + n - m, suffix) == 0;
}

/* NAME and whether its splits are given as files. */
static kd_status find_name(const char *folder, char name[128], bool *given) {
    static const char *const suffixes[] = {".train.inter", ".inter"};
    for (int s = 0; s < 2; s++) {
        DIR *listing = opendir(folder);
        const struct dirent *entry;
        int found = 0;
        if (!listing) return KD_FAIL(KD_ERR_FORMAT, "%s: %s", folder, strerror(errno));
        while ((entry = readdir(listing)) != NULL) {
            size_t length = strlen(entry->d_name) - strlen(suffixes[s]);
            if (!ends_with(entry->d_name, suffixes[s]) || length >= 128) continue;
            snprintf(name, 128, "%.*s", (int)length, entry->d_name);
            found++;
        }
        closedir(listing);
        *given = s == 0;
        if (found == 1) return KD_OK;
        if (found > 1) return KD_FAIL(KD_ERR_FORMAT, "%s: %d files NAME%s; expected one", folder, found, suffixes[s]);
    }
    return KD_FAIL(KD_ERR_FORMAT, "%s: expected NAME.inter or NAME.train.inter", folder);
}

/* Columns of an interaction file; -1 where it has none. */
typedef struct columns {
    int user, item, rating, label;
} columns;

static kd_status find_columns(const kd_table *t, const kd_recbole_options *o, columns *c) {
    static const char *const ratings[] = {"rating", "weight", "label"};
    c->user = kd_table_find(t, "userID"); /* MMRec's names */
    c->item = kd_table_find(t, "itemID");
    if (c->user < 0) KD_OR_RETURN(kd_table_require(t, "user_id", &c->user));
    if (c->item < 0) KD_OR_RETURN(kd_table_require(t, "item_id", &c->item));
    c->rating = c->label = -1;
    if (o->rating_column) KD_OR_RETURN(kd_table_require(t, o->rating_column, &c->rating));
    for (int i = 0; i < 3 && c->rating < 0; i++) c->rating = kd_table_find(t, ratings[i]);
    if (o->has_threshold && c->rating < 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s:1: --threshold needs a column rating, weight or label", t->path);
    if (o->split_by_label) KD_OR_RETURN(kd_table_require(t, "x_label", &c->label));
    return KD_OK;
}

/* What the interactions are read from and into. */
typedef struct reading {
    const char *folder, *name;
    const kd_recbole_options *options;
    kd_interner *users, *items;
    kd_recbole_rows *rows;
} reading;

static kd_status read_row(const kd_table *t, const columns *c, int32_t split, const reading *to) {
    const kd_recbole_options *o = to->options;
    kd_recbole_rows *rows = to->rows;
    double rating = 0.0, label = split;
    struct kd_recbole_row row;
    if (o->has_threshold) KD_OR_RETURN(kd_table_real(t, c->rating, &rating));
    if (o->has_threshold && rating < o->threshold) return KD_OK;
    if (c->label >= 0) {
        KD_OR_RETURN(kd_table_real(t, c->label, &label));
        if (label != 0.0 && label != 1.0 && label != 2.0)
            return KD_FAIL(KD_ERR_FORMAT, "%s:%lld: x_label: expected 0, 1 or 2", t->path, (long long)t->line);
    }
    row.split = (int32_t)label;
    KD_OR_RETURN(kd_interner_add(to->users, t, t->field[c->user], &row.user));
    KD_OR_RETURN(kd_interner_add(to->items, t, t->field[c->item], &row.item));
    KD_OR_RETURN(kd_host_grow(&rows->row, &rows->capacity, rows->count + 1, sizeof *rows->row, t->path));
    rows->row[rows->count++] = row;
    return KD_OK;
}

static kd_status read_file(const reading *r, const char *suffix, int32_t split, bool optional) {
    kd_status status = KD_OK;
    char file[256], *path = NULL;
    kd_table t = {0};
    columns c;
    bool more;
    snprintf(file, sizeof file, "%s%s", r->name, suffix);
    KD_TRY(kd_path_join(r->folder, file, &path));
    if (optional && !kd_file_exists(path)) goto cleanup;
    KD_TRY(kd_table_open(path, &t));
    KD_TRY(find_columns(&t, r->options, &c));
    while (true) {
        KD_TRY(kd_table_next(&t, &more));
        if (!more) break;
        KD_TRY(read_row(&t, &c, split, r));
    }
cleanup:
    kd_table_close(&t);
    free(path);
    return status;
}

/* Ids that still have a row, in their old order: new [n] = new id or -1; `kept` gets their tokens. */
static kd_status compact(const kd_interner *ids, const uint8_t *used, int32_t *new_id, kd_interner *kept) {
    kd_table place = {.path = "ids"};
    for (int64_t i = 0; i < ids->count; i++) {
        const char *token = ids->text + ids->offset[i];
        new_id[i] = -1;
        if (!used[i]) continue;
        KD_OR_RETURN(kd_interner_add(kept, &place, (kd_field){token, (int64_t)strlen(token)}, &new_id[i]));
    }
    return KD_OK;
}

/* Renames users and items to the ids that are left. */
static kd_status renumber(kd_interner *users, kd_interner *items, kd_recbole_rows *rows) {
    kd_status status = KD_OK;
    kd_interner kept[2] = {{0}};
    kd_interner *ids[2] = {users, items};
    uint8_t *used[2] = {NULL, NULL};
    int32_t *new_id[2] = {NULL, NULL};
    for (int s = 0; s < 2; s++) {
        KD_TRY(kd_host_alloc(&used[s], ids[s]->count, 1, "ids"));
        KD_TRY(kd_host_alloc(&new_id[s], ids[s]->count, sizeof(int32_t), "ids"));
        for (int64_t i = 0; i < rows->count; i++) used[s][s ? rows->row[i].item : rows->row[i].user] = 1;
        KD_TRY(compact(ids[s], used[s], new_id[s], &kept[s]));
    }
    for (int64_t i = 0; i < rows->count; i++) {
        rows->row[i].user = new_id[0][rows->row[i].user];
        rows->row[i].item = new_id[1][rows->row[i].item];
    }
    for (int s = 0; s < 2; s++) {
        kd_interner_free(ids[s]);
        *ids[s] = kept[s];
        kept[s] = (kd_interner){0};
    }
cleanup:
    for (int s = 0; s < 2; s++) {
        kd_interner_free(&kept[s]);
        free(used[s]);
        free(new_id[s]);
    }
    return status;
}

/* Each distinct pair once; where splits are given the earlier file wins (train, valid, test). */
static int by_pair(const void *x, const void *y) {
    const struct kd_recbole_row *a = x, *b = y;
    if (a->user != b->user) return a->user < b->user ? -1 : 1;
    if (a->item != b->item) return a->item < b->item ? -1 : 1;
    return (a->split > b->split) - (a->split < b->split);
}

static void remove_duplicates(kd_recbole_rows *rows) {
    int64_t kept = 0;
    if (rows->count == 0) return; /* row may be NULL, which qsort does not take */
    qsort(rows->row, (size_t)rows->count, sizeof *rows->row, by_pair);
    for (int64_t i = 0; i < rows->count; i++)
        if (kept == 0 || rows->row[i].user != rows->row[kept - 1].user || rows->row[i].item != rows->row[kept - 1].item)
            rows->row[kept++] = rows->row[i];
    rows->count = kept;
}

static kd_status give_splits(const kd_recbole_rows *rows, kd_dataset *d) {
    kd_interactions *split[3] = {&d->train, &d->valid, &d->test};
    for (int s = 0; s < 3; s++) {
        KD_OR_RETURN(kd_host_alloc(&split[s]->user, rows->count, sizeof(int32_t), "interactions"));
        KD_OR_RETURN(kd_host_alloc(&split[s]->item, rows->count, sizeof(int32_t), "interactions"));
    }
    for (int64_t i = 0; i < rows->count; i++) { /* sorted by user and item, so each split is */
        kd_interactions *to = split[rows->row[i].split];
        to->user[to->count] = rows->row[i].user;
        to->item[to->count++] = rows->row[i].item;
    }
    return KD_OK;
}

/* Which item each row of the features is: --feature-ids, else NAME.item; none if there is neither. */
static kd_status feature_rows(const char *folder, const char *name, const kd_recbole_options *o, kd_interner *out) {
    kd_status status = KD_OK;
    char file[256], *path = NULL;
    kd_table t = {0};
    int column = 0;
    bool more;
    snprintf(file, sizeof file, "%s.item", name);
    KD_TRY(kd_path_join(folder, file, &path));
    if (!o->feature_ids && !kd_file_exists(path)) goto cleanup;
    if (o->feature_ids) { /* no header: one id a line */
        t = (kd_table){.path = o->feature_ids, .columns = 1};
        KD_TRY(kd_file_map(o->feature_ids, &t.file));
        t.next = (const char *)t.file.data;
    } else {
        KD_TRY(kd_table_open(path, &t));
        KD_TRY(kd_table_require(&t, "item_id", &column));
    }
    while (true) {
        int32_t id;
        int64_t before = out->count;
        KD_TRY(kd_table_next(&t, &more));
        if (!more) break;
        KD_TRY(kd_interner_add(out, &t, t.field[column], &id));
        if (id != before)
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s:%lld: this item is there twice", t.path, (long long)t.line);
    }
cleanup:
    kd_table_close(&t);
    free(path);
    return status;
}

static kd_status read_interactions(const reading *r, bool given) {
    const kd_recbole_options *o = r->options;
    if (given) {
        KD_OR_RETURN(read_file(r, ".train.inter", 0, false));
        KD_OR_RETURN(read_file(r, ".valid.inter", 1, true));
        KD_OR_RETURN(read_file(r, ".test.inter", 2, true));
    } else {
        KD_OR_RETURN(read_file(r, ".inter", -1, false));
    }
    remove_duplicates(r->rows);
    if (o->k_core > 0) KD_OR_RETURN(kd_recbole_core(o->k_core, r->users->count, r->items->count, r->rows));
    if (r->rows->count == 0) return KD_FAIL(KD_ERR_FORMAT, "%s: no interaction is left after the filters", r->folder);
    KD_OR_RETURN(renumber(r->users, r->items, r->rows));
    if (!given && !o->split_by_label) KD_OR_RETURN(kd_recbole_split(o->split, o->seed, r->rows));
    return KD_OK;
}

kd_status kd_recbole_load(const char *path, const kd_recbole_options *o, kd_dataset *d) {
    kd_status status = KD_OK;
    kd_interner users = {0}, items = {0}, ids = {0};
    kd_recbole_rows rows = {0};
    char name[128];
    bool given = false;
    reading interactions = {
        .folder = path, .name = name, .options = o, .users = &users, .items = &items, .rows = &rows};
    *d = (kd_dataset){0};
    KD_TRY(find_name(path, name, &given));
    if (given && o->split_by_label)
        KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "%s: has %s.train.inter, so it cannot be split by x_label", path, name);
    snprintf(d->name, sizeof d->name, "%s", name);
    KD_TRY(read_interactions(&interactions, given));
    d->users = users.count;
    d->items = items.count;
    KD_TRY(give_splits(&rows, d));
    KD_TRY(kd_recbole_graph(path, name, &items, d));
    KD_TRY(feature_rows(path, name, o, &ids));
    KD_TRY(kd_recbole_features(path, &ids, &items, d));
    kd_interner_give(&users, &d->user_ids);
    kd_interner_give(&items, &d->item_ids);
    d->hash = kd_dataset_hash(d);
cleanup:
    kd_interner_free(&users);
    kd_interner_free(&items);
    kd_interner_free(&ids);
    free(rows.row);
    if (status != KD_OK) kd_dataset_free(d);
    return status;
}
