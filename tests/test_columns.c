/* The CUDA column against the CPU column, op by op: the same inputs through both, integers equal, floats to 1e-5 of the
 * largest. Runs where a CUDA device is to be had: a GPU, or the stand-in of tests/emu. Ops over graphs are in
 * test_graph_columns.c. */
#include "subjects.h"

typedef struct replayed {
    kd_cursor *cursor;
    int32_t *order, *batch;
    int64_t count;
    kd_mat x, sum;
    double *slot, *log;
    int calls;
} replayed;

/* Something that a replay must do anew: a batch by the cursor, a draw by its clock, a loss in the log. */
static kd_status replayed_step(kd_ctx *ctx, void *arg) {
    replayed *r = arg;
    float *norm = (float *)r->slot + 2;
    kd_rng rng = RNG;
    rng.clock = &r->cursor->step;
    r->calls++;
    kd_status status = kd_gather(ctx, r->count, &r->cursor->first, r->order, NULL, r->batch + 0);
    if (status == KD_OK)
        status = kd_unit_rows_forward(
            ctx, &(kd_unit_rows_forward_args){.x = r->x, .p = 0.4f, .rng = &rng, .y = r->sum, .norm = norm});
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
    assert_int_equal(r.calls, kd_ctx_is_gpu(f->ctx) ? 2 : 4); /* as it is, recorded, and from then on replayed */
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
    kd_ctx *ctx = c->column[1].ctx;
    kd_recording *recording = NULL;
    void *cursor;
    assert_ok(kd_alloc(ctx, sizeof(kd_cursor), "cursor", &cursor));
    assert_ok(kd_replay(ctx, wait_inside, NULL, &recording));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kd_replay(ctx, wait_inside, NULL, &recording), KD_ERR_CUDA);
        assert_ok(kd_cursor_begin(ctx, 1, cursor)); /* a launch, which must not be told of it again */
        assert_ok(kd_synchronize(ctx));
    }
    kd_recording_free(ctx, &recording);
    assert_null(recording);
    kd_release(ctx, cursor);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_agree),  cmocka_unit_test(rows_and_columns_agree),
                                       cmocka_unit_test(unit_rows_agree), cmocka_unit_test(adam_agree),
                                       cmocka_unit_test(batches_agree),   cmocka_unit_test(losses_agree),
                                       cmocka_unit_test(diffusion_agree), cmocka_unit_test(ranking_agree),
                                       cmocka_unit_test(replays_agree),   cmocka_unit_test(a_wait_cannot_be_recorded)};
    int code;
    return has_device(&code) ? cmocka_run_group_tests_name("columns", tests, open_both, close_both) : code;
}
