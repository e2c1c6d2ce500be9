/* The CUDA column against the CPU column, op by op: the same inputs through both, integers equal, floats to 1e-5 of the
 * largest. Runs where a CUDA device is to be had: a GPU, or the stand-in of tests/emu. */
#include "columns_fixture.h"

static const int64_t SIZES[] = {1, 7, 8, 31, 32, 33, 63, 64, 65, 257};
enum { SIZE_COUNT = sizeof SIZES / sizeof SIZES[0] };
static const kd_rng RNG = {11, KD_RNG_MESSAGE_DROPOUT, 2, 3, NULL};

static void on_sizes(void **state, const char *name, subject *run) {
    const char *most = getenv("KDIFFE_TEST_MOST"); /* the largest size, where kernels are instrumented */
    for (int i = 0; i < SIZE_COUNT; i++)
        if (!most || SIZES[i] <= atoll(most)) on_both(*state, name, run, SIZES[i]);
}
#define COMPARE_ON_SIZES(name) \
    static void name##_agree(void **state) { on_sizes(state, #name, name); }

/* A CSR of rows x cols: row 0 empty, row 1 full (a hub), the others (5 r) % 7 entries; ptr begins at 2 to be a range of
 * a larger one. */
static kd_csr sparse(op_fixture *f, int64_t rows, int64_t cols, bool values, uint32_t what) {
    int64_t n = 2, *ptr = malloc((size_t)(rows + 1) * sizeof *ptr);
    int32_t *col = malloc((size_t)((rows + 2) * cols + 2) * sizeof *col);
    float *val;
    col[0] = col[1] = 0;
    ptr[0] = n;
    for (int64_t r = 0; r < rows; r++) {
        int64_t degree = r == 1 ? cols : 5 * r % 7 < cols ? 5 * r % 7 : cols;
        for (int64_t k = 0; k < degree; k++) col[n++] = (int32_t)(k * cols / degree);
        ptr[r + 1] = n;
    }
    val = op_host(n, what);
    kd_csr a = {rows, cols, op_copy(f, ptr, rows + 1, sizeof *ptr), op_copy(f, col, n, sizeof *col),
                values ? op_copy(f, val, n, sizeof *val) : NULL};
    free(ptr);
    free(col);
    free(val);
    return a;
}

static void products(op_fixture *f, int64_t n, outputs *out) {
    for (int turn = 0; turn < 4; turn++) {
        bool ta = turn & 1, tb = turn & 2;
        kd_mat a = random_mat(f, ta ? 9 : n, ta ? n : 9, 2, 1), b = random_mat(f, tb ? 33 : 9, tb ? 9 : 33, 1, 2);
        kd_mat c = random_mat(f, n, 33, 3, 3), fresh = op_mat(f, n, 33, 34, NULL);
        assert_ok(kd_gemm(f->ctx, ta, tb, 0.7f, a, b, 0.5f, c));
        assert_ok(kd_gemm(f->ctx, ta, tb, 1.0f, a, b, 0.0f, fresh));
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
        assert_ok(kd_unit_rows_forward(f->ctx, NULL, x, p, &rng, x, norm));
        keep(f, x, out);
        keep_floats(f, norm, 9, out);
        assert_ok(kd_unit_rows_backward(f->ctx, NULL, 1.0f, x, norm, up, p, &rng, 0.5f, dx));
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
        assert_ok(kd_adam(f->ctx, &config, &cursor->step, n, p.data, g.data, m.data, v.data));
        assert_ok(kd_cursor_advance(f->ctx, 5, 0, NULL, NULL, cursor));
    }
    keep(f, p, out);
    keep(f, v, out);
    keep_int64(f, (const int64_t *)cursor, 4, out);
}
COMPARE_ON_SIZES(adam)

static void message_passing(op_fixture *f, int64_t n, outputs *out) {
    for (int values = 0; values < 2; values++) {
        kd_csr a = sparse(f, 40, 600, values, 1), b = sparse(f, n, n + 3, values, 2);
        kd_mat x = random_mat(f, 600, n, 0, 3), y = random_mat(f, 40, n, 1, 4), c = {0};
        kd_mat wide = random_mat(f, n + 3, 192, 0, 5), to = op_mat(f, n, 192, 196, NULL);
        assert_ok(kd_spmm(f->ctx, 2.0f, a, x, 0.5f, y, y));
        keep(f, y, out);
        assert_ok(kd_spmm(f->ctx, 1.0f, b, wide, 0.0f, c, to));
        keep(f, to, out);
    }
}
COMPARE_ON_SIZES(message_passing)

