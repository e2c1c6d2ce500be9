/* Every op against its plain loop in double precision (kernels/ref/), on sizes that straddle vector widths, with empty
 * rows and hubs; and what such a comparison does not show. */
#include "graph_subjects.h"
#include "subjects.h"

/* C = alpha op(A) op(B) + beta C, all four ways, and Y = X W + b with its column sums, by their width, inside wider
 * rows. */
static void wide_products(op_fixture *f, int64_t n, outputs *out) {
    for (int way = 0; way < 4; way++) {
        bool ta = way & 1, tb = way & 2;
        kd_mat a = ta ? random_mat(f, 13, 7, 3, 1) : random_mat(f, 7, 13, 3, 1);
        kd_mat b = tb ? random_mat(f, n, 13, 1, 2) : random_mat(f, 13, n, 1, 2), c = random_mat(f, 7, n, 2, 3);
        kd_gemm_args product = {
            .transpose_a = ta, .transpose_b = tb, .alpha = 0.75f, .a = a, .b = b, .beta = -0.5f, .c = c};
        assert_ok(kd_gemm(f->ctx, &product));
        keep(f, c, out);
    }
    kd_mat x = random_mat(f, 5, 9, 2, 1), w = random_mat(f, 9, n, 1, 2), bias = random_mat(f, 1, n, 0, 3);
    kd_mat y = op_mat(f, 5, n, n + 3, NULL), sum = op_mat(f, 1, n, n, NULL);
    assert_ok(kd_linear(f->ctx, false, x, w, bias, y));
    keep(f, y, out);
    assert_ok(kd_column_sum(f->ctx, y, 0.0f, sum));
    keep(f, sum, out);
}
COMPARE_ON_SIZES(wide_products)

/* Loss sum(up .* unit(drop(x))) against central differences. */
static void unit_rows_gradient_matches_differences(void **state) {
    op_fixture *f = *state;
    for (int dropped = 0; dropped < 2; dropped++) {
        int64_t rows = 3, cols = 70;
        kd_rng rng = {3, KD_RNG_MESSAGE_DROPOUT, 0, 5, NULL};
        float p = dropped ? 0.3f : 0.0f, *x = op_host(rows * cols, 1), *up = op_host(rows * cols, 2);
        kd_mat dx = op_mat(f, rows, cols, cols + 1, x), y = op_mat(f, rows, cols, cols, NULL);
        kd_mat dup = op_mat(f, rows, cols, cols, up), gradient = op_mat(f, rows, cols, cols, NULL);
        float *norm = op_copy(f, x, rows, sizeof *norm);
        assert_ok(kd_unit_rows_forward(
            f->ctx, &(kd_unit_rows_forward_args){.x = dx, .p = p, .rng = &rng, .y = y, .norm = norm}));
        kd_unit_rows_backward_args back = {
            .alpha = 1.0f, .y = y, .norm = norm, .dy = dup, .p = p, .rng = &rng, .dx = gradient};
        assert_ok(kd_unit_rows_backward(f->ctx, &back));
        float *got = op_read(f, gradient);
        for (int64_t i = 0; i < rows * cols; i += 13) {
            double side[2];
            for (int s = 0; s < 2; s++) {
                float moved = x[i] + (s ? 1e-2f : -1e-2f);
                kd_mat probe = op_mat(f, rows, cols, cols, x);
                assert_ok(kd_upload(f->ctx, probe.data + i, &moved, sizeof moved));
                assert_ok(kd_unit_rows_forward(
                    f->ctx, &(kd_unit_rows_forward_args){.x = probe, .p = p, .rng = &rng, .y = y, .norm = norm}));
                float *out = op_read(f, y);
                side[s] = 0.0;
                for (int64_t j = 0; j < rows * cols; j++) side[s] += (double)out[j] * up[j];
                free(out);
            }
            assert_near(got[i], (side[1] - side[0]) / 2e-2, 2e-4);
        }
        free(x);
        free(up);
        free(got);
    }
}

/* Fewer keys than ranges, tiles that are not full, anchors in several blocks, keys too many to keep exponentials, as if
 * another rank had so many more anchors than one tile's exponentials have room for, and rows wider than a GPU's tile.
 */
static const struct contrast {
    int64_t count, keys, d;
    float temp;
    int64_t most;
} CONTRASTS[] = {{1, 1, 1, 0.7f, 0},           {13, 7, 33, 0.2f, 0},     {100, 401, 50, 0.5f, 0},
                 {300, 3500, 64, 0.7f, 0},     {700, 9001, 20, 0.7f, 0}, {20, 50000, 8, 0.7f, 0},
                 {2100, 2500, 8, 0.7f, 50000}, {70, 150, 101, 0.5f, 0}};
