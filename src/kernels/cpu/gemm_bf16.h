/* Dense products of inputs rounded to bf16, summed in float32, for processors that have the dot product for it. */
#ifndef KD_CPU_GEMM_BF16_H
#define KD_CPU_GEMM_BF16_H

#include "kernels/ops/dense.h"

#if defined(__x86_64__) && defined(__AVX512F__)
#define KD_CPU_BF16 1

/* Most of a product that is packed at a time: rows of C, columns of C, and what is summed over. */
enum { KD_BF16_ROWS = 14 * 140, KD_BF16_COLS = 32 * 128, KD_BF16_DEPTH = 12 * 256 };
enum { KD_BF16_ROOM = 2 * KD_BF16_DEPTH * (KD_BF16_ROWS + KD_BF16_COLS) };

/* C = alpha op(A) op(B) + beta C as kd_gemm, with A and B rounded to the nearest bf16 (ties to even). room:
 * KD_BF16_ROOM bytes, 64-byte aligned. Sums do not depend on the number of threads. */
void kd_gemm_bf16(void *room, const kd_gemm_args *args);
#else
#define KD_CPU_BF16 0
enum { KD_BF16_ROOM = 0 };
#endif

#endif
