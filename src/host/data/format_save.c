/* Writing the engine's own format. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/file.h"
#include "host/data/format.h"
#include "host/data/npy.h"

static kd_status write_ids(const char *folder, const char *name, const char *suffix, const char *header,
                           const kd_id_map *ids) {
    kd_atomic_file f;
    KD_OR_RETURN(kd_atomic_open_in(folder, name, suffix, &f));
    fprintf(f.stream, "%s:token\n", header);
    for (int64_t i = 0; i < ids->count; i++) {
        const char *id = kd_id_token(ids, i);
        if (!*id || strpbrk(id, "\t\r\n")) {
            kd_atomic_abort(&f);
            return KD_FAIL(KD_ERR_FORMAT,
                           "%s %lld of %s: is empty or holds a tab or a line break, which text tables cannot", header,
                           (long long)i, name);
        }
        fprintf(f.stream, "%s\n", id);
    }
    return kd_atomic_commit(&f);
}

static kd_status write_split(const char *folder, const char *suffix, const kd_dataset *d,
                             const kd_interactions *split) {
    kd_atomic_file f;
    if (split->count == 0) return KD_OK;
    KD_OR_RETURN(kd_atomic_open_in(folder, d->name, suffix, &f));
    fputs("user_id:token\titem_id:token\n", f.stream);
    for (int64_t i = 0; i < split->count; i++)
        fprintf(f.stream, "%s\t%s\n", kd_id_token(&d->user_ids, split->user[i]),
                kd_id_token(&d->item_ids, split->item[i]));
    return kd_atomic_commit(&f);
}

static kd_status write_triples(const char *folder, const kd_dataset *d) {
    kd_atomic_file f;
    KD_OR_RETURN(kd_atomic_open_in(folder, d->name, ".kg", &f));
    fputs("head_id:token\trelation_id:token\ttail_id:token\n", f.stream);
    for (int64_t i = 0; i < d->kg.count; i++)
        fprintf(f.stream, "%s\t%s\t%s\n", kd_id_token(&d->entity_ids, d->kg.head[i]),
                kd_id_token(&d->relation_ids, d->kg.relation[i]), kd_id_token(&d->entity_ids, d->kg.tail[i]));
    return kd_atomic_commit(&f);
}

static kd_status write_links(const char *folder, const kd_dataset *d) {
    kd_atomic_file f;
    KD_OR_RETURN(kd_atomic_open_in(folder, d->name, ".link", &f));
    fputs("item_id:token\tentity_id:token\n", f.stream);
    for (int64_t i = 0; i < d->items; i++)
        fprintf(f.stream, "%s\t%s\n", kd_id_token(&d->item_ids, i), kd_id_token(&d->entity_ids, i));
    return kd_atomic_commit(&f);
}

static kd_status write_features(const char *folder, const kd_dataset *d, const kd_modality *m) {
    char file[96], *path;
    const int64_t shape[2] = {d->items, m->width};
    snprintf(file, sizeof file, "%s_feat.npy", m->name);
    KD_OR_RETURN(kd_path_join(folder, file, &path));
    kd_status status = kd_npy_write_f32(path, 2, shape, m->values);
    free(path);
    return status;
}

static kd_status write_all(const char *folder, const kd_dataset *d) {
    KD_OR_RETURN(write_ids(folder, d->name, ".user", "user_id", &d->user_ids));
    KD_OR_RETURN(write_ids(folder, d->name, ".item", "item_id", &d->item_ids));
    KD_OR_RETURN(write_split(folder, ".train.inter", d, &d->train));
    KD_OR_RETURN(write_split(folder, ".valid.inter", d, &d->valid));
    KD_OR_RETURN(write_split(folder, ".test.inter", d, &d->test));
    if (d->kg.count > 0 || d->kg_linked || d->relations > 0 || d->entities > d->items) {
        KD_OR_RETURN(write_ids(folder, d->name, ".entity", "entity_id", &d->entity_ids));
        KD_OR_RETURN(write_ids(folder, d->name, ".relation", "relation_id", &d->relation_ids));
        KD_OR_RETURN(write_triples(folder, d));
        if (d->kg_linked) KD_OR_RETURN(write_links(folder, d));
    }
    for (int64_t i = 0; i < d->modality_count; i++) KD_OR_RETURN(write_features(folder, d, &d->modalities[i]));
    return KD_OK;
}

static bool is_dots(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

/* Whether a file belongs to a data set: --force must not take anything else with it. */
static bool is_own_file(const char *file) {
    static const char *const suffixes[] = {".user",        ".item",       ".entity",    ".relation", ".train.inter",
                                           ".valid.inter", ".test.inter", ".kg",        ".link",     "_feat.npy",
                                           ".cache",       "_truth.tsv",  ".truth.json"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t length = strlen(file), tail = strlen(suffixes[i]);
        if (length > tail && strcmp(file + length - tail, suffixes[i]) == 0) return true;
    }
    return false;
}

