/* The training step of a denoiser. */
#include "host/model/kdiffe/denoiser.h"

static kd_mat gradient_of(const kd_denoiser *d, kd_mat value) {
    value.data = d->gradient + (value.data - d->value);
    return value;
}

static kd_status zero_mat(kd_ctx *ctx, kd_mat m) {
    return kd_zero(ctx, m.data, m.rows * m.ld * (int64_t)sizeof(float));
}

kd_status kd_denoiser_time_table(kd_ctx *ctx, const kd_denoiser *d) {
    KD_OR_RETURN(kd_linear(ctx, true, d->time, d->time_w, d->time_b, d->embedding));
    return kd_linear(ctx, false, d->embedding, d->w1_time, d->b1, d->table);
}

static kd_status time_table_backward(kd_ctx *ctx, const kd_denoiser *d) {
    KD_OR_RETURN(kd_column_sum(ctx, d->dtable, 0.0f, gradient_of(d, d->b1)));
    kd_gemm_args to_table = {
        .transpose_a = true, .alpha = 1.0f, .a = d->embedding, .b = d->dtable, .c = gradient_of(d, d->w1_time)};
    KD_OR_RETURN(kd_gemm(ctx, &to_table));
    KD_OR_RETURN(kd_gemm(
        ctx, &(kd_gemm_args){.transpose_b = true, .alpha = 1.0f, .a = d->dtable, .b = d->w1_time, .c = d->dembedding}));
    KD_OR_RETURN(kd_column_sum(ctx, d->dembedding, 0.0f, gradient_of(d, d->time_b)));
    kd_gemm_args to_time = {
        .transpose_a = true, .alpha = 1.0f, .a = d->dembedding, .b = d->time, .c = gradient_of(d, d->time_w)};
    return kd_gemm(ctx, &to_time);
}

static kd_status noised_input(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser *d, const int32_t *t,
                              kd_mat x) {
    kd_q_sample_args q = {.x0 = b->x0,
                          .row = b->row,
                          .t = t,
                          .signal = d->signal,
                          .sigma = d->sigma,
                          .g = b->g,
                          .noise = b->noise,
                          .p = (float)b->dropout,
                          .first = d->columns.first,
                          .noise_rng = {b->seed, KD_RNG_NOISE, d->instance, (uint32_t)b->epoch, b->clock},
                          .drop_rng = {b->seed, KD_RNG_INPUT_DROPOUT, d->instance, (uint32_t)b->epoch, b->clock},
                          .x = x};
    return kd_q_sample(ctx, &q);
}

/* What a batch passes through. */
typedef struct batch_rows {
    const int32_t *t; /* [count] the steps that were drawn */
    kd_mat x;         /* [count, columns] the noised input */
    kd_mat h, dh, xw; /* [count, hidden] widened by the column that multiplies b2 */
} batch_rows;

/* Of the local columns, of a target that ranks divide; the others' losses and gradients are summed. */
static kd_status guide_columns(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser_guidance *guidance,
                               const kd_denoiser *d, kd_mat guided, double *loss) {
    int64_t first = guidance->column, end = first + guidance->target.cols;
    kd_mat local = kd_mat_cols(guided, first, guidance->target.cols);
    kd_mat before = kd_mat_cols(guided, 0, first), after = kd_mat_cols(guided, end, guided.cols - end);
    KD_OR_RETURN(kd_guidance_loss(ctx, &(kd_guidance_loss_args){.target = guidance->target,
                                                                .row = b->row,
                                                                .weight = (float)guidance->weight,
                                                                .width = guided.cols,
                                                                .y = local,
                                                                .row_loss = d->scratch->row_loss[1],
                                                                .loss = loss}));
    KD_OR_RETURN(kd_add_scaled(ctx, 0.0f, before, 0.0f, before));
    KD_OR_RETURN(kd_add_scaled(ctx, 0.0f, after, 0.0f, after));
    return kd_comm_allreduce_f32(d->comm, ctx, guided.rows * guided.cols, guided.data);
}

/* guided = what the guidance sees of all ranks' columns -> d loss / d guided. Where every rank has the whole target,
 * one adds the loss. */
static kd_status guide(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser_guidance *guidance,
                       const kd_denoiser *d, kd_mat guided, double *loss) {
    KD_OR_RETURN(kd_comm_end_allreduce(d->comm, ctx));
    if (guidance->target.cols < guided.cols) return guide_columns(ctx, b, guidance, d, guided, loss);
    return kd_guidance_loss(ctx, &(kd_guidance_loss_args){.target = guidance->target,
                                                          .row = b->row,
                                                          .weight = (float)guidance->weight,
                                                          .width = guided.cols,
                                                          .y = guided,
                                                          .row_loss = d->scratch->row_loss[1],
                                                          .loss = kd_comm_rank(d->comm) == 0 ? loss : NULL});
}

/* d loss / d output layer and d loss / d h, whose sum is left under way, by way of out = h W2^T + b2 itself: three
 * products of count x columns x hidden. */
