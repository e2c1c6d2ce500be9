/* As subjects.h: ops over graphs. */
#ifndef KD_TESTS_GRAPH_SUBJECTS_H
#define KD_TESTS_GRAPH_SUBJECTS_H

#include "columns_fixture.h"

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

/* Rows that a GPU divides over many blocks, beside empty and short ones, ones that end with a block or a warp, and at
 * both ends; all of them, listed ones, and some columns. n is the width. */
static void hubs(op_fixture *f, int64_t n, outputs *out) {
    enum { ROWS = 24, COLUMNS = 6000 };
    static const int64_t LENGTH[ROWS] = {5000, 0, 0, 64, 65, 513, 1, 2047, 2048, 2049, 0,  447,
                                         3,    3, 3, 0,  0,  0,   0, 511,  6000, 0,    31, 4097};
    static const int32_t LISTED[] = {20, 0, 2, 23, 7, 6, 19, 22};
    enum { COUNT = sizeof LISTED / sizeof LISTED[0] };
    int32_t *row = op_copy(f, LISTED, COUNT, sizeof *row), *place = op_zeros(f, COLUMNS, sizeof *place);
    int32_t *some = random_ints(f, 500, COLUMNS, 9);
    kd_groups only = op_groups(f, COUNT, row), places = op_groups(f, 500, some);
    int64_t distinct = last_of(f, places.count, 0);
    kd_csr a = sparse_rows(f, ROWS, LENGTH, COLUMNS, 1);
    kd_mat x = random_mat(f, COLUMNS, n, 0, 2), y = random_mat(f, ROWS, n, 3, 3), c = random_mat(f, ROWS, n, 0, 4);
    kd_mat listed = random_mat(f, COUNT, n, 0, 5);
    assert_ok(kd_spmm(f->ctx, 0.5f, a, x, 2.0f, c, y));
    keep(f, y, out);
    assert_ok(kd_spmm_rows(
        f->ctx, &(kd_spmm_rows_args){.only = &only, .alpha = 1.0f, .a = a, .x = x, .beta = 1.0f, .c = c, .y = y}));
    keep(f, y, out);
    assert_ok(kd_spmm_batch(
        f->ctx, &(kd_spmm_batch_args){.alpha = 1.0f, .a = a, .row = row, .x = x, .beta = 1.0f, .y = listed}));
    keep(f, listed, out);
    assert_ok(kd_place_rows(f->ctx, distinct, places.key, COLUMNS, place));
    assert_ok(kd_spmm_batch(
        f->ctx, &(kd_spmm_batch_args){.alpha = 1.0f, .a = a, .place = place, .x = x, .beta = 1.0f, .y = y}));
    keep(f, y, out);
}
static void hubs_agree(void **state) {
    static const int64_t WIDTH[] = {8, 33, 64, 257};
    const char *most = getenv("KDIFFE_TEST_MOST");
    for (int i = 0; i < 4; i++)
        if (!most || WIDTH[i] <= atoll(most)) on_both(*state, "hubs", hubs, WIDTH[i]);
}

/* Unit rows, also of divided rows, their gradients and products of the rows that a batch names, some of them twice, and
 * these rows apart; the others stay. */
