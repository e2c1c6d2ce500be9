/* Sums over ranks by NCCL; its library is loaded when the first job of several ranks asks for it. */
#ifndef KD_CUDA_NCCL_H
#define KD_CUDA_NCCL_H

#include "host/base/error.h"
#include "kernels/ranks.h"

enum { KD_NCCL_ID = 128 /* bytes of an id */ };

#ifdef KD_WITH_NCCL
#ifdef __cplusplus
extern "C" {
#endif

/* *out = a rank of a job yet to be joined. KD_ERR_ARGUMENT where the library is not to be found. */
kd_status kd_nccl_new(kd_ranks **out);
/* id [KD_NCCL_ID] = what the ranks of a new job meet by; after kd_nccl_new. */
kd_status kd_nccl_id(char *id);
/* Waits for all ranks, on ctx's device. KD_ERR_NCCL. */
kd_status kd_nccl_join(kd_ranks *ranks, kd_ctx *ctx, const char *id, int64_t rank, int64_t count);

#ifdef __cplusplus
}
#endif
#else
static inline kd_status kd_nccl_new(kd_ranks **out) {
    *out = NULL;
    return KD_FAIL(KD_ERR_ARGUMENT,
                   "several GPUs are summed by NCCL, which this build was made without; see docs/multi-gpu.md");
}
static inline kd_status kd_nccl_id(char *id) { return (void)id, KD_ERR_ARGUMENT; }
static inline kd_status kd_nccl_join(kd_ranks *ranks, kd_ctx *ctx, const char *id, int64_t rank, int64_t count) {
    return (void)ranks, (void)ctx, (void)id, (void)rank, (void)count, KD_ERR_ARGUMENT;
}
#endif

#endif
