#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "kernels/cpu/cpu.h"

enum {
    ALIGNMENT = 64,
    LARGE = 64 << 20 /* such a block is weighed first: the system promises more memory than it has */
};

static void clear(void *block, int64_t bytes) {
    enum { PIECE = 1 << 20 };
#pragma omp parallel for schedule(static) if (bytes > PIECE)
    for (int64_t at = 0; at < bytes; at += PIECE)
        memset((char *)block + at, 0, (size_t)(bytes - at < PIECE ? bytes - at : PIECE));
}

kd_status kd_cpu_alloc(kd_ctx *ctx, int64_t bytes, const char *what, void **out) {
    (void)ctx;
    *out = NULL;
    int64_t padded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *block = NULL;
    if (bytes < LARGE || bytes <= kd_host_available())
        block = aligned_alloc(ALIGNMENT, padded > 0 ? (size_t)padded : ALIGNMENT);
    if (!block) return KD_FAIL(KD_ERR_MEMORY, "%s: out of memory (%lld bytes)", what, (long long)bytes);
    clear(block, padded > 0 ? padded : ALIGNMENT);
    *out = block;
    return KD_OK;
}

void kd_cpu_release(kd_ctx *ctx, void *block) {
    (void)ctx;
    free(block);
}

kd_status kd_cpu_upload(kd_ctx *ctx, void *device, const void *host, int64_t bytes) {
    (void)ctx;
    if (bytes > 0) memcpy(device, host, (size_t)bytes);
    return KD_OK;
}

kd_status kd_cpu_download(kd_ctx *ctx, void *host, const void *device, int64_t bytes) {
    (void)ctx;
    if (bytes > 0) memcpy(host, device, (size_t)bytes);
    return KD_OK;
}

kd_status kd_cpu_zero(kd_ctx *ctx, void *device, int64_t bytes) {
    (void)ctx;
    clear(device, bytes);
    return KD_OK;
}

/* Every CPU op has finished when it returns. */
kd_status kd_cpu_synchronize(kd_ctx *ctx) {
    (void)ctx;
    return KD_OK;
}

int64_t kd_cpu_available(kd_ctx *ctx) {
    (void)ctx;
    return kd_host_available();
}

kd_status kd_cpu_cursor_begin(kd_ctx *ctx, int64_t epoch, kd_cursor *cursor) {
    (void)ctx;
    *cursor = (kd_cursor){.epoch = epoch, .step = cursor->step};
    return KD_OK;
}

kd_status kd_cpu_cursor_advance(kd_ctx *ctx, int64_t count, int64_t parts, double *slot, double *log,
                                kd_cursor *cursor) {
    (void)ctx;
    for (int64_t j = 0; j < parts; j++) {
        log[cursor->batch * parts + j] = slot[j];
        slot[j] = 0.0;
    }
    cursor->batch++;
    cursor->first += count;
    cursor->step++;
    return KD_OK;
}

/* CPU profilers see the functions' own names. */
void kd_cpu_range_push(kd_ctx *ctx, const char *name) {
    (void)ctx;
    (void)name;
}

void kd_cpu_range_pop(kd_ctx *ctx) { (void)ctx; }

void kd_cpu_profiler(kd_ctx *ctx, bool on) {
    (void)ctx;
    (void)on;
}

/* A CPU has nothing to gain from a recording. */
kd_status kd_cpu_replay(kd_ctx *ctx, kd_step_fn *step, void *arg, kd_recording **recording) {
    *recording = NULL;
    return step(ctx, arg);
}

void kd_cpu_recording_free(kd_ctx *ctx, kd_recording **recording) {
    (void)ctx;
    *recording = NULL;
}

kd_status kd_cpu_workspace_reserve(kd_ctx *ctx, int64_t bytes) {
    if (bytes <= ctx->workspace_bytes) return KD_OK;
    kd_cpu_release(ctx, ctx->workspace);
    ctx->workspace = NULL;
    ctx->workspace_bytes = 0;
    kd_status status = kd_cpu_alloc(ctx, bytes, "workspace", &ctx->workspace);
    if (status == KD_OK) ctx->workspace_bytes = bytes;
    return status;
}
