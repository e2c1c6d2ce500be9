/* InfoNCE without logits in memory. With unit rows a (anchors) and b, w_kj = exp((a_k . b_j - 1) / temp): since a logit
 * never exceeds 1 / temp, the shift is a constant, and both gradients are weighted sums of rows,
 *   d a_k = share m_k ( sum_j w_kj b_j / Z_k - b_k ) / temp,      Z_k = sum_j w_kj,
 *   d b_j = sum_k (share m_k / (temp Z_k)) w_kj a_k,  and -share m_k a_k / temp for j = k,
 * so one kernel serves both: O_x = sum_y scale_y w_xy Y_y and Z_x = sum_y scale_y w_xy over tiles of 64 x 64 pairs,
 * whose weights live in registers and shared memory only. It costs 4 count rows d multiply-adds a direction: in float32
 * by weighted_sums, in TF32 or bfloat16 on the tensor cores by tensor_sums. */
#include "kernels/cuda/mma.h"
#include "kernels/cuda/reduce.h"
#include "kernels/workspace.h"

enum {
    TILE = 64,
    DEPTH = 64,
    PITCH = DEPTH + 4,
    CHUNKS = 16,
    WARPS = KD_BLOCK / KD_WARP,
    EACH = 4,
    ACROSS = TILE / EACH
};

static_assert((int)CHUNKS <= (int)KD_INFONCE_RANGES, "the chunks' gradients [CHUNKS, count, d] fit the workspace");
static_assert(2 * sizeof(double) + (CHUNKS + 1) * sizeof(float) <= KD_INFONCE_ANCHOR_BYTES,
              "so do an anchor's loss, denominators and scale");

/* The first *count rows of a table, a number on the device. */
struct row_set {
    kd_mat table;
    const int64_t *count; /* NULL: all of them */
    __device__ int64_t rows() const { return count ? *count : table.rows; }
};

/* tile [TILE][PITCH] = columns first .. first + DEPTH - 1 of rows at .. at + TILE - 1, 0 beyond `rows` and d. */
__device__ static inline void load_tile(kd_mat table, int64_t rows, int64_t at, int64_t first, float *tile) {
    for (int i = threadIdx.x; i < TILE * DEPTH; i += KD_BLOCK) {
        int64_t r = at + i / DEPTH, c = first + i % DEPTH;
        tile[i / DEPTH * PITCH + i % DEPTH] = r < rows && c < table.cols ? __ldg(table.data + r * table.ld + c) : 0.0f;
    }
}

/* s[i][j] += rows (down + i) of x times rows (across + ACROSS j) of y. */
__device__ static inline void multiply(const float *x, const float *y, int down, int across, float s[EACH][EACH]) {
    for (int k = 0; k < DEPTH; k += 4) {
        float4 a[EACH], b[EACH];
        for (int i = 0; i < EACH; i++) a[i] = *reinterpret_cast<const float4 *>(x + (down + i) * PITCH + k);
        for (int j = 0; j < EACH; j++) b[j] = *reinterpret_cast<const float4 *>(y + (across + ACROSS * j) * PITCH + k);
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < EACH; j++)
                s[i][j] += a[i].x * b[j].x + a[i].y * b[j].y + a[i].z * b[j].z + a[i].w * b[j].w;
    }
}

/* o[i][j] += sum over y of weight (down + i, y) times column (4 across + j) of y. */
__device__ static inline void accumulate(const float *weight, const float *y, int down, int across,
                                         float o[EACH][EACH]) {
    for (int k = 0; k < TILE; k++) {
        float4 b = *reinterpret_cast<const float4 *>(y + k * PITCH + EACH * across);
        for (int i = 0; i < EACH; i++) {
            float w = weight[(down + i) * PITCH + k];
            o[i][0] += w * b.x;
            o[i][1] += w * b.y;
            o[i][2] += w * b.z;
            o[i][3] += w * b.w;
        }
    }
}

/* Block (tile of x, chunk of y, DEPTH columns of the output): out[chunk][x][c] (or += table out_add [x][c] where there
 * is one chunk) and, from the first column block, z[chunk][x]. pitch: rows of a chunk in out and z. */