static kd_status output_backward(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser_guidance *guidance,
                                 const kd_denoiser *d, const batch_rows *r, double *loss) {
    const kd_diffusion_scratch *s = d->scratch;
    kd_mat out = kd_mat_padded(s->out, b->count, d->columns.count);
    kd_mat guided = kd_mat_make(s->guided, b->count, guidance->projection.cols);
    kd_mat projection = guidance->projection, seen = kd_mat_cols(out, 0, projection.rows);
    KD_OR_RETURN(
        kd_gemm(ctx, &(kd_gemm_args){.transpose_b = true, .alpha = 1.0f, .a = r->h, .b = d->output, .c = out}));
    if (seen.cols > 0)
        KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = 1.0f, .a = seen, .b = projection, .c = guided}));
    else
        KD_OR_RETURN(zero_mat(ctx, guided));
    KD_OR_RETURN(kd_comm_begin_allreduce(d->comm, ctx, guided.rows * guided.cols, guided.data));
    KD_OR_RETURN(kd_denoise_loss(ctx, &(kd_denoise_loss_args){.x0 = b->x0,
                                                              .row = b->row,
                                                              .t = r->t,
                                                              .weight = d->weight,
                                                              .width = d->shape.width,
                                                              .out = out,
                                                              .row_loss = s->row_loss[0],
                                                              .loss = loss}));
    KD_OR_RETURN(guide(ctx, b, guidance, d, guided, loss));
    KD_OR_RETURN(kd_gemm(
        ctx,
        &(kd_gemm_args){.transpose_b = true, .alpha = 1.0f, .a = guided, .b = projection, .beta = 1.0f, .c = seen}));
    KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = 1.0f, .a = out, .b = d->output, .c = r->dh}));
    KD_OR_RETURN(kd_comm_begin_allreduce(d->comm, ctx, r->dh.rows * r->dh.ld, r->dh.data));
    return kd_gemm(
        ctx, &(kd_gemm_args){.transpose_a = true, .alpha = 1.0f, .a = out, .b = r->h, .c = gradient_of(d, d->output)});
}

/* The same by the output layer's Gram matrix, without the output: with W = [W2 b2], h widened by a 1 and s_i the weight
 * of row i's loss,
 *   dh = s (h W^T W - x0 W) + guided (F^T W),   dW = W (h^T s h) - x0^T (s h) + F (guided^T h). */
static kd_status gram_backward(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser_guidance *guidance,
                               const kd_denoiser *d, const batch_rows *r, double *loss) {
    const kd_diffusion_scratch *s = d->scratch;
    kd_mat projection = guidance->projection;
    int64_t wide = d->output.cols, seen = projection.rows, width = projection.cols;
    kd_mat square = kd_mat_padded(s->square, wide, wide), guided = kd_mat_make(s->guided, b->count, width);
    kd_mat reach = kd_mat_make(s->reach, wide, width), dreach = kd_mat_padded(s->dreach, width, wide);
    kd_mat doutput = gradient_of(d, d->output);
    kd_gram_loss_args args = {.x0 = b->x0,
                              .row = b->row,
                              .t = r->t,
                              .weight = d->weight,
                              .width = d->shape.width,
                              .h = r->h,
                              .dh = r->dh,
                              .xw = r->xw,
                              .row_loss = s->row_loss[0],
                              .loss = loss};
    if (seen > 0)
        KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.transpose_a = true,
                                                  .alpha = 1.0f,
                                                  .a = kd_mat_rows(d->output, 0, seen),
                                                  .b = projection,
                                                  .c = reach}));
    else
        KD_OR_RETURN(zero_mat(ctx, reach));
    KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = 1.0f, .a = r->h, .b = reach, .c = guided}));
    KD_OR_RETURN(kd_comm_begin_allreduce(d->comm, ctx, guided.rows * guided.cols, guided.data));
    KD_OR_RETURN(kd_gram(ctx, d->output, square));
    KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = 1.0f, .a = r->h, .b = square, .c = r->dh}));
    KD_OR_RETURN(kd_spmm_batch(
        ctx, &(kd_spmm_batch_args){.alpha = 1.0f, .a = b->x0, .row = b->row, .x = d->output, .y = r->xw}));
    KD_OR_RETURN(kd_gram_loss(ctx, &args));
    KD_OR_RETURN(guide(ctx, b, guidance, d, guided, loss));
    KD_OR_RETURN(kd_gemm(
        ctx, &(kd_gemm_args){.transpose_b = true, .alpha = 1.0f, .a = guided, .b = reach, .beta = 1.0f, .c = r->dh}));
    KD_OR_RETURN(kd_comm_begin_allreduce(d->comm, ctx, r->dh.rows * r->dh.ld, r->dh.data));
    KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.transpose_a = true, .alpha = 1.0f, .a = r->h, .b = r->xw, .c = square}));
    KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = 1.0f, .a = d->output, .b = square, .c = doutput}));
    KD_OR_RETURN(
        kd_gemm(ctx, &(kd_gemm_args){.transpose_a = true, .alpha = 1.0f, .a = guided, .b = r->h, .c = dreach}));
    kd_gemm_args guidance_part = {
        .alpha = 1.0f, .a = projection, .b = dreach, .beta = 1.0f, .c = kd_mat_rows(doutput, 0, seen)};
    KD_OR_RETURN(kd_gemm(ctx, &guidance_part));
    KD_OR_RETURN(kd_place_rows(ctx, b->count, b->row, b->x0.rows, s->place));
    kd_spmm_batch_args input_part = {
        .alpha = -1.0f, .a = b->x0_transpose, .place = s->place, .x = r->xw, .beta = 1.0f, .y = doutput};
    return kd_spmm_batch(ctx, &input_part);
}

