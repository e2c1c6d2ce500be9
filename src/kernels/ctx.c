/* Opens and closes the compute context: the one place that knows which backends this build has. */
#include "kernels/ctx.h"

#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/util/device.h"
#include "host/util/error.h"
#include "kernels/cpu/cpu.h"

kd_status kd_ctx_open(kd_device device, int64_t threads, kd_precision precision, kd_ctx **out) {
    *out = NULL;
    if (device == KD_DEVICE_CUDA)
        return KD_FAIL(KD_ERR_ARGUMENT, "device: this build has no CUDA backend; use --device=cpu");
    if (precision != KD_PRECISION_FP32)
        return KD_FAIL(KD_ERR_ARGUMENT, "precision: the CPU backend computes in fp32; use --precision=fp32");
    kd_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return KD_FAIL(KD_ERR_MEMORY, "context: out of memory");
    int cores = omp_get_num_procs();
    ctx->ops = &kd_cpu_ops;
    ctx->threads = threads > 0 ? (int)threads : cores;
    omp_set_num_threads(ctx->threads);
    openblas_set_num_threads(ctx->threads);
    snprintf(ctx->description, sizeof ctx->description, "cpu: %d of %d cores, OpenBLAS %s, fp32", ctx->threads, cores,
             openblas_get_corename());
    *out = ctx;
    return KD_OK;
}

void kd_ctx_close(kd_ctx *ctx) {
    if (!ctx) return;
    kd_synchronize(ctx);
    kd_release(ctx, ctx->workspace);
    free(ctx);
}

const char *kd_ctx_describe(const kd_ctx *ctx) { return ctx->description; }
