/* Memory, initial weights and the training step of a denoiser. */
#include "host/diffusion/denoiser.h"

#include <math.h>
#include <stdlib.h>

#include "host/util/memory.h"

kd_status kd_diffusion_scratch_allocate(kd_pool *pool, int64_t batch, int64_t width, int64_t hidden,
                                        int64_t guidance_width, kd_diffusion_scratch *out) {
    static const char what[] = "diffusion batch";
    kd_status status = KD_OK;
    kd_mat x, o, h, dh, chain, guided;
    *out = (kd_diffusion_scratch){.batch = batch, .width = width, .hidden = hidden, .guidance_width = guidance_width};
    KD_TRY(kd_pool_mat(pool, batch, width, what, &x));
    KD_TRY(kd_pool_mat(pool, batch, width, what, &o));
    KD_TRY(kd_pool_mat(pool, batch, hidden, what, &h));
    KD_TRY(kd_pool_mat(pool, batch, hidden, what, &dh));
    KD_TRY(kd_pool_mat(pool, hidden, hidden, what, &chain));
    KD_TRY(kd_pool_mat(pool, batch, guidance_width, what, &guided));
    KD_TRY(kd_pool_alloc(pool, batch, sizeof(float), what, &out->row_loss[0]));
    KD_TRY(kd_pool_alloc(pool, batch, sizeof(float), what, &out->row_loss[1]));
    KD_TRY(kd_pool_alloc(pool, batch, sizeof(int32_t), what, &out->t));
    KD_TRY(kd_pool_alloc(pool, batch, sizeof(int32_t), what, &out->row));
    out->x = x.data;
    out->out = o.data;
    out->h = h.data;
    out->dh = dh.data;
    out->chain = chain.data;
    out->guided = guided.data;
cleanup:
    return status;
}

/* Gives each parameter matrix its place; positions are relative to `at`, which may be NULL in counting mode. */
static int64_t place(kd_denoiser *d, float *at) {
    const kd_denoiser_shape *s = &d->shape;
    struct {
        kd_mat *mat;
        int64_t rows, cols;
    } part[] = {{&d->w1, s->width, s->hidden}, {&d->w1_time, s->time_dim, s->hidden},
                {&d->b1, 1, s->hidden},        {&d->w2, s->width, s->hidden},
                {&d->b2, 1, s->width},         {&d->time_w, s->time_dim, s->time_dim},
                {&d->time_b, 1, s->time_dim}};
    int64_t used = 0;
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        *part[i].mat = kd_mat_make(at ? at + used : NULL, part[i].rows, part[i].cols);
        used += part[i].rows * part[i].cols;
    }
    return used;
}

kd_status kd_denoiser_allocate(kd_pool *pool, const kd_denoiser_shape *s, kd_denoiser *d) {
    static const char what[] = "denoisers";
    kd_status status = KD_OK;
    int64_t size;
    *d = (kd_denoiser){.shape = *s};
    if (__builtin_mul_overflow(s->width, 8 * (s->hidden + 1), &size))
        return KD_FAIL(KD_ERR_MEMORY, "%s: do not fit in any memory", what);
    d->count = place(d, NULL);
    KD_TRY(kd_pool_alloc(pool, 4 * d->count, sizeof(float), what, &d->value));
    if (d->value) {
        place(d, d->value);
        d->gradient = d->value + d->count;
        d->m = d->gradient + d->count;
        d->v = d->m + d->count;
    }
    KD_TRY(kd_pool_alloc(pool, 1, sizeof *d->cursor, what, &d->cursor));
    KD_TRY(kd_pool_alloc(pool, s->steps, sizeof(float), what, &d->signal));
    KD_TRY(kd_pool_alloc(pool, s->steps, sizeof(float), what, &d->sigma));
    KD_TRY(kd_pool_alloc(pool, s->steps, sizeof(float), what, &d->weight));
    KD_TRY(kd_pool_alloc(pool, s->steps, sizeof(float), what, &d->accumulated));
    KD_TRY(kd_pool_mat(pool, s->steps, s->time_dim, what, &d->time));
    KD_TRY(kd_pool_mat(pool, s->steps, s->time_dim, what, &d->embedding));
    KD_TRY(kd_pool_mat(pool, s->steps, s->time_dim, what, &d->dembedding));
    KD_TRY(kd_pool_mat(pool, s->steps, s->hidden, what, &d->table));
    KD_TRY(kd_pool_mat(pool, s->steps, s->hidden, what, &d->dtable));
    KD_TRY(kd_pool_mat(pool, 1, s->hidden, what, &d->constant));
    KD_TRY(kd_pool_mat(pool, 1, s->hidden, what, &d->input_sum));
cleanup:
    return status;
}

