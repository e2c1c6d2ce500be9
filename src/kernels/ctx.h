/* The compute context behind kd_ctx: its op table, its workspace, what it is. Only src/kernels looks inside. */
#ifndef KD_KERNELS_CTX_H
#define KD_KERNELS_CTX_H

#include "kernels/ops.h"

struct kd_ctx {
    const kd_ops *ops;
    int threads;
    void *workspace;                     /* device memory, 64-byte aligned */
    int64_t workspace_bytes;             /* its size */
    struct kd_trace *trace;              /* NULL: none is kept */
    int64_t profile_first, profile_last; /* steps that are profiled; last below 0: no window */
    bool profiling;
    void *bf16_room; /* of the CPU backend under precision bf16; NULL: its products are float32 */
    void *backend;   /* what the backend keeps besides (kd_cuda) */
    char description[256];
};

#endif
