#include "host/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/memory.h"

static const unsigned char empty_file[1];

kd_status kd_file_map(const char *path, kd_mapped_file *out) {
    kd_status status = KD_OK;
    struct stat info;
    void *data = NULL;

    *out = (kd_mapped_file){0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* O_NONBLOCK: a FIFO must not hang us */
    if (descriptor < 0) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(descriptor, &info) != 0) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: cannot stat: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: expected a regular file", path);
    if (info.st_size == 0) { /* mmap refuses length 0 */
        out->data = empty_file;
        goto cleanup;
    }
    data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: cannot map: %s", path, strerror(errno));
    out->data = data;
    out->bytes = info.st_size;
cleanup:
    if (descriptor >= 0) close(descriptor);
    return status;
}

void kd_file_unmap(kd_mapped_file *file) {
    if (file->bytes > 0) munmap((void *)(uintptr_t)file->data, (size_t)file->bytes);
    *file = (kd_mapped_file){0};
}

bool kd_file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

kd_status kd_path_join(const char *folder, const char *name, char **out) {
    size_t length = strlen(folder), name_length = strlen(name);
    const char *slash = length > 0 && folder[length - 1] == '/' ? "" : "/";

    *out = NULL;
    kd_status status = kd_host_alloc(out, (int64_t)(length + name_length + 2), 1, "a path");
    if (status == KD_OK) snprintf(*out, length + name_length + 2, "%s%s%s", folder, slash, name);
    return status;
}

static kd_status make_one(const char *part, const char *path) {
    struct stat info;
    if (mkdir(part, 0777) == 0) return KD_OK;
    int reason = errno;
    if (stat(part, &info) == 0) { /* EEXIST is not the only answer for a folder that is there: "/" may give EROFS */
        if (S_ISDIR(info.st_mode)) return KD_OK;
        reason = ENOTDIR;
    }
    return KD_FAIL(KD_ERR_IO, "%s: cannot be made: %s", path, strerror(reason));
}

kd_status kd_parents_make(const char *path) {
    kd_status status = KD_OK;
    if (!path[0]) return KD_FAIL(KD_ERR_ARGUMENT, "'': expected a path");
    char *part = strdup(path);
    if (part == NULL) return KD_FAIL(KD_ERR_MEMORY, "%s: out of memory", path);
    size_t length = strlen(part);
    while (length > 1 && part[length - 1] == '/') part[--length] = '\0';
    for (char *slash = strchr(part + 1, '/'); status == KD_OK && slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        status = make_one(part, path);
        *slash = '/';
    }
    free(part);
    return status;
}

kd_status kd_folder_make(const char *path) {
    kd_status status = kd_parents_make(path);
    return status == KD_OK ? make_one(path, path) : status;
}

/* fsync of the folder that holds `path`: without it a crash can lose the rename. */
static kd_status sync_folder_of(const char *path) {
    kd_status status = KD_OK;
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int descriptor = -1;

    if (folder == NULL) KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "%s: out of memory", path);
    descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s: cannot open folder: %s", folder, strerror(errno));
    /* Some network file systems cannot sync a folder and say EINVAL; there is nothing more to be done there. */
    if (fsync(descriptor) != 0 && errno != EINVAL)
        KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s: cannot sync folder: %s", folder, strerror(errno));
cleanup:
    if (descriptor >= 0) close(descriptor);
    free(folder);
    return status;
}

/* mkostemp makes files for the owner alone; a finished file gets what open() would have given it. */
static mode_t default_file_mode(void) {
    mode_t mask = umask(022);
    umask(mask);
    return 0666 & ~mask;
}

kd_status kd_atomic_open(const char *path, kd_atomic_file *out) {
    kd_status status = KD_OK;
    size_t length = strlen(path) + sizeof ".tmp.XXXXXX";
    int descriptor = -1;

    *out = (kd_atomic_file){0};
    KD_TRY(kd_host_alloc(&out->temporary, (int64_t)length, 1, "a path"));
    snprintf(out->temporary, length, "%s.tmp.XXXXXX", path);
    out->path = strdup(path);
    if (out->path == NULL) KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "%s: out of memory", path);
    descriptor = mkostemp(out->temporary, O_CLOEXEC);
    if (descriptor < 0) KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s: cannot create: %s", path, strerror(errno));
    out->stream = fdopen(descriptor, "wb");
    if (out->stream == NULL || fchmod(descriptor, default_file_mode()) != 0)
        KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s: cannot create: %s", path, strerror(errno));
cleanup:
    if (status != KD_OK) {
        if (descriptor >= 0) unlink(out->temporary);
        if (descriptor >= 0 && out->stream == NULL) close(descriptor);
        if (out->stream != NULL) fclose(out->stream);
        free(out->path);
        free(out->temporary);
        *out = (kd_atomic_file){0};
    }
    return status;
}

kd_status kd_atomic_open_in(const char *folder, const char *name, const char *suffix, kd_atomic_file *out) {
    kd_status status = KD_OK;
    const int64_t length = (int64_t)(strlen(name) + strlen(suffix)) + 1;
    char *file = NULL, *path = NULL;

    *out = (kd_atomic_file){0};
    KD_TRY(kd_host_alloc(&file, length, 1, "a path"));
    snprintf(file, (size_t)length, "%s%s", name, suffix);
    KD_TRY(kd_path_join(folder, file, &path));
    KD_TRY(kd_atomic_open(path, out));
cleanup:
    free(file);
    free(path);
    return status;
}

kd_status kd_atomic_commit(kd_atomic_file *file) {
    kd_status status = KD_OK;
    FILE *stream = file->stream;

    if (stream == NULL) return KD_FAIL(KD_ERR_IO, "no file is open for writing");
    if (ferror(stream) || fflush(stream) != 0 || fsync(fileno(stream)) != 0)
        KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s: cannot write: %s", file->path, strerror(errno));
    file->stream = NULL;
    if (fclose(stream) != 0) KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s: cannot close: %s", file->path, strerror(errno));
    if (rename(file->temporary, file->path) != 0)
        KD_FAIL_TO_CLEANUP(KD_ERR_IO, "%s: cannot rename into place: %s", file->path, strerror(errno));
    file->temporary[0] = '\0'; /* there is none any more */
    KD_TRY(sync_folder_of(file->path));
cleanup:
    kd_atomic_abort(file);
    return status;
}

void kd_atomic_abort(kd_atomic_file *file) {
    if (file->stream != NULL) fclose(file->stream);
    if (file->temporary != NULL && file->temporary[0] != '\0') unlink(file->temporary);
    free(file->path);
    free(file->temporary);
    *file = (kd_atomic_file){0};
}
