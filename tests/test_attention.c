/* Walks and the attention-aware matrix: properties on small graphs, brute force, threads, and the published matrices.
 */
#include "op_fixture.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/attention/attention.h"
#include "host/config/load.h"
#include "host/data/published.h"
#include "host/data/similarity.h"

typedef struct walked_graph {
    kd_dataset data;
    kd_bipartite graph;
    float *similarity;
} walked_graph;

static kd_config configure(kd_attention_method method, int64_t walks, int64_t steps) {
    kd_config c;
    kd_config_defaults(&c);
    c.attention.method = method;
    c.attention.walks = walks;
    c.attention.walk_steps = steps;
    return c;
}

/* pairs: user, item, ascending. */
static walked_graph make_graph(int64_t users, int64_t items, int64_t count, const int32_t (*pairs)[2]) {
    walked_graph g = {.data = {.users = users, .items = items, .entities = items}};
    g.data.train.count = count;
    g.data.train.user = malloc((size_t)count * 4);
    g.data.train.item = malloc((size_t)count * 4);
    for (int64_t i = 0; i < count; i++) {
        g.data.train.user[i] = pairs[i][0];
        g.data.train.item[i] = pairs[i][1];
    }
    assert_ok(kd_bipartite_build(users, items, &g.data.train, &g.graph));
    g.similarity = malloc((size_t)(2 * count) * sizeof(float));
    return g;
}

static void free_graph(walked_graph *g) {
    kd_dataset_free(&g->data);
    kd_bipartite_free(&g->graph);
    free(g->similarity);
}

static void walk(op_fixture *f, const kd_config *c, walked_graph *g) {
    assert_ok(kd_attention_matrix(f->ctx, NULL, c, &g->data, &g->graph, g->similarity));
}

/* S of edge (user, item), in both directions. */
static float similarity_of(const walked_graph *g, int32_t user, int32_t item) {
    int64_t v = g->data.users + item;
    float forward = NAN, back = NAN;
    for (int64_t k = g->graph.row_ptr[user]; k < g->graph.row_ptr[user + 1]; k++)
        if (g->graph.col[k] == v) forward = g->similarity[k];
    for (int64_t k = g->graph.row_ptr[v]; k < g->graph.row_ptr[v + 1]; k++)
        if (g->graph.col[k] == user) back = g->similarity[k];
    assert_near(forward, back, 0.0);
    return forward;
}

static const kd_attention_method METHODS[] = {KD_ATTENTION_CUMULATIVE, KD_ATTENTION_NODE, KD_ATTENTION_POWER};

/* user 0 - item 0, alone: long enough walks from either side visit both nodes, so S = 1. */
static void one_edge_is_wholly_similar(void **state) {
    const int32_t pairs[][2] = {{0, 0}};
    for (int i = 0; i < 3; i++) {
        walked_graph g = make_graph(1, 1, 1, pairs);
        kd_config c = configure(METHODS[i], 8, 20);
        walk(*state, &c, &g);
        assert_near(similarity_of(&g, 0, 0), 1.0, 0.0);
        free_graph(&g);
    }
}

/* A path u0 - i0 - u1 - i1 with walks of one step: u0 visits {i0}, i1 visits {u1}, the middle ones one of two. */
static void short_walks_on_a_path_share_nothing(void **state) {
    const int32_t pairs[][2] = {{0, 0}, {1, 0}, {1, 1}};
    walked_graph g = make_graph(2, 2, 3, pairs);
    kd_config c = configure(KD_ATTENTION_CUMULATIVE, 5, 1);
    walk(*state, &c, &g);
    for (int i = 0; i < 6; i++) assert_near(g.similarity[i], 0.0, 0.0); /* neighbours lie on opposite sides */
    free_graph(&g);
}

/* A star: item 0 with 6 users. With many long walks everybody visits everything. */
static void long_walks_on_a_star_visit_everything(void **state) {
    const int32_t pairs[][2] = {{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}};
    for (int i = 0; i < 3; i++) {
        walked_graph g = make_graph(6, 1, 6, pairs);
        kd_config c = configure(METHODS[i], 50, 40);
        walk(*state, &c, &g);
        for (int32_t u = 0; u < 6; u++) assert_near(similarity_of(&g, u, 0), 1.0, 0.0);
        free_graph(&g);
    }
}

