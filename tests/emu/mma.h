/* Tensor cores: what src/kernels/cuda/mma.h has in PTX. Each lane leaves its fragments where the others of its warp
 * find them and makes its own elements of D from the lanes that hold their factors, so that a fragment filled in
 * another order gives another product. TF32 operands lose the bits that the tensor cores do not read, whether they were
 * rounded or not. */
#ifndef KD_EMU_MMA_H
#define KD_EMU_MMA_H

#include "emu/kernel.h"

inline uint32_t kd_to_tf32(float x) { return (emu::bits<uint32_t>(x) + 0x1000u) & ~0x1fffu; }

inline uint32_t kd_to_bf16_pair(float first, float second) {
    auto rounded = [](float x) {
        uint32_t b = emu::bits<uint32_t>(x);
        return x != x ? 0x7fffu : (b + 0x7fffu + (b >> 16 & 1u)) >> 16;
    };
    return rounded(first) | rounded(second) << 16;
}

namespace emu {

enum { MOST_TILES = 8, MOST_LANES = 1024 };
struct fragments {
    uint32_t a[4], b[MOST_TILES][2];
};

/* Of the block that runs, by thread; a GPU keeps them in registers. */
inline fragments *block_fragments() {
    static char site;
    return static_cast<fragments *>(block_array(&site, MOST_LANES * sizeof(fragments), "fragments", false));
}

/* The K-th factor of a row (of A) or a column (of B) of TF32 or bfloat16 fragments. */
struct tf32_factors {
    enum { K = 8 };
    static float a(const fragments *f, int row, int k) { return value(f[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2]); }
    static float b(const fragments *f, int n, int col, int k) { return value(f[col * 4 + k % 4].b[n][k / 4]); }
    static float value(uint32_t operand) { return bits<float>(operand & ~0x1fffu); }
};
struct bf16_factors {
    enum { K = 16 };
    static float a(const fragments *f, int row, int k) {
        return half(f[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2);
    }
    static float b(const fragments *f, int n, int col, int k) {
        return half(f[col * 4 + k % 8 / 2].b[n][k / 8], k % 2);
    }
    static float half(uint32_t pair, int second) { return bits<float>(second ? pair & 0xffff0000u : pair << 16); }
};

template <class Factors, int N>
void mma(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][2], int line) {
    static_assert(N <= (int)MOST_TILES, "fragments of so many tiles");
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z), lane = thread % 32;
    fragments *warp = block_fragments() + thread / 32 * 32;
    memcpy(warp[lane].a, a, sizeof a);
    memcpy(warp[lane].b, b, sizeof b);
    __syncwarp(0xffffffffu, line);
    for (int n = 0; n < N; n++)
        for (int i = 0; i < 4; i++) {
            int row = (int)lane / 4 + i / 2 * 8, col = (int)lane % 4 * 2 + i % 2;
            for (int k = 0; k < Factors::K; k++) d[n][i] += Factors::a(warp, row, k) * Factors::b(warp, n, col, k);
        }
    __syncwarp(0xffffffffu, line);
}

} // namespace emu

template <int N>
void kd_mma_tf32(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][2], int line = __builtin_LINE()) {
    emu::mma<emu::tf32_factors>(d, a, b, line);
}
template <int N>
void kd_mma_bf16(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][2], int line = __builtin_LINE()) {
    emu::mma<emu::bf16_factors>(d, a, b, line);
}

#endif
