/* Ops that a test runs on two columns of the op table: the same inputs through both, sizes that straddle warps, vectors
 * and blocks, rows without entries and hubs. test_ops.c compares a column with the reference, test_columns.c two
 * columns. */
#ifndef KD_TESTS_SUBJECTS_H
#define KD_TESTS_SUBJECTS_H

#include "columns_fixture.h"

static void products(op_fixture *f, int64_t n, outputs *out) {
    for (int turn = 0; turn < 4; turn++) {
        bool ta = turn & 1, tb = turn & 2;
        kd_mat a = random_mat(f, ta ? 9 : n, ta ? n : 9, 2, 1), b = random_mat(f, tb ? 33 : 9, tb ? 9 : 33, 1, 2);
        kd_mat c = random_mat(f, n, 33, 3, 3), fresh = op_mat(f, n, 33, 34, NULL);
        kd_gemm_args added = {
            .transpose_a = ta, .transpose_b = tb, .alpha = 0.7f, .a = a, .b = b, .beta = 0.5f, .c = c};
        assert_ok(kd_gemm(f->ctx, &added));
        assert_ok(kd_gemm(
            f->ctx, &(kd_gemm_args){.transpose_a = ta, .transpose_b = tb, .alpha = 1.0f, .a = a, .b = b, .c = fresh}));
        keep(f, c, out);
        keep(f, fresh, out);
    }
    kd_mat x = random_mat(f, 17, n, 0, 4), w = random_mat(f, 12, n, 1, 5), bias = random_mat(f, 1, 12, 0, 6);
    kd_mat y = op_mat(f, 17, 12, 12, NULL), none = {0};
    assert_ok(kd_linear(f->ctx, true, x, w, bias, y));
    keep(f, y, out);
    assert_ok(kd_linear(f->ctx, true, x, w, none, y));
    keep(f, y, out);
    kd_mat gram = op_mat(f, n, n, n + 1, NULL);
    assert_ok(kd_gram(f->ctx, x, gram));
    keep(f, gram, out);
}
COMPARE_ON_SIZES(products)

static void rows_and_columns(op_fixture *f, int64_t n, outputs *out) {
    kd_mat x = random_mat(f, n, 37, 2, 1), tall = random_mat(f, 37, n, 1, 2), sum = random_mat(f, 1, n, 0, 3);
    kd_mat y = random_mat(f, n, 37, 0, 4), dx = random_mat(f, n, 37, 1, 5);
    float *scalar = op_copy(f, (float[2]){0.3f, -2.0f}, 2, sizeof(float)), *mean = op_zeros(f, n, sizeof *mean);
    double *loss = op_zeros(f, 1, sizeof *loss);
    assert_ok(kd_column_sum(f->ctx, tall, 0.5f, sum));
    keep(f, sum, out);
    assert_ok(kd_add_scaled(f->ctx, 0.3f, x, -1.5f, y));
    keep(f, y, out);
    assert_ok(kd_add_weighted(f->ctx, 2.0f, scalar, x, 0.0f, y));
    keep(f, y, out);
    assert_ok(kd_matrix_dot(f->ctx, x, dx, 0.25f, scalar + 1));
    keep_floats(f, scalar + 1, 1, out);
    assert_ok(kd_row_mean(f->ctx, x, mean));
    keep_floats(f, mean, n, out);
    assert_ok(kd_squared_norm(f->ctx, 0.01f, x, dx, loss));
    keep(f, dx, out);
    keep_doubles(f, loss, 1, out);
    assert_ok(kd_leaky_relu_forward(f->ctx, 0.2f, x));
    keep(f, x, out);
    assert_ok(kd_leaky_relu_backward(f->ctx, 0.2f, x, dx));
    keep(f, dx, out);
    float *share = op_zeros(f, n, sizeof *share);
    assert_ok(kd_softmax_forward(f->ctx, n, tall.data, share));
    keep_floats(f, share, n, out);
    assert_ok(kd_softmax_backward(f->ctx, n, share, tall.data, mean));
    keep_floats(f, mean, n, out);
}
COMPARE_ON_SIZES(rows_and_columns)

static void unit_rows(op_fixture *f, int64_t n, outputs *out) {
    int64_t clock = 4;
    kd_rng rng = RNG;
    rng.clock = op_copy(f, &clock, 1, sizeof clock);
    for (int dropped = 0; dropped < 2; dropped++) {
        float p = dropped ? 0.3f : 0.0f, *norm = op_zeros(f, 9, sizeof *norm);
        kd_mat x = random_mat(f, 9, n, 1, 1), up = random_mat(f, 9, n, 0, 2), dx = random_mat(f, 9, n, 2, 3);
        assert_ok(kd_unit_rows_forward(
            f->ctx, &(kd_unit_rows_forward_args){.x = x, .p = p, .rng = &rng, .y = x, .norm = norm}));
        keep(f, x, out);
        keep_floats(f, norm, 9, out);
        kd_unit_rows_backward_args gradient = {
            .alpha = 1.0f, .y = x, .norm = norm, .dy = up, .p = p, .rng = &rng, .beta = 0.5f, .dx = dx};
        assert_ok(kd_unit_rows_backward(f->ctx, &gradient));
        keep(f, dx, out);
    }
}
COMPARE_ON_SIZES(unit_rows)