__global__ void __launch_bounds__(KD_BLOCK) weighted_sums(row_set x, row_set y, const float *scale, float inverse_temp,
                                                          int64_t pitch, float *out, float *z, kd_mat out_add) {
    KD_DYNAMIC_SHARED(float, shared);
    float *xs = shared, *ys = xs + TILE * PITCH, *weight = ys + TILE * PITCH;
    int64_t nx = x.rows(), ny = y.rows(), d = x.table.cols, x0 = (int64_t)blockIdx.x * TILE;
    int64_t tiles = (ny + TILE - 1) / TILE, first_col = (int64_t)blockIdx.z * DEPTH;
    int64_t begin = tiles * blockIdx.y / gridDim.y * TILE, end = tiles * (blockIdx.y + 1) / gridDim.y * TILE;
    int down = (int)(threadIdx.x / ACROSS) * EACH, across = (int)(threadIdx.x % ACROSS);
    float o[EACH][EACH] = {}, total[EACH] = {};
    if (x0 >= nx) return;
    for (int64_t y0 = begin; y0 < end; y0 += TILE) {
        float s[EACH][EACH] = {};
        for (int64_t k = 0; k < d; k += DEPTH) {
            if (d > DEPTH || y0 == begin) load_tile(x.table, nx, x0, k, xs);
            load_tile(y.table, ny, y0, k, ys);
            __syncthreads();
            multiply(xs, ys, down, across, s);
            __syncthreads();
        }
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < EACH; j++) {
                int64_t at = y0 + across + ACROSS * j;
                float w = at < ny ? expf((s[i][j] - 1.0f) * inverse_temp) * (scale ? scale[at] : 1.0f) : 0.0f;
                total[i] += w;
                weight[(down + i) * PITCH + across + ACROSS * j] = w;
            }
        if (d > DEPTH) load_tile(y.table, ny, y0, first_col, ys); /* else it is there already */
        __syncthreads();
        accumulate(weight, ys, down, across, o);
        __syncthreads();
    }
    for (int i = 0; i < EACH; i++) {
        int64_t row = x0 + down + i, chunk_row = blockIdx.y * pitch + row;
        float sum = kd_lanes_sum(total[i], ACROSS);
        if (row >= nx) continue;
        if (z && blockIdx.z == 0 && across == 0) z[chunk_row] = sum;
        for (int j = 0; j < EACH; j++) {
            int64_t c = first_col + EACH * across + j;
            if (c >= d) continue;
            if (out)
                out[chunk_row * d + c] = o[i][j];
            else
                out_add.data[row * out_add.ld + c] += o[i][j];
        }
    }
}

/* Operands of the tensor cores. A lane has rows g and g + 8 of a warp's 16 and, of each 8 columns, 2t and 2t + 1 of the
 * weights: as they come out of the first product. As factors of the second one they stand where the columns of its A
 * are, in an order that its B, the rows of Y, is read in as well, so that no lane needs another's. */
struct tf32_operands {
    enum { DEPTH_STEP = 8 };
    /* what a tile in shared memory holds of an element */
    __device__ static float staged(float x) { return __uint_as_float(kd_to_tf32(x)); }
    /* A of rows g and g + 8 of x (each of PITCH floats) at column k, and B of 8 N rows of y */
    __device__ static void rows(const float *x, int k, int t, uint32_t (&a)[4]) {
        a[0] = __float_as_uint(x[k + t]);
        a[1] = __float_as_uint(x[8 * PITCH + k + t]);
        a[2] = __float_as_uint(x[k + t + 4]);
        a[3] = __float_as_uint(x[8 * PITCH + k + t + 4]);
    }
    __device__ static void across(const float *y, int k, int g, int t, uint32_t (&b)[8][2]) {
        KD_UNROLL(8)
        for (int n = 0; n < 8; n++) {
            b[n][0] = __float_as_uint(y[(8 * n + g) * PITCH + k + t]);
            b[n][1] = __float_as_uint(y[(8 * n + g) * PITCH + k + t + 4]);
        }
    }
    /* A of the weights of DEPTH_STEP rows of y from the k-th on, and B of 8 N of these rows' columns */
    __device__ static void weights(const float (&w)[8][4], int k, uint32_t (&a)[4]) {
        a[0] = kd_to_tf32(w[k / 8][0]);
        a[1] = kd_to_tf32(w[k / 8][2]);
        a[2] = kd_to_tf32(w[k / 8][1]);
        a[3] = kd_to_tf32(w[k / 8][3]);
    }
    __device__ static void down(const float *y, int k, int g, int t, uint32_t (&b)[8][2]) {
        KD_UNROLL(8)
        for (int n = 0; n < 8; n++) {
            b[n][0] = __float_as_uint(y[(k + 2 * t) * PITCH + 8 * n + g]);
            b[n][1] = __float_as_uint(y[(k + 2 * t + 1) * PITCH + 8 * n + g]);
        }
    }
    __device__ static void multiply(float (&d)[8][4], const uint32_t (&a)[4], const uint32_t (&b)[8][2]) {
        kd_mma_tf32(d, a, b);
    }
};

