/* Kernels for the stand-in's own tests, each right, or with the one bug that its comment names. */
#ifndef KD_EMU_PLANTED_H
#define KD_EMU_PLANTED_H

#include <cuda_runtime.h>

/* out [n] = in [n] + 1. Bug: the guard of the last block lets one thread too many through. */
void planted_add_one(bool bug, int n, const float *in, float *out, cudaStream_t stream);
/* a [64] turned by one place and doubled. Bug: a tile is overwritten while others read it. */
void planted_rotate(bool bug, int *a, cudaStream_t stream);
/* The same in a tile one element larger than needed. Bug: it is as large as needed, and is read beyond its end. */
void planted_tile_end(bool bug, int *a, cudaStream_t stream);
/* d [16, 8] = a [16, 8] b [8, 8] in TF32. Bug: the second and the third register of A change places; operands are
 * handed over as they are, not rounded. */
void planted_tf32_order(bool bug, const float *a, const float *b, float *d, cudaStream_t stream);
void planted_tf32_rounding(bool bug, const float *a, const float *b, float *d, cudaStream_t stream);
/* d [16, 8] = a [16, 16] b [16, 8] in bfloat16. Bug: the halves of a pair change places. */
void planted_bf16_pairs(bool bug, const float *a, const float *b, float *d, cudaStream_t stream);
/* out [blocks] = sums of 256 elements. Bug: no barrier between the levels of the tree. */
void planted_tree(bool bug, int blocks, const float *in, float *out, cudaStream_t stream);
/* The same tree, right. Bug: the launch gives one float of shared memory too few. */
void planted_tree_bytes(bool bug, int blocks, const float *in, float *out, cudaStream_t stream);
/* a [128] = 42. Bug: all read what one thread writes, without a barrier. */
void planted_one_writer(bool bug, int *a, cudaStream_t stream);
/* counts [8] of the values of x [256]. Bug: += instead of an atomic, between threads of a block. */
void planted_histogram(bool bug, const int *x, int *counts, cudaStream_t stream);
/* total [1] = number of blocks, 6. Bug: += instead of an atomic, between blocks. */
void planted_block_count(bool bug, int *total, cudaStream_t stream);
/* Neighbours of a [32] change places. Bug: a shuffle stands where __syncwarp is needed. */
void planted_warp_exchange(bool bug, int *a, cudaStream_t stream);
/* out [1] = sum of all, by the block that comes last; tickets [1] starts at 0. Bug: no fence before taking a ticket. */
void planted_last_block(bool bug, int blocks, const float *in, float *partial, unsigned *tickets, float *out,
                        cudaStream_t stream);
/* a [64] = 1. Bug: only some threads come to the barrier. */
void planted_divergent(bool bug, int *a, cudaStream_t stream);
/* The same. Bug: the two halves of the block wait at two barriers. */
void planted_two_barriers(bool bug, int *a, cudaStream_t stream);
/* a [32] = lane ^ 16. Bug: the mask leaves out the lanes that are read from. */
void planted_bad_mask(bool bug, int *a, cudaStream_t stream);
/* The same. Bug: those lanes have returned. */
void planted_gone_lanes(bool bug, int *a, cudaStream_t stream);
/* out [64] = 1. Bug: half of a shared array is never written. */
void planted_unwritten(bool bug, float *out, cudaStream_t stream);
/* out [n] = in [n], four at a time. Bug (of the caller): in is not aligned to 16 bytes. */
void planted_vector_copy(int n, const float *in, float *out, cudaStream_t stream);
/* The same through __ldg. */
void planted_vector_ldg(int n, const float *in, float *out, cudaStream_t stream);
/* out [1] = 1. Bug: static and dynamic shared memory together are more than a launch has that did not ask for more. */
void planted_shared_bytes(bool bug, float *out, cudaStream_t stream);

/* No bug: what every operation of a warp answers; x, out [64][PLANTED_ANSWERS]. */
enum { PLANTED_ANSWERS = 18 };
void planted_warp_answers(const int *x, unsigned *out, cudaStream_t stream);
/* Where each thread of a grid of 2 x 3 x 2 blocks of 5 x 7 x 2 threads finds itself: out [840] counts, all 1. */
void planted_places(int *out, cudaStream_t stream);
/* out [3 * blocks]: votes of the block about its 96 threads' x. */
void planted_block_votes(int blocks, const int *x, int *out, cudaStream_t stream);
/* out [9]: what each atomic function leaves behind after 200 threads. */
enum { PLANTED_ATOMICS = 9 };
void planted_atomics(unsigned long long *out, cudaStream_t stream);
/* Uses 100 KiB of dynamic shared memory, after asking for it or not; out [1] = 1. */
void planted_large_shared(bool ask, float *out, cudaStream_t stream);
/* out [threads] = 1 by a block of 1024 threads. Bug: it has 1056. */
void planted_large_block(bool bug, int *out, cudaStream_t stream);
/* out [65535] = 1 by as many blocks above each other. Bug: there is one more. */
void planted_high_grid(bool bug, int *out, cudaStream_t stream);

#endif
