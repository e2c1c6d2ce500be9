/* Schedules, denoiser losses and gradients, reverse chains, top-q and the generated knowledge graph. */
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
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

static kd_mat zeros(golden_case *c, kd_pool *pool, int64_t rows, int64_t cols) {
    kd_mat m;
    golden_require(kd_pool_mat(pool, rows, cols, "test", &m), "test");
    golden_require(kd_zero(c->ctx, m.data, rows * cols * (int64_t)sizeof(float)), "test");
    return m;
}

static void copy(golden_case *c, kd_mat from, kd_mat to) {
    golden_require(kd_add_scaled(c->ctx, 1.0f, from, 0.0f, to), "copy");
}

/* The rows of a whole array that are this rank's. */
static kd_mat local_rows(const kd_denoiser *n, kd_mat whole) {
    return kd_mat_rows(whole, n->columns.first, n->columns.count);
}

/* An array, of which this rank takes its rows. */
static void upload_rows(golden_case *c, const char *name, const kd_denoiser *n, kd_mat local) {
    kd_pool pool;
    kd_pool_init(&pool, c->ctx);
    kd_mat whole = zeros(c, &pool, n->shape.width, local.cols);
    golden_upload(c, name, whole, false);
    copy(c, local_rows(n, whole), local);
    kd_pool_free(&pool);
}

/* The in-layer is stored transposed and split at the time columns. */
static void upload_weights(golden_case *c, const char *d, kd_denoiser *n) {
    kd_pool pool;
    kd_pool_init(&pool, c->ctx);
    kd_mat input = zeros(c, &pool, n->shape.width + n->shape.time_dim, n->shape.hidden);
    golden_upload(c, golden_name("%s_param_emb_layer_weight", d), n->time_w, false);
    golden_upload(c, golden_name("%s_param_emb_layer_bias", d), n->time_b, false);
    golden_upload(c, golden_name("%s_param_in_layers_0_weight", d), input, true);
    copy(c, local_rows(n, input), n->w1);
    copy(c, kd_mat_rows(input, n->shape.width, n->shape.time_dim), n->w1_time);
    golden_upload(c, golden_name("%s_param_in_layers_0_bias", d), n->b1, false);
    upload_rows(c, golden_name("%s_param_out_layers_0_weight", d), n, n->w2);
    upload_rows(c, golden_name("%s_param_out_layers_0_bias", d), n, n->b2);
    kd_pool_free(&pool);
}

static kd_mat gradient_of(const kd_denoiser *n, kd_mat value) {
    value.data = n->gradient + (value.data - n->value);
    return value;
}

/* Rows of ranks, put together; time: the first rank's rows after them, or data NULL. */
static void compare_rows(golden_case *c, const char *name, const kd_denoiser *n, kd_mat local, kd_mat time,
                         bool transpose) {
    kd_pool pool;
    kd_pool_init(&pool, c->ctx);
    kd_mat whole = zeros(c, &pool, n->shape.width + time.rows, local.cols);
    copy(c, local, local_rows(n, whole));
    if (time.data && kd_comm_rank(c->comm) == 0) copy(c, time, kd_mat_rows(whole, n->shape.width, time.rows));
    golden_join(c, whole);
    golden_compare_mat(c, name, whole, transpose);
    kd_pool_free(&pool);
}

