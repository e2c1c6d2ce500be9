/* Dense products. */
#include <cblas.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm_bf16.h"
#include "kernels/cpu/gemm_narrow.h"

kd_status kd_cpu_gemm(kd_ctx *ctx, bool transpose_a, bool transpose_b, float alpha, kd_mat a, kd_mat b, float beta,
                      kd_mat c) {
    int64_t k = transpose_a ? a.rows : a.cols;
    if (c.rows == 0 || c.cols == 0) return KD_OK;
#if KD_CPU_BF16
    if (ctx->bf16_room) {
        kd_gemm_bf16(ctx->bf16_room, transpose_a, transpose_b, alpha, a, b, beta, c);
        return KD_OK;
    }
#else
    (void)ctx;
#endif
    if (kd_gemm_narrow_takes(transpose_b, c)) {
        kd_gemm_narrow(transpose_a, alpha, a, b, beta, c);
        return KD_OK;
    }
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
                (blasint)c.rows, (blasint)c.cols, (blasint)k, alpha, a.data, (blasint)a.ld, b.data, (blasint)b.ld, beta,
                c.data, (blasint)c.ld);
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
    if (!b.data) return kd_cpu_gemm(ctx, false, transpose_w, 1.0f, x, w, 0.0f, y);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < y.rows; r++) memcpy(y.data + r * y.ld, b.data, (size_t)y.cols * sizeof(float));
    return kd_cpu_gemm(ctx, false, transpose_w, 1.0f, x, w, 1.0f, y);
}