struct bf16_operands {
    enum { DEPTH_STEP = 16 };
    __device__ static float staged(float x) { return x; }
    __device__ static void rows(const float *x, int k, int t, uint32_t (&a)[4]) {
        for (int i = 0; i < 4; i++) {
            const float *from = x + i % 2 * 8 * PITCH + k + 2 * t + i / 2 * 8;
            a[i] = kd_to_bf16_pair(from[0], from[1]);
        }
    }
    __device__ static void across(const float *y, int k, int g, int t, uint32_t (&b)[8][2]) {
        KD_UNROLL(8)
        for (int n = 0; n < 8; n++)
            for (int i = 0; i < 2; i++) {
                const float *from = y + (8 * n + g) * PITCH + k + 2 * t + 8 * i;
                b[n][i] = kd_to_bf16_pair(from[0], from[1]);
            }
    }
    __device__ static void weights(const float (&w)[8][4], int k, uint32_t (&a)[4]) {
        for (int i = 0; i < 4; i++)
            a[i] = kd_to_bf16_pair(w[k / 8 + i / 2][i % 2 * 2], w[k / 8 + i / 2][i % 2 * 2 + 1]);
    }
    __device__ static void down(const float *y, int k, int g, int t, uint32_t (&b)[8][2]) {
        KD_UNROLL(8)
        for (int n = 0; n < 8; n++)
            for (int i = 0; i < 2; i++) {
                const float *from = y + (k + 2 * t + 8 * i) * PITCH + 8 * n + g;
                b[n][i] = kd_to_bf16_pair(from[0], from[PITCH]);
            }
    }
    __device__ static void multiply(float (&d)[8][4], const uint32_t (&a)[4], const uint32_t (&b)[8][2]) {
        kd_mma_bf16(d, a, b);
    }
};

enum { TENSOR_BLOCK = TILE / 16 * KD_WARP };

/* As load_tile, in two halves: what is on its way while another tile is multiplied. */
struct tile_in_flight {
    enum { EACH_THREAD = TILE * DEPTH / 4 / TENSOR_BLOCK };
    float4 part[EACH_THREAD];

