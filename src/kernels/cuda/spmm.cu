/* Sparse message passing: Y = alpha A X + beta C for widths 1..1024 and rows from empty to hubs of many thousands.
 *
 * A warp takes a row. Its lanes are dealt out in slots of `lanes` lanes that cover the width together (VEC columns
 * each), so that a narrow width works on several entries of the row at once. Rows longer than LONG_ROW are taken by all
 * warps of their block one after the other, with partial sums in shared memory: a hub costs its block entries / 8 and
 * nobody else anything. No atomics: entries are added in an order that only the row and the width decide. */
#include "kernels/cuda/reduce.h"

enum { WARPS = KD_BLOCK / KD_WARP, LONG_ROW = 512 };

struct product {
    float alpha, beta;
    kd_csr a;
    kd_mat x, c, y;
    const int32_t *row, *place; /* of kd_spmm_batch */
    int64_t rows;               /* of Y, or the most keys of kd_spmm_rows */
    const int64_t *keys;        /* of kd_spmm_rows: how many, in `row` */
};

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
template <int VEC, bool BATCH>
__device__ static inline columns<VEC> gather(const product &p, int64_t first, int64_t end, int64_t step, int lanes,
                                             int64_t col, bool on) {
    columns<VEC> sum = {};
    for (int64_t k = first; k < end; k += step) {
        float weight = p.a.val ? __ldg(p.a.val + k) : 1.0f;
        int64_t from = __ldg(p.a.col + k);
        if (BATCH && p.place) from = __ldg(p.place + from);
        if (!on || (BATCH && from < 0)) continue;
        columns<VEC> v = load<VEC>(p.x.data + from * p.x.ld + col);
        for (int i = 0; i < VEC; i++) sum.at[i] += weight * v.at[i];
    }
    for (int i = 0; i < VEC; i++)
        for (int offset = lanes; offset < KD_WARP; offset *= 2)
            sum.at[i] += __shfl_xor_sync(KD_FULL_WARP, sum.at[i], offset);
    return sum;
}

template <int VEC>
__device__ static inline void store(const product &p, const columns<VEC> &sum, int64_t row, int64_t col) {
    for (int i = 0; i < VEC; i++) {
        float value = p.alpha * sum.at[i];
        if (p.beta != 0.0f) value += p.beta * p.c.data[row * p.c.ld + col + i];
        p.y.data[row * p.y.ld + col + i] = value;
    }
}

/* The i-th row of a product: where it lies in Y, and where its entries begin and end. */
struct entries {
    int64_t row, begin, end;
};
template <bool BATCH> __device__ static inline entries entries_of(const product &p, int64_t i) {
    int64_t row = BATCH && p.row ? p.row[i] : i;
    return {BATCH && p.keys ? row : i, p.a.row_ptr[row], p.a.row_ptr[row + 1]};
}

/* All warps of the block on one long row. */
template <int VEC, bool BATCH>
__device__ static void long_row(const product &p, const entries &e, int lanes, float *part) {
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP), slots = KD_WARP / lanes;
    int width = lanes * VEC; /* columns of a pass */
    for (int64_t pass = 0; pass < p.y.cols; pass += width) {
        int64_t col = pass + lane % lanes * VEC;
        bool on = col < p.y.cols;
        columns<VEC> sum =
            gather<VEC, BATCH>(p, e.begin + warp * slots + lane / lanes, e.end, (int64_t)WARPS * slots, lanes, col, on);
        if (lane < lanes)
            for (int i = 0; i < VEC; i++) part[warp * width + lane * VEC + i] = sum.at[i];
        __syncthreads();
        if (warp == 0 && lane < lanes && on) {
            for (int w = 1; w < WARPS; w++)
                for (int i = 0; i < VEC; i++) sum.at[i] += part[w * width + lane * VEC + i];
            store<VEC>(p, sum, e.row, col);
        }
        __syncthreads();
    }
}