/* Unit rows, their gradients and products of the rows that a batch names, some of them twice; the others stay. */
static void rows_of_a_batch(op_fixture *f, int64_t n, outputs *out) {
    enum { ROWS = 300 };
    int32_t *node = random_ints(f, n, ROWS, 81);
    kd_groups only = op_groups(f, n, node);
    kd_csr a = sparse(f, ROWS, 50, true, 1);
    kd_mat x = random_mat(f, 50, 68, 0, 2), y = random_mat(f, ROWS, 68, 0, 3), to = random_mat(f, ROWS, 68, 4, 4);
    float *norm = op_zeros(f, ROWS, sizeof *norm);
    assert_ok(kd_spmm_rows(f->ctx, &only, 0.5f, a, x, 1.0f, y, to));
    keep(f, to, out);
    assert_ok(kd_spmm_rows(f->ctx, &only, 1.0f, a, x, 0.0f, (kd_mat){0}, y));
    keep(f, y, out);
    assert_ok(kd_unit_rows_forward(f->ctx, &only, y, 0.3f, &RNG, to, norm));
    keep(f, to, out);
    keep_floats(f, norm, ROWS, out);
    for (int64_t r = 0; r < ROWS; r++) assert_ok(kd_upload(f->ctx, norm + r, (float[]){1.0f + (float)r}, sizeof *norm));
    assert_ok(kd_unit_rows_backward(f->ctx, &only, 0.7f, to, norm, y, 0.3f, &RNG, 0.5f, y));
    keep(f, y, out);
}
COMPARE_ON_SIZES(rows_of_a_batch)

/* A batch of 1, 4, 7, ... below n of the rows of a matrix with a hub, in no order. */
static void message_passing_of_a_batch(op_fixture *f, int64_t n, outputs *out) {
    int32_t *host = malloc((size_t)n * sizeof *host);
    int64_t count = 0;
    for (int64_t r = n - 1 - (n + 1) % 3; r > 0; r -= 3) host[count++] = (int32_t)r;
    int32_t *row = op_copy(f, host, count, sizeof *row), *place = op_zeros(f, n, sizeof *place);
    free(host);
    assert_ok(kd_place_rows(f->ctx, count, row, n, place));
    keep_int32(f, place, n, out);
    for (int values = 0; values < 2; values++) {
        kd_csr a = sparse(f, n, 700, values, 1), turned = sparse(f, 700, n, values, 2);
        kd_mat x = random_mat(f, 700, 36, 0, 3), y = random_mat(f, count, 36, 1, 4), to = random_mat(f, 700, 36, 3, 5);
        assert_ok(kd_spmm_batch(f->ctx, 2.0f, a, row, NULL, x, 1.0f, y));
        keep(f, y, out);
        assert_ok(kd_spmm_batch(f->ctx, -0.5f, turned, NULL, place, y, 1.0f, to));
        keep(f, to, out);
        assert_ok(kd_spmm_batch(f->ctx, 1.0f, turned, NULL, place, y, 0.0f, to));
        keep(f, to, out);
    }
}
COMPARE_ON_SIZES(message_passing_of_a_batch)