/* *there = whether the target has files that are to be replaced. KD_ERR_ARGUMENT if it must be left alone. */
static kd_status check_target(const char *path, bool force, bool *there) {
    kd_status status = KD_OK;
    DIR *listing = opendir(path);
    const struct dirent *entry;
    *there = false;
    if (!listing && errno == ENOENT) return KD_OK;
    if (!listing) return KD_FAIL(KD_ERR_ARGUMENT, "%s: expected a folder: %s", path, strerror(errno));
    while ((entry = readdir(listing)) != NULL) {
        if (is_dots(entry->d_name)) continue;
        *there = true;
        if (!force)
            KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "%s: is there and not an empty folder; choose another or add --force",
                               path);
        if (!is_own_file(entry->d_name))
            KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "%s: holds %s, which is no part of a data set; --force leaves it alone",
                               path, entry->d_name);
    }
cleanup:
    closedir(listing);
    return status;
}

/* Removes the plain files of a folder, then the folder; sub-folders stop it. */
static kd_status remove_folder(const char *path) {
    kd_status status = KD_OK;
    DIR *listing = opendir(path);
    const struct dirent *entry;
    if (!listing) return KD_FAIL(KD_ERR_IO, "%s: %s", path, strerror(errno));
    while ((entry = readdir(listing)) != NULL) {
        char *file;
        if (is_dots(entry->d_name)) continue;
        KD_TRY(kd_path_join(path, entry->d_name, &file));
        int failed = unlink(file);
        free(file);
        if (failed) KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s/%s: cannot be removed: %s", path, entry->d_name, strerror(errno));
    }
    if (rmdir(path) != 0) status = KD_FAIL(KD_ERR_IO, "%s: cannot be removed: %s", path, strerror(errno));
cleanup:
    closedir(listing);
    return status;
}

/* Renames the finished folder into place; one that is there is put aside first and removed when all went well. */
static kd_status put_in_place(char *temporary, const char *target, bool there) {
    char aside[4200];
    snprintf(aside, sizeof aside, "%s.old", temporary);
    if (there && rename(target, aside) != 0)
        return KD_FAIL(KD_ERR_IO, "%s: cannot be put aside: %s", target, strerror(errno));
    if (rename(temporary, target) != 0) {
        kd_status status = KD_FAIL(KD_ERR_IO, "%s: cannot be renamed into place: %s", target, strerror(errno));
        if (there) rename(aside, target);
        return status;
    }
    temporary[0] = '\0';
    return there ? remove_folder(aside) : KD_OK;
}

/* "x/y/" as "x/y": the name that the data set gets and the rename wants. */
static char *without_slashes(const char *path) {
    char *copy = strdup(path);
    for (size_t n = copy ? strlen(copy) : 0; n > 1 && copy[n - 1] == '/'; n--) copy[n - 1] = '\0';
    return copy;
}

kd_status kd_dataset_save_with(const char *path, bool force, const kd_dataset *data, kd_save_extra *extra,
                               void *context) {
    kd_status status = KD_OK;
    char temporary[4096], *target = without_slashes(path);
    const char *slash;
    kd_dataset named = *data;
    bool there;
    if (!target) return KD_FAIL(KD_ERR_MEMORY, "%s: out of memory", path);
    temporary[0] = '\0';
    slash = strrchr(target, '/');
    snprintf(named.name, sizeof named.name, "%s", slash ? slash + 1 : target);
    if (named.name[0] == '\0' || is_dots(named.name))
        KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "%s: expected a folder name to create", path);
    KD_TRY(check_target(target, force, &there));
    KD_TRY(kd_parents_make(target));
    if (snprintf(temporary, sizeof temporary, "%s.tmp.XXXXXX", target) >= (int)sizeof temporary ||
        !mkdtemp(temporary)) {
        temporary[0] = '\0';
        KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s: cannot be made: %s", path, strerror(errno));
    }
    chmod(temporary, 0755);
    KD_TRY(write_all(temporary, &named));
    if (extra) KD_TRY(extra(context, temporary, named.name));
    KD_TRY(put_in_place(temporary, target, there));
cleanup:
    if (temporary[0]) { /* the failure's own message is kept */
        char message[1024];
        snprintf(message, sizeof message, "%s", kd_last_error());
        remove_folder(temporary);
        status = KD_FAIL(status, "%s", message);
    }
    free(target);
    return status;
}

kd_status kd_dataset_save(const char *path, bool force, const kd_dataset *data) {
    return kd_dataset_save_with(path, force, data, NULL, NULL);
}
