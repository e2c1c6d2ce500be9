/* Dense products. */
#include "kernels/cuda/blas.h"

extern "C" kd_status kd_cuda_gemm(kd_ctx *ctx, bool transpose_a, bool transpose_b, float alpha, kd_mat a, kd_mat b,
                                  float beta, kd_mat c) {
    kd_mat none = {NULL, 0, 0, 0};
    if (c.rows == 0 || c.cols == 0) return KD_OK;
    return kd_cuda_product(ctx, transpose_a, transpose_b, alpha, a, b, none, beta, c);
}

/* cublasLt has no symmetric product: both triangles are computed. */
extern "C" kd_status kd_cuda_gram(kd_ctx *ctx, kd_mat x, kd_mat g) {
    return kd_cuda_gemm(ctx, true, false, 1.0f, x, x, 0.0f, g);
}

extern "C" kd_status kd_cuda_linear(kd_ctx *ctx, bool transpose_w, kd_mat x, kd_mat w, kd_mat b, kd_mat y) {
    if (y.rows == 0 || y.cols == 0) return KD_OK;
    return kd_cuda_product(ctx, false, transpose_w, 1.0f, x, w, b, 0.0f, y);
}