/* `n` entities; entity 0 without edges, entity 1 the head of many and entity 2 the tail of many. */
static kd_kg knowledge_graph(op_fixture *f, int64_t n, int64_t relations) {
    int64_t hub = n > 3 ? 600 : 3, most = hub * 2 + n * 4 + 8, edges = 0;
    int64_t *head_ptr = calloc((size_t)n + 1, sizeof *head_ptr), *tail_ptr = calloc((size_t)n + 1, sizeof *tail_ptr);
    int32_t *tail = calloc((size_t)most, sizeof *tail), *relation = calloc((size_t)most, sizeof *relation);
    int32_t *in_head = calloc((size_t)most, sizeof *in_head);
    int64_t *in_edge = calloc((size_t)most, sizeof *in_edge), at = 0;
    for (int64_t h = 0; h < n; h++) {
        int64_t degree = h == 0 ? 0 : h == 1 ? hub : 1 + h % 4;
        for (int64_t k = 0; k < degree; k++) {
            tail[edges] = (int32_t)(h > 2 && k == 0 ? 2 : draw_below(21, edges, (uint32_t)n));
            relation[edges] = (int32_t)draw_below(22, edges, (uint32_t)relations);
            edges++;
        }
        head_ptr[h + 1] = edges;
    }
    for (int64_t t = 0; t < n; t++) {
        for (int64_t h = 0; h < n; h++)
            for (int64_t k = head_ptr[h]; k < head_ptr[h + 1]; k++)
                if (tail[k] == t) {
                    in_head[at] = (int32_t)h;
                    in_edge[at++] = k;
                }
        tail_ptr[t + 1] = at;
    }
    kd_kg kg = {n,
                relations,
                most,
                op_copy(f, head_ptr, n + 1, sizeof *head_ptr),
                op_copy(f, tail, most, sizeof *tail),
                op_copy(f, relation, most, sizeof *relation),
                op_copy(f, tail_ptr, n + 1, sizeof *tail_ptr),
                op_copy(f, in_head, most, sizeof *in_head),
                op_copy(f, in_edge, most, sizeof *in_edge)};
    free(head_ptr);
    free(tail_ptr);
    free(tail);
    free(relation);
    free(in_head);
    free(in_edge);
    return kg;
}

static void attention(op_fixture *f, int64_t n, outputs *out) {
    int64_t d = n < 64 ? 64 : 33, relations = 1 + n % 6;
    kd_kg kg = knowledge_graph(f, n, relations);
    kd_mat e = random_mat(f, n, d, 1, 1), rh = random_mat(f, relations, d, 0, 2),
           rt = random_mat(f, relations, d, 0, 3);
    kd_mat agg = op_mat(f, n, d, d, NULL), up = random_mat(f, n, d, 0, 4), de = random_mat(f, n, d, 0, 5);
    kd_mat drh = random_mat(f, relations, d, 0, 6), drt = random_mat(f, relations, d, 2, 7);
    float *logit = op_zeros(f, kg.capacity, sizeof *logit), *alpha = op_zeros(f, kg.capacity, sizeof *alpha);
    int64_t edges = last_of(f, kg.head_ptr, n);
    assert_ok(kd_rgat_forward(f->ctx, &kg, 0.2f, e, rh, rt, logit, alpha, agg));
    keep(f, agg, out);
    keep_floats(f, alpha, edges, out);
    assert_ok(kd_rgat_backward(f->ctx, &kg, 0.2f, e, rh, rt, logit, alpha, up, de, drh, drt));
    keep_floats(f, logit, edges, out);
    keep(f, de, out);
    keep(f, drh, out);
    keep(f, drt, out);
}
COMPARE_ON_SIZES(attention)

static void keep_kg(op_fixture *f, const kd_kg *kg, outputs *out) {
    int64_t edges = last_of(f, kg->head_ptr, kg->entities);
    keep_int64(f, kg->head_ptr, kg->entities + 1, out);
    keep_int32(f, kg->tail, edges, out);
    keep_int32(f, kg->relation, edges, out);
    keep_int64(f, kg->tail_ptr, kg->entities + 1, out);
    keep_int32(f, kg->in_head, edges, out);
    keep_int64(f, kg->in_edge, edges, out);
}

