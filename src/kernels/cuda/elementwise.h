/* One function of row and column for every element of a matrix. */
#ifndef KD_CUDA_ELEMENTWISE_H
#define KD_CUDA_ELEMENTWISE_H

#include "kernels/cuda/cuda.h"

/* f(row, column) for every element; Index is 32 bits wide where that holds them all, since it is divided by. */
template <class Index, class F> __global__ void __launch_bounds__(KD_BLOCK) kd_each_element(Index n, Index cols, F f) {
    Index stride = (Index)gridDim.x * blockDim.x;
    for (Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) f(i / cols, i % cols);
}

template <class F> static void kd_for_each_element(kd_ctx *ctx, int64_t rows, int64_t cols, F f) {
    int64_t n = rows * cols;
    unsigned blocks = kd_strided_blocks(ctx, n);
    if (n == 0) return;
    if (n < INT64_C(1) << 31)
        KD_LAUNCH((kd_each_element<uint32_t, F>), blocks, KD_BLOCK, 0, kd_stream(ctx), (uint32_t)n, (uint32_t)cols, f);
    else
        KD_LAUNCH((kd_each_element<int64_t, F>), blocks, KD_BLOCK, 0, kd_stream(ctx), n, cols, f);
}

#endif
