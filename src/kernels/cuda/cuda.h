/* The CUDA column of the op table: the same contracts as kernels/ops/, one file a group of ops, which has the same name
 * in both columns. What its files share: the backend's state, launch sizes, error returns, sums in a fixed order. */
#ifndef KD_KERNELS_CUDA_H
#define KD_KERNELS_CUDA_H

#include "host/base/error.h"
#include "kernels/compute.h"
#include "kernels/ctx.h"
#include "kernels/cuda/launch.h"

enum {
    KD_WARP = 32,
    KD_BLOCK = 256,
    KD_PARTIALS = 512,
    KD_ROW_PARTS = 4 << 20, /* floats: 16 MB */
    KD_ROW_ARRIVALS = 1 << 16,
    KD_ROW_LIST = 1 << 18
};

/* What a CUDA context has beyond kd_ctx. */
typedef struct kd_cuda {
    cudaStream_t stream;
    int multiprocessors;
    kd_precision precision; /* of products */
    double *partial;        /* [KD_PARTIALS] partial sums of one op; ops of a stream follow each other */
    float *row_parts;       /* [KD_ROW_PARTS] of rows that several blocks sum up (row_sums.h) */
    int32_t *row_arrivals;  /* [KD_ROW_ARRIVALS] of those blocks; 0 between ops */
    int64_t *row_list;      /* [KD_ROW_LIST + 2] of rows that a list names (spmm.cu) */
    struct kd_cuda_blas *blas;
    struct kd_cuda_staging *staging;
} kd_cuda;

static inline kd_cuda *kd_cuda_of(const kd_ctx *ctx) { return (kd_cuda *)ctx->backend; }
static inline cudaStream_t kd_stream(const kd_ctx *ctx) { return kd_cuda_of(ctx)->stream; }

/* KD_OK, or KD_ERR_CUDA (KD_ERR_MEMORY where memory ran out) saying which op and what the runtime said. The runtime
 * then no longer remembers the error, unless the device is lost. */
kd_status kd_cuda_status(cudaError_t error, const char *op);
/* Returns what a call of the runtime says went wrong, if anything did. */
#define KD_CUDA_OR_RETURN(call)                                                           \
    do {                                                                                  \
        cudaError_t kd_cuda_error = (call);                                               \
        if (kd_cuda_error != cudaSuccess) return kd_cuda_status(kd_cuda_error, __func__); \
    } while (0)
/* The end of an op: did its launches go through? */
static inline kd_status kd_cuda_launched(const char *op) { return kd_cuda_status(cudaGetLastError(), op); }

/* What a launch does of an op that sums along rows: all of it, or, where the rows are divided among ranks (kd_split),
 * the sums over the local columns, or the rest, which reads what these are over all ranks. */
typedef enum kd_sum_part { KD_WHOLE, KD_SUMS, KD_REST } kd_sum_part;

/* Blocks for n independent pieces of work, `per_block` a block; at least 1, since a grid may not be empty. */
static inline unsigned kd_blocks(int64_t n, int64_t per_block) {
    int64_t blocks = (n + per_block - 1) / per_block;
    return (unsigned)(blocks < 1 ? 1 : blocks);
}
/* The same for kernels that stride over their work: no more than fill the device a few times. */
static inline unsigned kd_strided_blocks(const kd_ctx *ctx, int64_t n) {
    int64_t most = 16 * (int64_t)kd_cuda_of(ctx)->multiprocessors, blocks = (n + KD_BLOCK - 1) / KD_BLOCK;
    return (unsigned)(blocks < 1 ? 1 : blocks > most ? most : blocks);
}

/* Whether rows can be read four columns at a time. */
static inline bool kd_is_aligned(kd_mat m) { return m.cols % 4 == 0 && m.ld % 4 == 0 && (uintptr_t)m.data % 16 == 0; }

extern const kd_ops kd_cuda_ops;

#endif
