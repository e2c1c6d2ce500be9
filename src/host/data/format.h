/* The engine's own format: RecBole-style text, .npy features, and a mapped binary cache (docs/formats.md). */
#ifndef KD_DATA_FORMAT_H
#define KD_DATA_FORMAT_H

#include "host/data/dataset.h"

/* Writes the data set into folder `path`, named after it. Everything is written into a temporary sibling first and
 * renamed at the end. KD_ERR_ARGUMENT if the folder is there and not empty, unless `force` (then it is replaced, but
 * only if it holds nothing but files of a data set); KD_ERR_IO. */
kd_status kd_dataset_save(const char *path, bool force, const kd_dataset *data);

/* Further files of a folder being saved: called with its temporary name before the rename. */
typedef kd_status kd_save_extra(void *context, const char *folder, const char *name);
kd_status kd_dataset_save_with(const char *path, bool force, const kd_dataset *data, kd_save_extra *extra,
                               void *context);

/* The text files of a folder, without its cache. */
kd_status kd_format_read(const char *folder, const char *name, kd_dataset *out);

/* What tells whether a cache still belongs to its sources (NAME.* text files and features). */
typedef struct kd_cache_key {
    uint64_t times;    /* xxh3 of names, sizes and modification times; 0 if the latter are too new to be trusted */
    uint64_t contents; /* xxh3 of names and bytes */
} kd_cache_key;

/* The key of the sources as they are now; false if one cannot be read. Taken before they are parsed, so that a file
 * that changes meanwhile makes the cache stale. */
bool kd_cache_key_of(const char *folder, const char *name, kd_cache_key *key);

/* Maps folder/name.cache into *out; false (and *out empty) if it is missing, damaged, of another version, or made of
 * other sources. */
bool kd_cache_read(const char *folder, const char *name, kd_dataset *out);

/* Writes the cache beside its sources; a folder that cannot be written is left as it is. */
void kd_cache_write(const char *folder, const char *name, const kd_cache_key *key, const kd_dataset *data);

#endif
