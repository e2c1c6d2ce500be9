#include "kernels/cuda/nccl.h"

#ifdef KD_WITH_NCCL
#include <dlfcn.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

/* What is used of NCCL. The references are weak: a program that is linked with NCCL uses that, any other loads it. */
#define KD_NCCL_FUNCTIONS(X) \
    X(ncclGetVersion)        \
    X(ncclGetUniqueId)       \
    X(ncclCommInitRank)      \
    X(ncclCommDestroy)       \
    X(ncclCommGetAsyncError) \
    X(ncclGetErrorString)    \
    X(ncclGetLastError)      \
    X(ncclAllReduce)         \
    X(ncclBroadcast)         \
    X(ncclSend)              \
    X(ncclRecv)              \
    X(ncclGroupStart)        \
    X(ncclGroupEnd)

#pragma weak ncclGetVersion
#pragma weak ncclGetUniqueId
#pragma weak ncclCommInitRank
#pragma weak ncclCommDestroy
#pragma weak ncclCommGetAsyncError
#pragma weak ncclGetErrorString
#pragma weak ncclGetLastError
#pragma weak ncclAllReduce
#pragma weak ncclBroadcast
#pragma weak ncclSend
#pragma weak ncclRecv
#pragma weak ncclGroupStart
#pragma weak ncclGroupEnd

static struct library {
    bool loaded;
    char name[32];
#define MEMBER(function) decltype(&::function) function;
    KD_NCCL_FUNCTIONS(MEMBER)
#undef MEMBER
} nccl;

struct nccl_ranks {
    kd_ranks ranks;
    ncclComm_t comm; /* NULL: not joined */
    cudaStream_t side;
    cudaEvent_t ready, done; /* before a sum beside others, and after it */
    bool beside;             /* one has begun */
    int count;
};

static nccl_ranks *of(kd_ranks *ranks) { return reinterpret_cast<nccl_ranks *>(ranks); }

static kd_status checked(const nccl_ranks *r, ncclResult_t result, const char *what) {
    if (result == ncclSuccess || result == ncclInProgress) return KD_OK;
    const char *more = nccl.ncclGetLastError(r ? r->comm : NULL);
    return KD_FAIL(KD_ERR_NCCL, "%s: NCCL: %s%s%.200s", what, nccl.ncclGetErrorString(result),
                   more && more[0] ? ": " : "", more ? more : "");
}

#define NCCL_OR_RETURN(ranks, call)                                 \
    do {                                                            \
        kd_status nccl_status = checked((ranks), (call), __func__); \
        if (nccl_status != KD_OK) return nccl_status;               \
    } while (0)

