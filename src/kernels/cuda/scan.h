/* Prefix sums over whole arrays. */
#ifndef KD_CUDA_SCAN_H
#define KD_CUDA_SCAN_H

#include "kernels/cuda/cuda.h"

/* x [n]: every count becomes the sum of all before it and itself (inclusive) or of all before it (exclusive);
 * total (NULL: not wanted) = the sum of all. Uses the context's partial sums; three launches, two reads of x. */
void kd_cuda_scan(kd_ctx *ctx, int64_t n, int64_t *x, bool inclusive, int64_t *total);

#endif
