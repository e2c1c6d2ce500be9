/* Schedules, denoiser losses and gradients, reverse chains, top-q and the generated knowledge graph. */
#include <stdlib.h>
#include <string.h>

#include "host/util/memory.h"
#include "published/golden.h"

static void check_schedule(golden_case *c) {
    kd_schedule s;
    const kd_config *k = &c->config;
    golden_require(kd_schedule_make(k->steps, k->noise_scale, k->noise_min, k->noise_max, &s), "schedule");
    golden_compare_doubles(c, "sched_betas_f64", s.beta, s.steps, 1e-10);
    golden_compare_doubles(c, "sched_alphas_cumprod_f64", s.alpha_bar, s.steps, 1e-10);
    golden_compare_doubles(c, "sched_posterior_mean_coef1_f64", s.coef1, s.steps, 1e-10);
    golden_compare_doubles(c, "sched_posterior_mean_coef2_f64", s.coef2, s.steps, 1e-10);
    golden_compare_doubles(c, "sched_posterior_variance_f64", s.posterior_variance, s.steps, 1e-10);
    golden_compare_doubles(c, "sched_weight_f64", s.weight, s.steps, 1e-10);
}

/* Calls visit with each parameter's published name; the in-layer is stored transposed and split at the time columns. */
static void upload_weights(golden_case *c, const char *d, kd_denoiser *n) {
    kd_mat whole = kd_mat_make(n->w1.data, n->shape.width + n->shape.time_dim, n->shape.hidden);
    golden_upload(c, golden_name("%s_param_emb_layer_weight", d), n->time_w, false);
    golden_upload(c, golden_name("%s_param_emb_layer_bias", d), n->time_b, false);
    golden_upload(c, golden_name("%s_param_in_layers_0_weight", d), whole, true); /* w1_time follows w1 */
    golden_upload(c, golden_name("%s_param_in_layers_0_bias", d), n->b1, false);
    golden_upload(c, golden_name("%s_param_out_layers_0_weight", d), n->w2, false);
    golden_upload(c, golden_name("%s_param_out_layers_0_bias", d), n->b2, false);
}

static kd_mat gradient_of(const kd_denoiser *n, kd_mat value) {
    value.data = n->gradient + (value.data - n->value);
    return value;
}

static void compare_gradients(golden_case *c, const char *d, const kd_denoiser *n) {
    kd_mat whole = kd_mat_make(n->w1.data, n->shape.width + n->shape.time_dim, n->shape.hidden);
    golden_compare_mat(c, golden_name("%s_grad_emb_layer_weight", d), gradient_of(n, n->time_w), false);
    golden_compare_mat(c, golden_name("%s_grad_emb_layer_bias", d), gradient_of(n, n->time_b), false);
    golden_compare_mat(c, golden_name("%s_grad_in_layers_0_weight", d), gradient_of(n, whole), true);
    golden_compare_mat(c, golden_name("%s_grad_in_layers_0_bias", d), gradient_of(n, n->b1), false);
    golden_compare_mat(c, golden_name("%s_grad_out_layers_0_weight", d), gradient_of(n, n->w2), false);
    golden_compare_mat(c, golden_name("%s_grad_out_layers_0_bias", d), gradient_of(n, n->b2), false);
}

/* A device copy of an array's ints or floats, kept in pool. */
static void *device_ints(golden_case *c, kd_pool *pool, const char *name, int64_t *count) {
    int64_t shape[4];
    int32_t *host = golden_ints(c, name, shape);
    void *device = NULL;
    if (!host) exit(1);
    golden_require(kd_pool_upload(pool, host, shape[0], sizeof *host, "test", &device), name);
    *count = shape[0];
    c->inputs++;
    free(host);
    return device;
}

static void *device_floats(golden_case *c, kd_pool *pool, const char *name) {
    int64_t shape[4];
    float *host = golden_floats(c, name, shape);
    void *device = NULL;
    if (!host) exit(1);
    golden_require(kd_pool_upload(pool, host, shape[0] * shape[1], sizeof *host, "test", &device), name);
    c->inputs++;
    free(host);
    return device;
}

