/* Memory and initial weights of a denoiser. */
#include "host/model/kdiffe/denoiser.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/memory.h"

kd_status kd_diffusion_scratch_allocate(kd_pool *pool, const kd_comm *comm, const kd_diffusion_scratch_shape *s,
                                        kd_diffusion_scratch *out) {
    static const char what[] = "diffusion batch";
    int64_t batch = s->batch, guidance = s->guidance_width;
    int64_t width = kd_share_most(s->widest.width, 4, kd_comm_ranks(comm)), wide = kd_denoiser_wide(s->widest.hidden);
    int64_t lists = comm ? kd_comm_ranks(comm) * batch : 0;
    kd_mat x, o, h, dh, xw, square, guided, reach, dreach;
    *out = (kd_diffusion_scratch){0};
    KD_OR_RETURN(kd_pool_padded(pool, batch, width, what, &x));
    KD_OR_RETURN(kd_pool_padded(pool, batch, width, what, &o));
    KD_OR_RETURN(kd_pool_padded(pool, batch, wide, what, &h));
    KD_OR_RETURN(kd_pool_padded(pool, batch, wide, what, &dh));
    KD_OR_RETURN(kd_pool_padded(pool, batch, wide, what, &xw));
    KD_OR_RETURN(kd_pool_padded(pool, wide, wide, what, &square));
    KD_OR_RETURN(kd_pool_mat(pool, batch, guidance, what, &guided));
    KD_OR_RETURN(kd_pool_mat(pool, wide, guidance, what, &reach));
    KD_OR_RETURN(kd_pool_padded(pool, guidance, wide, what, &dreach));
    KD_OR_RETURN(kd_pool_alloc(pool, batch, sizeof(float), what, &out->row_loss[0]));
    KD_OR_RETURN(kd_pool_alloc(pool, batch, sizeof(float), what, &out->row_loss[1]));
    KD_OR_RETURN(kd_pool_alloc(pool, batch, sizeof(int32_t), what, &out->t));
    KD_OR_RETURN(kd_pool_alloc(pool, batch, sizeof(int32_t), what, &out->row));
    KD_OR_RETURN(kd_pool_alloc(pool, s->rows, sizeof(int32_t), what, &out->place));
    KD_OR_RETURN(kd_pool_alloc(pool, lists * s->q, sizeof(int32_t), what, &out->best));
    KD_OR_RETURN(kd_pool_alloc(pool, lists * s->q, sizeof(float), what, &out->best_value));
    out->batch = batch;
    out->columns = width;
    out->x = x.data;
    out->out = o.data;
    out->h = h.data;
    out->dh = dh.data;
    out->xw = xw.data;
    out->square = square.data;
    out->guided = guided.data;
    out->reach = reach.data;
    out->dreach = dreach.data;
    return KD_OK;
}

kd_status kd_diffusion_scratch_fill(kd_ctx *ctx, int64_t hidden, const kd_diffusion_scratch *s) {
    kd_status status = KD_OK;
    const float one = 1.0f;
    kd_mat h = kd_mat_padded(s->h, s->batch, kd_denoiser_wide(hidden));
    for (int64_t r = 0; r < s->batch && status == KD_OK; r++)
        status = kd_upload(ctx, h.data + r * h.ld + hidden, &one, sizeof one);
    return status;
}

/* Gives each parameter matrix its place; positions are relative to `at`, which may be NULL in counting mode. */
static int64_t place(kd_denoiser *d, float *at) {
    const kd_denoiser_shape *s = &d->shape;
    struct {
        kd_mat *mat, shape;
    } part[] = {{&d->w1, kd_mat_padded(NULL, d->columns.count, s->hidden)},
                {&d->output, kd_mat_padded(NULL, d->columns.count, kd_denoiser_wide(s->hidden))},
                {&d->w1_time, kd_mat_make(NULL, s->time_dim, s->hidden)},
                {&d->b1, kd_mat_make(NULL, 1, s->hidden)},
                {&d->time_w, kd_mat_make(NULL, s->time_dim, s->time_dim)},
                {&d->time_b, kd_mat_make(NULL, 1, s->time_dim)}};
    int64_t used = 0;
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        *part[i].mat = part[i].shape;
        part[i].mat->data = at ? at + used : NULL;
        used += kd_tensor_floats(part[i].shape.rows * part[i].shape.ld);
    }
    d->w2 = kd_mat_cols(d->output, 0, s->hidden);
    d->b2 = kd_mat_cols(d->output, s->hidden, 1);
    return used;
}

