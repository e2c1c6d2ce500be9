/* LightGCN against its formulas as dense matrices in double: embeddings and views after several steps. On the CPU, or
 * on the device that KDIFFE_TEST_DEVICE=cuda names. */
#include "planted_fixture.h"

#include "host/train/trainer.h"

enum { USERS = 23, ITEMS = 17, NODES = USERS + ITEMS, DIM = 10, EPOCHS = 4 };

/* The model in double: a dense adjacency, E, Adam's moments. */
typedef struct reference {
    int64_t layers;
    double lr, reg, batch;
    double a[NODES][NODES], e[NODES][DIM], m[NODES][DIM], v[NODES][DIM], view[NODES][DIM];
} reference;

/* A = D^-1/2 [0 Y ; Y^T 0] D^-1/2. */
static void fill_adjacency(const kd_interactions *train, reference *r) {
    double degree[NODES] = {0};
    memset(r->a, 0, sizeof r->a);
    for (int64_t i = 0; i < train->count; i++) {
        int64_t u = train->user[i], v = USERS + train->item[i];
        r->a[u][v] = r->a[v][u] = 1.0;
        degree[u] += 1.0;
        degree[v] += 1.0;
    }
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < NODES; j++)
            if (r->a[i][j] > 0.0) r->a[i][j] = 1.0 / sqrt(degree[i] * degree[j]);
}

/* out = (x + A x + ... + A^K x) / (K + 1). */
static void propagate(const reference *r, double x[NODES][DIM], double out[NODES][DIM]) {
    static double layer[NODES][DIM], next[NODES][DIM];
    memcpy(layer, x, sizeof layer);
    memcpy(out, x, sizeof layer);
    for (int64_t k = 0; k < r->layers; k++) {
        memset(next, 0, sizeof next);
        for (int i = 0; i < NODES; i++)
            for (int j = 0; j < NODES; j++)
                for (int c = 0; c < DIM; c++) next[i][c] += r->a[i][j] * layer[j][c];
        memcpy(layer, next, sizeof layer);
        for (int i = 0; i < NODES; i++)
            for (int c = 0; c < DIM; c++) out[i][c] += layer[i][c];
    }
    for (int i = 0; i < NODES; i++)
        for (int c = 0; c < DIM; c++) out[i][c] /= (double)(r->layers + 1);
}

/* One step over all interactions at once; returns the BPR loss. `steps`: Adam's earlier ones. */
static double take_step(reference *r, const kd_interactions *train, const int32_t *negative, int64_t steps) {
    static double dview[NODES][DIM], gradient[NODES][DIM];
    double loss = 0.0;
    memset(dview, 0, sizeof dview);
    propagate(r, r->e, r->view);
    for (int64_t i = 0; i < train->count; i++) {
        int64_t u = train->user[i], p = USERS + train->item[i], n = USERS + negative[i];
        double x = 0.0;
        for (int c = 0; c < DIM; c++) x += r->view[u][c] * (r->view[p][c] - r->view[n][c]);
        loss += log1p(exp(-x)) / r->batch;
        double slope = -1.0 / (1.0 + exp(x)) / r->batch;
        for (int c = 0; c < DIM; c++) {
            dview[u][c] += slope * (r->view[p][c] - r->view[n][c]);
            dview[p][c] += slope * r->view[u][c];
            dview[n][c] -= slope * r->view[u][c];
        }
    }
    propagate(r, dview, gradient);
    for (int i = 0; i < NODES; i++)
        for (int c = 0; c < DIM; c++) {
            double g = gradient[i][c] + 2.0 * r->reg * r->e[i][c];
            r->m[i][c] = 0.9 * r->m[i][c] + 0.1 * g;
            r->v[i][c] = 0.999 * r->v[i][c] + 0.001 * g * g;
            double m = r->m[i][c] / (1.0 - pow(0.9, (double)(steps + 1)));
            double v = r->v[i][c] / (1.0 - pow(0.999, (double)(steps + 1)));
            r->e[i][c] -= r->lr * m / (sqrt(v) + 1e-8);
        }
    return loss;
}

static const float *find(const kd_named_matrices *all, kd_ctx *ctx, const char *name, int64_t rows, float *host) {
    for (int64_t i = 0; i < all->count; i++) {
        if (strcmp(all->entry[i].name, name) != 0) continue;
        assert_int_equal(all->entry[i].value.rows, rows);
        assert_int_equal(all->entry[i].value.cols, DIM);
        assert_ok(kd_mat_download(ctx, all->entry[i].value, host));
        return host;
    }
    fail_msg("the model hands over no %s", name);
    return host;
}

