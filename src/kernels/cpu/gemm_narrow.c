#include "kernels/cpu/gemm_narrow.h"

#include "kernels/cpu/outer.h"

enum {
    COLUMNS = 64, /* most columns of C: a library packs A to use it once or twice, here it is read where it lies */
    DEPTH = 256   /* terms summed at a time: their rows of B stay in the second cache, next to A's columns */
};

bool kd_gemm_narrow_takes(bool transpose_b, kd_mat c) {
    return !transpose_b && c.cols <= COLUMNS && c.cols % KD_OUTER_LANES == 0 && c.rows >= KD_OUTER_ROWS;
}

/* Adds terms first .. first + depth - 1 to rows [row, row + KD_OUTER_ROWS) of C, of which those before `fresh` are done
 * already. */
static void add_tile(const kd_gemm_args *args, int64_t first, int64_t depth, int64_t row, int64_t fresh) {
    kd_mat a = args->a, b = args->b, c = args->c;
    int64_t row_step = args->transpose_a ? 1 : a.ld, depth_step = args->transpose_a ? a.ld : 1;
    float tile[KD_OUTER_ROWS * COLUMNS], alpha = args->alpha, beta = first == 0 ? args->beta : 1.0f;
    kd_outer(depth, a.data + first * depth_step + row * row_step, row_step, depth_step, b.data + first * b.ld, b.ld,
             0.0f, tile, COLUMNS, c.cols);
    for (int64_t r = fresh; r < row + KD_OUTER_ROWS; r++) {
        const float *from = tile + (r - row) * COLUMNS;
        float *to = c.data + r * c.ld;
        if (beta == 0.0f)
            for (int64_t i = 0; i < c.cols; i++) to[i] = alpha * from[i];
        else
            for (int64_t i = 0; i < c.cols; i++) to[i] = alpha * from[i] + beta * to[i];
    }
}

void kd_gemm_narrow(const kd_gemm_args *args) {
    int64_t terms = args->b.rows, rows = args->c.rows, last = rows - KD_OUTER_ROWS;
    int64_t tiles = (rows + KD_OUTER_ROWS - 1) / KD_OUTER_ROWS;
#pragma omp parallel
    for (int64_t first = 0; first < terms || first == 0; first += DEPTH) {
        int64_t depth = terms - first < DEPTH ? terms - first : DEPTH;
#pragma omp for schedule(static) nowait /* a thread has the same tiles for every first */
        for (int64_t t = 0; t < tiles; t++) {
            int64_t fresh = t * KD_OUTER_ROWS, row = fresh < last ? fresh : last;
            add_tile(args, first, depth, row, fresh);
        }
    }
}