static void rebuilt_graphs(op_fixture *f, int64_t n, outputs *out) {
    kd_kg full = knowledge_graph(f, n, 4), made = knowledge_graph(f, n, 4);
    int64_t q = n < 3 ? 1 : 3, items = 7 + n / 3, users = n;
    int32_t *top = random_ints(f, n * q, (uint32_t)n, 31);
    assert_ok(kd_kg_generate(f->ctx, &full, q, top, 0.8f, &RNG, &made));
    keep_kg(f, &made, out);
    int32_t *chosen = malloc((size_t)(users * q) * sizeof *chosen);
    for (int64_t u = 0; u < users; u++)
        for (int64_t k = 0; k < q; k++) /* distinct; item 0 is everybody's */
            chosen[u * q + k] = (int32_t)(k == 0 ? 0 : 1 + (draw_below(32, u, 100) + (uint32_t)k * 3) % (items - 1));
    int32_t *sampled = op_copy(f, chosen, users * q, sizeof *chosen);
    kd_modality_graph g = {users + items, users, q, op_zeros(f, users + items + 1, sizeof(int64_t)), NULL, NULL, NULL};
    int64_t most = g.nodes + 2 * users * q;
    g.col = op_zeros(f, most, sizeof *g.col);
    g.val = op_zeros(f, most, sizeof *g.val);
    g.val_transpose = op_zeros(f, most, sizeof *g.val_transpose);
    assert_ok(kd_modality_graph_build(f->ctx, sampled, 0.6f, &RNG, &g));
    keep_int64(f, g.row_ptr, g.nodes + 1, out);
    keep_int32(f, g.col, most, out);
    keep_floats(f, g.val, most, out);
    keep_floats(f, g.val_transpose, most, out);
    free(chosen);
}
COMPARE_ON_SIZES(rebuilt_graphs)

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
    for (int64_t d = 64; d <= 100; d += 36) { /* one tile deep, and more than one */
        kd_infonce_args nce = {.count = n,
                               .temp = 0.7f,
                               .weight = 0.5f,
                               .nodes = op_groups(f, n, item),
                               .a = random_mat(f, ITEMS, d, 0, 5),
                               .b = random_mat(f, ITEMS, d, 2, 6),
                               .da = random_mat(f, ITEMS, d, 1, 7),
                               .db = random_mat(f, ITEMS, d, 0, 8),
                               .loss = loss + 1};
        float *norm = op_zeros(f, ITEMS, sizeof *norm);
        assert_ok(kd_unit_rows_forward(f->ctx, NULL, nce.a, 0.0f, NULL, nce.a, norm));
        assert_ok(kd_unit_rows_forward(f->ctx, NULL, nce.b, 0.0f, NULL, nce.b, norm));
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
    assert_ok(kd_denoise_loss(f->ctx, x0, row, t, sigma, x.rows + 3, x, row_loss, loss));
    keep(f, x, out);
    keep_floats(f, row_loss, BATCH, out);
    for (int values = 0; values < 2; values++) {
        kd_gram_loss_args gram = {.x0 = sparse(f, ROWS, n, values, 9),
                                  .row = row,
                                  .t = t,
                                  .weight = sigma,
                                  .batch = BATCH + 1,
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
    assert_ok(kd_guidance_loss(f->ctx, target, row, 0.3f, p.rows + 2, p, row_loss, loss + 1));
    keep(f, p, out);
    keep_floats(f, row_loss, BATCH, out);
    keep_doubles(f, loss, 2, out);
}
COMPARE_ON_SIZES(diffusion)

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
    assert_ok(kd_rank_metrics(f->ctx, ROWS, k, index, held, count, cuts, sums));
    keep_doubles(f, sums, 3 * count + 1, out);
}
COMPARE_ON_SIZES(ranking)

/* n users and n / 2 + 1 items; item 0 is everybody's, user 1 has no other, the last item nobody's. */
static kd_csr walked_graph(op_fixture *f, int64_t n) {
    int64_t items = n / 2 + 2, nodes = n + items, *ptr = calloc((size_t)nodes + 1, sizeof *ptr), at = 0;
    uint8_t *edge = calloc((size_t)(n * items), 1);
    int32_t *col;
    for (int64_t u = 0; u < n; u++)
        for (int64_t i = 0; i + 1 < items; i++)
            edge[u * items + i] = i == 0 || (u != 1 && draw_below(71, u * items + i, 100) < 10);
    col = malloc((size_t)(2 * n * items) * sizeof *col);
    for (int64_t v = 0; v < nodes; v++) {
        for (int64_t w = 0; w < nodes; w++) {
            int64_t u = v < n ? v : w, i = (v < n ? w : v) - n;
            if ((v < n) != (w < n) && edge[u * items + i]) col[at++] = (int32_t)w;
        }
        ptr[v + 1] = at;
    }
    kd_csr a = {nodes, nodes, op_copy(f, ptr, nodes + 1, sizeof *ptr), op_copy(f, col, at, sizeof *col), NULL};
    free(ptr);
    free(col);
    free(edge);
    return a;
}

/* Visits of starts from `first` on, with room for every node and `gap` places before the first list. */
static kd_visits make_visits(op_fixture *f, kd_csr graph, int64_t first, int64_t starts, int64_t gap, int64_t *end) {
    int64_t *room = malloc((size_t)(starts + 1) * sizeof *room);
    for (int64_t i = 0; i <= starts; i++) room[i] = gap + i * graph.rows;
    kd_visits v = {first, starts, op_copy(f, room, starts + 1, sizeof *room),
                   op_zeros(f, room[starts], sizeof(int32_t)), end};
    free(room);
    return v;
}

static void walk_by(op_fixture *f, int method, kd_csr graph, kd_mat score, kd_visits *v) {
    const kd_walk_config config = {3, 13, 0.2f};
    const kd_rng rng = {5, KD_RNG_WALK, 0, 0, NULL};
    kd_mat own = kd_mat_cols(score, v->first, v->starts);
    assert_ok(kd_workspace_reserve(f->ctx, kd_walk_workspace(f->ctx, graph.rows, config.steps)));
    if (method == 0) assert_ok(kd_walk_cumulative(f->ctx, graph, &config, &rng, v));
    if (method == 1) assert_ok(kd_walk_node(f->ctx, graph, &config, &rng, v));
    if (method == 2) assert_ok(kd_visits_above(f->ctx, graph, v->first, own, 0.5f, v));
}

/* All starts, then a rank's: a range of them, packed elsewhere, and a range of rows compared. */
static void walks(op_fixture *f, int64_t n, outputs *out) {
    kd_csr graph = walked_graph(f, n);
    int64_t nodes = graph.rows, edges = last_of(f, graph.row_ptr, nodes), first = nodes / 3;
    kd_mat score = random_mat(f, nodes, nodes, 1, 72);
    for (int method = 0; method < 3; method++) {
        int64_t *end = op_zeros(f, edges, sizeof *end), *own_end = op_zeros(f, edges, sizeof *own_end);
        float *jaccard = op_zeros(f, edges, sizeof *jaccard), *own_jaccard = op_zeros(f, edges, sizeof *own_jaccard);
        kd_visits visits = make_visits(f, graph, 0, nodes, 0, end);
        kd_visits own = make_visits(f, graph, first, nodes / 2, 0, own_end);
        kd_visits packed = make_visits(f, graph, 0, nodes, 5, own_end);
        walk_by(f, method, graph, score, &visits);
        walk_by(f, method, graph, score, &own);
        assert_ok(kd_visits_pack(f->ctx, graph, &own, &packed));
        assert_ok(kd_prefix_jaccard(f->ctx, graph, 0, nodes, &visits, jaccard));
        assert_ok(kd_prefix_jaccard(f->ctx, graph, n + 1, nodes - n - 1, &visits, own_jaccard));
        keep_int32(f, visits.node, nodes * nodes, out);
        keep_int64(f, end, edges, out);
        keep_floats(f, jaccard, edges, out);
        keep_int32(f, packed.node, 5 + nodes * nodes, out);
        keep_int64(f, own_end, edges, out);
        keep_floats(f, own_jaccard, edges, out);
    }
}
COMPARE_ON_SIZES(walks)

typedef struct replayed {
    kd_cursor *cursor;
    int32_t *order, *batch;
    int64_t count;
    kd_mat x, sum;
    double *slot, *log;
} replayed;

/* Something that a replay must do anew: a batch by the cursor, a draw by its clock, a loss in the log. */
static kd_status replayed_step(kd_ctx *ctx, void *arg) {
    replayed *r = arg;
    float *norm = (float *)r->slot + 2;
    kd_rng rng = RNG;
    rng.clock = &r->cursor->step;
    kd_status status = kd_gather(ctx, r->count, &r->cursor->first, r->order, NULL, r->batch + 0);
    if (status == KD_OK) status = kd_unit_rows_forward(ctx, NULL, r->x, 0.4f, &rng, r->sum, norm);
    if (status == KD_OK) status = kd_squared_norm(ctx, 0.5f, r->sum, r->x, r->slot);
    return status != KD_OK ? status : kd_cursor_advance(ctx, r->count, 1, r->slot, r->log, r->cursor);
}

static void replays(op_fixture *f, int64_t n, outputs *out) {
    kd_recording *recording = NULL;
    replayed r = {.cursor = op_zeros(f, 1, sizeof *r.cursor),
                  .order = random_ints(f, 4 * n, 1000, 81),
                  .batch = op_zeros(f, n, sizeof *r.batch),
                  .count = n,
                  .x = random_mat(f, 1, n, 0, 82),
                  .sum = op_mat(f, 1, n, n, NULL),
                  .slot = op_zeros(f, 4, sizeof *r.slot),
                  .log = op_zeros(f, 4, sizeof *r.log)};
    assert_ok(kd_cursor_begin(f->ctx, 7, r.cursor));
    for (int i = 0; i < 4; i++) {
        assert_ok(kd_replay(f->ctx, replayed_step, &r, &recording));
        keep_int32(f, r.batch, n, out);
        keep(f, r.sum, out);
    }
    keep(f, r.x, out);
    keep_doubles(f, r.log, 4, out);
    keep_int64(f, (const int64_t *)r.cursor, 4, out);
    kd_recording_free(f->ctx, &recording);
    kd_recording_free(f->ctx, &recording);
}
COMPARE_ON_SIZES(replays)

static kd_status wait_inside(kd_ctx *ctx, void *arg) {
    (void)arg;
    return kd_synchronize(ctx);
}

static void a_wait_cannot_be_recorded(void **state) {
    both *c = *state;
    kd_recording *recording = NULL;
    assert_int_equal(kd_replay(c->column[1].ctx, wait_inside, NULL, &recording), KD_ERR_CUDA);
    assert_null(recording);
    assert_ok(kd_synchronize(c->column[1].ctx));
}

static int set_up(void **state) {
    both *c = calloc(1, sizeof *c);
    kd_device device[2] = {KD_DEVICE_CPU, KD_DEVICE_CUDA};
    for (int i = 0; i < 2; i++)
        if (kd_ctx_open((kd_compute){.device = device[i], .threads = 2, .precision = KD_PRECISION_FP32},
                        &c->column[i].ctx) != KD_OK ||
            kd_workspace_reserve(c->column[i].ctx, 64 << 20) != KD_OK)
            return -1;
    *state = c;
    return 0;
}

static int tear_down(void **state) {
    both *c = *state;
    for (int i = 0; i < 2; i++) kd_ctx_close(c->column[i].ctx);
    free(c);
    return 0;
}

static void needs_a_device(void **state) {
    (void)state;
    print_message("skipped: CPU against CUDA, op by op: %s\n", kd_last_error());
    skip();
}

int main(void) {
    const struct CMUnitTest device[] = {cmocka_unit_test(needs_a_device)};
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_agree),
                                       cmocka_unit_test(rows_and_columns_agree),
                                       cmocka_unit_test(unit_rows_agree),
                                       cmocka_unit_test(adam_agree),
                                       cmocka_unit_test(message_passing_agree),
                                       cmocka_unit_test(rows_of_a_batch_agree),
                                       cmocka_unit_test(message_passing_of_a_batch_agree),
                                       cmocka_unit_test(attention_agree),
                                       cmocka_unit_test(rebuilt_graphs_agree),
                                       cmocka_unit_test(batches_agree),
                                       cmocka_unit_test(losses_agree),
                                       cmocka_unit_test(diffusion_agree),
                                       cmocka_unit_test(ranking_agree),
                                       cmocka_unit_test(walks_agree),
                                       cmocka_unit_test(replays_agree),
                                       cmocka_unit_test(a_wait_cannot_be_recorded)};
    kd_ctx *ctx;
    cmocka_set_test_filter(getenv("KDIFFE_TEST_FILTER")); /* instrumented stand-ins are slow: CI picks */
    if (kd_ctx_open((kd_compute){.device = KD_DEVICE_CUDA, .threads = 1, .precision = KD_PRECISION_FP32}, &ctx) !=
        KD_OK)
        return cmocka_run_group_tests_name("columns", device, NULL, NULL);
    kd_ctx_close(ctx);
    return cmocka_run_group_tests_name("columns", tests, set_up, tear_down);
}