/* Time features [cos(t f_0) .. , sin(t f_0) ..], f_k = 10000^(-k/half); an odd width ends with a zero. */
static void time_features(int64_t steps, int64_t width, float *out) {
    int64_t half = width / 2;
    for (int64_t t = 0; t < steps; t++)
        for (int64_t k = 0; k < half; k++) {
            double angle = (double)t * exp(-log(10000.0) * (double)k / (double)half);
            out[t * width + k] = (float)cos(angle);
            out[t * width + half + k] = (float)sin(angle);
        }
}

static kd_status upload_tables(kd_ctx *ctx, kd_denoiser *d) {
    kd_status status = KD_OK;
    const kd_schedule *s = &d->schedule;
    int64_t steps = s->steps, bytes = steps * (int64_t)sizeof(float);
    float *host = NULL, *time = NULL;
    double gathered = 0.0;
    KD_TRY(kd_host_alloc(&host, 4 * steps, sizeof *host, "schedule"));
    KD_TRY(kd_host_alloc(&time, steps * d->shape.time_dim, sizeof *time, "time features"));
    for (int64_t i = steps - 1; i >= 0; i--) {
        host[i] = (float)sqrt(s->alpha_bar[i]);
        host[steps + i] = (float)sqrt(1.0 - s->alpha_bar[i]);
        host[2 * steps + i] = (float)s->weight[i];
        host[3 * steps + i] = (float)gathered;
        gathered = s->coef1[i] + s->coef2[i] * gathered;
    }
    time_features(steps, d->shape.time_dim, time);
    KD_TRY(kd_upload(ctx, d->signal, host, bytes));
    KD_TRY(kd_upload(ctx, d->sigma, host + steps, bytes));
    KD_TRY(kd_upload(ctx, d->weight, host + 2 * steps, bytes));
    KD_TRY(kd_upload(ctx, d->accumulated, host + 3 * steps, bytes));
    KD_TRY(kd_mat_upload(ctx, time, d->time));
cleanup:
    free(host);
    free(time);
    return status;
}

/* value [n] = standard deviation * normal, keyed (rng, tensor, 4-block). */
static void fill_normal(const kd_rng *rng, uint32_t tensor, double deviation, int64_t n, float *value) {
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t bits[4];
        kd_rng_draw4(rng, tensor, (uint32_t)(i / 4), bits);
        for (int64_t k = 0; k < 4 && i + k < n; k++) {
            double radius = sqrt(-2.0 * log(1.0 - kd_uniform(bits[k & 2])));
            double angle = 6.283185307179586 * kd_uniform(bits[(k & 2) + 1]);
            value[i + k] = (float)(deviation * radius * (k & 1 ? sin(angle) : cos(angle)));
        }
    }
}

static kd_status init_weights(kd_ctx *ctx, uint64_t seed, kd_denoiser *d) {
    const kd_denoiser_shape *s = &d->shape;
    kd_rng rng = {seed, KD_RNG_INIT, 1000 + d->instance, 0, NULL};
    double first = sqrt(2.0 / (double)(s->width + s->time_dim + s->hidden)), bias = 0.001;
    double last = sqrt(2.0 / (double)(s->width + s->hidden)), time = sqrt(2.0 / (double)(2 * s->time_dim));
    float *host, *at;
    kd_status status = kd_host_alloc(&host, d->count, sizeof *host, "denoiser weights");
    if (status != KD_OK) return status;
    struct {
        kd_mat mat;
        double deviation;
    } part[] = {{d->w1, first}, {d->w1_time, first}, {d->b1, bias},    {d->w2, last},
                {d->b2, bias},  {d->time_w, time},   {d->time_b, bias}};
    at = host;
    for (uint32_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        int64_t n = part[i].mat.rows * part[i].mat.cols;
        fill_normal(&rng, i, part[i].deviation, n, at);
        at += n;
    }
    status = kd_upload(ctx, d->value, host, d->count * (int64_t)sizeof(float));
    free(host);
    return status;
}

kd_status kd_denoiser_init(kd_ctx *ctx, const kd_config *c, uint32_t instance, const kd_diffusion_scratch *scratch,
                           kd_denoiser *d) {
    kd_status status = KD_OK;
    d->instance = instance;
    d->scratch = scratch;
    KD_TRY(kd_schedule_make(d->shape.steps, c->noise_scale, c->noise_min, c->noise_max, &d->schedule));
    KD_TRY(upload_tables(ctx, d));
    KD_TRY(init_weights(ctx, c->seed, d));
cleanup:
    return status;
}

static kd_mat gradient_of(const kd_denoiser *d, kd_mat value) {
    value.data = d->gradient + (value.data - d->value);
    return value;
}

/* table = temb w1_time + b1 of every step. */
static kd_status time_table(kd_ctx *ctx, const kd_denoiser *d) {
    kd_status status = kd_linear(ctx, true, d->time, d->time_w, d->time_b, d->embedding);
    if (status != KD_OK) return status;
    return kd_linear(ctx, false, d->embedding, d->w1_time, d->b1, d->table);
}