kd_status kd_denoiser_allocate(kd_pool *pool, kd_comm *comm, const kd_denoiser_shape *s, kd_denoiser *d) {
    static const char what[] = "denoisers";
    int64_t size, ranks = kd_comm_ranks(comm);
    *d = (kd_denoiser){.shape = *s, .comm = comm, .columns = kd_comm_share(comm, kd_share_columns(s->width))};
    if (ranks > 1 && ranks > (s->width + 3) / 4)
        return KD_FAIL(KD_ERR_ARGUMENT, "%lld ranks: at most one for each four of a denoiser's %lld columns",
                       (long long)ranks, (long long)s->width);
    if (__builtin_mul_overflow(s->width, 8 * kd_mat_padded(NULL, 1, kd_denoiser_wide(s->hidden)).ld, &size))
        return KD_FAIL(KD_ERR_MEMORY, "%s: do not fit in any memory", what);
    d->count = place(d, NULL);
    KD_OR_RETURN(kd_pool_alloc(pool, 4 * d->count, sizeof(float), what, &d->value));
    if (d->value) {
        place(d, d->value);
        d->gradient = d->value + d->count;
        d->m = d->gradient + d->count;
        d->v = d->m + d->count;
    }
    if (comm) KD_OR_RETURN(kd_pool_alloc(pool, ranks, sizeof(int32_t), what, &d->first_column));
    KD_OR_RETURN(kd_pool_alloc(pool, 1, sizeof *d->cursor, what, &d->cursor));
    KD_OR_RETURN(kd_pool_alloc(pool, s->steps, sizeof(float), what, &d->signal));
    KD_OR_RETURN(kd_pool_alloc(pool, s->steps, sizeof(float), what, &d->sigma));
    KD_OR_RETURN(kd_pool_alloc(pool, s->steps, sizeof(float), what, &d->weight));
    KD_OR_RETURN(kd_pool_alloc(pool, 2, sizeof(float), what, &d->exact));
    KD_OR_RETURN(kd_pool_mat(pool, s->steps, s->time_dim, what, &d->time));
    KD_OR_RETURN(kd_pool_mat(pool, s->steps, s->time_dim, what, &d->embedding));
    KD_OR_RETURN(kd_pool_mat(pool, s->steps, s->time_dim, what, &d->dembedding));
    KD_OR_RETURN(kd_pool_mat(pool, s->steps, s->hidden, what, &d->table));
    KD_OR_RETURN(kd_pool_mat(pool, s->steps, s->hidden, what, &d->dtable));
    return kd_pool_mat(pool, 1, s->hidden, what, &d->input_sum);
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
    int32_t *first = NULL;
    KD_TRY(kd_host_alloc(&host, 3 * steps, sizeof *host, "schedule"));
    KD_TRY(kd_host_alloc(&time, steps * d->shape.time_dim, sizeof *time, "time features"));
    for (int64_t i = 0; i < steps; i++) {
        host[i] = (float)sqrt(s->alpha_bar[i]);
        host[steps + i] = (float)sqrt(1.0 - s->alpha_bar[i]);
        host[2 * steps + i] = (float)s->weight[i];
    }
    time_features(steps, d->shape.time_dim, time);
    KD_TRY(kd_upload(ctx, d->exact, (const float[2]){1.0f, 0.0f}, 2 * (int64_t)sizeof(float)));
    KD_TRY(kd_upload(ctx, d->signal, host, bytes));
    KD_TRY(kd_upload(ctx, d->sigma, host + steps, bytes));
    KD_TRY(kd_upload(ctx, d->weight, host + 2 * steps, bytes));
    KD_TRY(kd_mat_upload(ctx, time, d->time));
    KD_TRY(kd_host_alloc(&first, kd_comm_ranks(d->comm), sizeof *first, "columns"));
    for (int64_t r = 0; r < kd_comm_ranks(d->comm); r++)
        first[r] = (int32_t)kd_share_begin(kd_share_columns(d->shape.width), r, kd_comm_ranks(d->comm));
    if (d->comm) KD_TRY(kd_upload(ctx, d->first_column, first, kd_comm_ranks(d->comm) * (int64_t)sizeof *first));
cleanup:
    free(first);
    free(host);
    free(time);
    return status;
}

