/* `naive: chain`: the reverse chain as docs/model.md#reverse-chain writes it, x through both layers in every step. */
#include "host/model/kdiffe/chain.h"

kd_status kd_naive_chain(kd_ctx *ctx, const kd_reverse_rows *r, const kd_denoiser *d, const kd_chain_rows *c,
                         kd_mat out) {
    kd_mat x = kd_mat_padded(d->scratch->x, r->count, d->columns.count);
    KD_OR_RETURN(kd_chain_input(ctx, r, d, x));
    for (int64_t i = d->shape.steps - 1; i >= 0; i--) {
        KD_OR_RETURN(kd_chain_product(ctx, d, x, c->p));
        KD_OR_RETURN(kd_hidden_forward(ctx, c->p, kd_mat_rows(d->table, i, 1), NULL, c->h));
        KD_OR_RETURN(
            kd_gemm(ctx, &(kd_gemm_args){.transpose_b = true, .alpha = 1.0f, .a = c->wide, .b = d->output, .c = out}));
        KD_OR_RETURN(kd_add_scaled(ctx, (float)d->schedule.coef1[i], out, (float)d->schedule.coef2[i], x));
    }
    return kd_add_scaled(ctx, 1.0f, x, 0.0f, out);
}
