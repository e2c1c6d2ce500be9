/* Sums and orders inside a warp or a block, always in the same order, so that a result never depends on timing. */
#ifndef KD_CUDA_REDUCE_H
#define KD_CUDA_REDUCE_H

#include "kernels/cuda/cuda.h"

static const unsigned KD_FULL_WARP = 0xffffffffu;

/* Sum over groups of `lanes` neighbouring lanes (a power of two); every lane gets it. All 32 lanes must call. */
template <class T> __device__ inline T kd_lanes_sum(T x, int lanes = KD_WARP) {
    for (int offset = lanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(KD_FULL_WARP, x, offset);
    return x;
}

__device__ inline float kd_warp_max(float x) {
    for (int offset = KD_WARP / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(KD_FULL_WARP, x, offset));
    return x;
}

/* Sum over the block; every thread gets it. part [32] is shared memory of the caller's, free again after the call. */
template <class T> __device__ inline T kd_block_sum(T x, T *part) {
    x = kd_lanes_sum(x);
    if (threadIdx.x % KD_WARP == 0) part[threadIdx.x / KD_WARP] = x;
    __syncthreads();
    T sum = 0;
    for (unsigned w = 0; w < (blockDim.x + KD_WARP - 1) / KD_WARP; w++) sum += part[w];
    __syncthreads();
    return sum;
}

/* Sum of the block's threads up to and with this one, in their order; part [KD_WARP] as in kd_block_sum. */
__device__ inline int64_t kd_block_scan(int64_t x, int64_t *part) {
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP);
    for (int offset = 1; offset < KD_WARP; offset *= 2) {
        int64_t before = __shfl_up_sync(KD_FULL_WARP, x, (unsigned)offset);
        if (lane >= offset) x += before;
    }
    if (lane == KD_WARP - 1) part[warp] = x;
    __syncthreads();
    for (int w = 0; w < warp; w++) x += part[w];
    __syncthreads();
    return x;
}

__device__ inline float kd_block_max(float x, float *part) {
    x = kd_warp_max(x);
    if (threadIdx.x % KD_WARP == 0) part[threadIdx.x / KD_WARP] = x;
    __syncthreads();
    float largest = part[0];
    for (unsigned w = 1; w < (blockDim.x + KD_WARP - 1) / KD_WARP; w++) largest = fmaxf(largest, part[w]);
    __syncthreads();
    return largest;
}

struct kd_ascending {
    template <class T> __device__ bool operator()(T a, T b) const { return a < b; }
};

/* Sorts x [n] in place by `before`, by all threads of the block; x in shared or global memory. A bitonic network in
 * which every comparison is ascending, so that places beyond n count as last and never move. O(n log^2 n). */
template <class T, class Before = kd_ascending>
__device__ inline void kd_block_sort(T *x, int64_t n, Before before = Before()) {
    int64_t padded = 1;
    while (padded < n) padded *= 2;
    for (int64_t size = 2; size <= padded; size *= 2)
        for (int64_t distance = size / 2; distance > 0; distance /= 2) {
            for (int64_t i = threadIdx.x; i < padded / 2; i += blockDim.x) {
                int64_t low = i / distance * distance * 2 + i % distance;
                int64_t high = distance == size / 2 ? low / size * size + size - 1 - low % size : low + distance;
                if (high < n && before(x[high], x[low])) {
                    T swap = x[low];
                    x[low] = x[high];
                    x[high] = swap;
                }
            }
            __syncthreads();
        }
}

/* Place of the first of list [begin, end) that is not below `wanted` (ascending). */
template <class T> __device__ inline int64_t kd_lower_bound(const T *list, int64_t begin, int64_t end, T wanted) {
    while (begin < end) {
        int64_t middle = begin + (end - begin) / 2;
        if (list[middle] < wanted)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

/* Where a warp takes a row: this one's, and blocks for all. */
__device__ static inline int64_t kd_warp_row() { return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / KD_WARP; }
static inline unsigned kd_row_blocks(int64_t rows) { return kd_blocks(rows, KD_BLOCK / KD_WARP); }

/* out[0] = scale * sum of part [n] + out[0], by one block of KD_BLOCK threads. */
__global__ void kd_add_sum(int64_t n, const double *part, double scale, double *out);
/* The same for floats that are sums of a row each. */
__global__ void kd_add_row_sum(int64_t n, const float *part, double scale, double *out);

#endif
