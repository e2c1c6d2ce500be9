/* Single-precision GEMM rate of this machine at the denoisers' shape: what the epoch's floor is counted from. */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    enum { ROWS = 1024, WIDTH = 6710, HIDDEN = 1000, REPEATS = 15 };
    float *x = calloc((size_t)ROWS * WIDTH, sizeof *x), *w = calloc((size_t)WIDTH * HIDDEN, sizeof *w);
    float *h = calloc((size_t)ROWS * HIDDEN, sizeof *h);
    double seconds[REPEATS];
    if (!x || !w || !h) return 4;
    for (size_t i = 0; i < (size_t)ROWS * WIDTH; i++) x[i] = (float)(i % 7);
    for (size_t i = 0; i < (size_t)WIDTH * HIDDEN; i++) w[i] = (float)(i % 5);
    for (int r = 0; r < REPEATS; r++) {
        double begin = omp_get_wtime();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, ROWS, HIDDEN, WIDTH, 1.0f, x, WIDTH, w, HIDDEN, 0.0f, h,
                    HIDDEN);
        seconds[r] = omp_get_wtime() - begin;
    }
    qsort(seconds, REPEATS, sizeof *seconds, ascending);
    printf("%.1f\n", 2e-9 * ROWS * WIDTH * HIDDEN / seconds[REPEATS / 2]);
    free(x);
    free(w);
    free(h);
    return 0;
}