static void adam(op_fixture *f, int64_t n, outputs *out) {
    const kd_adam_config config = {1e-2, 0.9, 0.999, 1e-8};
    kd_mat p = random_mat(f, 1, n, 0, 1), m = op_mat(f, 1, n, n, NULL), v = op_mat(f, 1, n, n, NULL);
    kd_cursor *cursor = op_zeros(f, 1, sizeof *cursor);
    for (uint32_t i = 0; i < 3; i++) {
        kd_mat g = random_mat(f, 1, n, 0, 10 + i);
        assert_ok(kd_adam(f->ctx, &(kd_adam_args){.config = &config,
                                                  .steps = &cursor->step,
                                                  .n = n,
                                                  .p = p.data,
                                                  .g = g.data,
                                                  .m = m.data,
                                                  .v = v.data}));
        assert_ok(kd_cursor_advance(f->ctx, 5, 0, NULL, NULL, cursor));
    }
    keep(f, p, out);
    keep(f, v, out);
    keep_int64(f, (const int64_t *)cursor, 4, out);
}
COMPARE_ON_SIZES(adam)

static void keep_groups(op_fixture *f, const kd_groups *g, outputs *out) {
    int64_t count = last_of(f, g->count, 0);
    keep_int64(f, g->count, 1, out);
    keep_int32(f, g->key, count, out);
    keep_int32(f, g->ptr, count + 1, out);
    keep_int32(f, g->member, g->capacity, out);
}

static void batches(op_fixture *f, int64_t n, outputs *out) {
    int64_t many = n * 41, first = 3;
    int32_t *order = op_zeros(f, many, sizeof *order), *negative = op_zeros(f, n, sizeof *negative);
    assert_ok(kd_permutation(f->ctx, many, &RNG, order));
    keep_int32(f, order, many, out);
    kd_csr train = sparse(f, 40, 50, false, 1);
    int32_t *user = random_ints(f, n, 40, 41), *users = op_zeros(f, n, sizeof *users),
            *batch = op_zeros(f, n, sizeof *batch);
    int32_t *host = malloc((size_t)n * sizeof *host); /* user 1 has every item */
    assert_ok(kd_download(f->ctx, host, user, n * (int64_t)sizeof *host));
    for (int64_t i = 0; i < n; i++) host[i] = host[i] == 1 ? 2 : host[i];
    assert_ok(kd_upload(f->ctx, users, host, n * (int64_t)sizeof *host));
    free(host);
    assert_ok(kd_sample_negatives(f->ctx, train, n, users, &RNG, negative));
    keep_int32(f, negative, n, out);
    int64_t *begin = op_copy(f, &first, 1, sizeof first);
    assert_ok(kd_gather(f->ctx, n, begin, order, NULL, batch));
    keep_int32(f, batch, n, out);
    int32_t *values = random_ints(f, many, 1000, 42);
    assert_ok(kd_gather(f->ctx, n, NULL, order, values, batch));
    keep_int32(f, batch, n, out);
    kd_groups groups = op_groups(f, n, users), large = op_groups(f, many, values);
    keep_groups(f, &groups, out);
    keep_groups(f, &large, out);
}
COMPARE_ON_SIZES(batches)