/* Every element of `value`, the rows of a tensor from `first` on, = deviation * normal, keyed (rng, tensor, block of
 * four of the tensor's elements in row-major order). */
static void fill_normal(const kd_rng *rng, uint32_t tensor, double deviation, int64_t first, kd_mat value) {
    int64_t n = value.rows * value.cols, before = first * value.cols;
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t bits[4];
        uint64_t block = (uint64_t)(before + i) / 4; /* of more than 2^32 the rest goes beside the tensor's number */
        kd_rng_draw4(rng, tensor | (uint32_t)(block >> 32) << 8, (uint32_t)block, bits);
        for (int64_t k = 0; k < 4 && i + k < n; k++) {
            double radius = sqrt(-2.0 * log(1.0 - kd_uniform(bits[k & 2])));
            double angle = 6.283185307179586 * kd_uniform(bits[(k & 2) + 1]);
            value.data[(i + k) / value.cols * value.ld + (i + k) % value.cols] =
                (float)(deviation * radius * (k & 1 ? sin(angle) : cos(angle)));
        }
    }
}

static kd_status init_weights(kd_ctx *ctx, uint64_t seed, kd_denoiser *d) {
    const kd_denoiser_shape *s = &d->shape;
    kd_rng rng = {seed, KD_RNG_INIT, 1000 + d->instance, 0, NULL};
    double first = sqrt(2.0 / (double)(s->width + s->time_dim + s->hidden)), bias = 0.001;
    double last = sqrt(2.0 / (double)(s->width + s->hidden)), time = sqrt(2.0 / (double)(2 * s->time_dim));
    float *host;
    KD_OR_RETURN(kd_host_alloc(&host, d->count, sizeof *host, "denoiser weights"));
    int64_t column = d->columns.first;
    struct {
        kd_mat mat;
        double deviation;
        int64_t first;
    } part[] = {{d->w1, first, column}, {d->w1_time, first, 0}, {d->b1, bias, 0},    {d->w2, last, column},
                {d->b2, bias, column},  {d->time_w, time, 0},   {d->time_b, bias, 0}};
    for (uint32_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        part[i].mat.data = host + (part[i].mat.data - d->value);
        fill_normal(&rng, i, part[i].deviation, part[i].first, part[i].mat);
    }
    kd_status status = kd_upload(ctx, d->value, host, d->count * (int64_t)sizeof(float));
    free(host);
    return status;
}

kd_status kd_denoiser_init(kd_ctx *ctx, const kd_config *c, uint32_t instance, const kd_diffusion_scratch *scratch,
                           kd_denoiser *d) {
    d->instance = instance;
    d->naive_chain = c->naive & KD_NAIVE_CHAIN;
    /* a difference of products, so not for inputs rounded to bf16 */
    d->output_gradient =
        c->naive & KD_NAIVE_OUTPUT || c->precision == KD_PRECISION_BF16 ? KD_OUTPUT_DIRECT : KD_OUTPUT_CHEAPEST;
    d->scratch = scratch;
    KD_OR_RETURN(kd_schedule_make(d->shape.steps, c->noise_scale, c->noise_min, c->noise_max, &d->schedule));
    KD_OR_RETURN(upload_tables(ctx, d));
    return init_weights(ctx, c->seed, d);
}
