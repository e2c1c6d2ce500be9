#include "kernels/ref/ref.h"

#include <stdlib.h>

#include "host/base/memory.h"
#include "kernels/device.h"

kd_status kd_ref_open(kd_ctx **out) {
    static kd_ops table;
    kd_threads threads = kd_threads_now();
    KD_OR_RETURN(kd_ctx_open((kd_compute){.device = KD_DEVICE_CPU, .threads = 1}, out));
    kd_threads_set(threads);
    table = *(*out)->ops;
    table.name = "ref";
#define KD_OP(op) table.op = kd_ref_##op;
#define KD_OP_PLUMBING(op)
#include "kernels/ops/ops.def"
    (*out)->ops = &table;
    return KD_OK;
}

kd_status kd_ref_zeros(int64_t n, int64_t size, void *out) { return kd_host_alloc(out, n, size, "reference"); }

kd_status kd_ref_widen(kd_mat m, double **sums) {
    KD_OR_RETURN(kd_ref_zeros(m.rows * m.cols, sizeof **sums, sums));
    for (int64_t r = 0; r < m.rows; r++)
        for (int64_t c = 0; c < m.cols; c++) (*sums)[r * m.cols + c] = *kd_ref_at(m, r, c);
    return KD_OK;
}

void kd_ref_narrow(const double *sums, kd_mat m) {
    for (int64_t r = 0; r < m.rows; r++)
        for (int64_t c = 0; c < m.cols; c++) *kd_ref_at(m, r, c) = (float)sums[r * m.cols + c];
}

uint32_t kd_ref_draw(const kd_rng *rng, int64_t row, int64_t col) {
    kd_rng now = kd_rng_now(*rng);
    uint32_t draw[4];
    kd_rng_draw4(&now, (uint32_t)row, (uint32_t)(col / 4), draw);
    return draw[col % 4];
}

double kd_ref_dropout(const kd_rng *rng, int64_t row, int64_t col, float p) {
    if (p == 0.0f) return 1.0;
    return kd_uniform(kd_ref_draw(rng, row, col)) >= p ? 1.0 / (1.0 - (double)p) : 0.0;
}

double kd_ref_entry(kd_csr a, int64_t row, int64_t col) {
    for (int64_t e = a.row_ptr[row]; e < a.row_ptr[row + 1]; e++)
        if (a.col[e] == col) return kd_ref_value(a, e);
    return 0.0;
}

bool kd_ref_holds(const int32_t *list, int64_t n, int64_t wanted) {
    for (int64_t i = 0; i < n; i++)
        if (list[i] == wanted) return true;
    return false;
}

typedef struct keyed {
    uint64_t key;
    int64_t position;
} keyed;

static int by_key(const void *left, const void *right) {
    const keyed *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->position < b->position ? -1 : a->position > b->position;
}

kd_status kd_ref_order(int64_t n, const uint64_t *key, int32_t *order) {
    keyed *list;
    KD_OR_RETURN(kd_ref_zeros(n, sizeof *list, &list));
    for (int64_t i = 0; i < n; i++) list[i] = (keyed){key[i], i};
    qsort(list, (size_t)n, sizeof *list, by_key);
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)list[i].position;
    free(list);
    return KD_OK;
}
