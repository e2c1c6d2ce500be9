#include "emu/planted.h"

#include "kernels/cuda/mma.h"

namespace {

const unsigned FULL = 0xffffffffu;

template <bool BUG> __global__ void add_one(int n, const float *in, float *out) {
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (BUG ? i > n : i >= n) return;
    out[i] = in[i] + 1.0f;
}

template <bool BUG> __global__ void rotate(int *a) {
    KD_SHARED(int, tile, [64]);
    unsigned t = threadIdx.x;
    tile[t] = a[t];
    __syncthreads();
    int value = tile[(t + 1) % 64];
    if (!BUG) __syncthreads();
    tile[t] = value * 2;
    __syncthreads();
    a[t] = tile[t];
}

template <int SIZE> __global__ void rotate_wide(int *a) {
    KD_SHARED(int, tile, [SIZE]);
    int *first = tile; /* not the array itself, whose bounds a compiler knows */
    unsigned t = threadIdx.x;
    first[t] = a[t];
    if (t == 0) first[64] = a[0];
    __syncthreads();
    a[t] = first[t + 1] * 2;
}

template <bool BUG> __global__ void tree(const float *in, float *out) {
    KD_DYNAMIC_SHARED(float, sums);
    unsigned t = threadIdx.x;
    sums[t] = in[blockIdx.x * blockDim.x + t];
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) sums[t] += sums[t + half];
        if (!BUG) __syncthreads();
    }
    if (t == 0) out[blockIdx.x] = sums[0];
}

/* D [16, 8] = A [16, 8] B [8, 8], one warp. */
template <bool ORDER_BUG, bool ROUNDING_BUG> __global__ void tf32_product(const float *a, const float *b, float *d) {
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    auto operand = [](float x) { return ROUNDING_BUG ? __float_as_uint(x) : kd_to_tf32(x); };
    uint32_t left[4], right[1][2];
    float sum[1][4] = {};
    for (int i = 0; i < 4; i++) {
        int down = ORDER_BUG ? i / 2 : i % 2, across = ORDER_BUG ? i % 2 : i / 2;
        left[i] = operand(a[(g + 8 * down) * 8 + t + 4 * across]);
    }
    for (int i = 0; i < 2; i++) right[0][i] = operand(b[(t + 4 * i) * 8 + g]);
    kd_mma_tf32(sum, left, right);
    for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[0][i];
}

/* D [16, 8] = A [16, 16] B [16, 8]. */
template <bool BUG> __global__ void bf16_product(const float *a, const float *b, float *d) {
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    uint32_t left[4], right[1][2];
    float sum[1][4] = {};
    for (int i = 0; i < 4; i++) {
        const float *from = a + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
        left[i] = BUG ? kd_to_bf16_pair(from[1], from[0]) : kd_to_bf16_pair(from[0], from[1]);
    }
    for (int i = 0; i < 2; i++)
        right[0][i] = kd_to_bf16_pair(b[(2 * t + 8 * i) * 8 + g], b[(2 * t + 8 * i + 1) * 8 + g]);
    kd_mma_bf16(sum, left, right);
    for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[0][i];
}

template <bool BUG> __global__ void one_writer(int *a) {
    KD_SHARED(int, value, [1]);
    if (threadIdx.x == 0) value[0] = 42;
    if (!BUG) __syncthreads();
    a[threadIdx.x] = value[0];
}

template <bool BUG> __global__ void histogram(const int *x, int *counts) {
    if (BUG)
        counts[x[threadIdx.x]] += 1;
    else
        atomicAdd(&counts[x[threadIdx.x]], 1);
}

template <bool BUG> __global__ void block_count(int *total) {
    if (threadIdx.x != 0) return;
    if (BUG)
        *total += 1;
    else
        atomicAdd(total, 1);
}

template <bool BUG> __global__ void warp_exchange(int *a) {
    KD_SHARED(int, values, [32]);
    int lane = (int)threadIdx.x;
    values[lane] = a[lane];
    if (!BUG) __syncwarp();
    int other = __shfl_xor_sync(FULL, lane, 1);
    a[lane] = values[other];
}

