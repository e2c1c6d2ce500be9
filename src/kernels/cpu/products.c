/* Dense products. */
#include <cblas.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm_bf16.h"
#include "kernels/cpu/gemm_narrow.h"

kd_status kd_cpu_gemm(kd_ctx *ctx, const kd_gemm_args *a) {
    int64_t k = a->transpose_a ? a->a.rows : a->a.cols;
    if (a->c.rows == 0 || a->c.cols == 0) return KD_OK;
#if KD_CPU_BF16
    if (ctx->bf16_room) {
        kd_gemm_bf16(ctx->bf16_room, a);
        return KD_OK;
    }
#else
    (void)ctx;
#endif
    if (kd_gemm_narrow_takes(a->transpose_b, a->c)) {
        kd_gemm_narrow(a);
        return KD_OK;
    }
    cblas_sgemm(CblasRowMajor, a->transpose_a ? CblasTrans : CblasNoTrans, a->transpose_b ? CblasTrans : CblasNoTrans,
                (blasint)a->c.rows, (blasint)a->c.cols, (blasint)k, a->alpha, a->a.data, (blasint)a->a.ld, a->b.data,
                (blasint)a->b.ld, a->beta, a->c.data, (blasint)a->c.ld);
    return KD_OK;
}

/* Copies the upper triangle to the lower one, square by square. */
static void mirror(kd_mat g) {
    enum { SQUARE = 16 };
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t top = 0; top < g.rows; top += SQUARE)
        for (int64_t left = 0; left <= top; left += SQUARE)
            for (int64_t r = top; r < top + SQUARE && r < g.rows; r++)
                for (int64_t c = left; c < left + SQUARE && c < r; c++) g.data[r * g.ld + c] = g.data[c * g.ld + r];
}

kd_status kd_cpu_gram(kd_ctx *ctx, kd_mat x, kd_mat g) {
    (void)ctx;
    if (g.rows == 0) return KD_OK;
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, (blasint)g.rows, (blasint)x.rows, 1.0f, x.data, (blasint)x.ld,
                0.0f, g.data, (blasint)g.ld);
    mirror(g);
    return KD_OK;
}

kd_status kd_cpu_linear(kd_ctx *ctx, bool transpose_w, kd_mat x, kd_mat w, kd_mat b, kd_mat y) {
    if (!b.data)
        return kd_cpu_gemm(ctx, &(kd_gemm_args){.transpose_b = transpose_w, .alpha = 1.0f, .a = x, .b = w, .c = y});
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < y.rows; r++) memcpy(y.data + r * y.ld, b.data, (size_t)y.cols * sizeof(float));
    return kd_cpu_gemm(
        ctx, &(kd_gemm_args){.transpose_b = transpose_w, .alpha = 1.0f, .a = x, .b = w, .beta = 1.0f, .c = y});
}
