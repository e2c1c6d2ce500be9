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

#ifdef __cplusplus
}
#endif
#endif