/* A cycle of four users and four items is the same seen from every edge: similarities differ by chance only. */
static void edges_of_a_cycle_look_alike(void **state) {
    const int32_t pairs[][2] = {{0, 0}, {0, 3}, {1, 0}, {1, 1}, {2, 1}, {2, 2}, {3, 2}, {3, 3}};
    walked_graph g = make_graph(4, 4, 8, pairs);
    kd_config c = configure(KD_ATTENTION_POWER, 3, 3);
    walk(*state, &c, &g);
    for (int i = 1; i < 16; i++) assert_near(g.similarity[i], g.similarity[0], 1e-6);
    assert_true(g.similarity[0] > 0.0f && g.similarity[0] < 1.0f);
    free_graph(&g);
}

static void isolated_nodes_are_left_alone(void **state) {
    const int32_t pairs[][2] = {{1, 1}};
    for (int i = 0; i < 3; i++) {
        walked_graph g = make_graph(3, 3, 1, pairs);
        kd_config c = configure(METHODS[i], 4, 9);
        walk(*state, &c, &g);
        assert_near(similarity_of(&g, 1, 1), 1.0, 0.0);
        free_graph(&g);
    }
}

/* A random graph of 40 users and 30 items. */
static walked_graph random_graph(void) {
    int32_t pairs[400][2];
    int64_t count = 0;
    for (int32_t u = 0; u < 40; u++)
        for (int32_t i = 0; i < 30; i++)
            if (op_value(11, u * 30 + i) > 0.6f) {
                pairs[count][0] = u;
                pairs[count++][1] = i;
            }
    return make_graph(40, 30, count, (const int32_t(*)[2])pairs);
}

static void threads_and_repeats_give_the_same_bits(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        walked_graph first = random_graph(), second = random_graph();
        kd_config c = configure(METHODS[i], 3, 17);
        for (int threads = 1; threads <= 2; threads++) {
            op_fixture f;
            assert_ok(kd_ctx_open(
                (kd_compute){.device = KD_DEVICE_CPU, .threads = threads, .precision = KD_PRECISION_FP32}, &f.ctx));
            walk(&f, &c, threads == 1 ? &first : &second);
            kd_ctx_close(f.ctx);
        }
        assert_memory_equal(first.similarity, second.similarity, (size_t)(2 * first.data.train.count) * sizeof(float));
        free_graph(&first);
        free_graph(&second);
    }
}

static uint32_t draw_of(const kd_rng *rng, int64_t start, int64_t walk, int64_t steps, int64_t step) {
    uint32_t four[4];
    kd_rng_draw4(rng, (uint32_t)start, (uint32_t)(walk * ((steps + 3) / 4) + step / 4), four);
    return four[step % 4];
}

static int32_t neighbour_of(const kd_bipartite *g, int64_t node, uint64_t draw, uint64_t range) {
    uint64_t degree = (uint64_t)(g->row_ptr[node + 1] - g->row_ptr[node]);
    return g->col[g->row_ptr[node] + (int64_t)(draw * degree / range)];
}

/* The published walk, word for word: its list when it ends. */
static int64_t cumulative_walk(const kd_bipartite *g, const kd_rng *rng, int64_t start, int64_t walk, int64_t steps,
                               int32_t *list) {
    int64_t length = 0, node = start, previous = start;
    uint64_t moves = 0;
    for (int64_t step = 0; step < steps; step++) {
        uint64_t five = UINT64_C(5) * draw_of(rng, start, walk, steps, step);
        if (five >> 32 < moves) {
            node = previous;
            length--;
            moves = 0;
        } else {
            previous = node;
            node = neighbour_of(g, node, five & 0xFFFFFFFFu, UINT64_C(1) << 32);
            list[length++] = (int32_t)node;
            moves++;
        }
    }
    return length;
}

static int64_t node_walk(const kd_bipartite *g, const kd_rng *rng, int64_t start, int64_t walk, int64_t steps,
                         float restart, int32_t *list) {
    int64_t length = 0, node = start;
    uint64_t below = (uint64_t)((double)restart * 0x1p32);
    for (int64_t step = 0; step < steps; step++) {
        uint64_t draw = draw_of(rng, start, walk, steps, step);
        if (draw < below) {
            node = start;
        } else {
            node = neighbour_of(g, node, draw - below, (UINT64_C(1) << 32) - below);
            list[length++] = (int32_t)node;
        }
    }
    return length;
}