template <bool BUG> __global__ void last_block(const float *in, float *partial, unsigned *tickets, float *out) {
    KD_SHARED(unsigned, ticket, [1]);
    float sum = in[blockIdx.x * blockDim.x + threadIdx.x];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(FULL, sum, offset);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
        if (!BUG) __threadfence();
        ticket[0] = atomicAdd(tickets, 1u);
        if (!BUG) __threadfence();
    }
    __syncthreads();
    if (ticket[0] + 1 != gridDim.x || threadIdx.x != 0) return;
    float total = 0.0f;
    for (unsigned b = 0; b < gridDim.x; b++) total += partial[b];
    *out = total;
}

template <bool BUG> __global__ void divergent(int *a) {
    if (!BUG || threadIdx.x < 40) __syncthreads();
    a[threadIdx.x] = 1;
}

template <bool BUG> __global__ void two_barriers(int *a) {
    if (BUG && threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    a[threadIdx.x] = 1;
}

template <bool BUG> __global__ void bad_mask(int *a) {
    int lane = (int)threadIdx.x;
    if (BUG) {
        if (lane < 16) a[lane] = __shfl_xor_sync(0x0000ffffu, lane, 16);
    } else {
        a[lane] = __shfl_xor_sync(FULL, lane, 16);
    }
}

template <bool BUG> __global__ void gone_lanes(int *a) {
    int lane = (int)threadIdx.x;
    if (BUG && lane >= 16) return;
    a[lane] = __shfl_xor_sync(FULL, lane, 16);
}

template <bool BUG> __global__ void unwritten(float *out) {
    KD_SHARED(float, values, [64]);
    if (!BUG || threadIdx.x < 32) values[threadIdx.x] = 1.0f;
    __syncthreads();
    out[threadIdx.x] = values[threadIdx.x];
}

__global__ void vector_copy(int n, const float *in, float *out) {
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (4 * i < n) reinterpret_cast<float4 *>(out)[i] = reinterpret_cast<const float4 *>(in)[i];
}
__global__ void vector_ldg(int n, const float *in, float *out) {
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (4 * i < n) reinterpret_cast<float4 *>(out)[i] = __ldg(reinterpret_cast<const float4 *>(in) + i);
}

__global__ void shared_bytes(float *out) {
    KD_SHARED(float, fixed, [1024]);
    KD_DYNAMIC_SHARED(float, more);
    fixed[threadIdx.x] = 1.0f;
    more[threadIdx.x] = 1.0f;
    __syncthreads();
    if (threadIdx.x == 0) *out = fixed[31] * more[31];
}

__global__ void warp_answers(const int *all, unsigned *out) {
    int lane = (int)threadIdx.x % 32, x = all[threadIdx.x], at = 0;
    unsigned answers[PLANTED_ANSWERS];
    answers[at++] = (unsigned)__shfl_sync(FULL, x, 5);
    answers[at++] = (unsigned)__shfl_sync(FULL, x, lane + 3, 8);
    answers[at++] = (unsigned)__shfl_up_sync(FULL, x, 3);
    answers[at++] = (unsigned)__shfl_up_sync(FULL, x, 2, 8);
    answers[at++] = (unsigned)__shfl_down_sync(FULL, x, 3);
    answers[at++] = (unsigned)__shfl_down_sync(FULL, x, 2, 16);
    answers[at++] = (unsigned)__shfl_xor_sync(FULL, x, 7);
    answers[at++] = (unsigned)(__shfl_xor_sync(FULL, (long long)x << 20, 1) >> 20);
    answers[at++] = (unsigned)__float2int_rn(__shfl_down_sync(FULL, (float)x, 1));
    answers[at++] = __ballot_sync(FULL, x & 1);
    answers[at++] = (unsigned)(__any_sync(FULL, x == all[0]) != 0);
    answers[at++] = (unsigned)(__all_sync(FULL, x >= 0) != 0);
    answers[at++] = __reduce_add_sync(FULL, (unsigned)x);
    answers[at++] = (unsigned)__reduce_min_sync(FULL, x - 50);
    answers[at++] = __reduce_max_sync(FULL, (unsigned)x);
    answers[at++] = __reduce_xor_sync(FULL, (unsigned)x);
    answers[at++] = __match_any_sync(FULL, x % 5);
    unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u; /* two groups of a warp on their own ways */
    if (lane < 16)
        answers[at++] = __ballot_sync(half, x & 2);
    else
        answers[at++] = __ballot_sync(half, x & 4);
    for (int i = 0; i < PLANTED_ANSWERS; i++) out[threadIdx.x * PLANTED_ANSWERS + i] = answers[i];
}

__global__ void places(int *out) {
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    atomicAdd(&out[thread + block * blockDim.x * blockDim.y * blockDim.z], 1);
}

__global__ void block_votes(const int *x, int *out) {
    int mine = x[blockIdx.x * blockDim.x + threadIdx.x];
    int count = __syncthreads_count(mine > 1), all = __syncthreads_and(mine > 0), any = __syncthreads_or(mine > 2);
    if (threadIdx.x != 0) return;
    out[3 * blockIdx.x] = count;
    out[3 * blockIdx.x + 1] = all != 0;
    out[3 * blockIdx.x + 2] = any != 0;
}

__global__ void atomics(unsigned long long *out) {
    unsigned i = threadIdx.x;
    atomicAdd(&out[0], (unsigned long long)i << 32);
    atomicMin(&out[1], 1000000007ull * (i + 1));
    atomicMax(&out[2], 1000000007ull * (i + 1));
    atomicAdd(reinterpret_cast<float *>(&out[3]), 0.5f);
    atomicAdd(reinterpret_cast<double *>(&out[4]), 0.5);
    atomicOr(&out[5], 1ull << (i % 50));
    atomicInc(reinterpret_cast<unsigned *>(&out[6]), 6u);
    atomicMin(reinterpret_cast<int *>(&out[7]), -(int)i);
    unsigned long long seen = atomicAdd(&out[8], 0ull);
    for (unsigned long long before = ~seen; before != seen;) {
        before = seen;
        seen = atomicCAS(&out[8], before, before + 3);
    }
}

__global__ void large_shared(float *out) {
    KD_DYNAMIC_SHARED(float, values);
    values[threadIdx.x * 800] = 1.0f;
    __syncthreads();
    if (threadIdx.x == 0) *out = values[31 * 800];
}

} // namespace

