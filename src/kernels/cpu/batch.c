/* Orders, negatives and groups of a training epoch. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/sort.h"
#include "kernels/workspace.h"

_Static_assert(2 * sizeof(kd_sort_pair) <= KD_SORT_ENTRY, "pairs and their scratch fit the workspace");

kd_status kd_cpu_permutation(kd_ctx *ctx, int64_t n, const kd_rng *rng, int32_t *order) {
    kd_sort_pair *pair = ctx->workspace;
    kd_rng now = kd_rng_now(*rng);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        uint32_t draw[4];
        kd_rng_draw4(&now, (uint32_t)i, 0, draw);
        pair[i] = (kd_sort_pair){(uint64_t)draw[0] << 32 | draw[1], i};
    }
    kd_radix_sort(n, 8, pair, pair + n);
    for (int64_t i = 0; i < n; i++) order[i] = (int32_t)pair[i].index;
    return KD_OK;
}

static bool row_contains(kd_csr a, int64_t row, int32_t wanted) {
    int64_t low = a.row_ptr[row], high = a.row_ptr[row + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (a.col[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low < a.row_ptr[row + 1] && a.col[low] == wanted;
}

kd_status kd_cpu_sample_negatives(kd_ctx *ctx, kd_csr train, int64_t n, const int32_t *user, const kd_rng *rng,
                                  int32_t *negative) {
    (void)ctx;
    kd_rng now = kd_rng_now(*rng);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        uint32_t draw[4];
        int32_t item;
        uint32_t attempt = 0;
        do {
            if (attempt % 4 == 0) kd_rng_draw4(&now, (uint32_t)i, attempt / 4, draw);
            item = (int32_t)kd_uniform_below(draw[attempt % 4], (uint32_t)train.cols);
            attempt++;
        } while (row_contains(train, user[i], item));
        negative[i] = item;
    }
    return KD_OK;
}

kd_status kd_cpu_gather(kd_ctx *ctx, int64_t n, const int64_t *first, const int32_t *order, const int32_t *values,
                        int32_t *out) {
    (void)ctx;
    const int32_t *batch = order + (first ? *first : 0);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) out[i] = values ? values[batch[i]] : batch[i];
    return KD_OK;
}

kd_status kd_cpu_group(kd_ctx *ctx, int64_t n, const int32_t *key, kd_groups *out) {
    kd_sort_pair *pair = ctx->workspace;
    int64_t groups = 0;
    for (int64_t i = 0; i < n; i++) pair[i] = (kd_sort_pair){(uint32_t)key[i], i};
    kd_radix_sort(n, 4, pair, pair + n);
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || pair[i].key != pair[i - 1].key) {
            out->key[groups] = (int32_t)pair[i].key;
            out->ptr[groups++] = (int32_t)i;
        }
        out->member[i] = (int32_t)pair[i].index;
    }
    out->ptr[groups] = (int32_t)n;
    out->count[0] = groups;
    return KD_OK;
}