/* The ops' lists against walks taken one at a time, searched one by one, on 1 and 2 threads. */
static void compare_lists(bool cumulative, int threads) {
    walked_graph g = random_graph();
    int64_t n = g.graph.nodes, edges = g.graph.row_ptr[n], *ptr = malloc((size_t)(n + 1) * 8);
    kd_walk_config c = {3, 17, 0.2f};
    kd_rng rng = {5, KD_RNG_WALK, 0, 0, NULL};
    op_fixture f;
    assert_ok(
        kd_ctx_open((kd_compute){.device = KD_DEVICE_CPU, .threads = threads, .precision = KD_PRECISION_FP32}, &f.ctx));
    kd_pool_init(&f.pool, f.ctx);
    assert_ok(kd_workspace_reserve(f.ctx, kd_walk_workspace(f.ctx, n, c.steps)));
    for (int64_t u = 0; u <= n; u++) ptr[u] = u * n;
    kd_csr graph = {n, n, op_copy(&f, g.graph.row_ptr, n + 1, 8), op_copy(&f, g.graph.col, edges, 4), NULL, 0};
    kd_visits v = {0, n, op_copy(&f, ptr, n + 1, 8), NULL, NULL};
    assert_ok(kd_pool_alloc(&f.pool, n * n, 4, "test", &v.node));
    assert_ok(kd_pool_alloc(&f.pool, edges, 8, "test", &v.end));
    assert_ok(cumulative ? kd_walk_cumulative(f.ctx, graph, &c, &rng, &v) : kd_walk_node(f.ctx, graph, &c, &rng, &v));
    int64_t *end = malloc((size_t)edges * 8);
    int32_t *node = malloc((size_t)(n * n) * 4), *expected = malloc((size_t)n * 4), list[17];
    assert_ok(kd_download(f.ctx, end, v.end, edges * 8));
    assert_ok(kd_download(f.ctx, node, v.node, n * n * 4));
    for (int64_t u = 0; u < n; u++) {
        int64_t count = 0, degree = g.graph.row_ptr[u + 1] - g.graph.row_ptr[u];
        int64_t walks = (cumulative ? degree : degree > 0) * c.walks;
        for (int64_t walk = 0; walk < walks; walk++) {
            int64_t length = cumulative ? cumulative_walk(&g.graph, &rng, u, walk, c.steps, list)
                                        : node_walk(&g.graph, &rng, u, walk, c.steps, c.restart, list);
            assert_true(length >= 0 && (!cumulative || length <= kd_walk_longest(c.steps)));
            for (int64_t i = 0; i < length; i++) {
                int64_t at = 0;
                while (at < count && expected[at] != list[i]) at++;
                if (at == count) expected[count++] = list[i];
            }
            if (cumulative && walk % c.walks == c.walks - 1)
                assert_int_equal(end[g.graph.row_ptr[u] + walk / c.walks], ptr[u] + count);
        }
        for (int64_t k = g.graph.row_ptr[u]; !cumulative && k < g.graph.row_ptr[u + 1]; k++)
            assert_int_equal(end[k], ptr[u] + count);
        assert_memory_equal(node + ptr[u], expected, (size_t)count * 4);
    }
    free(ptr);
    free(end);
    free(node);
    free(expected);
    free_graph(&g);
    kd_pool_free(&f.pool);
    kd_ctx_close(f.ctx);
}

static void lists_are_those_of_single_walks(void **state) {
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        compare_lists(true, threads);
        compare_lists(false, threads);
    }
}

