#include "kernels/cpu/gemm_narrow.h"

#include "kernels/cpu/outer.h"

enum {
    COLUMNS = 64, /* most columns of C: a library packs A to use it once or twice, here it is read where it lies */
    DEPTH = 256   /* terms summed at a time: their rows of B stay in the second cache, next to A's columns */
};

bool kd_gemm_narrow_takes(bool transpose_b, kd_mat c) {
    return !transpose_b && c.cols <= COLUMNS && c.cols % KD_OUTER_LANES == 0 && c.rows >= KD_OUTER_ROWS;
}

/* Rows [row, row + KD_OUTER_ROWS) of C, of which those before `fresh` are done already. */
static void add_tile(int64_t depth, const float *a, int64_t row_step, int64_t depth_step, const float *b, int64_t ldb,
                     float alpha, float beta, int64_t row, int64_t fresh, kd_mat c) {
    float tile[KD_OUTER_ROWS * COLUMNS];
    kd_outer(depth, a + row * row_step, row_step, depth_step, b, ldb, 0.0f, tile, COLUMNS, c.cols);
    for (int64_t r = fresh; r < row + KD_OUTER_ROWS; r++) {
        const float *from = tile + (r - row) * COLUMNS;
        float *to = c.data + r * c.ld;
        if (beta == 0.0f)
            for (int64_t i = 0; i < c.cols; i++) to[i] = alpha * from[i];
        else
            for (int64_t i = 0; i < c.cols; i++) to[i] = alpha * from[i] + beta * to[i];
    }
}

void kd_gemm_narrow(bool transpose_a, float alpha, kd_mat a, kd_mat b, float beta, kd_mat c) {
    int64_t row_step = transpose_a ? 1 : a.ld, depth_step = transpose_a ? a.ld : 1, last = c.rows - KD_OUTER_ROWS;
    int64_t tiles = (c.rows + KD_OUTER_ROWS - 1) / KD_OUTER_ROWS;
#pragma omp parallel
    for (int64_t first = 0; first < b.rows || first == 0; first += DEPTH) {
        int64_t depth = b.rows - first < DEPTH ? b.rows - first : DEPTH;
#pragma omp for schedule(static) nowait /* a thread has the same tiles for every first */
        for (int64_t t = 0; t < tiles; t++) {
            int64_t fresh = t * KD_OUTER_ROWS, row = fresh < last ? fresh : last;
            add_tile(depth, a.data + first * depth_step, row_step, depth_step, b.data + first * b.ld, b.ld, alpha,
                     first == 0 ? beta : 1.0f, row, fresh, c);
        }
    }
}
