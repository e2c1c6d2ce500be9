/* A stable least-significant-digit radix sort of (64-bit key, 32-bit index) pairs. */
#ifndef KD_CUDA_SORT_H
#define KD_CUDA_SORT_H

#include "kernels/cuda/cuda.h"

/* Its memory: n * KD_SORT_ENTRY + KD_SORT_TAIL bytes (kernels/workspace.h). Pair 0 is what is sorted. */
typedef struct kd_sort_arrays {
    uint64_t *key[2]; /* [n] */
    int32_t *index[2];
    int64_t *place; /* [DIGITS, tiles] how many keys of a tile have a digit, then where they begin */
} kd_sort_arrays;

kd_sort_arrays kd_sort_lay_out(void *workspace, int64_t n);

/* Sorts by the lowest `bits` bits of the keys, eight bits in four launches; the result is in the pair whose number is
 * returned. */
int kd_cuda_sort(kd_ctx *ctx, int64_t n, int bits, const kd_sort_arrays *arrays);

#endif