/* 21 starts from node 3 on: more than a cache line of columns, not a multiple of one. */
static void visits_above_takes_what_fits(void **state) {
    enum { FIRST = 3, BLOCK = 21, ROOM = 12 };
    op_fixture *f = *state;
    walked_graph g = random_graph();
    int64_t n = g.graph.nodes, edges = g.graph.row_ptr[n], ptr[71], end[800];
    float *score = op_host(n * BLOCK, 31);
    int32_t node[70 * ROOM];
    for (int64_t u = 0; u <= n; u++) ptr[u] = u * ROOM;
    kd_csr graph = {n, n, op_copy(f, g.graph.row_ptr, n + 1, 8), op_copy(f, g.graph.col, edges, 4), NULL, 0};
    kd_visits v = {0, n, op_copy(f, ptr, n + 1, 8), NULL, NULL};
    assert_ok(kd_pool_alloc(&f->pool, n * ROOM, 4, "test", &v.node));
    assert_ok(kd_pool_alloc(&f->pool, edges, 8, "test", &v.end));
    assert_ok(kd_visits_above(f->ctx, graph, FIRST, op_mat(f, n, BLOCK, BLOCK + 3, score), 0.7f, &v));
    assert_ok(kd_download(f->ctx, node, v.node, n * ROOM * 4));
    assert_ok(kd_download(f->ctx, end, v.end, edges * 8));
    int64_t full = 0;
    for (int64_t s = 0; s < BLOCK; s++) {
        int64_t u = FIRST + s, at = ptr[u];
        for (int64_t x = 0; x < n && at < ptr[u + 1]; x++)
            if (score[x * BLOCK + s] >= 0.7f) assert_int_equal(node[at++], x);
        full += at == ptr[u + 1];
        for (int64_t k = g.graph.row_ptr[u]; k < g.graph.row_ptr[u + 1]; k++) assert_int_equal(end[k], at);
    }
    assert_true(full > 0 && full < BLOCK);
    free(score);
    free_graph(&g);
}

/* The prefix Jaccard op against sets, on visits that are not walks at all. */
static void jaccard_matches_sets(void **state) {
    op_fixture *f = *state;
    walked_graph g = random_graph();
    int64_t n = g.graph.nodes, edges = g.graph.row_ptr[n];
    int64_t *ptr = malloc((size_t)(n + 1) * 8), *end = malloc((size_t)edges * 8);
    int32_t *node = malloc((size_t)(n * n) * 4);
    for (int64_t u = 0; u <= n; u++) ptr[u] = u * n;
    for (int64_t u = 0; u < n; u++) {
        int64_t count = 0, degree = g.graph.row_ptr[u + 1] - g.graph.row_ptr[u];
        for (int64_t x = 0; x < n; x++)
            if (op_value(21, u * n + x) > 0.2f) node[ptr[u] + count++] = (int32_t)((x * 37 + u) % n);
        for (int64_t k = 0; k < degree; k++) end[g.graph.row_ptr[u] + k] = ptr[u] + count * (k + 1) / degree;
    }
    kd_csr graph = {n, n, op_copy(f, g.graph.row_ptr, n + 1, 8), op_copy(f, g.graph.col, edges, 4), NULL, 0};
    kd_visits visits = {0, n, op_copy(f, ptr, n + 1, 8), op_copy(f, node, n * n, 4), op_copy(f, end, edges, 8)};
    float *val = op_copy(f, g.similarity, edges, 4);
    assert_ok(kd_prefix_jaccard(f->ctx, graph, 0, n, &visits, val));
    assert_ok(kd_download(f->ctx, g.similarity, val, edges * 4));
    for (int64_t u = 0; u < n; u++)
        for (int64_t e = g.graph.row_ptr[u]; e < g.graph.row_ptr[u + 1]; e++) {
            int64_t v = g.graph.col[e], back = g.graph.row_ptr[v], shared = 0;
            while (g.graph.col[back] != u) back++;
            for (int64_t i = ptr[u]; i < end[e]; i++)
                for (int64_t j = ptr[v]; j < end[back]; j++) shared += node[i] == node[j];
            int64_t all = end[e] - ptr[u] + end[back] - ptr[v] - shared;
            assert_near(g.similarity[e], all ? (double)shared / (double)all : 0.0, 1e-6);
        }
    free(ptr);
    free(end);
    free(node);
    free_graph(&g);
}

/* Given walks on the path i0 - u0 - i1 - u1 (nodes 2, 0, 3, 1), worked out by hand. Edges in published order: (i0, u0),
 * (i1, u0), (i1, u1); what i1 visits for its second edge does not count for its first. */
static const int32_t PAIRS[][2] = {{0, 0}, {0, 1}, {1, 1}};
static const int32_t WALKS[6][5] = {
    {2, 2, 0, 3, -1},  {0, 1, 2, -1, -1}, /* {0, 3} and {2}: 0 */
    {3, 3, 0, 2, 1},   {0, 2, 3, 0, -1},  /* {0, 2, 1} and {2, 3, 0}: 2/4 */
    {3, 1, 3, -1, -1}, {1, 3, 3, 1, 3},   /* {0, 2, 1, 3} and {3, 1}: 2/4 */
};