static void rows_of_a_batch(op_fixture *f, int64_t n, outputs *out) {
    enum { ROWS = 300 };
    int32_t *node = random_ints(f, n, ROWS, 81);
    kd_groups only = op_groups(f, n, node);
    kd_csr a = sparse(f, ROWS, 50, true, 1);
    kd_mat x = random_mat(f, 50, 68, 0, 2), y = random_mat(f, ROWS, 68, 0, 3), to = random_mat(f, ROWS, 68, 4, 4);
    float *norm = op_zeros(f, ROWS, sizeof *norm);
    assert_ok(kd_spmm_rows(
        f->ctx, &(kd_spmm_rows_args){.only = &only, .alpha = 0.5f, .a = a, .x = x, .beta = 1.0f, .c = y, .y = to}));
    keep(f, to, out);
    assert_ok(kd_spmm_rows(
        f->ctx, &(kd_spmm_rows_args){.only = &only, .alpha = 1.0f, .a = a, .x = x, .c = (kd_mat){0}, .y = y}));
    keep(f, y, out);
    assert_ok(kd_unit_rows_forward(
        f->ctx, &(kd_unit_rows_forward_args){.only = &only, .x = y, .p = 0.3f, .rng = &RNG, .y = to, .norm = norm}));
    keep(f, to, out);
    keep_floats(f, norm, ROWS, out);
    kd_mat packed = random_mat(f, n + 2, 40, 3, 5), some = kd_mat_cols(y, 7, 40);
    assert_ok(kd_take_rows(f->ctx, &only, some, packed));
    keep(f, packed, out);
    assert_ok(kd_give_rows(f->ctx, &only, packed, kd_mat_cols(to, 3, 40)));
    keep(f, to, out);
    for (int64_t r = 0; r < ROWS; r++) assert_ok(kd_upload(f->ctx, norm + r, (float[]){1.0f + (float)r}, sizeof *norm));
    assert_ok(kd_unit_rows_backward(f->ctx, &(kd_unit_rows_backward_args){.only = &only,
                                                                          .alpha = 0.7f,
                                                                          .y = to,
                                                                          .norm = norm,
                                                                          .dy = y,
                                                                          .p = 0.3f,
                                                                          .rng = &RNG,
                                                                          .beta = 0.5f,
                                                                          .dx = y}));
    keep(f, y, out);
    kd_split split = {68, twice, NULL};
    kd_unit_rows_forward_args unit = {
        .split = &split, .only = &only, .x = y, .p = 0.3f, .rng = &RNG, .y = to, .norm = norm};
    assert_ok(kd_unit_rows_forward(f->ctx, &unit));
    keep(f, to, out);
    keep_floats(f, norm, ROWS, out);
    assert_ok(kd_unit_rows_backward(f->ctx, &(kd_unit_rows_backward_args){.split = &split,
                                                                          .only = &only,
                                                                          .alpha = 0.7f,
                                                                          .y = to,
                                                                          .norm = norm,
                                                                          .dy = y,
                                                                          .p = 0.3f,
                                                                          .rng = &RNG,
                                                                          .beta = 0.5f,
                                                                          .dx = y}));
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
        assert_ok(kd_spmm_batch(
            f->ctx, &(kd_spmm_batch_args){.alpha = 2.0f, .a = a, .row = row, .x = x, .beta = 1.0f, .y = y}));
        keep(f, y, out);
        assert_ok(kd_spmm_batch(
            f->ctx, &(kd_spmm_batch_args){.alpha = -0.5f, .a = turned, .place = place, .x = y, .beta = 1.0f, .y = to}));
        keep(f, to, out);
        assert_ok(
            kd_spmm_batch(f->ctx, &(kd_spmm_batch_args){.alpha = 1.0f, .a = turned, .place = place, .x = y, .y = to}));
        keep(f, to, out);
    }
}
COMPARE_ON_SIZES(message_passing_of_a_batch)

static void attention(op_fixture *f, int64_t n, outputs *out) {
    int64_t d = n < 64 ? 64 : 33, relations = 1 + n % 6;
    kd_kg kg = knowledge_graph(f, n, relations);
    kd_mat e = random_mat(f, n, d, 1, 1), rh = random_mat(f, relations, d, 0, 2),
           rt = random_mat(f, relations, d, 0, 3);
    kd_mat agg = op_mat(f, n, d, d, NULL), up = random_mat(f, n, d, 0, 4), de = random_mat(f, n, d, 0, 5);
    kd_mat drh = random_mat(f, relations, d, 0, 6), drt = random_mat(f, relations, d, 2, 7);
    float *logit = op_zeros(f, kg.capacity, sizeof *logit), *alpha = op_zeros(f, kg.capacity, sizeof *alpha);
    int64_t edges = last_of(f, kg.head_ptr, n);
    kd_rgat_forward_args hop = {
        .kg = &kg, .slope = 0.2f, .e = e, .rh = rh, .rt = rt, .logit = logit, .alpha = alpha, .agg = agg};
    assert_ok(kd_rgat_forward(f->ctx, &hop));
    keep(f, agg, out);
    keep_floats(f, alpha, edges, out);
    assert_ok(kd_rgat_backward(f->ctx, &(kd_rgat_backward_args){.kg = &kg,
                                                                .slope = 0.2f,
                                                                .e = e,
                                                                .rh = rh,
                                                                .rt = rt,
                                                                .logit = logit,
                                                                .alpha = alpha,
                                                                .dagg = up,
                                                                .de = de,
                                                                .drh = drh,
                                                                .drt = drt}));
    keep_floats(f, logit, edges, out);
    keep(f, de, out);
    keep(f, drh, out);
    keep(f, drt, out);
    kd_split split = {4, twice, NULL};
    kd_mat some = kd_mat_rows(agg, 0, (n + 1) / 2), some_up = kd_mat_rows(up, 0, (n + 1) / 2);
    assert_ok(kd_rgat_forward(f->ctx, &(kd_rgat_forward_args){.split = &split,
                                                              .kg = &kg,
                                                              .slope = 0.2f,
                                                              .e = e,
                                                              .rh = rh,
                                                              .rt = rt,
                                                              .logit = logit,
                                                              .alpha = alpha,
                                                              .agg = some}));
    keep(f, some, out);
    keep_floats(f, logit, kg.capacity, out);
    assert_ok(kd_rgat_backward(f->ctx, &(kd_rgat_backward_args){.split = &split,
                                                                .kg = &kg,
                                                                .slope = 0.2f,
                                                                .e = e,
                                                                .rh = rh,
                                                                .rt = rt,
                                                                .logit = logit,
                                                                .alpha = alpha,
                                                                .dagg = some_up,
                                                                .de = de,
                                                                .drh = drh,
                                                                .drt = drt}));
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
    kd_csr a = {nodes, nodes, op_copy(f, ptr, nodes + 1, sizeof *ptr), op_copy(f, col, at, sizeof *col), NULL, 0};
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

#endif
