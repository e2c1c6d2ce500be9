#include <stdlib.h>

#include "kernels/ref/ref.h"

kd_status kd_ref_permutation(kd_ctx *ctx, int64_t n, const kd_rng *rng, int32_t *order) {
    (void)ctx;
    uint64_t *key;
    KD_OR_RETURN(kd_ref_zeros(n, sizeof *key, &key));
    for (int64_t i = 0; i < n; i++) key[i] = (uint64_t)kd_ref_draw(rng, i, 0) << 32 | kd_ref_draw(rng, i, 1);
    kd_status status = kd_ref_order(n, key, order);
    free(key);
    return status;
}

kd_status kd_ref_sample_negatives(kd_ctx *ctx, kd_csr train, int64_t n, const int32_t *user, const kd_rng *rng,
                                  int32_t *negative) {
    (void)ctx;
    for (int64_t i = 0; i < n; i++) {
        int64_t attempt = 0, begin = train.row_ptr[user[i]], length = train.row_ptr[user[i] + 1] - begin;
        do {
            negative[i] = (int32_t)kd_uniform_below(kd_ref_draw(rng, i, attempt++), (uint32_t)train.cols);
        } while (kd_ref_holds(train.col + begin, length, negative[i]));
    }
    return KD_OK;
}

kd_status kd_ref_gather(kd_ctx *ctx, int64_t n, const int64_t *first, const int32_t *order, const int32_t *values,
                        int32_t *out) {
    (void)ctx;
    for (int64_t i = 0; i < n; i++) {
        int32_t at = order[(first ? *first : 0) + i];
        out[i] = values ? values[at] : at;
    }
    return KD_OK;
}

kd_status kd_ref_group(kd_ctx *ctx, int64_t n, const int32_t *key, kd_groups *out) {
    (void)ctx;
    uint64_t *wide;
    int64_t groups = 0;
    KD_OR_RETURN(kd_ref_zeros(n, sizeof *wide, &wide));
    for (int64_t i = 0; i < n; i++) wide[i] = (uint64_t)key[i];
    kd_status status = kd_ref_order(n, wide, out->member);
    free(wide);
    KD_OR_RETURN(status);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || key[out->member[i]] != key[out->member[i - 1]]) {
            out->key[groups] = key[out->member[i]];
            out->ptr[groups++] = (int32_t)i;
        }
    out->ptr[groups] = (int32_t)n;
    out->count[0] = groups;
    return KD_OK;
}
