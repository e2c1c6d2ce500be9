#include "kernels/cuda/sort.h"

#include "kernels/cuda/reduce.h"
#include "kernels/cuda/scan.h"
#include "kernels/workspace.h"

enum { WARPS = KD_BLOCK / KD_WARP, DIGITS = 256, DIGIT_BITS = 8, KEYS_A_WARP = 256, TILE = WARPS * KEYS_A_WARP };

static_assert(2 * (sizeof(uint64_t) + sizeof(int32_t)) + (DIGITS * sizeof(int64_t) + TILE - 1) / TILE <= KD_SORT_ENTRY,
              "keys and indices, twice, and a key's share of its tile's counts fit the workspace");
static_assert(DIGITS * sizeof(int64_t) <= KD_SORT_TAIL, "so do the counts of a tile that is not full");

static int64_t tiles_of(int64_t n) { return n > 0 ? (n + TILE - 1) / TILE : 1; }

kd_sort_arrays kd_sort_lay_out(void *workspace, int64_t n) {
    kd_sort_arrays s;
    s.key[0] = (uint64_t *)workspace;
    s.key[1] = s.key[0] + n;
    s.place = (int64_t *)(s.key[1] + n);
    s.index[0] = (int32_t *)(s.place + DIGITS * tiles_of(n));
    s.index[1] = s.index[0] + n;
    return s;
}

/* digits [WARPS][DIGITS] = how often each digit stands among a warp's keys; a warp's keys are neighbours. */
__device__ static inline void count_digits(const uint64_t *key, int64_t n, int shift, int (*digits)[DIGITS]) {
    int warp = (int)(threadIdx.x / KD_WARP);
    for (int i = threadIdx.x; i < WARPS * DIGITS; i += KD_BLOCK) digits[i / DIGITS][i % DIGITS] = 0;
    __syncthreads();
    int64_t begin = (int64_t)blockIdx.x * TILE + (int64_t)warp * KEYS_A_WARP;
    for (int64_t i = begin + threadIdx.x % KD_WARP; i < begin + KEYS_A_WARP && i < n; i += KD_WARP)
        atomicAdd(&digits[warp][key[i] >> shift & (DIGITS - 1)], 1);
    __syncthreads();
}

__global__ void __launch_bounds__(KD_BLOCK) tile_digits(int64_t n, const uint64_t *key, int shift, int64_t *place) {
    KD_SHARED(int, digits, [WARPS][DIGITS]);
    count_digits(key, n, shift, digits);
    int64_t count = 0;
    for (int w = 0; w < WARPS; w++) count += digits[w][threadIdx.x];
    place[(int64_t)threadIdx.x * gridDim.x + blockIdx.x] = count;
}

/* Every key to its place: that of its tile and digit, then the order of its warp, then its own in the warp. */
__global__ void __launch_bounds__(KD_BLOCK)
    scatter_keys(int64_t n, const uint64_t *key, const int32_t *index, int shift, const int64_t *place,
                 uint64_t *to_key, int32_t *to_index) {
    KD_SHARED(int, digits, [WARPS][DIGITS]);
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP), before = 0;
    count_digits(key, n, shift, digits);
    for (int w = 0; w < WARPS; w++) { /* thread i turns digit i's counts into where each warp begins */
        int own = digits[w][threadIdx.x];
        digits[w][threadIdx.x] = before;
        before += own;
    }
    __syncthreads();
    int64_t begin = (int64_t)blockIdx.x * TILE + (int64_t)warp * KEYS_A_WARP;
    for (int64_t first = begin; first < begin + KEYS_A_WARP && first < n; first += KD_WARP) {
        int64_t i = first + lane;
        bool there = i < n;
        int digit = there ? (int)(key[i] >> shift & (DIGITS - 1)) : DIGITS;
        unsigned same = __match_any_sync(KD_FULL_WARP, digit), earlier = same & ((1u << lane) - 1);
        int own = there ? digits[warp][digit] + __popc(earlier) : 0;
        __syncwarp();
        if (there && earlier == 0) digits[warp][digit] += __popc(same);
        __syncwarp();
        if (!there) continue;
        int64_t to = place[(int64_t)digit * gridDim.x + blockIdx.x] + own;
        to_key[to] = key[i];
        to_index[to] = index[i];
    }
}

int kd_cuda_sort(kd_ctx *ctx, int64_t n, int bits, const kd_sort_arrays *s) {
    unsigned tiles = (unsigned)tiles_of(n);
    int from = 0;
    for (int shift = 0; shift < bits; shift += DIGIT_BITS) {
        KD_LAUNCH(tile_digits, tiles, KD_BLOCK, 0, kd_stream(ctx), n, s->key[from], shift, s->place);
        kd_cuda_scan(ctx, (int64_t)DIGITS * tiles, s->place, false, NULL);
        KD_LAUNCH(scatter_keys, tiles, KD_BLOCK, 0, kd_stream(ctx), n, s->key[from], s->index[from], shift, s->place,
                  s->key[1 - from], s->index[1 - from]);
        from = 1 - from;
    }
    return from;
}
