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
    bool traced_elsewhere;  /* another rank of the job keeps a trace */
    bool exchanging;        /* with other ranks, in work that has not been waited for */
    int64_t waits, waiting; /* number of waits for such work; of the one under way, 0: none. Other threads read it */
    void *bf16_room;        /* of the CPU backend under precision bf16; NULL: its products are float32 */
    void *backend;          /* what the backend keeps besides (kd_cuda) */
    char description[256];
};

/* Around a wait for other ranks, which has a deadline (host/ranks/watch.h). */
static inline void kd_ctx_begin_wait(kd_ctx *ctx) { __atomic_store_n(&ctx->waiting, ++ctx->waits, __ATOMIC_RELAXED); }
static inline void kd_ctx_end_wait(kd_ctx *ctx) { __atomic_store_n(&ctx->waiting, 0, __ATOMIC_RELAXED); }

#endif