static kd_status time_table_backward(kd_ctx *ctx, const kd_denoiser *d) {
    kd_status status = KD_OK;
    KD_TRY(kd_column_sum(ctx, d->dtable, 0.0f, gradient_of(d, d->b1)));
    KD_TRY(kd_gemm(ctx, true, false, 1.0f, d->embedding, d->dtable, 0.0f, gradient_of(d, d->w1_time)));
    KD_TRY(kd_gemm(ctx, false, true, 1.0f, d->dtable, d->w1_time, 0.0f, d->dembedding));
    KD_TRY(kd_column_sum(ctx, d->dembedding, 0.0f, gradient_of(d, d->time_b)));
    KD_TRY(kd_gemm(ctx, true, false, 1.0f, d->dembedding, d->time, 0.0f, gradient_of(d, d->time_w)));
cleanup:
    return status;
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
                          .noise_rng = {b->seed, KD_RNG_NOISE, d->instance, (uint32_t)b->epoch, b->clock},
                          .drop_rng = {b->seed, KD_RNG_INPUT_DROPOUT, d->instance, (uint32_t)b->epoch, b->clock},
                          .x = x};
    return kd_q_sample(ctx, &q);
}

/* Loss of `out`, which becomes its own gradient. */
static kd_status output_gradient(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser_guidance *guidance,
                                 const kd_denoiser *d, const int32_t *t, kd_mat out, double *loss) {
    kd_status status = KD_OK;
    const kd_diffusion_scratch *s = d->scratch;
    kd_mat guided = kd_mat_make(s->guided, b->count, guidance->projection.cols);
    kd_mat seen = kd_mat_cols(out, 0, guidance->projection.rows);
    KD_TRY(kd_gemm(ctx, false, false, 1.0f, seen, guidance->projection, 0.0f, guided));
    KD_TRY(kd_guidance_loss(ctx, guidance->target, b->row, (float)guidance->weight, guided, s->row_loss[1], loss));
    KD_TRY(kd_denoise_loss(ctx, b->x0, b->row, t, d->weight, out, s->row_loss[0], loss));
    KD_TRY(kd_gemm(ctx, false, true, 1.0f, guided, guidance->projection, 1.0f, seen));
cleanup:
    return status;
}

kd_status kd_denoiser_gradient(kd_ctx *ctx, const kd_denoiser_batch *b, const kd_denoiser_guidance *guidance,
                               kd_denoiser *d, double *loss) {
    kd_status status = KD_OK;
    const kd_diffusion_scratch *s = d->scratch;
    const int32_t *t = b->t ? b->t : s->t;
    kd_mat x = kd_mat_make(s->x, b->count, d->shape.width), out = kd_mat_make(s->out, b->count, d->shape.width);
    kd_mat h = kd_mat_make(s->h, b->count, d->shape.hidden), dh = kd_mat_make(s->dh, b->count, d->shape.hidden);
    kd_rng steps = {b->seed, KD_RNG_DIFFUSION_STEP, d->instance, (uint32_t)b->epoch, b->clock};
    if (!b->t) KD_TRY(kd_diffusion_steps(ctx, b->count, b->row, d->shape.steps, &steps, s->t));
    KD_TRY(time_table(ctx, d));
    KD_TRY(noised_input(ctx, b, d, t, x));
    KD_TRY(kd_gemm(ctx, false, false, 1.0f, x, d->w1, 0.0f, h));
    KD_TRY(kd_hidden_forward(ctx, h, d->table, t, h));
    KD_TRY(kd_linear(ctx, true, h, d->w2, d->b2, out));
    KD_TRY(output_gradient(ctx, b, guidance, d, t, out, loss));
    KD_TRY(kd_gemm(ctx, true, false, 1.0f, out, h, 0.0f, gradient_of(d, d->w2)));
    KD_TRY(kd_column_sum(ctx, out, 0.0f, gradient_of(d, d->b2)));
    KD_TRY(kd_gemm(ctx, false, false, 1.0f, out, d->w2, 0.0f, dh));
    KD_TRY(kd_zero(ctx, d->dtable.data, d->dtable.rows * d->dtable.cols * (int64_t)sizeof(float)));
    KD_TRY(kd_hidden_backward(ctx, h, t, dh, d->dtable));
    KD_TRY(kd_gemm(ctx, true, false, 1.0f, x, dh, 0.0f, gradient_of(d, d->w1)));
    KD_TRY(time_table_backward(ctx, d));
cleanup:
    return status;
}

kd_status kd_denoiser_adam(kd_ctx *ctx, double lr, kd_denoiser *d) {
    const kd_adam_config adam = {lr, 0.9, 0.999, 1e-8};
    return kd_adam(ctx, &adam, &d->cursor->step, d->count, d->value, d->gradient, d->m, d->v);
}
