/* Dense products through cublasLt: C = alpha op(A) op(B) (+ bias row) + beta C on row-major matrices. */
#ifndef KD_CUDA_BLAS_H
#define KD_CUDA_BLAS_H

#include "kernels/compute.h"
#include "kernels/cuda/cuda.h"

/* precision: how inputs are rounded for the tensor cores (fp32: not at all); weights and sums stay float32.
 * deterministic: no algorithm whose sums depend on timing. */
kd_status kd_cuda_blas_open(kd_precision precision, bool deterministic, struct kd_cuda_blas **out);
void kd_cuda_blas_close(struct kd_cuda_blas *blas);

/* bias [1, C.cols] or data NULL; with a bias beta must be 0. Where cublasLt has no algorithm, or the bias is not
 * aligned for its loads, by a kernel without tensor cores. */
kd_status kd_cuda_product(kd_ctx *ctx, const kd_gemm_args *args, kd_mat bias);

#endif
