/* The CPU column compiled for each level of the instruction set: those that this machine has can be asked for, others
 * are refused, and what is drawn, walked or ordered is the same at all of them. */
#include "op_fixture.h"

#include "kernels/cpu_level.h"

static const char *const LEVELS[] = {"v2", "v3", "v4"};
enum { LEVEL_COUNT = sizeof LEVELS / sizeof LEVELS[0], NODES = 70, BEST = 9 };

typedef struct outcome {
    int32_t order[NODES], negative[NODES], step[NODES], best[NODES * BEST], cumulative[NODES * NODES],
        node[NODES * NODES];
} outcome;

/* A ring, and node 0 beside every third node. Walked from, and trained on: users and items are its nodes. */
static kd_csr make_graph(op_fixture *f, int64_t *edges) {
    int64_t ptr[NODES + 1], n = 0;
    int32_t col[4 * NODES];
    for (int32_t r = 0; r < NODES; r++) {
        ptr[r] = n;
        for (int32_t c = 0; c < NODES; c++) {
            int32_t apart = abs(r - c);
            if (apart == 1 || apart == NODES - 1 || (apart % 3 == 0 && apart > 0 && (r == 0 || c == 0))) col[n++] = c;
        }
    }
    *edges = ptr[NODES] = n;
    return (kd_csr){NODES, NODES, op_copy(f, ptr, NODES + 1, sizeof *ptr), op_copy(f, col, n, sizeof *col), NULL, 0};
}

/* Visits with room for every node in each list; those that no walk reached stay 0. */
static kd_visits make_visits(op_fixture *f, int64_t edges) {
    int64_t ptr[NODES + 1];
    for (int64_t r = 0; r <= NODES; r++) ptr[r] = r * NODES;
    return (kd_visits){0, NODES, op_copy(f, ptr, NODES + 1, sizeof *ptr), op_zeros(f, NODES * NODES, sizeof(int32_t)),
                       op_zeros(f, edges, sizeof *ptr)};
}

static void compute(op_fixture *f, outcome *out) {
    int64_t edges;
    kd_csr graph = make_graph(f, &edges);
    kd_visits cumulative = make_visits(f, edges), node = make_visits(f, edges);
    kd_walk_config config = {.walks = 5, .steps = 11, .restart = 0.3f};
    kd_rng rng = {.seed = 7, .stream = KD_RNG_WALK};
    int32_t user[NODES];
    float x[NODES * NODES];
    for (int32_t i = 0; i < NODES; i++) user[i] = i;
    for (int64_t i = 0; i < NODES * NODES; i++) x[i] = floorf(4.0f * op_value(1, i)); /* ties everywhere */
    assert_ok(kd_permutation(f->ctx, NODES, &rng, out->order));
    assert_ok(kd_sample_negatives(f->ctx, graph, NODES, user, &rng, out->negative));
    assert_ok(kd_diffusion_steps(f->ctx, NODES, user, 1000, &rng, out->step));
    assert_ok(kd_topk_rows(f->ctx, op_mat(f, NODES, NODES, NODES, x), (kd_csr){0}, BEST, out->best, NULL));
    assert_ok(kd_walk_cumulative(f->ctx, graph, &config, &rng, &cumulative));
    assert_ok(kd_walk_node(f->ctx, graph, &config, &rng, &node));
    memcpy(out->cumulative, cumulative.node, sizeof out->cumulative);
    memcpy(out->node, node.node, sizeof out->node);
}

static void integers_do_not_depend_on_the_level(void **state) {
    (void)state;
    outcome first, other;
    int levels = 0;
    for (int i = 0; i < LEVEL_COUNT; i++) {
        void *fixture = NULL;
        char words[16];
        const kd_cpu_level *level;
        setenv("KDIFFE_CPU", LEVELS[i], 1);
        if (kd_cpu_level_choose(&level) != KD_OK) continue;
        assert_int_equal(op_set_up(&fixture), 0);
        op_fixture *f = fixture;
        snprintf(words, sizeof words, "level %s,", LEVELS[i]);
        assert_non_null(strstr(kd_ctx_describe(f->ctx), words));
        compute(f, levels == 0 ? &first : &other);
        if (levels++ > 0) assert_memory_equal(&first, &other, sizeof first);
        op_tear_down(&fixture);
    }
    unsetenv("KDIFFE_CPU");
    if (levels < 2) {
        printf("skipped: fewer than two levels in this build or on this machine\n");
        skip();
    }
}

static void other_levels_are_refused(void **state) {
    (void)state;
    static const char *const OTHERS[] = {"v1", "v", "v33", "avx2"};
    const kd_cpu_level *level, *best;
    assert_ok(kd_cpu_level_choose(&best));
    for (size_t i = 0; i < sizeof OTHERS / sizeof OTHERS[0]; i++) {
        setenv("KDIFFE_CPU", OTHERS[i], 1);
        assert_int_equal(kd_cpu_level_choose(&level), KD_ERR_ARGUMENT);
        assert_non_null(strstr(kd_last_error(), best->name));
    }
    setenv("KDIFFE_CPU", "", 1); /* as if it were not set */
    assert_ok(kd_cpu_level_choose(&level));
    assert_ptr_equal(level, best);
    unsetenv("KDIFFE_CPU");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_do_not_depend_on_the_level),
        cmocka_unit_test(other_levels_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