/* The kernel with or without its bug. */
#define LAUNCH_EITHER(kernel, ...)                 \
    do {                                           \
        if (bug)                                   \
            KD_LAUNCH(kernel<true>, __VA_ARGS__);  \
        else                                       \
            KD_LAUNCH(kernel<false>, __VA_ARGS__); \
    } while (0)

void planted_add_one(bool bug, int n, const float *in, float *out, cudaStream_t stream) {
    LAUNCH_EITHER(add_one, (n + 128) / 128, 128, 0, stream, n, in, out);
}
void planted_tf32_order(bool bug, const float *a, const float *b, float *d, cudaStream_t stream) {
    if (bug)
        KD_LAUNCH((tf32_product<true, false>), 1, 32, 0, stream, a, b, d);
    else
        KD_LAUNCH((tf32_product<false, false>), 1, 32, 0, stream, a, b, d);
}
void planted_tf32_rounding(bool bug, const float *a, const float *b, float *d, cudaStream_t stream) {
    if (bug)
        KD_LAUNCH((tf32_product<false, true>), 1, 32, 0, stream, a, b, d);
    else
        KD_LAUNCH((tf32_product<false, false>), 1, 32, 0, stream, a, b, d);
}
void planted_bf16_pairs(bool bug, const float *a, const float *b, float *d, cudaStream_t stream) {
    LAUNCH_EITHER(bf16_product, 1, 32, 0, stream, a, b, d);
}
void planted_rotate(bool bug, int *a, cudaStream_t stream) { LAUNCH_EITHER(rotate, 1, 64, 0, stream, a); }
void planted_tile_end(bool bug, int *a, cudaStream_t stream) {
    if (bug)
        KD_LAUNCH(rotate_wide<64>, 1, 64, 0, stream, a);
    else
        KD_LAUNCH(rotate_wide<65>, 1, 64, 0, stream, a);
}
void planted_tree(bool bug, int blocks, const float *in, float *out, cudaStream_t stream) {
    LAUNCH_EITHER(tree, blocks, 256, 256 * sizeof(float), stream, in, out);
}
void planted_tree_bytes(bool bug, int blocks, const float *in, float *out, cudaStream_t stream) {
    KD_LAUNCH(tree<false>, blocks, 256, (bug ? 255 : 256) * sizeof(float), stream, in, out);
}
void planted_one_writer(bool bug, int *a, cudaStream_t stream) { LAUNCH_EITHER(one_writer, 1, 128, 0, stream, a); }
void planted_histogram(bool bug, const int *x, int *counts, cudaStream_t stream) {
    LAUNCH_EITHER(histogram, 1, 256, 0, stream, x, counts);
}
void planted_block_count(bool bug, int *total, cudaStream_t stream) {
    LAUNCH_EITHER(block_count, 6, 32, 0, stream, total);
}
void planted_warp_exchange(bool bug, int *a, cudaStream_t stream) { LAUNCH_EITHER(warp_exchange, 1, 32, 0, stream, a); }
void planted_last_block(bool bug, int blocks, const float *in, float *partial, unsigned *tickets, float *out,
                        cudaStream_t stream) {
    LAUNCH_EITHER(last_block, blocks, 32, 0, stream, in, partial, tickets, out);
}
void planted_divergent(bool bug, int *a, cudaStream_t stream) { LAUNCH_EITHER(divergent, 1, 64, 0, stream, a); }
void planted_two_barriers(bool bug, int *a, cudaStream_t stream) { LAUNCH_EITHER(two_barriers, 1, 64, 0, stream, a); }
void planted_bad_mask(bool bug, int *a, cudaStream_t stream) { LAUNCH_EITHER(bad_mask, 1, 32, 0, stream, a); }
void planted_gone_lanes(bool bug, int *a, cudaStream_t stream) { LAUNCH_EITHER(gone_lanes, 1, 32, 0, stream, a); }
void planted_unwritten(bool bug, float *out, cudaStream_t stream) { LAUNCH_EITHER(unwritten, 1, 64, 0, stream, out); }
void planted_vector_copy(int n, const float *in, float *out, cudaStream_t stream) {
    KD_LAUNCH(vector_copy, (n + 127) / 128, 32, 0, stream, n, in, out);
}
void planted_vector_ldg(int n, const float *in, float *out, cudaStream_t stream) {
    KD_LAUNCH(vector_ldg, (n + 127) / 128, 32, 0, stream, n, in, out);
}
void planted_shared_bytes(bool bug, float *out, cudaStream_t stream) {
    KD_LAUNCH(shared_bytes, 1, 32, (bug ? 48u : 44u) << 10, stream, out);
}

