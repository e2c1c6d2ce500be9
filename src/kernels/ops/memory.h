/* Device memory, copies, the workspace and the stream. */
#ifndef KD_OPS_MEMORY_H
#define KD_OPS_MEMORY_H

#include "kernels/ops/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out = `bytes` zeroed bytes on the device, aligned to 64; KD_ERR_MEMORY names `what`. bytes 0 is allowed. */
typedef kd_status kd_alloc_fn(kd_ctx *ctx, int64_t bytes, const char *what, void **out);
/* Frees what kd_alloc gave, after the work that uses it; NULL is allowed. */
typedef void kd_release_fn(kd_ctx *ctx, void *block);
/* Host to device and back. The host block may be reused when upload returns and is filled when download returns. */
typedef kd_status kd_upload_fn(kd_ctx *ctx, void *device, const void *host, int64_t bytes);
typedef kd_status kd_download_fn(kd_ctx *ctx, void *host, const void *device, int64_t bytes);
/* `bytes` zero bytes. */
typedef kd_status kd_zero_fn(kd_ctx *ctx, void *device, int64_t bytes);
/* Waits for everything enqueued so far. */
typedef kd_status kd_synchronize_fn(kd_ctx *ctx);
/* Makes the workspace at least `bytes` large; called between steps, never inside one. */
typedef kd_status kd_workspace_reserve_fn(kd_ctx *ctx, int64_t bytes);

/* Bytes that the device can still give. */
typedef int64_t kd_available_fn(kd_ctx *ctx);
/* cursor: epoch = `epoch`, batch = first = 0; step is kept. */
typedef kd_status kd_cursor_begin_fn(kd_ctx *ctx, int64_t epoch, kd_cursor *cursor);
/* The end of a step of `count` entries: log[batch * parts + j] = slot[j], slot = 0, then batch and step + 1, first +
 * count. */
typedef kd_status kd_cursor_advance_fn(kd_ctx *ctx, int64_t count, int64_t parts, double *slot, double *log,
                                       kd_cursor *cursor);

/* Names what is enqueued between them, for profilers: NVTX ranges on CUDA. Ranges nest. */
typedef void kd_range_push_fn(kd_ctx *ctx, const char *name);
typedef void kd_range_pop_fn(kd_ctx *ctx);
/* Tells an outside profiler that captures on request (Nsight's cudaProfilerApi) to begin or to end. */
typedef void kd_profiler_fn(kd_ctx *ctx, bool on);

/* Enqueues what `step` enqueues. A backend that can record calls it the first time (*recording NULL), records it the
 * second time, and from then on replays without calling it: pointers and counts are the same every time, and whatever
 * changes is read from a cursor. `step` may only call ops that neither wait nor copy to or from the host. Free with
 * kd_recording_free. */
typedef struct kd_recording kd_recording;
typedef kd_status kd_step_fn(kd_ctx *ctx, void *arg);
typedef kd_status kd_replay_fn(kd_ctx *ctx, kd_step_fn *step, void *arg, kd_recording **recording);
/* Frees *recording, which may be NULL, and sets it to NULL. */
typedef void kd_recording_free_fn(kd_ctx *ctx, kd_recording **recording);

#ifdef __cplusplus
}
#endif
#endif
