/* Opens and closes the compute context: the one place that knows which backends this build has. */
#include "kernels/ctx.h"

#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/error.h"
#include "kernels/cpu_level.h"
#include "kernels/device.h"
#include "kernels/trace.h"
#ifdef KD_WITH_CUDA
#include "kernels/cuda/context.h"
#else
static bool kd_cuda_usable(const char **why) {
    *why = "this build has no CUDA backend";
    return false;
}
static int64_t kd_cuda_count(void) { return 0; }
static void kd_cuda_select(int64_t local_rank) { (void)local_rank; }
static kd_status kd_cuda_open(kd_precision precision, bool deterministic, kd_ctx *ctx) {
    (void)precision, (void)deterministic, (void)ctx;
    return KD_FAIL(KD_ERR_ARGUMENT, "device: this build has no CUDA backend; use --device=cpu");
}
static void kd_cuda_close(kd_ctx *ctx) { (void)ctx; }
#endif

/* why: what kept `auto` from taking a GPU, or NULL. */
static kd_status open_cpu(kd_precision precision, int cores, const char *why, kd_ctx *ctx) {
    const kd_cpu_level *level;
    bool bf16 = precision == KD_PRECISION_BF16;
    KD_OR_RETURN(kd_cpu_level_choose(&level));
    ctx->ops = level->ops;
    if (bf16 && (level->ops->bf16_room == 0 || !kd_cpu_has_bf16()))
        return KD_FAIL(KD_ERR_ARGUMENT,
                       "precision: bf16 needs a processor with AVX-512 BF16 and level v4 of the CPU "
                       "backend, which here is %s; use --precision=fp32 or tf32",
                       level->name);
    if (bf16 && !(ctx->bf16_room = aligned_alloc(64, (size_t)level->ops->bf16_room)))
        return KD_FAIL(KD_ERR_MEMORY, "precision: no room for packed bf16 products");
    snprintf(ctx->description, sizeof ctx->description, "cpu: %d of %d cores, level %s, OpenBLAS %s, %s%s%.100s%s",
             ctx->threads, cores, level->name, openblas_get_corename(), bf16 ? "bf16" : "fp32", why ? " (no GPU: " : "",
             why ? why : "", why ? ")" : "");
    return KD_OK;
}

kd_threads kd_threads_now(void) { return (kd_threads){omp_get_max_threads(), openblas_get_num_threads()}; }

void kd_threads_set(kd_threads threads) {
    openblas_set_num_threads(threads.blas); /* which sets OpenMP's as well */
    omp_set_num_threads(threads.openmp);
}

void kd_ctx_use_threads(const kd_ctx *ctx) { kd_threads_set((kd_threads){ctx->threads, ctx->threads}); }

kd_status kd_ctx_open(kd_compute compute, kd_ctx **out) {
    const char *why = NULL;
    kd_status status;
    *out = NULL;
    kd_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return KD_FAIL(KD_ERR_MEMORY, "context: out of memory");
    ctx->profile_last = -1;
    int cores = omp_get_num_procs();
    int shared = compute.sharing > 1 ? (int)compute.sharing : 1;
    ctx->threads = compute.threads > 0 ? (int)compute.threads : cores > shared ? cores / shared : 1;
    kd_ctx_use_threads(ctx);
    if (compute.device != KD_DEVICE_CPU && compute.sharing > 0) kd_cuda_select(compute.local_rank);
    if (compute.device == KD_DEVICE_CUDA || (compute.device == KD_DEVICE_AUTO && kd_cuda_usable(&why)))
        status = kd_cuda_open(compute.precision, !compute.any_order, ctx);
    else
        status = open_cpu(compute.precision, cores, why, ctx);
    if (status == KD_OK)
        *out = ctx;
    else
        free(ctx);
    return status;
}

void kd_ctx_close(kd_ctx *ctx) {
    if (!ctx) return;
    kd_trace_free(ctx->trace);
    ctx->trace = NULL;
    kd_synchronize(ctx);
    kd_release(ctx, ctx->workspace);
    ctx->workspace = NULL;
    free(ctx->bf16_room);
    if (ctx->backend) kd_cuda_close(ctx);
    free(ctx);
}

int64_t kd_gpu_count(void) { return kd_cuda_count(); }

bool kd_ctx_is_gpu(const kd_ctx *ctx) { return ctx->backend != NULL; }

int64_t kd_ctx_waiting(const kd_ctx *ctx) { return __atomic_load_n(&ctx->waiting, __ATOMIC_RELAXED); }

const char *kd_ctx_describe(const kd_ctx *ctx) { return ctx->description; }