static void check_training(golden_case *c, kd_model *m, const char *d, kd_denoiser *n, kd_denoiser_batch batch,
                           const kd_denoiser_guidance *guidance) {
    kd_pool pool;
    float rows[2 * 4096], *row_loss;
    double loss;
    int64_t rank = kd_comm_rank(c->comm), ranks = kd_comm_ranks(c->comm);
    kd_pool_init(&pool, c->ctx);
    batch.row = device_ints(c, &pool, golden_name("%s_rows", d), &batch.count);
    batch.t = device_ints(c, &pool, golden_name("%s_t", d), &batch.count);
    batch.noise = device_floats(c, &pool, golden_name("%s_eps", d));
    if (batch.count > 4096 || batch.count > m->diffusion.batch) exit(1);
    int64_t whole = batch.whole = batch.count, first = kd_share_first(whole, rank, ranks);
    batch.count = kd_share_first(whole, rank + 1, ranks) - first;
    batch.row += first;
    batch.t += first;
    batch.noise += first * n->shape.width;
    batch.comm = c->comm;
    if (!c->config.naive) n->way = KD_OUTPUT_GRAM; /* the batch is too short for it to be chosen */
    golden_require(kd_zero(c->ctx, m->loss, sizeof(double)), d);
    golden_require(kd_denoiser_gradient(c->ctx, &batch, guidance, n, m->loss), d);
    golden_require(kd_pool_alloc(&pool, 2 * whole, sizeof *row_loss, "test", &row_loss), d);
    for (int part = 0; part < 2; part++) {
        kd_mat mine = kd_mat_make(m->diffusion.row_loss[part], 1, batch.count);
        kd_mat place = kd_mat_make(row_loss + part * whole + first, 1, batch.count);
        golden_require(kd_add_scaled(c->ctx, 1.0f, mine, 0.0f, place), d);
        golden_require(kd_comm_gather(c->comm, c->ctx, whole, 1, sizeof *row_loss, row_loss + part * whole), d);
    }
    golden_require(kd_download(c->ctx, rows, row_loss, 2 * whole * (int64_t)sizeof *rows), d);
    golden_sum(c, m->loss, 1, &loss);
    golden_compare(c, golden_name("%s_loss_rows", d), rows, 2 * whole);
    golden_compare(c, golden_name("%s_loss", d), &(float){(float)loss}, 1);
    compare_gradients(c, d, n);
    kd_pool_free(&pool);
}

/* The reverse chain of every row into out [rows, width] and its top-q columns into m->top. */
static void reverse_all(golden_case *c, kd_model *m, kd_denoiser *n, kd_reverse_rows rows, float *out) {
    kd_csr none = {0};
    golden_require(kd_reverse_prepare(c->ctx, n), "reverse");
    const float *noise = rows.noise;
    for (; rows.first < rows.x0.rows; rows.first += rows.count) {
        kd_mat x;
        rows.count = rows.x0.rows - rows.first < m->diffusion.batch ? rows.x0.rows - rows.first : m->diffusion.batch;
        rows.noise = noise ? noise + rows.first * n->shape.width : NULL;
        golden_require(kd_reverse_chain(c->ctx, &rows, n, &x), "reverse");
        golden_require(kd_mat_download(c->ctx, x, out + rows.first * n->shape.width), "reverse");
        golden_require(kd_topk_rows(c->ctx, x, none, c->config.q, m->top + rows.first * c->config.q, NULL), "top-q");
    }
}

static void compare_top(golden_case *c, const kd_model *m, const char *d, int64_t rows) {
    int32_t *top;
    golden_require(kd_host_alloc(&top, rows * c->config.q, sizeof *top, "test"), "test");
    golden_require(kd_download(c->ctx, top, m->top, rows * c->config.q * (int64_t)sizeof *top), "top-q");
    golden_compare_ints(c, golden_name("%s_topq", d), top, rows * c->config.q);
    free(top);
}

static void check_sampling(golden_case *c, kd_model *m, const char *d, kd_denoiser *n, kd_csr x0, const float *g) {
    kd_pool pool;
    kd_reverse_rows rows = {.x0 = x0, .row = m->row, .g = g};
    int64_t size = x0.rows * n->shape.width;
    float *out;
    kd_pool_init(&pool, c->ctx);
    golden_require(kd_host_alloc(&out, size, sizeof *out, "test"), "test");
    rows.sampling_steps = 2;
    rows.noise = device_floats(c, &pool, golden_name("%s_sample2_eps", d));
    reverse_all(c, m, n, rows, out);
    golden_compare(c, golden_name("%s_sample2", d), out, size);
    rows.sampling_steps = 0;
    rows.noise = NULL;
    reverse_all(c, m, n, rows, out);
    golden_compare(c, golden_name("%s_sample", d), out, size);
    compare_top(c, m, d, x0.rows);
    kd_pool_free(&pool);
    free(out);
}

