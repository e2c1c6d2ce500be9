/* The CUDA backend's life: which device, its stream, its libraries. */
#include "kernels/cuda/context.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/staging.h"

enum { OLDEST_MAJOR = 8 }; /* sm_80: what the build's oldest code is for */

kd_status kd_cuda_status(cudaError_t error, const char *op) {
    if (error == cudaSuccess) return KD_OK;
    cudaGetLastError(); /* told here: the next launch must not find it */
    if (error == cudaErrorMemoryAllocation) return KD_FAIL(KD_ERR_MEMORY, "%s: the device is out of memory", op);
    return KD_FAIL(KD_ERR_CUDA, "%s: CUDA: %s (%s)", op, cudaGetErrorString(error), cudaGetErrorName(error));
}

extern "C" bool kd_cuda_usable(const char **why) {
    static char reason[256];
    int count = 0, device = 0, major = 0;
    *why = reason;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver) {
        snprintf(reason, sizeof reason, "no NVIDIA driver, or one too old for this build's CUDA %d.%d",
                 CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    } else if (error != cudaSuccess || count == 0) {
        snprintf(reason, sizeof reason, "%s", error == cudaSuccess ? "no CUDA device" : cudaGetErrorString(error));
    } else if ((error = cudaGetDevice(&device)) != cudaSuccess ||
               (error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device)) != cudaSuccess) {
        snprintf(reason, sizeof reason, "%s", cudaGetErrorString(error));
    } else if (major < OLDEST_MAJOR) {
        snprintf(reason, sizeof reason, "the device's compute capability is %d.x, this build needs %d.0 or newer",
                 major, (int)OLDEST_MAJOR);
    } else if ((error = cudaFree(NULL)) != cudaSuccess) { /* makes the context: a busy or exclusive card says no here */
        snprintf(reason, sizeof reason, "the device cannot be used: %s", cudaGetErrorString(error));
    } else {
        *why = NULL;
    }
    cudaGetLastError();
    return *why == NULL;
}

extern "C" int64_t kd_cuda_count(void) {
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    cudaGetLastError();
    return error == cudaSuccess ? count : 0;
}

extern "C" void kd_cuda_select(int64_t local_rank) {
    int64_t count = kd_cuda_count();
    if (count > 0) cudaSetDevice((int)(local_rank % count));
    cudaGetLastError();
}

static const char *precision_name(kd_precision precision) {
    return precision == KD_PRECISION_FP32 ? "fp32" : precision == KD_PRECISION_TF32 ? "tf32" : "bf16";
}

static kd_status open_parts(kd_precision precision, bool deterministic, kd_ctx *ctx) {
    kd_cuda *cuda = kd_cuda_of(ctx);
    int device, driver = 0;
    struct cudaDeviceProp properties;
    KD_CUDA_OR_RETURN(cudaGetDevice(&device));
    KD_CUDA_OR_RETURN(cudaGetDeviceProperties(&properties, device));
    KD_CUDA_OR_RETURN(cudaDriverGetVersion(&driver));
    cuda->multiprocessors = properties.multiProcessorCount;
    cuda->precision = precision;
    KD_CUDA_OR_RETURN(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    KD_CUDA_OR_RETURN(cudaMalloc((void **)&cuda->partial, KD_PARTIALS * sizeof *cuda->partial));
    KD_CUDA_OR_RETURN(cudaMalloc((void **)&cuda->row_parts, KD_ROW_PARTS * sizeof *cuda->row_parts));
    KD_CUDA_OR_RETURN(cudaMalloc((void **)&cuda->row_arrivals, KD_ROW_ARRIVALS * sizeof *cuda->row_arrivals));
    KD_CUDA_OR_RETURN(
        cudaMemsetAsync(cuda->row_arrivals, 0, KD_ROW_ARRIVALS * sizeof *cuda->row_arrivals, cuda->stream));
    KD_CUDA_OR_RETURN(cudaMalloc((void **)&cuda->row_list, (KD_ROW_LIST + 2) * sizeof *cuda->row_list));
    kd_status status = kd_cuda_blas_open(precision, deterministic, &cuda->blas);
    if (status == KD_OK) status = kd_cuda_staging_open(&cuda->staging);
    snprintf(ctx->description, sizeof ctx->description, "cuda: %.128s, %.0f GB, CUDA %d.%d, driver %d.%d, %s%s",
             properties.name, (double)properties.totalGlobalMem * 1e-9, CUDART_VERSION / 1000,
             CUDART_VERSION % 1000 / 10, driver / 1000, driver % 1000 / 10, precision_name(precision),
             deterministic ? "" : ", any order of sums");
    return status;
}

extern "C" kd_status kd_cuda_open(kd_precision precision, bool deterministic, kd_ctx *ctx) {
    const char *why;
    if (!kd_cuda_usable(&why)) return KD_FAIL(KD_ERR_ARGUMENT, "device: cuda is not to be had: %s", why);
    ctx->ops = &kd_cuda_ops;
    ctx->backend = calloc(1, sizeof(kd_cuda));
    if (!ctx->backend) return KD_FAIL(KD_ERR_MEMORY, "context: out of memory");
    kd_status status = open_parts(precision, deterministic, ctx);
    if (status != KD_OK) kd_cuda_close(ctx);
    return status;
}

extern "C" void kd_cuda_close(kd_ctx *ctx) {
    kd_cuda *cuda = kd_cuda_of(ctx);
    if (!cuda) return;
    if (cuda->stream) cudaStreamSynchronize(cuda->stream);
    kd_cuda_staging_close(cuda->staging);
    kd_cuda_blas_close(cuda->blas);
    cudaFree(ctx->workspace);
    cudaFree(cuda->partial);
    cudaFree(cuda->row_parts);
    cudaFree(cuda->row_arrivals);
    cudaFree(cuda->row_list);
    if (cuda->stream) cudaStreamDestroy(cuda->stream);
    cudaGetLastError(); /* of whatever failed here: there is nobody to tell, and the next context begins anew */
    free(cuda);
    ctx->workspace = NULL;
    ctx->backend = NULL;
}