enum { CONTRAST_COUNT = sizeof CONTRASTS / sizeof CONTRASTS[0] };

/* `count` entries among `keys`, one key over and over; a and da have more rows than there are groups. A weight of the
 * batch's size makes gradients of the size of their start. */
static void contrasts(op_fixture *f, int64_t n, outputs *out) {
    struct contrast s = CONTRASTS[n];
    int32_t *node = malloc((size_t)s.count * sizeof *node);
    float *norm = op_zeros(f, s.count + 2 + s.keys, sizeof *norm);
    for (int64_t i = 0; i < s.count; i++) node[i] = (int32_t)(i % 3 ? i * 7919 % s.keys : s.keys / 2);
    kd_infonce_args args = {.count = s.count,
                            .temp = s.temp,
                            .weight = (float)s.count,
                            .nodes = op_groups(f, s.count, op_copy(f, node, s.count, sizeof *node)),
                            .a = random_mat(f, s.count + 2, s.d, 0, 1),
                            .b = random_mat(f, s.keys, s.d, 1, 2),
                            .da = random_mat(f, s.count + 2, s.d, 2, 3),
                            .db = random_mat(f, s.keys, s.d, 3, 4),
                            .loss = op_zeros(f, 1, sizeof(double)),
                            .most_keys = s.most};
    free(node);
    assert_ok(kd_unit_rows_forward(f->ctx, &(kd_unit_rows_forward_args){.x = args.a, .y = args.a, .norm = norm}));
    assert_ok(kd_unit_rows_forward(f->ctx, &(kd_unit_rows_forward_args){.x = args.b, .y = args.b, .norm = norm}));
    assert_ok(kd_workspace_reserve(f->ctx, kd_infonce_workspace(s.count, s.d)));
    assert_ok(kd_infonce(f->ctx, &args));
    keep(f, args.da, out);
    keep(f, args.db, out);
    keep_doubles(f, args.loss, 1, out);
}

static void contrasts_agree(void **state) {
    for (int64_t i = 0; i < CONTRAST_COUNT; i++) on_both(*state, "contrasts", contrasts, i);
}

/* On a GPU's tensor cores; docs/kernels.md says how far off they may be. */
static void contrasts_agree_by_precision(void **state) {
    static const struct {
        kd_precision precision;
        double tolerance;
    } OF[] = {{KD_PRECISION_TF32, 1e-3}, {KD_PRECISION_BF16, 8e-3}};
    both c = *(both *)*state;
    if (!kd_ctx_is_gpu(c.column[1].ctx)) {
        print_message("skipped: a CPU has no tensor cores\n");
        skip();
    }
    for (int p = 0; p < 2; p++) {
        assert_ok(kd_ctx_open((kd_compute){.device = KD_DEVICE_CUDA, .threads = 2, .precision = OF[p].precision},
                              &c.column[1].ctx));
        assert_ok(kd_workspace_reserve(c.column[1].ctx, 64 << 20));
        for (int64_t i = 0; i < CONTRAST_COUNT; i++) on_both_to(&c, "contrasts", contrasts, i, OF[p].tolerance);
        kd_ctx_close(c.column[1].ctx);
    }
}

/* Ranks one after the other: their denominators are noted first, then each is given the sum of all. */
typedef struct rank_sums {
    double noted[2][256], total[256];
    int64_t at; /* of the op's blocks */
    int rank;   /* 0, 1: notes; 2: gives */
} rank_sums;

static kd_status note_or_give(void *context, kd_ctx *ctx, int64_t n, double *x) {
    rank_sums *s = context;
    kd_status status = s->rank < 2 ? kd_download(ctx, s->noted[s->rank] + s->at, x, n * (int64_t)sizeof *x)
                                   : kd_upload(ctx, x, s->total + s->at, n * (int64_t)sizeof *x);
    s->at += n;
    return status;
}

