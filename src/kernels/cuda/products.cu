/* Dense products. */
#include "kernels/cuda/blas.h"

extern "C" kd_status kd_cuda_gemm(kd_ctx *ctx, const kd_gemm_args *args) {
    kd_mat none = {NULL, 0, 0, 0};
    if (args->c.rows == 0 || args->c.cols == 0) return KD_OK;
    return kd_cuda_product(ctx, args, none);
}

/* cublasLt has no symmetric product: both triangles are computed. */
extern "C" kd_status kd_cuda_gram(kd_ctx *ctx, kd_mat x, kd_mat g) {
    const kd_gemm_args product = {true, false, 1.0f, x, x, 0.0f, g};
    return kd_cuda_gemm(ctx, &product);
}

extern "C" kd_status kd_cuda_linear(kd_ctx *ctx, bool transpose_w, kd_mat x, kd_mat w, kd_mat b, kd_mat y) {
    const kd_gemm_args product = {false, transpose_w, 1.0f, x, w, 0.0f, y};
    if (y.rows == 0 || y.cols == 0) return KD_OK;
    return kd_cuda_product(ctx, &product, b);
}
