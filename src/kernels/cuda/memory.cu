/* Memory, copies, the cursor, recordings. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/staging.h"

#include <cuda_profiler_api.h>
#include <nvtx3/nvToolsExt.h>

extern "C" int64_t kd_cuda_available(kd_ctx *ctx) {
    size_t free_bytes = 0, total_bytes = 0;
    (void)ctx;
    if (kd_cuda_status(cudaMemGetInfo(&free_bytes, &total_bytes), __func__) != KD_OK) return 0;
    return (int64_t)free_bytes;
}

extern "C" kd_status kd_cuda_alloc(kd_ctx *ctx, int64_t bytes, const char *what, void **out) {
    *out = NULL;
    cudaError_t error = cudaMalloc(out, (size_t)(bytes > 0 ? bytes : 1));
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return KD_FAIL(KD_ERR_MEMORY, "%s: %lld bytes, the device has %lld free; lower batch or hidden", what,
                       (long long)bytes, (long long)kd_cuda_available(ctx));
    }
    KD_CUDA_OR_RETURN(error);
    if (bytes > 0) KD_CUDA_OR_RETURN(cudaMemsetAsync(*out, 0, (size_t)bytes, kd_stream(ctx)));
    return KD_OK;
}

/* Every wait for the stream: one that other ranks take part in has a deadline. */
static kd_status wait_for_stream(kd_ctx *ctx) {
    if (ctx->exchanging) kd_ctx_begin_wait(ctx);
    cudaError_t error = cudaStreamSynchronize(kd_stream(ctx));
    kd_ctx_end_wait(ctx);
    ctx->exchanging = false;
    return kd_cuda_status(error, __func__);
}

extern "C" void kd_cuda_release(kd_ctx *ctx, void *block) {
    if (!block) return;
    wait_for_stream(ctx);
    kd_cuda_status(cudaFree(block), __func__);
}

extern "C" kd_status kd_cuda_upload(kd_ctx *ctx, void *device, const void *host, int64_t bytes) {
    if (ctx->exchanging) kd_ctx_begin_wait(ctx); /* copies come after what is enqueued */
    kd_status status = kd_cuda_staging_upload(kd_cuda_of(ctx)->staging, kd_stream(ctx), device, host, bytes);
    kd_ctx_end_wait(ctx);
    return status;
}

extern "C" kd_status kd_cuda_download(kd_ctx *ctx, void *host, const void *device, int64_t bytes) {
    if (bytes > 0)
        KD_CUDA_OR_RETURN(cudaMemcpyAsync(host, device, (size_t)bytes, cudaMemcpyDeviceToHost, kd_stream(ctx)));
    return wait_for_stream(ctx);
}

extern "C" kd_status kd_cuda_zero(kd_ctx *ctx, void *device, int64_t bytes) {
    if (bytes > 0) KD_CUDA_OR_RETURN(cudaMemsetAsync(device, 0, (size_t)bytes, kd_stream(ctx)));
    return KD_OK;
}

extern "C" kd_status kd_cuda_synchronize(kd_ctx *ctx) { return wait_for_stream(ctx); }

extern "C" kd_status kd_cuda_workspace_reserve(kd_ctx *ctx, int64_t bytes) {
    if (bytes <= ctx->workspace_bytes) return KD_OK;
    kd_cuda_release(ctx, ctx->workspace);
    ctx->workspace = NULL;
    ctx->workspace_bytes = 0;
    kd_status status = kd_cuda_alloc(ctx, bytes, "workspace", &ctx->workspace);
    if (status == KD_OK) ctx->workspace_bytes = bytes;
    return status;
}

__global__ void cursor_begin(int64_t epoch, kd_cursor *cursor) {
    cursor->epoch = epoch;
    cursor->batch = 0;
    cursor->first = 0;
}

extern "C" kd_status kd_cuda_cursor_begin(kd_ctx *ctx, int64_t epoch, kd_cursor *cursor) {
    KD_LAUNCH(cursor_begin, 1, 1, 0, kd_stream(ctx), epoch, cursor);
    return kd_cuda_launched(__func__);
}

