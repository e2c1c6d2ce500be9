/* Walks and comparisons in shares, as ranks take them: together they are those of all starts, to the bit. */
#include "op_fixture.h"

#include "host/graph/bipartite.h"

enum { USERS = 40, ITEMS = 30, NODES = USERS + ITEMS, SHARES = 4 };
/* First starts: a share of users, an empty one, one across users and items, the rest. */
static const int64_t FIRST[SHARES + 1] = {0, 21, 21, 53, NODES};

typedef enum method { CUMULATIVE, NODE, POWER, METHODS } method;

/* A random graph in which every ninth user and the last item have no edges. */
static kd_bipartite make_graph(void) {
    kd_bipartite graph;
    int32_t user[USERS * ITEMS], item[USERS * ITEMS];
    kd_interactions train = {.user = user, .item = item};
    for (int32_t u = 0; u < USERS; u++)
        for (int32_t i = 0; i < ITEMS - 1; i++)
            if (u % 9 != 0 && op_value(11, u * ITEMS + i) > 0.6f) {
                user[train.count] = u;
                item[train.count++] = i;
            }
    assert_ok(kd_bipartite_build(USERS, ITEMS, &train, &graph));
    return graph;
}

/* Visits of starts first .. last - 1 with room for every node. */
static kd_visits make_visits(op_fixture *f, int64_t first, int64_t last, int64_t edges) {
    int64_t room[NODES + 1];
    for (int64_t i = 0; i <= last - first; i++) room[i] = i * NODES;
    return (kd_visits){first, last - first, op_copy(f, room, last - first + 1, sizeof *room),
                       op_zeros(f, room[last - first], sizeof(int32_t)), op_zeros(f, edges, sizeof(int64_t))};
}

static void walk(op_fixture *f, method by, kd_csr graph, kd_visits *v) {
    const kd_walk_config config = {3, 17, 0.2f};
    const kd_rng rng = {5, KD_RNG_WALK, 0, 0, NULL};
    float *score = op_host(NODES * NODES, 31);
    kd_mat own = kd_mat_cols(op_mat(f, NODES, NODES, NODES, score), v->first, v->starts);
    switch (by) {
    case CUMULATIVE: assert_ok(kd_walk_cumulative(f->ctx, graph, &config, &rng, v)); break;
    case NODE: assert_ok(kd_walk_node(f->ctx, graph, &config, &rng, v)); break;
    case POWER: assert_ok(kd_visits_above(f->ctx, graph, v->first, own, 0.7f, v)); break;
    case METHODS: fail(); break;
    }
    free(score);
}

static int64_t *read_ends(op_fixture *f, const kd_visits *v, int64_t edges) {
    int64_t *end = malloc((size_t)edges * sizeof *end);
    assert_ok(kd_download(f->ctx, end, v->end, edges * (int64_t)sizeof *end));
    return end;
}

/* Lists one after the other: place [NODES + 1] of each, from the ends of those with room. */
static kd_visits make_packed(op_fixture *f, const kd_bipartite *g, const int64_t *end, int64_t *place) {
    int64_t edges = g->row_ptr[NODES];
    place[0] = 0;
    for (int64_t u = 0; u < NODES; u++) {
        int64_t degree = g->row_ptr[u + 1] - g->row_ptr[u];
        place[u + 1] = place[u] + (degree > 0 ? end[g->row_ptr[u + 1] - 1] - u * NODES : 0);
    }
    return (kd_visits){0, NODES, op_copy(f, place, NODES + 1, sizeof *place), op_zeros(f, place[NODES], 4),
                       op_zeros(f, edges, sizeof(int64_t))};
}

/* Packed lists against those with room, entry by entry. */
static void compare_lists(op_fixture *f, const kd_bipartite *g, const kd_visits *all, const kd_visits *packed,
                          const int64_t *place) {
    int64_t edges = g->row_ptr[NODES], *end = read_ends(f, all, edges), *packed_end = read_ends(f, packed, edges);
    int32_t *node = malloc(NODES * NODES * sizeof *node), *packed_node = malloc(NODES * NODES * sizeof *node);
    assert_ok(kd_download(f->ctx, node, all->node, NODES * NODES * (int64_t)sizeof *node));
    assert_ok(kd_download(f->ctx, packed_node, packed->node, place[NODES] * (int64_t)sizeof *node));
    for (int64_t u = 0; u < NODES; u++) {
        assert_memory_equal(packed_node + place[u], node + u * NODES, (size_t)(place[u + 1] - place[u]) * sizeof *node);
        for (int64_t k = g->row_ptr[u]; k < g->row_ptr[u + 1]; k++)
            assert_int_equal(packed_end[k] - place[u], end[k] - u * NODES);
    }
    free(end);
    free(packed_end);
    free(node);
    free(packed_node);
}

