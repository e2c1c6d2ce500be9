/* Operands are packed as the kernel reads them, rounding on the way: panels of 14 rows of op(A) and of 32 columns of
 * op(B), pairs of neighbours in depth side by side. A block of C, 14 x 32, is what the registers hold: 28 sums, two
 * vectors of B and one pair of A. A panel of B of one slice of the depth stays in the first cache, the panels of A that
 * meet it in the second. */
#include "kernels/cpu/gemm_bf16.h"

#if KD_CPU_BF16
#include <immintrin.h>
#include <string.h>

#include "kernels/cpu/vector_math.h"

enum {
    ROWS = 14,
    COLS = 32,
    SLICE = 256, /* of the depth */
    BLOCK = 10,  /* panels of A that meet a panel of B in one go */
    GROUP = 128, /* rows of op(A) or columns of op(B) that one thread packs */
    PAIRS = 16   /* pairs that are turned at a time */
};

/* A range of op(A)'s rows or op(B)'s columns, packed: [panels][pairs][width] of two bf16 each, zeros beyond the edges.
 */
typedef struct packed {
    uint32_t *pair;
    int64_t width, pairs, count;
} packed;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline uint32_t rounded(float x) {
    uint32_t bits = kd_bits_of(x), up = bits + 0x7FFF + (bits >> 16 & 1);
    return (bits & 0x7FFFFFFF) > 0x7F800000 ? bits | 0x00400000 : up; /* a NaN stays one */
}

static inline uint32_t pair_of(float first, float second) {
    return rounded(first) >> 16 | (rounded(second) & 0xFFFF0000);
}

/* From x, whose rows hold elements of all panels side by side and lie one step of the depth apart. Panels are filled in
 * turn, row by row: one at a time would read a few floats here and there. */
static inline __attribute__((always_inline)) void pack_across(const float *x, int64_t ld, int64_t count, int64_t depth,
                                                              const int64_t width, int64_t pairs, uint32_t *to) {
    for (int64_t k = 0; k < depth; k += 2, to += width) {
        const float *first = x + k * ld, *second = k + 1 < depth ? first + ld : NULL;
        int64_t at = 0;
        uint32_t *panel = to;
        for (; second && at + width <= count; at += width, panel += pairs * width)
#pragma omp simd
            for (int64_t i = 0; i < width; i++) panel[i] = pair_of(first[at + i], second[at + i]);
        for (; at < count; at += width, panel += pairs * width)
            for (int64_t i = 0; i < width; i++)
                panel[i] = at + i < count ? pair_of(first[at + i], second ? second[at + i] : 0.0f) : 0;
    }
}

/* From x, each of whose rows is one element of a panel along the depth: turned. */
static inline __attribute__((always_inline)) void pack_along(const float *x, int64_t ld, int64_t count, int64_t depth,
                                                             const int64_t width, int64_t pairs, uint32_t *to) {
    for (int64_t at = 0; at < count; at += width, to += pairs * width)
        for (int64_t k = 0; k < depth; k += 2 * PAIRS) {
            uint32_t turned[COLS][PAIRS] = {{0}};
            int64_t deep = least(depth - k, 2 * PAIRS);
            for (int64_t i = 0; i < width && at + i < count; i++) {
                float row[2 * PAIRS] = {0};
                memcpy(row, x + (at + i) * ld + k, (size_t)deep * sizeof *row);
#pragma omp simd
                for (int64_t p = 0; p < PAIRS; p++) turned[i][p] = pair_of(row[2 * p], row[2 * p + 1]);
            }
            for (int64_t p = 0; 2 * p < deep; p++)
                for (int64_t i = 0; i < width; i++) to[(k / 2 + p) * width + i] = turned[i][p];
        }
}

/* `width` is a constant wherever this is called, which is what makes it fast. */
static inline __attribute__((always_inline)) void pack_panels(const float *x, bool along, int64_t ld, int64_t count,
                                                              int64_t depth, const int64_t width, int64_t pairs,
                                                              uint32_t *to) {
    if (along)
        pack_along(x, ld, count, depth, width, pairs, to);
    else
        pack_across(x, ld, count, depth, width, pairs, to);
}

/* out = rows (or columns) first .. of op(x), k0 .. k0 + depth - 1 of what is summed over. along: the depth lies side by
 * side in memory. */
static void pack(kd_mat x, bool along, int64_t first, int64_t k0, int64_t depth, const packed *out) {
    int64_t group = GROUP / out->width * out->width;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t at = 0; at < out->count; at += group) {
        const float *from = along ? x.data + (first + at) * x.ld + k0 : x.data + k0 * x.ld + first + at;
        uint32_t *to = out->pair + at * out->pairs;
        if (out->width == COLS)
            pack_panels(from, along, x.ld, least(out->count - at, group), depth, COLS, out->pairs, to);
        else
            pack_panels(from, along, x.ld, least(out->count - at, group), depth, ROWS, out->pairs, to);
    }
}

