/* Opening and closing the CUDA backend; see kernels/device.h for the public face. */
#ifndef KD_CUDA_CONTEXT_H
#define KD_CUDA_CONTEXT_H

#include <stdbool.h>

#include "kernels/compute.h"
#include "kernels/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether a usable GPU is there; if not, why (one line, valid until the next call). */
bool kd_cuda_usable(const char **why);

/* Devices that there are. */
int64_t kd_cuda_count(void);

/* Makes the GPU of a rank the present device, where there is one. */
void kd_cuda_select(int64_t local_rank);

/* Fills ctx->ops, ctx->backend and ctx->description for the present device. KD_ERR_ARGUMENT: no usable device;
 * KD_ERR_CUDA, KD_ERR_MEMORY. On failure nothing is left behind. */
kd_status kd_cuda_open(kd_precision precision, bool deterministic, kd_ctx *ctx);
void kd_cuda_close(kd_ctx *ctx);

/* Free and total bytes of the device. */
kd_status kd_cuda_memory(kd_ctx *ctx, int64_t *free_bytes, int64_t *total_bytes);

#ifdef __cplusplus
}
#endif
#endif
