/* The algebra changes nothing but the time: each identity that a run can do without (config key `naive`), with it and
 * without, to 1e-5 of an array's largest element. On the CPU, and on a CUDA device where one is to be had: a GPU, or
 * the stand-in of tests/emu. */
#include "gradient_fixture.h"

/* EVERY: all rows of all views, also those that nothing reads and that may hold anything. */
enum { CHAIN, DENOISER, VIEWS, STEP, LISTS, COMPARED, EVERY = COMPARED, ARRAYS };
static const char *const NAMES[COMPARED] = {"reverse chain", "denoiser gradients", "views", "step gradients", "scores"};

typedef struct results {
    int64_t size[ARRAYS];
    float *value[ARRAYS];
    double loss[3]; /* of the denoisers' epochs and a step */
} results;

static void keep(op_fixture *f, kd_mat m, int which, results *out) {
    out->value[which] = op_read(f, m);
    out->size[which] = m.rows * m.cols;
}

static void run_diffusion(op_fixture *f, gradient_case *g, results *out) {
    kd_kdiffe *m = g->model;
    kd_denoiser *d = &m->kg_denoiser;
    kd_denoiser_guidance guidance;
    kd_reverse_rows rows = {
        .x0 = m->graphs.entity_rows, .count = g->count, .row = m->row, .g = m->guidance.entity_mean};
    kd_denoiser_batch batch = {.x0 = m->graphs.entity_rows,
                               .x0_transpose = m->graphs.entity_rows,
                               .count = g->count,
                               .row = m->row,
                               .g = m->guidance.entity_mean,
                               .dropout = 0.5,
                               .seed = 9};
    kd_mat chain;
    assert_ok(kd_guide_kg(m, &guidance));
    out->loss[0] = denoiser_loss(f, g, d, &batch, &guidance);
    keep(f, kd_mat_make(d->gradient, 1, d->count), DENOISER, out);
    assert_ok(kd_reverse_prepare(f->ctx, d));
    assert_ok(kd_reverse_chain(f->ctx, &rows, d, &chain));
    keep(f, chain, CHAIN, out);
}

static void run_step(op_fixture *f, gradient_case *g, results *out) {
    kd_kdiffe *m = g->model;
    load_batch(f, g);
    out->loss[1] = step_loss(f, g, true);
    keep(f, kd_mat_cols(m->views.output, 0, (m->views.slots.kg + 1) * m->plan->shape.local_dim), VIEWS, out);
    keep(f, m->views.output, EVERY, out);
    keep(f, kd_mat_make(m->params.gradient, 1, m->params.count), STEP, out);
    kd_view_pass pass = {.main_kg = kd_kdiffe_eval_kg(m)};
    kd_ranked ranked;
    assert_ok(kd_views_forward(f->ctx, &m->params, &m->graphs, &pass, &m->views));
    assert_ok(kd_kdiffe_ranked(m, &ranked));
    assert_ok(kd_ranker_lists(f->ctx, &g->trainer.ranker, ranked.user, ranked.item, ranked.train));
    keep(f, kd_mat_make(g->trainer.ranker.value, g->data.users, g->trainer.ranker.topk[0]), LISTS, out);
}

static void run(op_fixture *f, int64_t cl_method, uint32_t naive, results *out) {
    gradient_case g;
    const double *mean = g.trainer.progress.record.denoise_modality;
    *out = (results){0};
    open_case(f, cl_method, 2, naive, &g);
    run_diffusion(f, &g, out);
    run_step(f, &g, out);
    assert_ok(kd_denoise_modalities(g.trainer.model, &g.trainer.loop, 0));
    out->loss[2] = mean[0] + mean[1];
    close_case(&g);
}

static void forget(results *r) {
    for (int a = 0; a < ARRAYS; a++) free(r->value[a]);
}

/* Largest difference over the largest element; NaN where either has one. */
static double difference(const results *a, const results *b, int which) {
    double largest = 1e-30, most = 0.0;
    assert_int_equal(a->size[which], b->size[which]);
    for (int64_t i = 0; i < a->size[which]; i++) {
        double x = a->value[which][i], y = b->value[which][i], apart = x == y ? 0.0 : fabs(x - y);
        if (isinf(x) && x == y) continue; /* masked scores */
        largest = fmax(largest, fabs(x));
        if (!(apart <= most)) most = apart;
    }
    return most / largest;
}

/* `moves`: the array that the switch takes another way to, which shows in its last bits; -1: the same operations. */
static void check_switch(op_fixture *f, uint32_t naive, int moves) {
    for (int64_t cl_method = 0; cl_method < 2; cl_method++) {
        results fused, plain;
        run(f, cl_method, 0, &fused);
        run(f, cl_method, naive, &plain);
        for (int a = 0; a < COMPARED; a++) {
            double apart = difference(&fused, &plain, a);
            if (!(apart <= 1e-5)) fail_msg("naive %#x, %s: %.3g apart", naive, NAMES[a], apart);
        }
        if (moves >= 0 && difference(&fused, &plain, moves) == 0.0) fail_msg("naive %#x: nothing changed", naive);
        for (int l = 0; l < 3; l++) assert_near(plain.loss[l], fused.loss[l], 1e-5);
        forget(&fused);
        forget(&plain);
    }
}

static void chain_through_the_full_width(void **state) { check_switch(*state, KD_NAIVE_CHAIN, CHAIN); }
static void gradients_by_the_output(void **state) { check_switch(*state, KD_NAIVE_OUTPUT, DENOISER); }
static void views_one_by_one(void **state) { check_switch(*state, KD_NAIVE_VIEWS, STEP); }
static void every_row_of_the_views(void **state) { check_switch(*state, KD_NAIVE_ROWS, EVERY); }
static void features_in_every_batch(void **state) { check_switch(*state, KD_NAIVE_FEATURES, -1); }
static void scores_view_by_view(void **state) { check_switch(*state, KD_NAIVE_SCORES, LISTS); }
static void all_at_once(void **state) { check_switch(*state, ~0u, STEP); }

static int set_up_cuda(void **state) {
    op_fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!f || kd_ctx_open((kd_compute){.device = KD_DEVICE_CUDA, .threads = 2, .precision = KD_PRECISION_FP32},
                          &f->ctx) != KD_OK)
        return 0;
    kd_pool_init(&f->pool, f->ctx);
    return 0;
}

static int tear_down_cuda(void **state) {
    op_fixture *f = *state;
    if (!f->ctx) {
        free(f);
        return 0;
    }
    return op_tear_down(state);
}

static void cuda_takes_every_switch(void **state) {
    op_fixture *f = *state;
    if (!f->ctx) {
        print_message("skipped: the switches on CUDA: %s\n", kd_last_error());
        skip();
    }
    for (uint32_t naive = 1; naive <= KD_NAIVE_SCORES; naive *= 2) check_switch(f, naive, -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_through_the_full_width),
        cmocka_unit_test(gradients_by_the_output),
        cmocka_unit_test(views_one_by_one),
        cmocka_unit_test(every_row_of_the_views),
        cmocka_unit_test(features_in_every_batch),
        cmocka_unit_test(scores_view_by_view),
        cmocka_unit_test(all_at_once),
        cmocka_unit_test_setup_teardown(cuda_takes_every_switch, set_up_cuda, tear_down_cuda),
    };
    return cmocka_run_group_tests(tests, op_set_up, op_tear_down);
}