/* Two ranks' shares of loss and gradients add up to those of one. */
static void infonce_over_ranks_adds_up(void **state) {
    enum { COUNT = 200, KEYS = 1000, D = 24, CUT = 401 };
    op_fixture *f = *state;
    int32_t node[COUNT];
    const int64_t rows[2] = {COUNT, KEYS}; /* of anchors and keys */
    float *host[2] = {op_host(COUNT * D, 1), op_host(KEYS * D, 2)};
    for (int64_t i = 0; i < COUNT; i++) node[i] = (int32_t)(i * i * 7 % KEYS);
    kd_groups groups = op_groups(f, COUNT, op_copy(f, node, COUNT, sizeof *node));
    kd_mat unit[2], whole[2], part[2];
    double *loss = op_zeros(f, 2, sizeof *loss), losses[2];
    float *norm = op_zeros(f, KEYS, sizeof *norm);
    for (int k = 0; k < 2; k++) {
        unit[k] = op_mat(f, rows[k], D, D, host[k]);
        whole[k] = op_mat(f, rows[k], D, D, NULL);
        part[k] = op_mat(f, rows[k], D, D, NULL);
        assert_ok(kd_unit_rows_forward(f->ctx, &(kd_unit_rows_forward_args){.x = unit[k], .y = unit[k], .norm = norm}));
    }
    assert_ok(kd_workspace_reserve(f->ctx, kd_infonce_workspace(COUNT, D)));
    kd_infonce_args all = {.count = COUNT,
                           .temp = 0.3f,
                           .weight = 1.0f,
                           .nodes = groups,
                           .a = unit[0],
                           .b = unit[1],
                           .da = whole[0],
                           .db = whole[1],
                           .loss = loss};
    assert_ok(kd_infonce(f->ctx, &all));
    rank_sums sums = {.rank = 0};
    for (int pass = 0; pass < 2; pass++) {
        for (int k = 0; k < 2; k++) assert_ok(kd_zero(f->ctx, part[k].data, rows[k] * D * (int64_t)sizeof(float)));
        assert_ok(kd_zero(f->ctx, loss + 1, sizeof *loss));
        for (int rank = 0; rank < 2; rank++) {
            int64_t first = rank ? CUT : 0, count = rank ? KEYS - CUT : CUT;
            kd_infonce_args mine = all;
            mine.b = kd_mat_rows(unit[1], first, count);
            mine.da = part[0];
            mine.db = kd_mat_rows(part[1], first, count);
            mine.loss = loss + 1;
            mine.first_key = first;
            mine.most_keys = KEYS - CUT;
            mine.sum = note_or_give;
            mine.sum_context = &sums;
            sums.rank = pass ? 2 : rank;
            sums.at = 0;
            assert_ok(kd_infonce(f->ctx, &mine));
        }
        for (int64_t g = 0; g < sums.at; g++) sums.total[g] = sums.noted[0][g] + sums.noted[1][g];
    }
    for (int k = 0; k < 2; k++) {
        float *got = op_read(f, part[k]), *want = op_read(f, whole[k]);
        double *wide = calloc(KEYS * D, sizeof *wide);
        for (int64_t i = 0; i < rows[k] * D; i++) wide[i] = want[i];
        op_assert_close(got, wide, rows[k] * D, 1e-5);
        free(got);
        free(want);
        free(wide);
        free(host[k]);
    }
    assert_ok(kd_download(f->ctx, losses, loss, sizeof losses));
    assert_near(losses[1], losses[0], 1e-6); /* tiles are summed in float32 */
}

static void zero_rows_stay_finite(void **state) {
    op_fixture *f = *state;
    kd_mat x = op_mat(f, 2, 8, 8, NULL), y = op_mat(f, 2, 8, 8, NULL), d = op_mat(f, 2, 8, 8, NULL);
    float *norm = op_copy(f, (float[2]){0}, 2, sizeof *norm);
    assert_ok(kd_unit_rows_forward(f->ctx, &(kd_unit_rows_forward_args){.x = x, .y = y, .norm = norm}));
    assert_ok(kd_unit_rows_backward(
        f->ctx, &(kd_unit_rows_backward_args){.alpha = 1.0f, .y = y, .norm = norm, .dy = y, .dx = d}));
    float *got = op_read(f, d);
    for (int i = 0; i < 16; i++) assert_near(got[i], 0.0, 0.0);
    free(got);
}