static void compare_gradients(golden_case *c, const char *d, const kd_denoiser *n) {
    kd_mat none = {0};
    golden_compare_mat(c, golden_name("%s_grad_emb_layer_weight", d), gradient_of(n, n->time_w), false);
    golden_compare_mat(c, golden_name("%s_grad_emb_layer_bias", d), gradient_of(n, n->time_b), false);
    compare_rows(c, golden_name("%s_grad_in_layers_0_weight", d), n, gradient_of(n, n->w1), gradient_of(n, n->w1_time),
                 true);
    golden_compare_mat(c, golden_name("%s_grad_in_layers_0_bias", d), gradient_of(n, n->b1), false);
    compare_rows(c, golden_name("%s_grad_out_layers_0_weight", d), n, gradient_of(n, n->w2), none, false);
    compare_rows(c, golden_name("%s_grad_out_layers_0_bias", d), n, gradient_of(n, n->b2), none, false);
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

/* The columns that are this rank's of a device copy of an array [rows, width]. */
static float *device_columns(golden_case *c, kd_pool *pool, const char *name, const kd_denoiser *n) {
    int64_t shape[4];
    float *host = golden_floats(c, name, shape), *whole;
    if (!host) exit(1);
    golden_require(kd_pool_upload(pool, host, shape[0] * shape[1], sizeof *host, "test", &whole), name);
    kd_mat local = zeros(c, pool, shape[0], n->columns.count);
    copy(c, kd_mat_cols(kd_mat_make(whole, shape[0], shape[1]), n->columns.first, n->columns.count), local);
    c->inputs++;
    free(host);
    return local.data;
}

/* The rows' losses: of the reconstruction ranks have shares, and of the guidance where columns are divided. */
static void compare_row_losses(golden_case *c, const kd_kdiffe *m, const char *name, int64_t count) {
    kd_pool pool;
    kd_pool_init(&pool, c->ctx);
    kd_mat both = zeros(c, &pool, 2, count);
    copy(c, kd_mat_make(m->diffusion.row_loss[0], 1, count), kd_mat_rows(both, 0, 1));
    if (kd_comm_rank(c->comm) == 0 || kd_is_divided(&m->plan->shape))
        copy(c, kd_mat_make(m->diffusion.row_loss[1], 1, count), kd_mat_rows(both, 1, 1));
    golden_join(c, both);
    golden_compare_mat(c, name, both, false);
    kd_pool_free(&pool);
}

static void check_training(golden_case *c, kd_kdiffe *m, const char *d, kd_denoiser *n, kd_denoiser_batch batch,
                           const kd_denoiser_guidance *guidance) {
    kd_pool pool;
    double loss;
    kd_pool_init(&pool, c->ctx);
    batch.row = device_ints(c, &pool, golden_name("%s_rows", d), &batch.count);
    batch.t = device_ints(c, &pool, golden_name("%s_t", d), &batch.count);
    batch.noise = device_columns(c, &pool, golden_name("%s_eps", d), n);
    if (batch.count > m->diffusion.batch) exit(1);
    if (!c->config.naive) n->output_gradient = KD_OUTPUT_GRAM; /* the batch is too short for it to be chosen */
    golden_require(kd_zero(c->ctx, c->trainer.loop.loss, sizeof(double)), d);
    golden_require(kd_denoiser_gradient(c->ctx, &batch, guidance, n, c->trainer.loop.loss), d);
    compare_row_losses(c, m, golden_name("%s_loss_rows", d), batch.count);
    golden_sum(c, c->trainer.loop.loss, 1, &loss);
    golden_compare(c, golden_name("%s_loss", d), &(float){(float)loss}, 1);
    compare_gradients(c, d, n);
    kd_pool_free(&pool);
}

/* The reverse chain of every row, compared under `name`, and its top-q columns into m->top. */
static void reverse_all(golden_case *c, kd_kdiffe *m, kd_denoiser *n, kd_reverse_rows rows, const char *name) {
    kd_pool pool;
    kd_pool_init(&pool, c->ctx);
    kd_mat whole = zeros(c, &pool, rows.x0.rows, n->shape.width);
    kd_mat local = kd_mat_cols(whole, n->columns.first, n->columns.count);
    golden_require(kd_reverse_prepare(c->ctx, n), "reverse");
    const float *noise = rows.noise;
    for (; rows.first < rows.x0.rows; rows.first += rows.count) {
        kd_mat x;
        rows.count = rows.x0.rows - rows.first < m->diffusion.batch ? rows.x0.rows - rows.first : m->diffusion.batch;
        rows.noise = noise ? noise + rows.first * n->columns.count : NULL;
        golden_require(kd_reverse_chain(c->ctx, &rows, n, &x), "reverse");
        copy(c, x, kd_mat_rows(local, rows.first, rows.count));
        golden_require(kd_reverse_best(c->ctx, n, x, c->config.q, m->top + rows.first * c->config.q), "top-q");
    }
    golden_join(c, whole);
    golden_compare_mat(c, name, whole, false);
    kd_pool_free(&pool);
}

static void compare_top(golden_case *c, const kd_kdiffe *m, const char *d, int64_t rows) {
    int32_t *top;
    golden_require(kd_host_alloc(&top, rows * c->config.q, sizeof *top, "test"), "test");
    golden_require(kd_download(c->ctx, top, m->top, rows * c->config.q * (int64_t)sizeof *top), "top-q");
    golden_compare_ints(c, golden_name("%s_topq", d), top, rows * c->config.q);
    free(top);
}

static void check_sampling(golden_case *c, kd_kdiffe *m, const char *d, kd_denoiser *n, kd_csr x0, const float *g) {
    kd_pool pool;
    kd_reverse_rows rows = {.x0 = x0, .row = m->row, .g = g};
    kd_pool_init(&pool, c->ctx);
    rows.sampling_steps = 2;
    rows.noise = device_columns(c, &pool, golden_name("%s_sample2_eps", d), n);
    reverse_all(c, m, n, rows, golden_name("%s_sample2", d));
    rows.sampling_steps = 0;
    rows.noise = NULL;
    reverse_all(c, m, n, rows, golden_name("%s_sample", d));
    compare_top(c, m, d, x0.rows);
    kd_pool_free(&pool);
}

/* Edges of graphs.generated as sorted (head, tail, relation). */
static void compare_generated(golden_case *c, kd_kdiffe *m) {
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

static void check_kg(golden_case *c, kd_kdiffe *m) {
    kd_denoiser_guidance guidance;
    kd_denoiser *n = &m->kg_denoiser;
    kd_reverse_rows rows = {.x0 = m->graphs.entity_rows, .row = m->row, .g = m->guidance.entity_mean};
    kd_denoiser_batch batch = {.x0 = rows.x0, .x0_transpose = m->graphs.entity_rows_transpose, .g = rows.g};
    upload_weights(c, "dkg", n);
    golden_require(kd_guide_kg(m, &guidance), "guidance");
    check_training(c, m, "dkg", n, batch, &guidance);
    check_sampling(c, m, "dkg", n, rows.x0, rows.g);
    compare_generated(c, m);
    if (golden_has(c, "dkg_sample_linked")) {
        c->config.guidance = KD_GUIDANCE_LINKED_USERS;
        golden_require(kd_guide_kg(m, &guidance), "guidance");
        reverse_all(c, m, n, rows, "dkg_sample_linked");
        c->config.guidance = KD_GUIDANCE_ROW_INDEX;
    }
}

void golden_check_diffusion(golden_case *c, kd_kdiffe *m) {
    check_schedule(c);
    check_kg(c, m);
    for (int64_t i = 0; i < m->plan->shape.modalities; i++) {
        kd_denoiser_guidance guidance;
        const char *d = golden_name("d%s", m->plan->shape.modality[i]);
        char name[96];
        strncpy(name, d, sizeof name - 1);
        name[sizeof name - 1] = '\0';
        upload_weights(c, name, &m->modality_denoiser[i]);
        golden_require(kd_guide_modality(m, i, &guidance), "guidance");
        golden_require(kd_guide_users(m), "guidance");
        check_training(c, m, name, &m->modality_denoiser[i],
                       (kd_denoiser_batch){.x0 = m->graphs.user_rows, .x0_transpose = m->graphs.user_rows_transpose},
                       &guidance);
        check_sampling(c, m, name, &m->modality_denoiser[i], m->graphs.user_rows, m->guidance.user_mean);
    }
}
