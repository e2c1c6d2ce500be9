/* Kernels of which is known what they load, for the counter of loads.cc; tests/launches.sh holds what it must say. */
#include <cstdio>
#include <vector>

#include "emu/cases.h"
#include "emu/loads.h"
#include "kernels/cuda/launch.h"

namespace {

enum { WARP = 32, FOUR = 4 };

/* Warp 0 goes over `longest` entries, every other one over `usual`, a place and what stands there each. */
__global__ void hub(int longest, int usual, const int *place, const float *value, float *out) {
    int thread = (int)(blockIdx.x * blockDim.x + threadIdx.x), n = thread < WARP ? longest : usual;
    float sum = 0.0f;
    for (int i = 0; i < n; i++) sum += value[place[i]];
    out[thread] = sum;
}

/* The same entries for all, four of them on their way at a time. */
__global__ void unrolled(int n, const float *value, float *out) {
    float sum = 0.0f;
    for (int i = 0; i < n; i += FOUR) {
        float four[FOUR];
        for (int k = 0; k < FOUR; k++) four[k] = value[8 * (i + k)];
        for (int k = 0; k < FOUR; k++) sum += four[k];
    }
    out[threadIdx.x] = sum;
}

/* One lane of a warp loads n values, the others none. */
__global__ void one_lane(int n, const float *value, float *out) {
    if (threadIdx.x % WARP != 3) return;
    float sum = 0.0f;
    for (int i = 0; i < n; i++) sum += value[i];
    *out = sum;
}

/* One load of each thread from device memory, and many from shared memory and its own. */
__global__ void elsewhere(int n, const float *value, float *out) {
    KD_SHARED(float, tile, [2 * WARP]);
    float own[2 * WARP], sum = 0.0f;
    tile[threadIdx.x] = value[threadIdx.x];
    __syncthreads();
    for (int i = 0; i < n; i++) own[(i * 7) % (2 * WARP)] = tile[(i + threadIdx.x) % (2 * WARP)];
    for (int i = 0; i < n; i++) sum += own[i];
    out[threadIdx.x] = sum;
}

/* Vectors of four floats are one load each. */
__global__ void vectors(int n, const float4 *value, float *out) {
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {
        float4 four = __ldg(value + i);
        sum += four.x + four.y + four.z + four.w;
    }
    out[threadIdx.x] = sum;
}

/* Nobody loads anything. */
__global__ void stores(float *out) { out[threadIdx.x] = 1.0f; }

} // namespace

int main() {
    Stream stream;
    Device<float> value(std::vector<float>(1024, 1.0f)), out(1024);
    Device<int> place(std::vector<int>(1024, 7));
    kdiffe_emu_step("planted");
    KD_LAUNCH(hub, 2, 128, 0, stream.s, 100, 10, place.p, value.p, out.p);
    KD_LAUNCH(unrolled, 3, 64, 0, stream.s, 64, value.p, out.p);
    KD_LAUNCH(one_lane, 1, 96, 0, stream.s, 50, value.p, out.p);
    KD_LAUNCH(elsewhere, 1, 64, 0, stream.s, 64, value.p, out.p);
    KD_LAUNCH(vectors, dim3(2, 2), dim3(8, 4), 0, stream.s, 20, reinterpret_cast<const float4 *>(value.p), out.p);
    KD_LAUNCH(stores, 1, 64, 0, stream.s, out.p);
    out.get();
    return 0;
}