/* Whether the Gram matrix takes fewer operations: for batches longer than about two thirds of the hidden width. */
static bool gram_pays(const kd_denoiser *d, int64_t count) {
    double n = (double)d->columns.count, hidden = (double)d->shape.hidden, rows = (double)count;
    if (d->output_gradient != KD_OUTPUT_CHEAPEST) return d->output_gradient == KD_OUTPUT_GRAM;
    return 4.0 * (n + rows) * hidden * hidden < 6.0 * rows * n * hidden;
}

/* Up to the output layer's gradient and dh, whose sum is under way. */
static kd_status output_side(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser_guidance *guidance,
                             const kd_denoiser *d, const batch_rows *r, double *loss) {
    kd_mat h = kd_mat_cols(r->h, 0, d->shape.hidden), p = kd_mat_cols(r->dh, 0, d->shape.hidden);
    KD_OR_RETURN(kd_denoiser_time_table(ctx, d));
    KD_OR_RETURN(noised_input(ctx, b, d, r->t, r->x));
    KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.alpha = 1.0f, .a = r->x, .b = d->w1, .c = p}));
    KD_OR_RETURN(kd_comm_allreduce_f32(d->comm, ctx, p.rows * p.ld, p.data));
    KD_OR_RETURN(kd_hidden_forward(ctx, p, d->table, r->t, h));
    return (gram_pays(d, b->count) ? gram_backward : output_backward)(ctx, b, guidance, d, r, loss);
}

/* What is whole on every rank has rank 0's gradient, so that it stays the same where ranks round differently. */
static kd_status share_time_gradient(kd_ctx *ctx, const kd_denoiser *d) {
    int64_t at = d->w1_time.data - d->value;
    return kd_comm_broadcast(d->comm, ctx, 0, (d->count - at) * (int64_t)sizeof(float), d->gradient + at);
}

static kd_status input_side(kd_ctx *ctx, const kd_denoiser *d, const batch_rows *r) {
    kd_mat h = kd_mat_cols(r->h, 0, d->shape.hidden), dh = kd_mat_cols(r->dh, 0, d->shape.hidden);
    KD_OR_RETURN(zero_mat(ctx, d->dtable));
    KD_OR_RETURN(kd_comm_end_allreduce(d->comm, ctx));
    KD_OR_RETURN(kd_hidden_backward(ctx, h, r->t, dh, d->dtable));
    KD_OR_RETURN(kd_gemm(
        ctx, &(kd_gemm_args){.transpose_a = true, .alpha = 1.0f, .a = r->x, .b = dh, .c = gradient_of(d, d->w1)}));
    KD_OR_RETURN(time_table_backward(ctx, d));
    return share_time_gradient(ctx, d);
}

kd_status kd_denoiser_gradient(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser_guidance *guidance,
                               kd_denoiser *d, double *loss) {
    const kd_diffusion_scratch *s = d->scratch;
    int64_t wide = d->output.cols;
    batch_rows r = {.t = b->t ? b->t : s->t,
                    .x = kd_mat_padded(s->x, b->count, d->columns.count),
                    .h = kd_mat_padded(s->h, b->count, wide),
                    .dh = kd_mat_padded(s->dh, b->count, wide),
                    .xw = kd_mat_padded(s->xw, b->count, wide)};
    kd_rng steps = {b->seed, KD_RNG_DIFFUSION_STEP, d->instance, (uint32_t)b->epoch, b->clock};
    if (!b->t) KD_OR_RETURN(kd_diffusion_steps(ctx, b->count, b->row, d->shape.steps, &steps, s->t));
    KD_OR_RETURN(output_side(ctx, b, guidance, d, &r, loss));
    return input_side(ctx, d, &r);
}

kd_status kd_denoiser_adam(kd_ctx *ctx, double lr, kd_denoiser *d) {
    const kd_adam_config adam = {lr, 0.9, 0.999, 1e-8};
    return kd_adam(ctx, &(kd_adam_args){.config = &adam,
                                        .steps = &d->cursor->step,
                                        .n = d->count,
                                        .p = d->value,
                                        .g = d->gradient,
                                        .m = d->m,
                                        .v = d->v});
}
