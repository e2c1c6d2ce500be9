#include "host/base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

kd_status kd_host_alloc(void *out, int64_t count, int64_t size, const char *what) {
    void *block = NULL;
    memset(out, 0, sizeof block);
    int64_t bytes;
    if (count < 0 || size <= 0) return KD_FAIL(KD_ERR_ARGUMENT, "%s: a negative size was asked for", what);
    if (__builtin_mul_overflow(count, size, &bytes))
        return KD_FAIL(KD_ERR_MEMORY, "%s: %lld elements do not fit in memory", what, (long long)count);
    block = calloc(1, bytes > 0 ? (size_t)bytes : 1);
    if (!block) return KD_FAIL(KD_ERR_MEMORY, "%s: out of memory (%lld bytes)", what, (long long)bytes);
    memcpy(out, &block, sizeof block);
    /* cppcheck-suppress memleak ; *out owns the block */
    return KD_OK;
}

kd_status kd_host_grow(void *buffer, int64_t *capacity, int64_t needed, int64_t size, const char *what) {
    if (needed <= *capacity) return KD_OK;
    int64_t wanted = *capacity < 16 ? 16 : *capacity;
    int64_t bytes;
    while (wanted < needed)
        if (__builtin_mul_overflow(wanted, 2, &wanted)) return KD_FAIL(KD_ERR_MEMORY, "%s: too large", what);
    if (__builtin_mul_overflow(wanted, size, &bytes)) return KD_FAIL(KD_ERR_MEMORY, "%s: too large", what);
    void *old;
    memcpy(&old, buffer, sizeof old);
    void *grown = realloc(old, (size_t)bytes);
    if (!grown) return KD_FAIL(KD_ERR_MEMORY, "%s: out of memory (%lld bytes)", what, (long long)bytes);
    memcpy(buffer, &grown, sizeof grown);
    *capacity = wanted;
    return KD_OK;
}

int64_t kd_host_available(void) {
    char line[256];
    int64_t available = INT64_MAX;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNd64 " kB", &available) == 1) available *= 1024;
    if (f) fclose(f);
    return available;
}
