/* Products of small tiles on the tensor cores, by a warp: D [16, 8 N] += A [16, K] B [K, 8 N], float32 sums of operands
 * that are rounded to TF32 (K = 8) or bfloat16 (K = 16). Which elements a lane holds is PTX's mma.m16n8k8 and m16n8k16:
 * with g = lane / 4 and t = lane % 4,
 *
 *   d[n]  D (g, 8n + 2t), (g, 8n + 2t + 1), (g + 8, 8n + 2t), (g + 8, 8n + 2t + 1)
 *   a     TF32: A (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
 *         bfloat16, pairs of neighbours in K: A (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8)
 *   b[n]  TF32: B (t, 8n + g), (t + 4, 8n + g);  bfloat16, pairs: B (2t, 8n + g), (2t + 8, 8n + g)
 *
 * All 32 lanes must call. */
#ifndef KD_CUDA_MMA_H
#define KD_CUDA_MMA_H

#include <stdint.h>

#include "kernels/cuda/launch.h"

#ifdef __CUDACC__
__device__ static inline uint32_t kd_to_tf32(float x) {
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

/* first in the lower half */
__device__ static inline uint32_t kd_to_bf16_pair(float first, float second) {
    uint32_t bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
    return bits;
}

#define KD_MMA(name, shape_and_types)                                                                      \
    template <int N>                                                                                       \
    __device__ static inline void name(float(&d)[N][4], const uint32_t(&a)[4], const uint32_t(&b)[N][2]) { \
        KD_UNROLL(N)                                                                                       \
        for (int n = 0; n < N; n++)                                                                        \
            asm("mma.sync.aligned." shape_and_types " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "      \
                "{%0, %1, %2, %3};"                                                                        \
                : "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])                               \
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[n][0]), "r"(b[n][1]));                 \
    }
KD_MMA(kd_mma_tf32, "m16n8k8.row.col.f32.tf32.tf32.f32")
KD_MMA(kd_mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
#undef KD_MMA
#else
#include "emu/mma.h"
#endif

#endif