void planted_warp_answers(const int *x, unsigned *out, cudaStream_t stream) {
    KD_LAUNCH(warp_answers, 1, 64, 0, stream, x, out);
}
void planted_places(int *out, cudaStream_t stream) { KD_LAUNCH(places, dim3(2, 3, 2), dim3(5, 7, 2), 0, stream, out); }
void planted_block_votes(int blocks, const int *x, int *out, cudaStream_t stream) {
    KD_LAUNCH(block_votes, blocks, 96, 0, stream, x, out);
}
void planted_atomics(unsigned long long *out, cudaStream_t stream) { KD_LAUNCH(atomics, 1, 200, 0, stream, out); }
void planted_large_shared(bool ask, float *out, cudaStream_t stream) {
    const int bytes = 100 << 10;
    if (ask) cudaFuncSetAttribute(large_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    KD_LAUNCH(large_shared, 1, 32, bytes, stream, out);
}
void planted_large_block(bool bug, int *out, cudaStream_t stream) {
    KD_LAUNCH(places, 1, dim3(32, bug ? 33 : 32), 0, stream, out);
}
void planted_high_grid(bool bug, int *out, cudaStream_t stream) {
    KD_LAUNCH(places, dim3(1, bug ? 65536 : 65535), 1, 0, stream, out);
}