static void losses(op_fixture *f, int64_t n, outputs *out) {
    enum { USERS = 70, ITEMS = 130, WIDTH = 48 };
    int32_t *user = random_ints(f, n, USERS, 51), *item = random_ints(f, 2 * n, ITEMS, 52);
    double *loss = op_zeros(f, 2, sizeof *loss);
    kd_bpr_args bpr = {.count = n,
                       .batch = (double)n + 3.0,
                       .user = user,
                       .positive = item,
                       .negative = item + n,
                       .users = op_groups(f, n, user),
                       .items = op_groups(f, 2 * n, item),
                       .user_view = random_mat(f, USERS, WIDTH, 0, 1),
                       .item_view = random_mat(f, ITEMS, WIDTH, 3, 2),
                       .duser = random_mat(f, USERS, WIDTH, 0, 3),
                       .ditem = random_mat(f, ITEMS, WIDTH, 1, 4),
                       .loss = loss};
    assert_ok(kd_bpr(f->ctx, &bpr));
    keep(f, bpr.duser, out);
    keep(f, bpr.ditem, out);
    kd_split split = {0, twice, NULL};
    bpr.split = &split;
    assert_ok(kd_bpr(f->ctx, &bpr));
    keep(f, bpr.duser, out);
    keep(f, bpr.ditem, out);
    for (int64_t d = 64; d <= 100; d += 36) { /* one tile deep, and more than one */
        kd_infonce_args nce = {.count = n,
                               .temp = 0.7f,
                               .weight = 0.5f,
                               .nodes = op_groups(f, n, item),
                               .a = random_mat(f, n + 3, d, 0, 5),
                               .b = random_mat(f, ITEMS, d, 2, 6),
                               .da = random_mat(f, n + 3, d, 1, 7),
                               .db = random_mat(f, ITEMS, d, 0, 8),
                               .loss = loss + 1};
        float *norm = op_zeros(f, ITEMS + n, sizeof *norm);
        assert_ok(kd_unit_rows_forward(f->ctx, &(kd_unit_rows_forward_args){.x = nce.a, .y = nce.a, .norm = norm}));
        assert_ok(kd_unit_rows_forward(f->ctx, &(kd_unit_rows_forward_args){.x = nce.b, .y = nce.b, .norm = norm}));
        assert_ok(kd_infonce(f->ctx, &nce));
        keep(f, nce.da, out);
        keep(f, nce.db, out);
        kd_infonce_args share = nce; /* a rank's: some of the keys */
        share.first_key = ITEMS / 3;
        share.b = kd_mat_rows(nce.b, share.first_key, ITEMS / 2);
        share.db = kd_mat_rows(nce.db, share.first_key, ITEMS / 2);
        assert_ok(kd_infonce(f->ctx, &share));
        keep(f, nce.da, out);
        keep(f, nce.db, out);
    }
    keep_doubles(f, loss, 2, out);
}
COMPARE_ON_SIZES(losses)

static void diffusion(op_fixture *f, int64_t n, outputs *out) {
    enum { ROWS = 33, BATCH = 41, STEPS = 5 };
    kd_csr x0 = sparse(f, ROWS, n, false, 1);
    int32_t *row = random_ints(f, BATCH, ROWS, 61), *t = op_zeros(f, BATCH, sizeof *t);
    float *table = op_copy(f, (float[STEPS]){0.9f, 0.8f, 0.6f, 0.4f, 0.1f}, STEPS, sizeof(float));
    float *sigma = op_copy(f, (float[STEPS]){0.1f, 0.2f, 0.4f, 0.6f, 0.9f}, STEPS, sizeof(float));
    float *row_loss = op_zeros(f, BATCH, sizeof *row_loss);
    double *loss = op_zeros(f, 2, sizeof *loss);
    kd_mat g = random_mat(f, 1, ROWS, 0, 2), x = op_mat(f, BATCH, n, n + 1, NULL);
    assert_ok(kd_diffusion_steps(f->ctx, BATCH, row, STEPS, &RNG, t));
    keep_int32(f, t, BATCH, out);
    kd_q_sample_args q = {.x0 = x0,
                          .row = row,
                          .t = t,
                          .signal = table,
                          .sigma = sigma,
                          .g = g.data,
                          .p = 0.5f,
                          .noise_rng = {1, KD_RNG_NOISE, 0, 2, NULL},
                          .drop_rng = {1, KD_RNG_INPUT_DROPOUT, 0, 2, NULL},
                          .x = x};
    assert_ok(kd_q_sample(f->ctx, &q));
    keep(f, x, out);
    q.first = 8;
    assert_ok(kd_q_sample(f->ctx, &q));
    keep(f, x, out);
    q.p = 0.0f;
    q.noise = random_mat(f, BATCH, n, 0, 3).data;
    assert_ok(kd_q_sample(f->ctx, &q));
    keep(f, x, out);
    kd_mat p = random_mat(f, BATCH, n, 2, 4), steps = random_mat(f, STEPS, n, 0, 5), up = random_mat(f, BATCH, n, 0, 6);
    kd_mat dtable = random_mat(f, STEPS, n, 1, 7);
    assert_ok(kd_hidden_forward(f->ctx, p, steps, t, p));
    keep(f, p, out);
    assert_ok(kd_hidden_backward(f->ctx, p, t, up, dtable));
    keep(f, up, out);
    keep(f, dtable, out);
    assert_ok(kd_denoise_loss(f->ctx, &(kd_denoise_loss_args){.x0 = x0,
                                                              .row = row,
                                                              .t = t,
                                                              .weight = sigma,
                                                              .width = n + 3,
                                                              .out = x,
                                                              .row_loss = row_loss,
                                                              .loss = loss}));
    keep(f, x, out);
    keep_floats(f, row_loss, BATCH, out);
    for (int values = 0; values < 2; values++) {
        kd_gram_loss_args gram = {.x0 = sparse(f, ROWS, n, values, 9),
                                  .row = row,
                                  .t = t,
                                  .weight = sigma,
                                  .width = n + 1,
                                  .h = random_mat(f, BATCH, 44, 0, 10),
                                  .dh = random_mat(f, BATCH, 44, 1, 11),
                                  .xw = random_mat(f, BATCH, 44, 0, 12),
                                  .row_loss = row_loss,
                                  .loss = loss};
        assert_ok(kd_gram_loss(f->ctx, &gram));
        keep(f, gram.dh, out);
        keep(f, gram.xw, out);
        keep_floats(f, row_loss, BATCH, out);
    }
    kd_mat target = random_mat(f, ROWS, n, 1, 8);
    kd_guidance_loss_args whole = {
        .target = target, .row = row, .weight = 0.3f, .width = n, .y = p, .row_loss = row_loss, .loss = loss + 1};
    assert_ok(kd_guidance_loss(f->ctx, &whole));
    keep(f, p, out);
    keep_floats(f, row_loss, BATCH, out);
    kd_guidance_loss_args part = {
        .target = target, .row = row, .weight = 0.3f, .width = n + 2, .y = p, .row_loss = row_loss};
    assert_ok(kd_guidance_loss(f->ctx, &part));
    keep(f, p, out);
    keep_floats(f, row_loss, BATCH, out);
    keep_doubles(f, loss, 2, out);
}
COMPARE_ON_SIZES(diffusion)

