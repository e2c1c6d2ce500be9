/* Copies from the host through two pinned buffers on a stream of their own: while one is on its way the next is filled,
 * and the caller's block is free again when the call returns. */
#ifndef KD_CUDA_STAGING_H
#define KD_CUDA_STAGING_H

#include "kernels/cuda/cuda.h"

kd_status kd_cuda_staging_open(struct kd_cuda_staging **out);
void kd_cuda_staging_close(struct kd_cuda_staging *staging);

/* Host to device, ordered after what the compute stream holds and before what it gets next. */
kd_status kd_cuda_staging_upload(struct kd_cuda_staging *staging, cudaStream_t compute, void *device, const void *host,
                                 int64_t bytes);

#endif
