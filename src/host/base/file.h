/* Files read whole through a read-only mapping, and files that are written whole or not at all. */
#ifndef KD_BASE_FILE_H
#define KD_BASE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "host/base/error.h"

/* A whole file mapped read-only. `data` is never NULL after a successful kd_file_map, also for an empty file. */
typedef struct kd_mapped_file {
    const unsigned char *data; /* [bytes] */
    int64_t bytes;
} kd_mapped_file;

/* Maps the regular file `path`; *out is overwritten. KD_ERR_FORMAT (path and reason) if it is missing, is not a regular
 * file or cannot be read: input that is not there is bad input. On failure *out is empty. */
kd_status kd_file_map(const char *path, kd_mapped_file *out);

/* Unmaps and leaves *file empty; an empty one is allowed. */
void kd_file_unmap(kd_mapped_file *file);

/* True if `path` names something that exists, whatever it is. */
bool kd_file_exists(const char *path);

/* *out = a new string "folder/name" with a single '/' between them; free with free(). KD_ERR_MEMORY. */
kd_status kd_path_join(const char *folder, const char *name, char **out);

/* Makes the folders that `path` names before its last component, those that are missing. KD_ERR_IO names the path and
 * the reason. */
kd_status kd_parents_make(const char *path);

/* Makes the folder `path` and the missing ones above it; one that is there is success. KD_ERR_IO as above, also if
 * `path` is something else. */
kd_status kd_folder_make(const char *path);

/* A file being written under a temporary name in the folder of its final name. */
typedef struct kd_atomic_file {
    FILE *stream;    /* write here; NULL once committed or aborted */
    char *path;      /* the final name */
    char *temporary; /* "<path>.tmp.<random>" */
} kd_atomic_file;

/* Creates the temporary file; *out is overwritten. KD_ERR_IO names the path and the reason. */
kd_status kd_atomic_open(const char *path, kd_atomic_file *out);

/* As kd_atomic_open for "folder/<name><suffix>". */
kd_status kd_atomic_open_in(const char *folder, const char *name, const char *suffix, kd_atomic_file *out);

/* Flushes, fsyncs, renames over the final name and fsyncs the folder, then frees *file. On any failure, an earlier
 * failed write to the stream included, the temporary is removed, the old file (if any) stays, and KD_ERR_IO names the
 * step. */
kd_status kd_atomic_commit(kd_atomic_file *file);

/* Removes the temporary and frees *file; harmless after a commit or on a zeroed struct, so cleanup can always call it.
 */
void kd_atomic_abort(kd_atomic_file *file);

#endif