static kd_status load() {
    int version = 0;
    void *handle = NULL;
    if (nccl.loaded) return KD_OK;
    if (!&::ncclAllReduce) {
        handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
        if (!handle)
            return KD_FAIL(KD_ERR_ARGUMENT, "several GPUs are summed by NCCL, which cannot be loaded: %s", dlerror());
    }
#define LOAD_OR_RETURN(function)                                                                                \
    nccl.function = handle ? reinterpret_cast<decltype(nccl.function)>(dlsym(handle, #function)) : &::function; \
    if (!nccl.function) return KD_FAIL(KD_ERR_ARGUMENT, "libnccl.so.2: has no %s: too old", #function);
    KD_NCCL_FUNCTIONS(LOAD_OR_RETURN)
#undef LOAD_OR_RETURN
    NCCL_OR_RETURN(NULL, nccl.ncclGetVersion(&version));
    snprintf(nccl.name, sizeof nccl.name, "NCCL %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    nccl.loaded = true;
    return KD_OK;
}

/* A call that may wait for other ranks: the first of its kind makes connections. */
#define NCCL_WAIT_OR_RETURN(ranks, ctx, call)                            \
    do {                                                                 \
        kd_ctx_begin_wait(ctx);                                          \
        ncclResult_t nccl_result = (call);                               \
        kd_ctx_end_wait(ctx);                                            \
        kd_status nccl_status = checked((ranks), nccl_result, __func__); \
        if (nccl_status != KD_OK) return nccl_status;                    \
    } while (0)

static ncclDataType_t type_of(kd_sum_type type) { return type == KD_SUM_F32 ? ncclFloat32 : ncclFloat64; }

static kd_status end_allreduce(kd_ranks *ranks, kd_ctx *ctx) {
    nccl_ranks *r = of(ranks);
    if (!r->beside) return KD_OK;
    r->beside = false;
    KD_CUDA_OR_RETURN(cudaEventRecord(r->done, r->side));
    KD_CUDA_OR_RETURN(cudaStreamWaitEvent(kd_stream(ctx), r->done, 0));
    return KD_OK;
}

/* What one communicator does must follow in one order on all ranks: nothing is summed here while sums go on beside. */
static kd_status allreduce(kd_ranks *ranks, kd_ctx *ctx, kd_sum_type type, int64_t n, void *x) {
    nccl_ranks *r = of(ranks);
    KD_OR_RETURN(end_allreduce(ranks, ctx));
    ctx->exchanging = true;
    NCCL_WAIT_OR_RETURN(r, ctx, nccl.ncclAllReduce(x, x, (size_t)n, type_of(type), ncclSum, r->comm, kd_stream(ctx)));
    return KD_OK;
}

static kd_status begin_allreduce(kd_ranks *ranks, kd_ctx *ctx, int64_t n, float *x) {
    nccl_ranks *r = of(ranks);
    KD_CUDA_OR_RETURN(cudaEventRecord(r->ready, kd_stream(ctx)));
    KD_CUDA_OR_RETURN(cudaStreamWaitEvent(r->side, r->ready, 0));
    ctx->exchanging = r->beside = true;
    NCCL_WAIT_OR_RETURN(r, ctx, nccl.ncclAllReduce(x, x, (size_t)n, ncclFloat32, ncclSum, r->comm, r->side));
    return KD_OK;
}

static kd_status allgatherv(kd_ranks *ranks, kd_ctx *ctx, const int64_t *first, void *x) {
    nccl_ranks *r = of(ranks);
    kd_status status = end_allreduce(ranks, ctx);
    if (status != KD_OK) return status;
    ctx->exchanging = true;
    NCCL_OR_RETURN(r, nccl.ncclGroupStart());
    for (int root = 0; root < r->count && status == KD_OK; root++) {
        char *part = (char *)x + first[root];
        size_t bytes = (size_t)(first[root + 1] - first[root]);
        if (bytes > 0)
            status =
                checked(r, nccl.ncclBroadcast(part, part, bytes, ncclChar, root, r->comm, kd_stream(ctx)), __func__);
    }
    NCCL_WAIT_OR_RETURN(r, ctx, nccl.ncclGroupEnd());
    return status;
}

static kd_status alltoallv(kd_ranks *ranks, kd_ctx *ctx, const int64_t *send_first, const void *send,
                           const int64_t *take_first, void *take) {
    nccl_ranks *r = of(ranks);
    kd_status status = end_allreduce(ranks, ctx);
    if (status != KD_OK) return status;
    ctx->exchanging = true;
    NCCL_OR_RETURN(r, nccl.ncclGroupStart());
    for (int peer = 0; peer < r->count && status == KD_OK; peer++) {
        size_t sent = (size_t)(send_first[peer + 1] - send_first[peer]);
        size_t taken = (size_t)(take_first[peer + 1] - take_first[peer]);
        if (sent > 0)
            status = checked(
                r, nccl.ncclSend((const char *)send + send_first[peer], sent, ncclChar, peer, r->comm, kd_stream(ctx)),
                __func__);
        if (taken > 0 && status == KD_OK)
            status = checked(
                r, nccl.ncclRecv((char *)take + take_first[peer], taken, ncclChar, peer, r->comm, kd_stream(ctx)),
                __func__);
    }
    NCCL_WAIT_OR_RETURN(r, ctx, nccl.ncclGroupEnd());
    return status;
}

static kd_status health(kd_ranks *ranks) {
    nccl_ranks *r = of(ranks);
    ncclResult_t result = ncclSuccess;
    ncclComm_t comm = __atomic_load_n(&r->comm, __ATOMIC_ACQUIRE);
    if (!comm) return KD_OK;
    NCCL_OR_RETURN(r, nccl.ncclCommGetAsyncError(comm, &result));
    return checked(r, result, "sums over ranks");
}

static void close_ranks(kd_ranks *ranks, kd_ctx *ctx) {
    nccl_ranks *r = of(ranks);
    kd_ctx_begin_wait(ctx);
    if (r->comm) nccl.ncclCommDestroy(r->comm);
    kd_ctx_end_wait(ctx);
    if (r->side) cudaStreamDestroy(r->side);
    if (r->ready) cudaEventDestroy(r->ready);
    if (r->done) cudaEventDestroy(r->done);
    free(r);
}

extern "C" kd_status kd_nccl_new(kd_ranks **out) {
    *out = NULL;
    KD_OR_RETURN(load());
    nccl_ranks *r = (nccl_ranks *)calloc(1, sizeof *r);
    if (!r) return KD_FAIL(KD_ERR_MEMORY, "communicator: out of memory");
    kd_ranks ranks = {nccl.name, allreduce, begin_allreduce, end_allreduce, allgatherv, alltoallv, health, close_ranks};
    r->ranks = ranks;
    *out = &r->ranks;
    return KD_OK;
}

extern "C" kd_status kd_nccl_id(char *id) {
    ncclUniqueId unique;
    static_assert(sizeof unique == KD_NCCL_ID, "what ranks exchange has room for an id");
    NCCL_OR_RETURN(NULL, nccl.ncclGetUniqueId(&unique));
    memcpy(id, &unique, sizeof unique);
    return KD_OK;
}

/* Connections are made by the first sums and broadcasts, by each of NCCL's algorithms, of which sizes choose: none of
 * them may be one that is being recorded. */
static kd_status warm_up(nccl_ranks *r, kd_ctx *ctx) {
    const int64_t most = 4 << 20;
    float *x = NULL;
    int64_t *first = (int64_t *)calloc((size_t)r->count + 1, sizeof *first);
    if (!first) return KD_FAIL(KD_ERR_MEMORY, "communicator: out of memory");
    kd_status status = ctx->ops->alloc(ctx, most * (int64_t)sizeof *x, "communicator", (void **)&x);
    for (int64_t n = 1; n <= most && status == KD_OK; n *= 16) {
        for (int root = 0; root <= r->count; root++) first[root] = n * (int64_t)sizeof *x * root / r->count;
        status = begin_allreduce(&r->ranks, ctx, n, x);
        if (status == KD_OK) status = allreduce(&r->ranks, ctx, KD_SUM_F32, n, x);
        if (status == KD_OK && n <= 1 << 12) status = allreduce(&r->ranks, ctx, KD_SUM_F64, n, x);
        if (status == KD_OK) status = allgatherv(&r->ranks, ctx, first, x);
    }
    if (status == KD_OK) status = ctx->ops->synchronize(ctx);
    ctx->ops->release(ctx, x);
    free(first);
    return status;
}

/* Sums beside the ops go first where both want the device: the ops' own blocks come and go. */
static kd_status open_side(nccl_ranks *r) {
    int least = 0, greatest = 0;
    KD_CUDA_OR_RETURN(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    KD_CUDA_OR_RETURN(cudaStreamCreateWithPriority(&r->side, cudaStreamNonBlocking, greatest));
    KD_CUDA_OR_RETURN(cudaEventCreateWithFlags(&r->ready, cudaEventDisableTiming));
    KD_CUDA_OR_RETURN(cudaEventCreateWithFlags(&r->done, cudaEventDisableTiming));
    return KD_OK;
}

extern "C" kd_status kd_nccl_join(kd_ranks *ranks, kd_ctx *ctx, const char *id, int64_t rank, int64_t count) {
    nccl_ranks *r = of(ranks);
    ncclUniqueId unique;
    ncclComm_t comm = NULL;
    memcpy(&unique, id, sizeof unique);
    r->count = (int)count;
    KD_OR_RETURN(open_side(r));
    NCCL_WAIT_OR_RETURN(r, ctx, nccl.ncclCommInitRank(&comm, (int)count, unique, (int)rank));
    __atomic_store_n(&r->comm, comm, __ATOMIC_RELEASE);
    return warm_up(r, ctx);
}
#endif
