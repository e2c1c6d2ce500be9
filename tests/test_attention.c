/* Walks and the attention-aware matrix: properties on small graphs, brute force, threads, and the published matrices.
 */
#include "op_fixture.h"

#include <sys/stat.h>
#include <time.h>

#include "host/attention/attention.h"
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
    assert_ok(kd_attention_matrix(f->ctx, c, &g->data, &g->graph, g->similarity));
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
            assert_ok(kd_ctx_open(KD_DEVICE_CPU, threads, KD_PRECISION_FP32, &f.ctx));
            walk(&f, &c, threads == 1 ? &first : &second);
            kd_ctx_close(f.ctx);
        }
        assert_memory_equal(first.similarity, second.similarity, (size_t)(2 * first.data.train.count) * sizeof(float));
        free_graph(&first);
        free_graph(&second);
    }
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
    kd_csr graph = {n, n, op_copy(f, g.graph.row_ptr, n + 1, 8), op_copy(f, g.graph.col, edges, 4), NULL};
    kd_visits visits = {n, op_copy(f, ptr, n + 1, 8), op_copy(f, node, n * n, 4), op_copy(f, end, edges, 8)};
    float *val = op_copy(f, g.similarity, edges, 4);
    assert_ok(kd_prefix_jaccard(f->ctx, graph, &visits, val));
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
        cmocka_unit_test(jaccard_matches_sets),
        cmocka_unit_test(tiktok_matches_the_published_matrix),
        cmocka_unit_test(baby_matches_the_published_matrix),
    };
    return cmocka_run_group_tests(tests, op_set_up, op_tear_down);
}