static void dropout_keeps_the_mean(void **state) {
    op_fixture *f = *state;
    int64_t rows = 50, cols = 1000, kept = 0;
    float *ones = malloc((size_t)(rows * cols) * sizeof *ones);
    int32_t row[50], t[50] = {0};
    int64_t ptr[51] = {0};
    for (int64_t i = 0; i < rows * cols; i++) ones[i] = 1.0f;
    for (int i = 0; i < 50; i++) row[i] = i;
    kd_q_sample_args q = {.x0 = {rows, cols, op_copy(f, ptr, 51, sizeof *ptr), NULL, NULL},
                          .row = op_copy(f, row, 50, sizeof *row),
                          .t = op_copy(f, t, 50, sizeof *t),
                          .signal = op_copy(f, (float[]){0.0f}, 1, 4),
                          .sigma = op_copy(f, (float[]){1.0f}, 1, 4),
                          .noise = op_copy(f, ones, rows * cols, 4),
                          .p = 0.5f,
                          .drop_rng = {1, KD_RNG_INPUT_DROPOUT, 0, 0, NULL},
                          .x = op_mat(f, rows, cols, cols, NULL)};
    assert_ok(kd_q_sample(f->ctx, &q));
    float *got = op_read(f, q.x);
    for (int64_t i = 0; i < rows * cols; i++) {
        assert_true(got[i] == 0.0f || got[i] == 2.0f);
        kept += got[i] == 2.0f;
    }
    assert_near((double)kept / (double)(rows * cols), 0.5, 0.01);
    free(ones);
    free(got);
}

static void q_sample_noise_is_standard_normal(void **state) {
    op_fixture *f = *state;
    enum { ROWS = 40, COLS = 1001 };
    int32_t row[ROWS], t[ROWS] = {0};
    int64_t ptr[ROWS + 1] = {0};
    double sum = 0.0, square = 0.0, beyond = 0.0;
    for (int i = 0; i < ROWS; i++) row[i] = i;
    kd_q_sample_args q = {.x0 = {ROWS, COLS, op_copy(f, ptr, ROWS + 1, sizeof *ptr), NULL, NULL},
                          .row = op_copy(f, row, ROWS, sizeof *row),
                          .t = op_copy(f, t, ROWS, sizeof *t),
                          .signal = op_copy(f, (float[]){1.0f}, 1, 4),
                          .sigma = op_copy(f, (float[]){1.0f}, 1, 4),
                          .noise_rng = {1, KD_RNG_NOISE, 0, 0, NULL},
                          .x = op_mat(f, ROWS, COLS, COLS, NULL)};
    assert_ok(kd_q_sample(f->ctx, &q));
    float *got = op_read(f, q.x);
    for (int i = 0; i < ROWS * COLS; i++) {
        sum += got[i];
        square += (double)got[i] * got[i];
        beyond += fabs(got[i]) > 1.959964;
    }
    assert_near(sum / (ROWS * COLS), 0.0, 0.02);
    assert_near(square / (ROWS * COLS), 1.0, 0.02);
    assert_near(beyond / (ROWS * COLS), 0.05, 0.005);
    free(got);
}

static void topk_takes_the_lower_column_of_equals(void **state) {
    op_fixture *f = *state;
    float x[] = {1, 5, 5, 2, NAN, 5, 0, 3};
    int64_t ptr[] = {0, 1};
    int32_t masked[] = {1}, got[6];
    kd_csr mask = {1, 8, op_copy(f, ptr, 2, 8), op_copy(f, masked, 1, 4), NULL, 0};
    int32_t *index = op_copy(f, got, 6, 4);
    float *value = op_copy(f, x, 6, 4), read[6];
    assert_ok(kd_topk_rows(f->ctx, op_mat(f, 1, 8, 9, x), mask, 6, index, value));
    assert_ok(kd_download(f->ctx, got, index, sizeof got));
    assert_ok(kd_download(f->ctx, read, value, sizeof read));
    const int32_t want[] = {2, 5, 7, 3, 0, 6};
    for (int i = 0; i < 6; i++) assert_int_equal(got[i], want[i]);
    assert_near(read[2], 3.0, 0.0);
    assert_ok(kd_topk_rows(f->ctx, op_mat(f, 1, 3, 3, x), (kd_csr){0}, 6, index, value));
    assert_ok(kd_download(f->ctx, got, index, sizeof got));
    const int32_t short_row[] = {1, 2, 0, -1, -1, -1};
    for (int i = 0; i < 6; i++) assert_int_equal(got[i], short_row[i]);
}

