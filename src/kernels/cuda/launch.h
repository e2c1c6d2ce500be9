/* What a kernel source needs besides C: launches and shared memory in a spelling that nvcc and, for tests on machines
 * without a GPU, a host C++ compiler with the stand-in of tests/emu both accept. Every .cu file includes this through
 * cuda.h and uses no <<<>>>, __shared__ or extern __shared__ of its own.
 *
 *   KD_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...)  enqueues; errors show in cudaGetLastError
 *   KD_SHARED(type, name, [n])                                          a static shared array
 *   KD_DYNAMIC_SHARED(type, name)                                       the launch's shared_bytes, aligned to 16
 *   KD_UNROLL(n)                                                        before a loop whose trips go side by side */
#ifndef KD_CUDA_LAUNCH_H
#define KD_CUDA_LAUNCH_H

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define KD_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)
#define KD_PRAGMA(text) _Pragma(#text)
#define KD_UNROLL(n) KD_PRAGMA(unroll n)
#define KD_SHARED(type, name, extent) __shared__ type name extent
#define KD_DYNAMIC_SHARED(type, name)                             \
    extern __shared__ __align__(16) unsigned char name##_bytes[]; \
    type *name = reinterpret_cast<type *>(name##_bytes)
#else
#include "emu/kernel.h"
#define KD_PRAGMA(text) _Pragma(#text)
#define KD_UNROLL(n) KD_PRAGMA(GCC unroll n)
#endif

#endif