/* Rows of items in two shares, which leave each other's edges alone; users' rows compare nothing. */
static void compare_similarities(op_fixture *f, kd_csr graph, int64_t edges, const kd_visits *all,
                                 const kd_visits *packed) {
    float *whole = op_zeros(f, edges, sizeof *whole), *part = op_zeros(f, edges, sizeof *part);
    assert_ok(kd_prefix_jaccard(f->ctx, graph, 0, NODES, all, whole));
    assert_ok(kd_prefix_jaccard(f->ctx, graph, 0, USERS, packed, part));
    float *expected = op_read(f, kd_mat_make(whole, 1, edges)), *actual = op_read(f, kd_mat_make(part, 1, edges));
    for (int64_t k = 0; k < edges; k++) assert_true(actual[k] == 0.0f);
    free(actual);
    assert_ok(kd_prefix_jaccard(f->ctx, graph, USERS, 7, packed, part));
    assert_ok(kd_prefix_jaccard(f->ctx, graph, USERS + 7, ITEMS - 7, packed, part));
    actual = op_read(f, kd_mat_make(part, 1, edges));
    assert_memory_equal(actual, expected, (size_t)edges * sizeof *actual);
    free(actual);
    free(expected);
}

static void shares_are_those_of_all(void **state) {
    op_fixture *f = *state;
    kd_bipartite g = make_graph();
    int64_t edges = g.row_ptr[NODES], place[NODES + 1];
    kd_csr graph = {NODES, NODES, op_copy(f, g.row_ptr, NODES + 1, 8), op_copy(f, g.col, edges, 4), NULL, 0};
    for (method by = CUMULATIVE; by < METHODS; by++) {
        kd_visits all = make_visits(f, 0, NODES, edges), packed;
        walk(f, by, graph, &all);
        int64_t *end = read_ends(f, &all, edges);
        packed = make_packed(f, &g, end, place);
        for (int s = 0; s < SHARES; s++) {
            kd_visits own = make_visits(f, FIRST[s], FIRST[s + 1], edges), into = packed;
            walk(f, by, graph, &own);
            if (s % 2) { /* ends in place, as a rank packs its own */
                into.end = own.end;
                assert_ok(kd_visits_pack(f->ctx, graph, &own, &into));
                int64_t *made = read_ends(f, &own, edges), begin = g.row_ptr[own.first];
                int64_t count = g.row_ptr[own.first + own.starts] - begin;
                assert_ok(kd_upload(f->ctx, packed.end + begin, made + begin, count * (int64_t)sizeof *made));
                free(made);
            } else {
                assert_ok(kd_visits_pack(f->ctx, graph, &own, &into));
            }
        }
        compare_lists(f, &g, &all, &packed, place);
        compare_similarities(f, graph, edges, &all, &packed);
        free(end);
    }
    kd_bipartite_free(&g);
}

static void shares_beyond_the_graph_are_refused(void **state) {
    op_fixture *f = *state;
    const kd_walk_config config = {3, 17, 0.2f};
    const kd_rng rng = {5, KD_RNG_WALK, 0, 0, NULL};
    kd_bipartite g = make_graph();
    int64_t edges = g.row_ptr[NODES];
    kd_csr graph = {NODES, NODES, op_copy(f, g.row_ptr, NODES + 1, 8), op_copy(f, g.col, edges, 4), NULL, 0};
    kd_visits half = make_visits(f, 0, NODES / 2, edges), other = make_visits(f, 1, NODES / 2 + 1, edges);
    float *val = op_zeros(f, edges, sizeof *val);
    assert_int_equal(kd_visits_pack(f->ctx, graph, &other, &half), KD_ERR_ARGUMENT);
    assert_int_equal(kd_prefix_jaccard(f->ctx, graph, 0, NODES, &half, val), KD_ERR_ARGUMENT);
    other.first = NODES - 1;
    assert_int_equal(kd_walk_cumulative(f->ctx, graph, &config, &rng, &other), KD_ERR_ARGUMENT);
    assert_int_equal(kd_walk_node(f->ctx, graph, &config, &rng, &other), KD_ERR_ARGUMENT);
    kd_bipartite_free(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_those_of_all),
        cmocka_unit_test(shares_beyond_the_graph_are_refused),
    };
    return cmocka_run_group_tests(tests, op_set_up, op_tear_down);
}