/* The best of three ranges of columns, the second of which may be empty, are the best of all. */
static void merge_parts(op_fixture *f, kd_mat x, int64_t k, outputs *out) {
    enum { PARTS = 3 };
    int64_t n = x.rows * k, first[PARTS + 1] = {0, x.cols / 3, x.cols / 2, x.cols};
    int32_t at[PARTS], *index = op_zeros(f, PARTS * n, sizeof *index), *top = op_zeros(f, 2 * n, sizeof *top);
    int32_t *host = malloc((size_t)(2 * n) * sizeof *host);
    float *value = op_zeros(f, PARTS * n, sizeof *value);
    kd_csr none = {0};
    for (int p = 0; p < PARTS; p++) {
        at[p] = (int32_t)first[p];
        assert_ok(kd_topk_rows(f->ctx, kd_mat_cols(x, first[p], first[p + 1] - first[p]), none, k, index + p * n,
                               value + p * n));
    }
    assert_ok(kd_merge_top(f->ctx, &(kd_merge_top_args){.rows = x.rows,
                                                        .k = k,
                                                        .parts = PARTS,
                                                        .first = op_copy(f, at, PARTS, sizeof *at),
                                                        .index = index,
                                                        .value = value,
                                                        .top = top}));
    assert_ok(kd_topk_rows(f->ctx, x, none, k, top + n, NULL));
    assert_ok(kd_download(f->ctx, host, top, 2 * n * (int64_t)sizeof *host));
    assert_memory_equal(host, host + n, (size_t)n * sizeof *host);
    keep_int32(f, top, n, out);
    free(host);
}

static void ranking(op_fixture *f, int64_t n, outputs *out) {
    enum { ROWS = 35 };
    kd_mat x = random_mat(f, ROWS, n, 1, 1);
    kd_csr mask = sparse(f, ROWS, n, false, 2), held = sparse(f, ROWS, n, false, 3), none = {0};
    int64_t k = n < 20 ? n : 20, cuts[2] = {(k + 1) / 2, k}, count = k > 1 ? 2 : 1;
    int32_t *index = op_zeros(f, ROWS * n, sizeof *index);
    float *value = op_zeros(f, ROWS * n, sizeof *value);
    double *sums = op_zeros(f, 7, sizeof *sums);
    if (k == 1) cuts[0] = 1;
    assert_ok(kd_topk_rows(f->ctx, x, none, n, index, NULL));
    keep_int32(f, index, ROWS * n, out);
    assert_ok(kd_topk_rows(f->ctx, x, mask, k, index, value));
    keep_int32(f, index, ROWS * k, out);
    kd_rank_metrics_args metrics = {
        .rows = ROWS, .k = k, .index = index, .held_out = held, .topk_count = count, .topk = cuts, .sums = sums};
    assert_ok(kd_rank_metrics(f->ctx, &metrics));
    keep_doubles(f, sums, 3 * count + 1, out);
    merge_parts(f, x, k, out);
}
COMPARE_ON_SIZES(ranking)

#endif
