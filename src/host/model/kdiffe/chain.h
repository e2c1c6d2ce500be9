/* What the reverse chain in hidden space and the naive one share. */
#ifndef KD_MODEL_KDIFFE_CHAIN_H
#define KD_MODEL_KDIFFE_CHAIN_H

#include "host/model/kdiffe/denoiser.h"

/* What a chain works on: p [count, hidden] and h, widened by the column that multiplies b2. */
typedef struct kd_chain_rows {
    kd_mat p, wide, h;
} kd_chain_rows;

/* x [count, local columns] = x0, noised if the chain starts so, + g. */
kd_status kd_chain_input(kd_ctx *ctx, const kd_reverse_rows *rows, const kd_denoiser *denoiser, kd_mat x);

/* p [count, hidden] = W1 x, of all ranks' columns. */
kd_status kd_chain_product(kd_ctx *ctx, const kd_denoiser *denoiser, kd_mat x, kd_mat p);

/* out [count, local columns] = the chain's end. */
kd_status kd_naive_chain(kd_ctx *ctx, const kd_reverse_rows *rows, const kd_denoiser *denoiser, const kd_chain_rows *c,
                         kd_mat out);

#endif
