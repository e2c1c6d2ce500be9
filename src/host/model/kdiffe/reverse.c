/* The reverse chain, carried in hidden space. */
#include <stddef.h>

#include "host/model/kdiffe/chain.h"

static kd_mat chain_of(const kd_denoiser *d) {
    return kd_mat_cols(kd_mat_padded(d->scratch->square, d->output.cols, d->output.cols), 0, d->shape.hidden);
}

kd_status kd_reverse_prepare(kd_ctx *ctx, kd_denoiser *d) {
    kd_mat chain = chain_of(d);
    KD_OR_RETURN(
        kd_gemm(ctx, &(kd_gemm_args){.transpose_a = true, .alpha = 1.0f, .a = d->output, .b = d->w1, .c = chain}));
    KD_OR_RETURN(kd_column_sum(ctx, d->w1, 0.0f, d->input_sum));
    KD_OR_RETURN(kd_comm_allreduce_f32(d->comm, ctx, chain.rows * chain.ld, chain.data));
    KD_OR_RETURN(kd_comm_allreduce_f32(d->comm, ctx, d->shape.hidden, d->input_sum.data));
    return kd_denoiser_time_table(ctx, d);
}

kd_status kd_chain_input(kd_ctx *ctx, const kd_reverse_rows *r, const kd_denoiser *d, kd_mat x) {
    int64_t at = r->sampling_steps - 1;
    KD_OR_RETURN(kd_zero(ctx, d->scratch->t, r->count * (int64_t)sizeof(int32_t)));
    kd_q_sample_args q = {.x0 = r->x0,
                          .row = r->row + r->first,
                          .t = d->scratch->t,
                          .signal = at >= 0 ? d->signal + at : d->exact,
                          .sigma = at >= 0 ? d->sigma + at : d->exact + 1,
                          .g = r->g,
                          .noise = r->noise,
                          .first = d->columns.first,
                          .noise_rng = {r->seed, KD_RNG_SAMPLE_NOISE, d->instance, (uint32_t)r->epoch, NULL},
                          .x = x};
    return kd_q_sample(ctx, &q);
}

kd_status kd_chain_product(kd_ctx *ctx, const kd_denoiser *d, kd_mat x, kd_mat p) {
    KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = 1.0f, .a = x, .b = d->w1, .c = p}));
    return kd_comm_allreduce_f32(d->comm, ctx, p.rows * p.ld, p.data);
}

/* p = W1 (x0 or noised x0, + g). */
static kd_status chain_start(kd_ctx *ctx, const kd_reverse_rows *r, const kd_denoiser *d, kd_mat p) {
    kd_mat none = {0};
    if (r->sampling_steps > 0) {
        kd_mat x = kd_mat_padded(d->scratch->x, r->count, d->columns.count);
        KD_OR_RETURN(kd_chain_input(ctx, r, d, x));
        KD_OR_RETURN(kd_chain_product(ctx, d, x, p));
    } else {
        kd_mat g = kd_mat_make((float *)(uintptr_t)(r->g + r->first), r->count, 1);
        KD_OR_RETURN(kd_spmm(ctx, 1.0f, kd_csr_rows(r->x0, r->first, r->count), d->w1, 0.0f, none, p));
        KD_OR_RETURN(kd_comm_allreduce_f32(d->comm, ctx, p.rows * p.ld, p.data));
        KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = 1.0f, .a = g, .b = d->input_sum, .beta = 1.0f, .c = p}));
    }
    return KD_OK;
}

/* Rows that are this rank's. */
static kd_chain_rows share_rows(const kd_denoiser *d, const kd_chain_rows *c) {
    kd_range own = kd_comm_share(d->comm, kd_share_rows(c->p.rows));
    return (kd_chain_rows){kd_mat_rows(c->p, own.first, own.count), kd_mat_rows(c->wide, own.first, own.count),
                           kd_mat_rows(c->h, own.first, own.count)};
}

static kd_status hidden_chain(kd_ctx *ctx, const kd_reverse_rows *r, const kd_denoiser *d, const kd_chain_rows *c,
                              kd_mat out) {
    kd_chain_rows mine = share_rows(d, c);
    KD_OR_RETURN(chain_start(ctx, r, d, c->p));
    for (int64_t i = d->shape.steps - 1; i >= 0 && mine.p.rows > 0; i--) {
        KD_OR_RETURN(kd_hidden_forward(ctx, mine.p, kd_mat_rows(d->table, i, 1), NULL, mine.h));
        if (i == 0) break;
        KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = (float)d->schedule.coef1[i],
                                                  .a = mine.wide,
                                                  .b = chain_of(d),
                                                  .beta = (float)d->schedule.coef2[i],
                                                  .c = mine.p}));
    }
    KD_OR_RETURN(kd_comm_allgather(d->comm, ctx, c->wide.rows, c->wide.ld * (int64_t)sizeof(float), c->wide.data));
    return kd_gemm(ctx, &(kd_gemm_args){.transpose_b = true, .alpha = 1.0f, .a = c->wide, .b = d->output, .c = out});
}

kd_status kd_reverse_chain(kd_ctx *ctx, const kd_reverse_rows *r, const kd_denoiser *d, kd_mat *out) {
    const kd_diffusion_scratch *s = d->scratch;
    kd_mat p = kd_mat_padded(s->dh, r->count, d->output.cols), wide = kd_mat_padded(s->h, r->count, d->output.cols);
    kd_chain_rows c = {kd_mat_cols(p, 0, d->shape.hidden), wide, kd_mat_cols(wide, 0, d->shape.hidden)};
    *out = kd_mat_padded(s->out, r->count, d->columns.count);
    return (d->naive_chain ? kd_naive_chain : hidden_chain)(ctx, r, d, &c, *out);
}

kd_status kd_reverse_best(kd_ctx *ctx, const kd_denoiser *d, kd_mat out, int64_t q, int32_t *top) {
    const kd_diffusion_scratch *s = d->scratch;
    kd_csr none = {0};
    int64_t own = kd_comm_rank(d->comm) * out.rows * q;
    if (!d->comm) return kd_topk_rows(ctx, out, none, q, top, NULL);
    KD_OR_RETURN(kd_topk_rows(ctx, out, none, q, s->best + own, s->best_value + own));
    kd_rank_lists lists = {
        .rows = out.rows, .k = q, .first = d->first_column, .list = s->best, .value = s->best_value, .top = top};
    return kd_comm_merge_top(d->comm, ctx, &lists);
}