/* tile [ROWS, COLS] = a [pairs, ROWS] . b [pairs, COLS]. */
__attribute__((target("avx512bf16"))) static void multiply(int64_t pairs, const uint32_t *a, const uint32_t *b,
                                                           float *tile) {
    __m512 sum[ROWS][2];
#pragma GCC unroll 14
    for (int i = 0; i < ROWS; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (int64_t k = 0; k < pairs; k++, a += ROWS, b += COLS) {
        __m512bh left = (__m512bh)_mm512_loadu_si512(b), right = (__m512bh)_mm512_loadu_si512(b + COLS / 2);
#pragma GCC unroll 14
        for (int i = 0; i < ROWS; i++) {
            __m512bh both = (__m512bh)_mm512_set1_epi32((int)a[i]);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], both, left);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], both, right);
        }
    }
#pragma GCC unroll 14
    for (int i = 0; i < ROWS; i++) {
        _mm512_storeu_ps(tile + i * COLS, sum[i][0]);
        _mm512_storeu_ps(tile + i * COLS + COLS / 2, sum[i][1]);
    }
}

/* C [rows, cols], which begins at c, = alpha tile + beta C. */
static inline __attribute__((always_inline)) void add_tile(const float *tile, float alpha, float beta, int64_t rows,
                                                           int64_t cols, float *c, int64_t ld) {
    for (int64_t i = 0; i < rows; i++) {
        const float *from = tile + i * COLS;
        float *to = c + i * ld;
        if (beta == 0.0f)
            for (int64_t j = 0; j < cols; j++) to[j] = alpha * from[j];
        else
            for (int64_t j = 0; j < cols; j++) to[j] = alpha * from[j] + beta * to[j];
    }
}

/* BLOCK panels of A from `first` on times one panel of B: that much of C, which begins at c. */
static void multiply_block(const packed *a, const packed *b, int64_t first, int64_t column, float alpha, float beta,
                           kd_mat c) {
    _Alignas(64) float tile[ROWS * COLS];
    int64_t panels = (a->count + ROWS - 1) / ROWS, last = first + BLOCK < panels ? first + BLOCK : panels;
    for (int64_t k = 0; k < b->pairs; k += SLICE / 2) {
        int64_t pairs = b->pairs - k < SLICE / 2 ? b->pairs - k : SLICE / 2;
        for (int64_t p = first; p < last; p++) {
            multiply(pairs, a->pair + (p * a->pairs + k) * ROWS, b->pair + (column * b->pairs + k) * COLS, tile);
            int64_t rows = least(c.rows - p * ROWS, ROWS), cols = least(c.cols - column * COLS, COLS);
            float *to = c.data + p * ROWS * c.ld + column * COLS;
            if (rows == ROWS && cols == COLS)
                add_tile(tile, alpha, k == 0 ? beta : 1.0f, ROWS, COLS, to, c.ld);
            else
                add_tile(tile, alpha, k == 0 ? beta : 1.0f, rows, cols, to, c.ld);
        }
    }
}

static void multiply_packed(const packed *a, const packed *b, float alpha, float beta, kd_mat c) {
    int64_t blocks = (a->count + ROWS * BLOCK - 1) / (ROWS * BLOCK), columns = (b->count + COLS - 1) / COLS;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (int64_t i = 0; i < blocks; i++)
        for (int64_t j = 0; j < columns; j++) multiply_block(a, b, i * BLOCK, j, alpha, beta, c);
}

void kd_gemm_bf16(void *room, const kd_gemm_args *args) {
    kd_mat a = args->a, b = args->b, c = args->c;
    int64_t depth = args->transpose_a ? a.rows : a.cols;
    packed left = {.pair = room, .width = ROWS}, right = {.width = COLS};
    right.pair = left.pair + KD_BF16_ROWS * KD_BF16_DEPTH / 2;
    for (int64_t n = 0; n < c.cols; n += KD_BF16_COLS)
        for (int64_t k = 0; k == 0 || k < depth; k += KD_BF16_DEPTH) {
            int64_t deep = least(depth - k, KD_BF16_DEPTH);
            left.pairs = right.pairs = (deep + 1) / 2;
            right.count = least(c.cols - n, KD_BF16_COLS);
            pack(b, args->transpose_b, n, k, deep, &right);
            for (int64_t m = 0; m < c.rows; m += KD_BF16_ROWS) {
                left.count = least(c.rows - m, KD_BF16_ROWS);
                pack(a, !args->transpose_a, m, k, deep, &left);
                multiply_packed(&left, &right, args->alpha, k == 0 ? args->beta : 1.0f,
                                kd_mat_cols(kd_mat_rows(c, m, left.count), n, right.count));
            }
        }
}
#endif