/* Edges of graphs.generated as sorted (head, tail, relation). */
static void compare_generated(golden_case *c, kd_model *m) {
    const kd_kg *kg = &m->graphs.generated;
    kd_rng rng = {0};
    int64_t *ptr;
    int32_t *tail, *relation, *actual;
    golden_require(kd_kg_generate(c->ctx, &m->graphs.full, c->config.q, m->top, 1.0f, &rng, &m->graphs.generated),
                   "kg");
    golden_require(kd_host_alloc(&ptr, kg->entities + 1, sizeof *ptr, "test"), "test");
    golden_require(kd_download(c->ctx, ptr, kg->head_ptr, (kg->entities + 1) * (int64_t)sizeof *ptr), "kg");
    int64_t n = ptr[kg->entities];
    golden_require(kd_host_alloc(&tail, n, sizeof *tail, "test"), "test");
    golden_require(kd_host_alloc(&relation, n, sizeof *relation, "test"), "test");
    golden_require(kd_host_alloc(&actual, 3 * n, sizeof *actual, "test"), "test");
    golden_require(kd_download(c->ctx, tail, kg->tail, n * (int64_t)sizeof *tail), "kg");
    golden_require(kd_download(c->ctx, relation, kg->relation, n * (int64_t)sizeof *relation), "kg");
    for (int64_t h = 0; h < kg->entities; h++)
        for (int64_t k = ptr[h]; k < ptr[h + 1]; k++) {
            int64_t at = k; /* insertion by tail within the head */
            for (; at > ptr[h] && actual[3 * (at - 1) + 1] > tail[k]; at--)
                memcpy(actual + 3 * at, actual + 3 * (at - 1), 3 * sizeof *actual);
            actual[3 * at] = (int32_t)h;
            actual[3 * at + 1] = tail[k];
            actual[3 * at + 2] = relation[k];
        }
    golden_compare_ints(c, "gen_kg_edges", actual, 3 * n);
    free(ptr);
    free(tail);
    free(relation);
    free(actual);
}

static void check_kg(golden_case *c, kd_model *m) {
    kd_denoiser_guidance guidance;
    kd_denoiser *n = &m->kg_denoiser;
    kd_reverse_rows rows = {.x0 = m->graphs.neighbours, .row = m->row, .g = m->guidance.entity_mean};
    int64_t size = rows.x0.rows * n->shape.width;
    upload_weights(c, "dkg", n);
    golden_require(kd_guide_kg(m, &guidance), "guidance");
    check_training(c, m, "dkg", n, (kd_denoiser_batch){.x0 = rows.x0, .x0_transpose = rows.x0, .g = rows.g}, &guidance);
    check_sampling(c, m, "dkg", n, rows.x0, rows.g);
    compare_generated(c, m);
    if (golden_has(c, "dkg_sample_linked")) {
        float *out;
        c->config.guidance = KD_GUIDANCE_LINKED_USERS;
        golden_require(kd_guide_kg(m, &guidance), "guidance");
        golden_require(kd_host_alloc(&out, size, sizeof *out, "test"), "test");
        reverse_all(c, m, n, rows, out);
        golden_compare(c, "dkg_sample_linked", out, size);
        free(out);
        c->config.guidance = KD_GUIDANCE_ROW_INDEX;
    }
}

void golden_check_diffusion(golden_case *c, kd_model *m) {
    check_schedule(c);
    check_kg(c, m);
    for (int64_t i = 0; i < m->shape.modalities; i++) {
        kd_denoiser_guidance guidance;
        const char *d = golden_name("d%s", m->shape.modality[i]);
        char name[96];
        strncpy(name, d, sizeof name - 1);
        name[sizeof name - 1] = '\0';
        upload_weights(c, name, &m->modality_denoiser[i]);
        golden_require(kd_guide_modality(m, i, &guidance), "guidance");
        golden_require(kd_row_mean(c->ctx, m->params.user, m->guidance.user_mean), "guidance");
        check_training(c, m, name, &m->modality_denoiser[i],
                       (kd_denoiser_batch){.x0 = m->graphs.train, .x0_transpose = m->graphs.train_transpose},
                       &guidance);
        check_sampling(c, m, name, &m->modality_denoiser[i], m->graphs.train, m->guidance.user_mean);
    }
}