/* Users and items of a pair of matrices. */
static void download(const kd_trainer *t, const char *users, const char *items, float host[NODES][DIM]) {
    kd_named_matrices all;
    t->plan->kind->matrices(t->model, &all);
    find(&all, t->ctx, users, USERS, host[0]);
    find(&all, t->ctx, items, ITEMS, host[USERS]);
}

static void compare(const kd_trainer *t, const char *users, const char *items, double expected[NODES][DIM]) {
    float host[NODES][DIM];
    download(t, users, items, host);
    for (int i = 0; i < NODES; i++)
        for (int c = 0; c < DIM; c++) assert_near(host[i][c], expected[i][c], 1e-5);
}

static void follow(op_fixture *f, int64_t layers) {
    kd_synth_config s = small_data();
    kd_config c = small_model();
    static reference r;
    kd_trainer t;
    kd_bipartite graph;
    kd_observer silent = {0};
    kd_ranked ranked;
    float start[NODES][DIM];
    s.users = USERS;
    s.items = ITEMS;
    s.tastes = 3;
    s.interactions = 4;
    c.model = KD_MODEL_LIGHTGCN;
    c.dim = DIM;
    c.gnn_layers = layers;
    c.batch = 1000; /* one step an epoch, divided by the configured batch */
    c.reg = 1e-3;
    c.lr = 2e-2;
    kd_dataset d = make_data(&s);
    assert_ok(kd_bipartite_build(d.users, d.items, &d.train, &graph));
    assert_ok(kd_trainer_open(f->ctx, &c, &d, NULL, NULL, &t));
    assert_ok(kd_trainer_fill(&t, &graph, NULL));
    t.progress.observer = &silent;
    download(&t, "uEmbeds", "iEmbeds", start);
    r = (reference){.layers = layers, .lr = c.lr, .reg = c.reg, .batch = (double)c.batch};
    for (int i = 0; i < NODES; i++)
        for (int k = 0; k < DIM; k++) r.e[i][k] = start[i][k];
    fill_adjacency(&d.train, &r);
    int32_t *negative = malloc((size_t)d.train.count * sizeof *negative);
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        assert_ok(kd_train_steps(&t, epoch));
        assert_ok(kd_download(f->ctx, negative, t.negative, d.train.count * (int64_t)sizeof *negative));
        double bpr = take_step(&r, &d.train, negative, epoch);
        assert_near(t.progress.record.loss_part[KD_LOSS_BPR], bpr, 1e-6);
        assert_true(t.progress.record.loss_part[KD_LOSS_WEIGHT_DECAY] > 0.0);
        compare(&t, "uEmbeds", "iEmbeds", r.e);
    }
    assert_ok(t.plan->kind->score(t.model, 0, &ranked));
    propagate(&r, r.e, r.view);
    compare(&t, "view.user", "view.item", r.view);
    free(negative);
    kd_trainer_close(&t);
    kd_bipartite_free(&graph);
    kd_dataset_free(&d);
}

static void steps_and_views_match_dense_matrices(void **state) {
    for (int64_t layers = 0; layers <= 3; layers++) follow(*state, layers);
}

/* It finds what planted data hold: far better than the same model untrained. */
static void it_learns(void **state) {
    op_fixture *f = *state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    kd_dataset d = make_data(&s);
    kd_trainer t;
    kd_bipartite graph;
    kd_observer silent = {0};
    double recall[2];
    c.model = KD_MODEL_LIGHTGCN;
    c.gnn_layers = 2;
    c.reg = 1e-5;
    assert_ok(kd_bipartite_build(d.users, d.items, &d.train, &graph));
    assert_ok(kd_trainer_open(f->ctx, &c, &d, NULL, NULL, &t));
    assert_ok(kd_trainer_fill(&t, &graph, NULL));
    t.progress.observer = &silent;
    for (int trained = 0; trained < 2; trained++) {
        for (int64_t epoch = 0; trained && epoch < 20; epoch++) assert_ok(kd_train_steps(&t, epoch));
        assert_ok(kd_evaluate_epoch(&t, 0));
        recall[trained] = t.progress.record.test.recall[0];
    }
    print_message("lightgcn: recall@20 %.4f untrained, %.4f trained\n", recall[0], recall[1]);
    assert_true(recall[1] > recall[0] + 0.02);
    kd_trainer_close(&t);
    kd_bipartite_free(&graph);
    kd_dataset_free(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_and_views_match_dense_matrices),
                                       cmocka_unit_test(it_learns)};
    return cmocka_run_group_tests_name("lightgcn", tests, op_set_up, op_tear_down);
}