static void given_walks_give_their_jaccard(void **state) {
    op_fixture *f = *state;
    walked_graph g = make_graph(2, 2, 3, PAIRS);
    kd_visits host;
    assert_ok(kd_visits_from_walks(&g.graph, 2, 6, 5, WALKS[0], &host));
    kd_csr graph = {4, 4, op_copy(f, g.graph.row_ptr, 5, 8), op_copy(f, g.graph.col, 6, 4), NULL, 0};
    kd_visits v = {0, 4, op_copy(f, host.ptr, 5, 8), op_copy(f, host.node, 16, 4), op_copy(f, host.end, 6, 8)};
    float *val = op_copy(f, g.similarity, 6, 4);
    assert_ok(kd_prefix_jaccard(f->ctx, graph, 0, 4, &v, val));
    assert_ok(kd_download(f->ctx, g.similarity, val, 6 * 4));
    assert_near(similarity_of(&g, 0, 0), 0.0, 0.0);
    assert_near(similarity_of(&g, 0, 1), 0.5, 0.0);
    assert_near(similarity_of(&g, 1, 1), 0.5, 0.0);
    free(host.ptr);
    free(host.node);
    free(host.end);
    free_graph(&g);
}

static void given_walks_are_checked(void **state) {
    (void)state;
    walked_graph g = make_graph(2, 2, 3, PAIRS);
    const struct {
        int row, column;
        int32_t value;
    } damage[] = {{1, 0, 1}, {2, 1, 4}, {2, 1, -1}, {3, 2, 4}, {5, 4, -1}};
    kd_visits v;
    for (int i = 0; i < 5; i++) {
        char name[16];
        int32_t walks[6][5];
        memcpy(walks, WALKS, sizeof walks);
        walks[damage[i].row][damage[i].column] = damage[i].value;
        assert_int_equal(kd_visits_from_walks(&g.graph, 2, 6, 5, walks[0], &v), KD_ERR_FORMAT);
        snprintf(name, sizeof name, "walk %d:", damage[i].row);
        assert_non_null(strstr(kd_last_error(), name));
    }
    assert_int_equal(kd_visits_from_walks(&g.graph, 2, 5, 5, WALKS[0], &v), KD_ERR_FORMAT);
    assert_int_equal(kd_visits_from_walks(&g.graph, 2, 0, 5, WALKS[0], &v), KD_ERR_FORMAT);
    free_graph(&g);
}

/* attention.file: an edge that it lacks is 0; an entry that is no edge, and an edge of two values, are named. */
static void a_given_matrix_is_laid_on_the_edges(void **state) {
    op_fixture *f = *state;
    char folder[] = "/tmp/kdiffe-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    walked_graph g = make_graph(2, 2, 3, PAIRS);
    kd_config c = configure(KD_ATTENTION_CUMULATIVE, 6, 130);
    snprintf(c.attention.file, sizeof c.attention.file, "%s/given.tsv", folder);
    kd_similarity given = {4, (int32_t[]){0, 1, 2, 3}, (int32_t[]){2, 3, 0, 1}, (float[]){0.25f, 0.75f, 0.25f, 0.75f}};
    assert_ok(kd_similarity_save(c.attention.file, &given));
    walk(f, &c, &g);
    assert_near(similarity_of(&g, 0, 0), 0.25, 0.0);
    assert_near(similarity_of(&g, 0, 1), 0.0, 0.0);
    assert_near(similarity_of(&g, 1, 1), 0.75, 0.0);
    given.col[1] = 2; /* user 1 and item 0 never met */
    assert_ok(kd_similarity_save(c.attention.file, &given));
    assert_int_equal(kd_attention_matrix(f->ctx, NULL, &c, &g.data, &g.graph, g.similarity), KD_ERR_FORMAT);
    assert_non_null(strstr(kd_last_error(), "entry (1, 2)"));
    given.col[1] = 3;
    given.value[2] = 0.25f * (1.0f + 5e-6f); /* rounding */
    assert_ok(kd_similarity_save(c.attention.file, &given));
    assert_ok(kd_attention_matrix(f->ctx, NULL, &c, &g.data, &g.graph, g.similarity));
    given.value[2] = 0.25f * (1.0f + 2e-5f);
    assert_ok(kd_similarity_save(c.attention.file, &given));
    assert_int_equal(kd_attention_matrix(f->ctx, NULL, &c, &g.data, &g.graph, g.similarity), KD_ERR_FORMAT);
    assert_non_null(strstr(kd_last_error(), "given.tsv: entry (0, 2) is 0.25 and entry (2, 0) is 0.250005007;"));
    given.count = 3; /* 3, 1 is missing, so 0 */
    given.value[2] = 0.25f;
    assert_ok(kd_similarity_save(c.attention.file, &given));
    assert_int_equal(kd_attention_matrix(f->ctx, NULL, &c, &g.data, &g.graph, g.similarity), KD_ERR_FORMAT);
    assert_non_null(strstr(kd_last_error(), "entry (1, 3) is 0.75 and entry (3, 1) is 0;"));
    unlink(c.attention.file);
    rmdir(folder);
    free_graph(&g);
}