__global__ void cursor_advance(int64_t count, int64_t parts, double *slot, double *log, kd_cursor *cursor) {
    for (int64_t j = 0; j < parts; j++) {
        log[cursor->batch * parts + j] = slot[j];
        slot[j] = 0.0;
    }
    cursor->batch++;
    cursor->first += count;
    cursor->step++;
}

extern "C" kd_status kd_cuda_cursor_advance(kd_ctx *ctx, int64_t count, int64_t parts, double *slot, double *log,
                                            kd_cursor *cursor) {
    KD_LAUNCH(cursor_advance, 1, 1, 0, kd_stream(ctx), count, parts, slot, log, cursor);
    return kd_cuda_launched(__func__);
}

extern "C" void kd_cuda_range_push(kd_ctx *ctx, const char *name) {
    (void)ctx;
    nvtxRangePushA(name);
}

extern "C" void kd_cuda_range_pop(kd_ctx *ctx) {
    (void)ctx;
    nvtxRangePop();
}

extern "C" void kd_cuda_profiler(kd_ctx *ctx, bool on) {
    wait_for_stream(ctx);
    kd_cuda_status(on ? cudaProfilerStart() : cudaProfilerStop(), __func__);
}

/* What `step` enqueued, as an executable graph. */
struct kd_recording {
    cudaGraphExec_t graph; /* NULL: it has only run as it is */
    bool exchanges;        /* with other ranks */
};

static kd_status record(kd_ctx *ctx, kd_step_fn *step, void *arg, cudaGraphExec_t *out) {
    cudaGraph_t graph = NULL;
    /* thread-local: a wait or a pageable copy inside the step is refused, other threads' calls are not our business */
    KD_CUDA_OR_RETURN(cudaStreamBeginCapture(kd_stream(ctx), cudaStreamCaptureModeThreadLocal));
    kd_status status = step(ctx, arg);
    cudaError_t error = cudaStreamEndCapture(kd_stream(ctx), &graph);
    if (status == KD_OK)
        status = kd_cuda_status(error, __func__);
    else
        cudaGetLastError(); /* that the capture is spoilt follows from what the step has said */
    if (status == KD_OK) status = kd_cuda_status(cudaGraphInstantiate(out, graph, 0), __func__);
    if (graph) cudaGraphDestroy(graph);
    return status;
}

static kd_status make_graph(kd_ctx *ctx, kd_step_fn *step, void *arg, kd_recording *recording) {
    bool before = ctx->exchanging; /* nothing is exchanged yet */
    ctx->exchanging = false;
    kd_status status = record(ctx, step, arg, &recording->graph);
    recording->exchanges = ctx->exchanging;
    ctx->exchanging = before;
    return status;
}

extern "C" kd_status kd_cuda_replay(kd_ctx *ctx, kd_step_fn *step, void *arg, kd_recording **recording) {
    if (!*recording) { /* as it is: an error names its op, and what a capture forbids is done once before, as connecting
                        */
        KD_OR_RETURN(step(ctx, arg));
        *recording = new kd_recording{NULL, false};
        return KD_OK;
    }
    if (!(*recording)->graph) KD_OR_RETURN(make_graph(ctx, step, arg, *recording));
    ctx->exchanging = ctx->exchanging || (*recording)->exchanges;
    if ((*recording)->exchanges) kd_ctx_begin_wait(ctx); /* a queue that is full waits */
    cudaError_t error = cudaGraphLaunch((*recording)->graph, kd_stream(ctx));
    kd_ctx_end_wait(ctx);
    return kd_cuda_status(error, __func__);
}

extern "C" void kd_cuda_recording_free(kd_ctx *ctx, kd_recording **recording) {
    if (!*recording) return;
    wait_for_stream(ctx);
    if ((*recording)->graph) kd_cuda_status(cudaGraphExecDestroy((*recording)->graph), __func__);
    delete *recording;
    *recording = NULL;
}