    __device__ void load(kd_mat table, int64_t rows, int64_t at, int64_t first, bool aligned) {
        KD_UNROLL(8)
        for (int i = 0; i < EACH_THREAD; i++) {
            int place = (int)threadIdx.x + i * TENSOR_BLOCK, row = place / (DEPTH / 4);
            int64_t r = at + row, c = first + place % (DEPTH / 4) * 4;
            const float *from = table.data + r * table.ld + c;
            part[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (r >= rows) continue;
            if (aligned && c < table.cols) {
                part[i] = __ldg(reinterpret_cast<const float4 *>(from));
            } else {
                if (c < table.cols) part[i].x = __ldg(from);
                if (c + 1 < table.cols) part[i].y = __ldg(from + 1);
                if (c + 2 < table.cols) part[i].z = __ldg(from + 2);
                if (c + 3 < table.cols) part[i].w = __ldg(from + 3);
            }
        }
    }
    template <class Operands> __device__ void store(float *tile) const {
        KD_UNROLL(8)
        for (int i = 0; i < EACH_THREAD; i++) {
            int place = (int)threadIdx.x + i * TENSOR_BLOCK;
            float4 staged = make_float4(Operands::staged(part[i].x), Operands::staged(part[i].y),
                                        Operands::staged(part[i].z), Operands::staged(part[i].w));
            *reinterpret_cast<float4 *>(tile + place / (DEPTH / 4) * PITCH + place % (DEPTH / 4) * 4) = staged;
        }
    }
};

/* What weighted_sums does, a warp 16 rows of x by all 64 of a tile of y. Of rows of at most DEPTH columns the operands
 * of x stay in registers, and the tile of y serves both products while the next is on its way. */
template <class Operands>
__global__ void __launch_bounds__(TENSOR_BLOCK, 2)
    tensor_sums(row_set x, row_set y, const float *scale, float inverse_temp, int64_t pitch, bool aligned, float *out,
                float *z, kd_mat out_add) {
    enum { STEPS = DEPTH / Operands::DEPTH_STEP, WEIGHT_STEPS = TILE / Operands::DEPTH_STEP };
    KD_SHARED(float, xs, [TILE * PITCH]);
    KD_SHARED(float, ys, [TILE * PITCH]);
    int64_t nx = x.rows(), ny = y.rows(), d = x.table.cols, x0 = (int64_t)blockIdx.x * TILE;
    int64_t tiles = (ny + TILE - 1) / TILE, first_col = (int64_t)blockIdx.z * DEPTH;
    int64_t begin = tiles * blockIdx.y / gridDim.y * TILE, end = tiles * (blockIdx.y + 1) / gridDim.y * TILE;
    int lane = (int)(threadIdx.x % KD_WARP), warp = (int)(threadIdx.x / KD_WARP), g = lane / 4, t = lane % 4;
    const float *own = xs + (16 * warp + g) * PITCH;
    bool narrow = d <= DEPTH;
    uint32_t a[STEPS][4];
    float o[8][4] = {}, total[2] = {};
    tile_in_flight next;
    if (x0 >= nx) return;
    if (narrow) {
        next.load(x.table, nx, x0, 0, aligned);
        next.store<Operands>(xs);
        if (begin < end) next.load(y.table, ny, begin, 0, aligned);
        __syncthreads();
        for (int k = 0; k < STEPS; k++) Operands::rows(own, k * Operands::DEPTH_STEP, t, a[k]);
    }
    for (int64_t y0 = begin; y0 < end; y0 += TILE) {
        float s[8][4] = {};
        for (int64_t first = 0; first < d; first += DEPTH) {
            if (!narrow) {
                next.load(x.table, nx, x0, first, aligned);
                next.store<Operands>(xs);
                next.load(y.table, ny, y0, first, aligned);
            }
            next.store<Operands>(ys);
            __syncthreads();
            if (narrow && y0 + TILE < end) next.load(y.table, ny, y0 + TILE, 0, aligned);
            KD_UNROLL(8)
            for (int k = 0; k < STEPS; k++) {
                uint32_t b[8][2];
                if (!narrow) Operands::rows(own, k * Operands::DEPTH_STEP, t, a[k]);
                Operands::across(ys, k * Operands::DEPTH_STEP, g, t, b);
                Operands::multiply(s, a[k], b);
            }
            if (!narrow) __syncthreads();
        }
        KD_UNROLL(8)
        for (int n = 0; n < 8; n++)
            for (int i = 0; i < 4; i++) {
                int64_t at = y0 + 8 * n + 2 * t + i % 2;
                s[n][i] = at < ny ? expf((s[n][i] - 1.0f) * inverse_temp) * (scale ? scale[at] : 1.0f) : 0.0f;
                total[i / 2] += s[n][i];
            }
        if (!narrow) { /* the columns that this block adds up */
            next.load(y.table, ny, y0, first_col, aligned);
            next.store<Operands>(ys);
            __syncthreads();
        }
        KD_UNROLL(8)
        for (int k = 0; k < WEIGHT_STEPS; k++) {
            uint32_t w[4], b[8][2];
            Operands::weights(s, k * Operands::DEPTH_STEP, w);
            Operands::down(ys, k * Operands::DEPTH_STEP, g, t, b);
            Operands::multiply(o, w, b);
        }
        __syncthreads();
    }
    for (int half = 0; half < 2; half++) {
        int64_t row = x0 + 16 * warp + g + 8 * half, chunk_row = blockIdx.y * pitch + row;
        float sum = kd_lanes_sum(total[half], 4);
        if (row >= nx) continue;
        if (z && blockIdx.z == 0 && t == 0) z[chunk_row] = sum;
        for (int n = 0; n < 8; n++)
            for (int i = 0; i < 2; i++) {
                int64_t c = first_col + 8 * n + 2 * t + i;
                if (c >= d) continue;
                if (out)
                    out[chunk_row * d + c] = o[n][2 * half + i];
                else
                    out_add.data[row * out_add.ld + c] += o[n][2 * half + i];
            }
    }
}

/* Over tiles of x, `chunks` of y and slabs of columns. */
static kd_status sum_weighted(kd_ctx *ctx, row_set x, row_set y, int64_t rows, unsigned chunks, const float *scale,
                              float inverse_temp, int64_t pitch, float *out, float *z, kd_mat out_add) {
    dim3 grid(kd_blocks(rows, TILE), chunks, kd_blocks(x.table.cols, DEPTH));
    kd_precision precision = kd_cuda_of(ctx)->precision;
    size_t shared = 3 * TILE * PITCH * sizeof(float);
    bool aligned = kd_is_aligned(x.table) && kd_is_aligned(y.table);
    if (precision == KD_PRECISION_TF32) {
        KD_LAUNCH(tensor_sums<tf32_operands>, grid, TENSOR_BLOCK, 0, kd_stream(ctx), x, y, scale, inverse_temp, pitch,
                  aligned, out, z, out_add);
    } else if (precision == KD_PRECISION_BF16) {
        KD_LAUNCH(tensor_sums<bf16_operands>, grid, TENSOR_BLOCK, 0, kd_stream(ctx), x, y, scale, inverse_temp, pitch,
                  aligned, out, z, out_add);
    } else {
        KD_CUDA_OR_RETURN(cudaFuncSetAttribute((const void *)weighted_sums, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               (int)shared));
        KD_LAUNCH(weighted_sums, grid, KD_BLOCK, shared, kd_stream(ctx), x, y, scale, inverse_temp, pitch, out, z,
                  out_add);
    }
    return kd_cuda_launched(__func__);
}

/* total [groups] = the denominators of this rank's keys. */
__global__ void __launch_bounds__(KD_BLOCK)
    sum_chunks(kd_infonce_args a, int64_t pitch, const float *z, double *total) {
    int64_t g = (int64_t)blockIdx.x * KD_BLOCK + threadIdx.x;
    if (g >= pitch) return;
    double sum = 0.0;
    for (int chunk = 0; chunk < CHUNKS && g < a.nodes.count[0]; chunk++) sum += (double)z[chunk * pitch + g];
    total[g] = sum;
}

/* Closes the denominators: the anchors' gradients, the positive pairs' share in both tables, loss_part [groups] and
 * scale [groups] = share m / (temp Z). A warp a group. */
__global__ void __launch_bounds__(KD_BLOCK) close_anchors(kd_infonce_args a, int64_t pitch, const float *out,
                                                          const double *total, float *scale, double *loss_part) {
    int64_t g = ((int64_t)blockIdx.x * KD_BLOCK + threadIdx.x) / KD_WARP, d = a.b.cols;
    int lane = (int)(threadIdx.x % KD_WARP);
    if (g >= pitch) return;
    if (g >= a.nodes.count[0]) { /* the loss is summed over all places */
        if (lane == 0) loss_part[g] = 0.0;
        return;
    }
    int64_t own = a.nodes.key[g] - a.first_key;
    double members = a.nodes.ptr[g + 1] - a.nodes.ptr[g], share = (double)a.weight / (double)a.count * members;
    double sum = total[g], positive = 0.0;
    bool local = own >= 0 && own < a.b.rows; /* the positive is among this rank's keys */
    const float *anchor = a.a.data + g * a.a.ld, *b = a.b.data + own * a.b.ld;
    for (int64_t c = lane; local && c < d; c += KD_WARP) positive += (double)anchor[c] * (double)b[c];
    positive = kd_lanes_sum(positive);
    float push = (float)(share / (sum * a.temp)), pull = (float)(share / a.temp);
    for (int64_t c = lane; c < d; c += KD_WARP) {
        float weighted = 0.0f;
        for (int chunk = 0; chunk < CHUNKS; chunk++) weighted += out[(chunk * pitch + g) * d + c];
        a.da.data[g * a.da.ld + c] += push * weighted - (local ? pull * b[c] : 0.0f);
        if (local) a.db.data[own * a.db.ld + c] -= pull * anchor[c];
    }
    if (lane > 0) return;
    scale[g] = push;
    loss_part[g] = local ? share * (log(sum) + (1.0 - positive) / a.temp) : 0.0;
}

extern "C" kd_status kd_cuda_infonce(kd_ctx *ctx, const kd_infonce_args *args) {
    int64_t count = args->count, d = args->b.cols;
    double *loss_part = (double *)ctx->workspace, *total = loss_part + count;
    float *out = (float *)(total + count), *z = out + CHUNKS * count * d, *scale = z + CHUNKS * count;
    row_set anchors = {args->a, args->nodes.count}, keys = {args->b, NULL};
    kd_mat none = {NULL, 0, 0, 0};
    KD_OR_RETURN(sum_weighted(ctx, anchors, keys, count, CHUNKS, NULL, 1.0f / args->temp, count, out, z, none));
    KD_LAUNCH(sum_chunks, kd_blocks(count, KD_BLOCK), KD_BLOCK, 0, kd_stream(ctx), *args, count, z, total);
    if (args->sum) {
        KD_OR_RETURN(args->sum(args->sum_context, ctx, count, total));
    }
    KD_LAUNCH(close_anchors, kd_blocks(count, WARPS), KD_BLOCK, 0, kd_stream(ctx), *args, count, out, total, scale,
              loss_part);
    KD_LAUNCH(kd_add_sum, 1, KD_BLOCK, 0, kd_stream(ctx), count, loss_part, 1.0, args->loss);
    if (args->b.rows == 0) return kd_cuda_launched(__func__);
    return sum_weighted(ctx, keys, anchors, args->b.rows, 1, scale, 1.0f / args->temp, 0, NULL, NULL, args->db);
}
