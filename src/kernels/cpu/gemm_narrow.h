/* Dense products with few columns: the features' transforms, the low-rank guidance. */
#ifndef KD_CPU_GEMM_NARROW_H
#define KD_CPU_GEMM_NARROW_H

#include "kernels/ops/dense.h"

/* Whether kd_gemm_narrow takes C = op(A) B of this shape. */
bool kd_gemm_narrow_takes(bool transpose_b, kd_mat c);

/* C = alpha op(A) B + beta C as kd_gemm, for what kd_gemm_narrow_takes. Sums do not depend on the number of threads. */
void kd_gemm_narrow(const kd_gemm_args *args);

#endif
