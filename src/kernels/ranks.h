/* How ranks of a job add up and exchange what lies in device memory, in the order of the context's stream: NCCL moves
 * it between GPUs (cuda/nccl.cu), MPI between the memories of CPUs (host/ranks/mpi.c). Every function is called by all
 * ranks in the same order. */
#ifndef KD_KERNELS_RANKS_H
#define KD_KERNELS_RANKS_H

#include "kernels/ops/types.h"

typedef enum kd_sum_type { KD_SUM_F32, KD_SUM_F64 } kd_sum_type;

typedef struct kd_ranks kd_ranks;
struct kd_ranks {
    const char *name; /* of the library and its version */
    /* x [n] = its sum over the ranks, the same bits on all of them. */
    kd_status (*allreduce)(kd_ranks *ranks, kd_ctx *ctx, kd_sum_type type, int64_t n, void *x);
    /* The same beside what is enqueued from now on, up to finish: x may not be touched between the two. */
    kd_status (*begin_allreduce)(kd_ranks *ranks, kd_ctx *ctx, int64_t n, float *x);
    kd_status (*end_allreduce)(kd_ranks *ranks, kd_ctx *ctx);
    /* Bytes first[r] .. first[r + 1] - 1 of x are rank r's, and are sent to all others. */
    kd_status (*allgatherv)(kd_ranks *ranks, kd_ctx *ctx, const int64_t *first, void *x);
    /* Bytes send_first[r] .. send_first[r + 1] - 1 of send go to rank r, bytes take_first[r] .. take_first[r + 1] - 1
     * of take come from it; a rank's own block is copied. Both arrays [ranks + 1]; a block may be empty, and is of one
     * size on both sides. send and take do not overlap. The first turn connects ranks, and is not one that is recorded.
     */
    kd_status (*alltoallv)(kd_ranks *ranks, kd_ctx *ctx, const int64_t *send_first, const void *send,
                           const int64_t *take_first, void *take);
    /* From any thread, at any time: a failure that no call has returned. */
    kd_status (*health)(kd_ranks *ranks);
    void (*close)(kd_ranks *ranks, kd_ctx *ctx);
};

#endif