/* Two million users of one item, with walks that may visit everybody: 16 TB of lists. */
static void lists_that_cannot_fit_are_refused(void **state) {
    enum { USERS = 2000000 };
    op_fixture *f = *state;
    int32_t(*pairs)[2] = calloc(USERS, sizeof *pairs);
    for (int32_t u = 0; u < USERS; u++) pairs[u][0] = u;
    walked_graph g = make_graph(USERS, 1, USERS, (const int32_t(*)[2])pairs);
    kd_config c = configure(KD_ATTENTION_CUMULATIVE, 1000, 1000000);
    assert_int_equal(kd_attention_matrix(f->ctx, NULL, &c, &g.data, &g.graph, g.similarity), KD_ERR_MEMORY);
    assert_non_null(strstr(kd_last_error(), "attention.walks"));
    free(pairs);
    free_graph(&g);
}

static double pearson(const float *x, const float *y, int64_t n) {
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    return xy / sqrt(xx * yy);
}

/* Correlation with the authors' matrix over all edges; its file holds epsilon * S, which correlation does not see. */
static void compare_published(op_fixture *f, const char *folder, const char *file, int64_t walks, int64_t steps,
                              double least) {
    walked_graph g = {0};
    kd_config c = configure(KD_ATTENTION_CUMULATIVE, walks, steps);
    float *published;
    struct timespec begin, end;
    struct stat info;
    if (stat(folder, &info) != 0) {
        print_message("skipped: %s is not there\n", folder);
        skip();
    }
    assert_ok(kd_published_load(folder, &g.data));
    assert_ok(kd_bipartite_build(g.data.users, g.data.items, &g.data.train, &g.graph));
    int64_t edges = 2 * g.data.train.count;
    g.similarity = malloc((size_t)edges * sizeof(float));
    published = malloc((size_t)edges * sizeof(float));
    snprintf(c.attention.file, sizeof c.attention.file, "%s/%s", folder, file);
    walk(f, &c, &g);
    memcpy(published, g.similarity, (size_t)edges * sizeof(float));
    c.attention.file[0] = '\0';
    clock_gettime(CLOCK_MONOTONIC, &begin);
    walk(f, &c, &g);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double r = pearson(g.similarity, published, edges);
    print_message("%s: Pearson %.4f with the published matrix, %.2f s\n", folder, r,
                  (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
    assert_true(r >= least);
    free(published);
    free_graph(&g);
}

static void tiktok_matches_the_published_matrix(void **state) {
    compare_published(*state, "../shared/datasets/tiktok", "Similarity_130_6.pkl", 6, 130, 0.99);
}

static void baby_matches_the_published_matrix(void **state) {
    compare_published(*state, "../shared/datasets/baby", "Similarity_50_8.pkl", 8, 50, 0.95);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_edge_is_wholly_similar),
        cmocka_unit_test(short_walks_on_a_path_share_nothing),
        cmocka_unit_test(long_walks_on_a_star_visit_everything),
        cmocka_unit_test(edges_of_a_cycle_look_alike),
        cmocka_unit_test(isolated_nodes_are_left_alone),
        cmocka_unit_test(threads_and_repeats_give_the_same_bits),
        cmocka_unit_test(lists_are_those_of_single_walks),
        cmocka_unit_test(visits_above_takes_what_fits),
        cmocka_unit_test(jaccard_matches_sets),
        cmocka_unit_test(given_walks_give_their_jaccard),
        cmocka_unit_test(given_walks_are_checked),
        cmocka_unit_test(a_given_matrix_is_laid_on_the_edges),
        cmocka_unit_test(lists_that_cannot_fit_are_refused),
        cmocka_unit_test(tiktok_matches_the_published_matrix),
        cmocka_unit_test(baby_matches_the_published_matrix),
    };
    return cmocka_run_group_tests(tests, op_set_up, op_tear_down);
}