/* A block takes WARPS neighbouring rows. */
template <int VEC, bool BATCH> __global__ void __launch_bounds__(KD_BLOCK, 4) spmm_rows(product p, int lanes) {
    KD_SHARED(float, part, [WARPS * KD_WARP * VEC]);
    int64_t first = (int64_t)blockIdx.x * WARPS, rows = BATCH && p.keys ? p.keys[0] : p.rows;
    for (int64_t i = first; i < first + WARPS && i < rows; i++) {
        entries e = entries_of<BATCH>(p, i);
        if (e.end - e.begin > LONG_ROW) long_row<VEC, BATCH>(p, e, lanes, part);
    }
    int lane = (int)(threadIdx.x % KD_WARP), slots = KD_WARP / lanes;
    int64_t own = first + threadIdx.x / KD_WARP;
    if (own >= rows) return;
    entries e = entries_of<BATCH>(p, own);
    if (e.end - e.begin > LONG_ROW) return;
    for (int64_t pass = 0; pass < p.y.cols; pass += lanes * VEC) {
        int64_t col = pass + lane % lanes * VEC;
        columns<VEC> sum = gather<VEC, BATCH>(p, e.begin + lane / lanes, e.end, slots, lanes, col, col < p.y.cols);
        if (lane < lanes && col < p.y.cols) store<VEC>(p, sum, e.row, col);
    }
}

/* Lanes of a slot: the most that leave at most a fifth of a pass idle; that is cheaper than many short passes. */
static int lanes_for(int64_t pieces) {
    int best = 1;
    for (int lanes = 2; lanes <= KD_WARP; lanes *= 2)
        if ((pieces + lanes - 1) / lanes * lanes * 4 <= pieces * 5) best = lanes;
    return best;
}

template <bool BATCH> static kd_status multiply(kd_ctx *ctx, const product &p) {
    bool whole = p.x.cols % 4 == 0 && p.x.ld % 4 == 0 && (uintptr_t)p.x.data % 16 == 0;
    unsigned blocks = kd_blocks(p.rows, WARPS);
    if (p.rows == 0 || p.y.cols == 0) return KD_OK;
    if (whole)
        KD_LAUNCH((spmm_rows<4, BATCH>), blocks, KD_BLOCK, 0, kd_stream(ctx), p, lanes_for(p.y.cols / 4));
    else
        KD_LAUNCH((spmm_rows<1, BATCH>), blocks, KD_BLOCK, 0, kd_stream(ctx), p, lanes_for(p.y.cols));
    return kd_cuda_launched(__func__);
}

extern "C" kd_status kd_cuda_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    return multiply<false>(ctx, product{alpha, beta, a, x, c, y, NULL, NULL, y.rows, NULL});
}

extern "C" kd_status kd_cuda_spmm_rows(kd_ctx *ctx, const kd_spmm_rows_args *args) {
    int64_t most = args->only->capacity < args->y.rows ? args->only->capacity : args->y.rows;
    return multiply<true>(ctx, product{args->alpha, args->beta, args->a, args->x, args->c, args->y, args->only->key,
                                       NULL, most, args->only->count});
}

extern "C" kd_status kd_cuda_spmm_batch(kd_ctx *ctx, const kd_spmm_batch_args *args) {
    return multiply<true>(ctx, product{args->alpha, args->beta, args->a, args->x, args->y, args->y, args->row,
                                       args->place, args->y.rows, NULL});
}

__global__ void __launch_bounds__(KD_BLOCK) place_rows(int64_t n, const int32_t *row, int32_t *place) {
    int64_t i = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (i < n) place[row[i]] = (int32_t)i;
}

extern "C" kd_status kd_cuda_place_rows(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t rows, int32_t *place) {
    KD_CUDA_OR_RETURN(cudaMemsetAsync(place, 0xff, (size_t)rows * sizeof *place, kd_stream(ctx)));
    if (n > 0) KD_LAUNCH(place_rows, kd_blocks(n, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), n, row, place);
    return kd_cuda_launched(__func__);
}
