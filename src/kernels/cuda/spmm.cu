/* Sparse message passing: Y = alpha A X + beta C for widths 1..1024 and rows from empty to hubs of many thousands.
 *
 * A warp takes a row. Its lanes are dealt out in slots of `lanes` lanes that cover the width together (VEC columns
 * each), so that a narrow width works on several entries of the row at once. Rows longer than LONG_ROW are taken by all
 * warps of their block one after the other, with partial sums in shared memory: a hub costs its block entries / 8 and
 * nobody else anything. No atomics: entries are added in an order that only the row and the width decide. */
#include "kernels/cuda/reduce.h"

enum { WARPS = KD_BLOCK / KD_WARP, LONG_ROW = 512 };

template <int VEC> struct columns { float at[VEC]; };

template <int VEC> __device__ static inline columns<VEC> load(const float *from) {
    columns<VEC> v;
    if (VEC == 4) {
        float4 four = __ldg(reinterpret_cast<const float4 *>(from));
        v.at[0] = four.x;
        v.at[VEC > 1 ? 1 : 0] = four.y;
        v.at[VEC > 2 ? 2 : 0] = four.z;
        v.at[VEC > 3 ? 3 : 0] = four.w;
    } else {
        v.at[0] = __ldg(from);
    }
    return v;
}

/* Sum over entries first, first + step, ... of this slot, then over the slots of the warp; every slot gets it. */
template <int VEC>
__device__ static inline columns<VEC> gather(const kd_csr &a, const kd_mat &x, int64_t first, int64_t end, int64_t step,
                                             int lanes, int64_t col, bool on) {
    columns<VEC> sum = {};
    for (int64_t k = first; k < end; k += step) {
        float weight = a.val ? __ldg(a.val + k) : 1.0f;
        if (!on) continue;
        columns<VEC> v = load<VEC>(x.data + (int64_t)__ldg(a.col + k) * x.ld + col);
        for (int i = 0; i < VEC; i++) sum.at[i] += weight * v.at[i];
    }
    for (int i = 0; i < VEC; i++)
        for (int offset = lanes; offset < KD_WARP; offset *= 2)
            sum.at[i] += __shfl_xor_sync(KD_FULL_WARP, sum.at[i], offset);
    return sum;
}

template <int VEC>
__device__ static inline void store(float alpha, const columns<VEC> &sum, float beta, const kd_mat &c, const kd_mat &y,
                                    int64_t row, int64_t col) {
    for (int i = 0; i < VEC; i++) {
        float value = alpha * sum.at[i];
        if (beta != 0.0f) value += beta * c.data[row * c.ld + col + i];
        y.data[row * y.ld + col + i] = value;
    }
}

/* All warps of the block on one long row. */
template <int VEC>
__device__ static void long_row(float alpha, const kd_csr &a, const kd_mat &x, float beta, const kd_mat &c,
                                const kd_mat &y, int64_t row, int lanes, float *part) {
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP), slots = KD_WARP / lanes;
    int width = lanes * VEC; /* columns of a pass */
    for (int64_t pass = 0; pass < y.cols; pass += width) {
        int64_t col = pass + lane % lanes * VEC;
        bool on = col < y.cols;
        columns<VEC> sum = gather<VEC>(a, x, a.row_ptr[row] + warp * slots + lane / lanes, a.row_ptr[row + 1],
                                       (int64_t)WARPS * slots, lanes, col, on);
        if (lane < lanes)
            for (int i = 0; i < VEC; i++) part[warp * width + lane * VEC + i] = sum.at[i];
        __syncthreads();
        if (warp == 0 && lane < lanes && on) {
            for (int w = 1; w < WARPS; w++)
                for (int i = 0; i < VEC; i++) sum.at[i] += part[w * width + lane * VEC + i];
            store<VEC>(alpha, sum, beta, c, y, row, col);
        }
        __syncthreads();
    }
}

/* A block takes WARPS neighbouring rows. */
template <int VEC>
__global__ void __launch_bounds__(KD_BLOCK)
    spmm_rows(float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y, int lanes) {
    KD_SHARED(float, part, [WARPS * KD_WARP * VEC]);
    int64_t first = (int64_t)blockIdx.x * WARPS;
    for (int64_t r = first; r < first + WARPS && r < a.rows; r++)
        if (a.row_ptr[r + 1] - a.row_ptr[r] > LONG_ROW) long_row<VEC>(alpha, a, x, beta, c, y, r, lanes, part);
    int lane = (int)(threadIdx.x % KD_WARP), slots = KD_WARP / lanes;
    int64_t row = first + threadIdx.x / KD_WARP;
    if (row >= a.rows || a.row_ptr[row + 1] - a.row_ptr[row] > LONG_ROW) return;
    for (int64_t pass = 0; pass < y.cols; pass += lanes * VEC) {
        int64_t col = pass + lane % lanes * VEC;
        columns<VEC> sum =
            gather<VEC>(a, x, a.row_ptr[row] + lane / lanes, a.row_ptr[row + 1], slots, lanes, col, col < y.cols);
        if (lane < lanes && col < y.cols) store<VEC>(alpha, sum, beta, c, y, row, col);
    }
}

/* Lanes of a slot: the most that leave at most a fifth of a pass idle; that is cheaper than many short passes. */
static int lanes_for(int64_t pieces) {
    int best = 1;
    for (int lanes = 2; lanes <= KD_WARP; lanes *= 2)
        if ((pieces + lanes - 1) / lanes * lanes * 4 <= pieces * 5) best = lanes;
    return best;
}

extern "C" kd_status kd_cuda_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    bool whole = x.cols % 4 == 0 && x.ld % 4 == 0 && (uintptr_t)x.data % 16 == 0;
    unsigned blocks = kd_blocks(a.rows, WARPS);
    if (a.rows == 0 || y.cols == 0) return KD_OK;
    if (whole)
        KD_LAUNCH(spmm_rows<4>, blocks, KD_BLOCK, 0, kd_stream(ctx), alpha, a, x, beta, c, y, lanes_for(y.cols / 4));
    else
        KD_LAUNCH(spmm_rows<1>, blocks, KD_BLOCK, 0, kd_stream(ctx), alpha, a, x, beta, c, y, lanes_for(y.cols));
    KD_CUDA_LAUNCHED();
}