static void metrics_match_a_hand_count(void **state) {
    op_fixture *f = *state;
    int32_t list[] = {4, 1, 2, 0, 3, 5}, held[] = {1, 2, 3};
    int64_t ptr[] = {0, 3, 3}, topk[] = {1, 3};
    double sums[7] = {0}, got[7];
    kd_csr held_out = {2, 6, op_copy(f, ptr, 3, 8), op_copy(f, held, 3, 4), NULL, 0};
    double *device = op_copy(f, sums, 7, 8);
    assert_ok(kd_rank_metrics(f->ctx, &(kd_rank_metrics_args){.rows = 2,
                                                              .k = 3,
                                                              .index = op_copy(f, list, 6, 4),
                                                              .held_out = held_out,
                                                              .topk_count = 2,
                                                              .topk = topk,
                                                              .sums = device}));
    assert_ok(kd_download(f->ctx, got, device, sizeof got));
    double ideal = 1.0 + 1.0 / log2(3.0) + 0.5;
    assert_near(got[0], 0.0, 1e-12);
    assert_near(got[3], 2.0 / 3.0, 1e-12);
    assert_near(got[4], (1.0 / log2(3.0) + 0.5) / ideal, 1e-12);
    assert_near(got[5], 2.0 / 3.0, 1e-12);
    assert_near(got[6], 1.0, 1e-12);
}

static void shapes_that_do_not_fit_are_refused(void **state) {
    op_fixture *f = *state;
    kd_mat a = op_mat(f, 2, 3, 3, NULL), b = op_mat(f, 2, 4, 4, NULL);
    assert_int_equal(kd_add_scaled(f->ctx, 1.0f, a, 0.0f, b), KD_ERR_ARGUMENT);
    assert_int_equal(kd_gemm(f->ctx, &(kd_gemm_args){.alpha = 1.0f, .a = a, .b = b, .c = a}), KD_ERR_ARGUMENT);
    assert_int_equal(kd_permutation(f->ctx, INT64_C(1) << 31, &(kd_rng){0}, NULL), KD_ERR_ARGUMENT);
}

static void infonce_refuses_what_does_not_fit(void **state) {
    op_fixture *f = *state;
    int32_t node[3] = {0, 4, 4};
    kd_mat anchors = op_mat(f, 3, 8, 8, NULL), few = op_mat(f, 2, 8, 8, NULL), keys = op_mat(f, 5, 8, 8, NULL);
    double *loss = op_zeros(f, 1, sizeof *loss);
    kd_infonce_args args = {.count = 3,
                            .temp = 0.5f,
                            .weight = 1.0f,
                            .nodes = op_groups(f, 3, op_copy(f, node, 3, sizeof *node)),
                            .a = anchors,
                            .b = keys,
                            .da = op_mat(f, 3, 8, 8, NULL),
                            .db = op_mat(f, 5, 8, 8, NULL),
                            .loss = loss};
    kd_infonce_args bad[4] = {args, args, args, args};
    assert_ok(kd_infonce(f->ctx, &args));
    bad[0].a = bad[0].da = few;
    bad[1].first_key = -1;
    bad[2].first_key = INT64_MAX - 2;
    bad[3].most_keys = 4;
    for (int i = 0; i < 4; i++) assert_int_equal(kd_infonce(f->ctx, &bad[i]), KD_ERR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest reference[] = {
        cmocka_unit_test(products_agree),
        cmocka_unit_test(wide_products_agree),
        cmocka_unit_test(rows_and_columns_agree),
        cmocka_unit_test(unit_rows_agree),
        cmocka_unit_test(adam_agree),
        cmocka_unit_test(batches_agree),
        cmocka_unit_test(losses_agree),
        cmocka_unit_test(contrasts_agree),
        cmocka_unit_test(contrasts_agree_by_precision),
        cmocka_unit_test(diffusion_agree),
        cmocka_unit_test(ranking_agree),
        cmocka_unit_test(message_passing_agree),
        cmocka_unit_test(rows_of_a_batch_agree),
        cmocka_unit_test(message_passing_of_a_batch_agree),
        cmocka_unit_test(hubs_agree),
        cmocka_unit_test(attention_agree),
        cmocka_unit_test(rebuilt_graphs_agree),
        cmocka_unit_test(walks_agree),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unit_rows_gradient_matches_differences),
        cmocka_unit_test(infonce_over_ranks_adds_up),
        cmocka_unit_test(zero_rows_stay_finite),
        cmocka_unit_test(dropout_keeps_the_mean),
        cmocka_unit_test(q_sample_noise_is_standard_normal),
        cmocka_unit_test(topk_takes_the_lower_column_of_equals),
        cmocka_unit_test(metrics_match_a_hand_count),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(infonce_refuses_what_does_not_fit),
    };
    int failed = cmocka_run_group_tests_name("against the reference", reference, open_reference, close_both);
    return failed + cmocka_run_group_tests(tests, op_set_up, op_tear_down);
}
