/* Ops on a rank's columns of rows that are divided among ranks (kd_split), against the same ops on whole rows: two and
 * three ranks are played in one process, on the device that KDIFFE_TEST_DEVICE names. */
#include "columns_fixture.h"

#include "kernels/ctx.h"

enum { MOST_RANKS = 3, MOST_SUMS = 4, MOST_ARRAYS = 8 };

/* Ranks run one after the other, in rounds: each round makes the total of one more of their sums known, and the last
 * one has them all. */
typedef struct rounds {
    int64_t known, at; /* sums; the one that the rank under way asks for next */
    int64_t n[MOST_SUMS];
    double *total[MOST_SUMS];
} rounds;

static kd_status add_or_give(void *context, kd_ctx *ctx, int64_t n, float *x) {
    rounds *s = context;
    int64_t at = s->at++;
    float *host = malloc((size_t)n * sizeof *host);
    kd_status status = kd_download(ctx, host, x, n * (int64_t)sizeof *x);
    assert_true(at < MOST_SUMS && n > 0);
    if (!s->total[at]) {
        s->total[at] = calloc((size_t)n, sizeof *s->total[at]);
        s->n[at] = n;
    }
    assert_int_equal(n, s->n[at]);
    for (int64_t i = 0; i < n && at == s->known; i++) {
        if (!isfinite(host[i])) fail_msg("sum %lld takes %g from %lld", (long long)at, host[i], (long long)i);
        s->total[at][i] += host[i];
    }
    for (int64_t i = 0; i < n; i++) host[i] = (float)s->total[at][i];
    if (status == KD_OK && at < s->known) status = kd_upload(ctx, x, host, n * (int64_t)sizeof *x);
    free(host);
    return status;
}

/* A rank's columns, or the whole row: split NULL. */
typedef struct part {
    int64_t rank, first, cols, all;
    const kd_split *split;
} part;

/* What an op left behind. */
typedef struct made {
    int64_t count;
    struct {
        float *value;
        int64_t rows, cols;
        bool divided; /* by columns; else the same on all ranks */
    } of[MOST_ARRAYS];
} made;

typedef void played(op_fixture *f, const part *p, int64_t variant, made *out);

static void put(op_fixture *f, kd_mat m, bool divided, made *out) {
    assert_true(out->count < MOST_ARRAYS);
    out->of[out->count].value = op_read(f, m);
    out->of[out->count].rows = m.rows;
    out->of[out->count].cols = m.cols;
    out->of[out->count++].divided = divided;
}
static void put_columns(op_fixture *f, kd_mat m, made *out) { put(f, m, true, out); }
static void put_values(op_fixture *f, float *x, int64_t n, made *out) { put(f, kd_mat_make(x, 1, n), false, out); }

static void forget(made *m) {
    for (int64_t i = 0; i < m->count; i++) free(m->of[i].value);
    m->count = 0;
}

/* The part's columns of rows of pseudo-random numbers. */
static kd_mat columns(op_fixture *f, const part *p, int64_t rows, int64_t pad, uint32_t what) {
    float *host = malloc((size_t)(rows * p->cols + 1) * sizeof *host);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < p->cols; c++) host[r * p->cols + c] = op_value(what, r * p->all + p->first + c);
    kd_mat m = op_mat(f, rows, p->cols, p->cols + pad, host);
    free(host);
    return m;
}

static void fill(op_fixture *f, float *device, int64_t n, float value) {
    float *host = malloc((size_t)(n + 1) * sizeof *host);
    for (int64_t i = 0; i < n; i++) host[i] = value;
    assert_ok(kd_upload(f->ctx, device, host, n * (int64_t)sizeof *host));
    free(host);
}

static float *not_numbers(op_fixture *f, int64_t n) {
    float *device = op_zeros(f, n, sizeof *device);
    fill(f, device, n, NAN);
    return device;
}

/* What an op before has left in the workspace is nothing to sum. */
static void spoil_workspace(op_fixture *f) { fill(f, f->ctx->workspace, 1 << 16, NAN); }

static void play(op_fixture *f, played *run, const part *p, int64_t variant, made *out) {
    forget(out);
    run(f, p, variant, out);
    kd_pool_free(&f->pool);
    kd_pool_init(&f->pool, f->ctx);
}

static void compare_part(const part *p, int64_t variant, const made *whole, const made *mine) {
    for (int64_t i = 0; i < mine->count; i++) {
        bool divided = mine->of[i].divided;
        int64_t rows = mine->of[i].rows, cols = mine->of[i].cols, all = whole->of[i].cols;
        double largest = 1e-30;
        assert_int_equal(rows, whole->of[i].rows);
        assert_int_equal(cols, divided ? p->cols : all);
        for (int64_t k = 0; k < rows * all; k++) largest = fmax(largest, fabs((double)whole->of[i].value[k]));
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++) {
                float want = whole->of[i].value[r * all + c + (divided ? p->first : 0)];
                float got = mine->of[i].value[r * cols + c];
                if (!(fabs((double)got - (double)want) <= 1e-5 * largest))
                    fail_msg("variant %lld, rank %lld of %lld columns: array %lld, row %lld, column %lld is %.9g, "
                             "expected %.9g (largest %.3g)",
                             (long long)variant, (long long)p->rank, (long long)p->all, (long long)i, (long long)r,
                             (long long)c, (double)got, (double)want, largest);
            }
    }
}

/* cut [ranks + 1]: where each rank's columns begin, and their number. */
static void check_ranks(op_fixture *f, played *run, int64_t variant, int64_t ranks, const int64_t *cut) {
    made whole = {0}, mine[MOST_RANKS] = {{0}};
    rounds sums = {0};
    play(f, run, &(part){0, 0, cut[ranks], cut[ranks], NULL}, variant, &whole);
    for (;; sums.known++) {
        for (int64_t rank = 0; rank < ranks; rank++) {
            kd_split split = {cut[rank], add_or_give, &sums};
            part p = {rank, cut[rank], cut[rank + 1] - cut[rank], cut[ranks], &split};
            sums.at = 0;
            play(f, run, &p, variant, &mine[rank]);
            if (sums.known == sums.at) compare_part(&p, variant, &whole, &mine[rank]);
        }
        if (sums.known == sums.at) break;
    }
    for (int64_t rank = 0; rank < ranks; rank++) forget(&mine[rank]);
    forget(&whole);
    for (int64_t i = 0; i < MOST_SUMS; i++) free(sums.total[i]);
}

/* Two ranks and three, a rank without columns, cuts that are no fours, and, but where kernels are instrumented, more
 * columns than a warp or a block of draws has. */
static void check_cuts(void **state, played *run, int64_t variant) {
    check_ranks(*state, run, variant, 2, (int64_t[]){0, 4, 12});
    check_ranks(*state, run, variant, 3, (int64_t[]){0, 4, 8, 13});
    if (!getenv("KDIFFE_TEST_MOST")) check_ranks(*state, run, variant, 3, (int64_t[]){0, 68, 72, 141});
    check_ranks(*state, run, variant, 3, (int64_t[]){0, 8, 8, 11});
    check_ranks(*state, run, variant, 3, (int64_t[]){0, 1, 6, 74}); /* draws that ranks share */
}

/* Of a batch: none of its entries where it is empty. */
static kd_groups batch_of(op_fixture *f, int64_t count, const int32_t *node, bool empty) {
    kd_groups groups = op_groups(f, count, node);
    if (empty) assert_ok(kd_group(f->ctx, 0, node, &groups));
    return groups;
}

enum { UNIT_ROWS = 37, FEW_ROWS = 3, NAMED = 6 };
enum { EVERY_ROW, NAMED_ROWS, NO_NAMED_ROW, NAMED_OF_FEW, NO_ROW, UNIT_VARIANTS };

/* The rank's latest sum was of n. */
static void took(const part *p, int64_t n) {
    if (!p->split || n == 0) return;
    const rounds *sums = p->split->context;
    assert_int_equal(sums->n[sums->at - 1], n);
}

/* With dropout in place. */
static void units(op_fixture *f, const part *p, int64_t variant, made *out) {
    int64_t kind = variant / 2, rows = kind == NO_ROW ? 0 : kind == NAMED_OF_FEW ? FEW_ROWS : UNIT_ROWS;
    int32_t node[NAMED] = {5, 0, 30, 5, 36, 2};
    for (int64_t i = 0; i < NAMED && kind == NAMED_OF_FEW; i++) node[i] = i % 2 ? 2 : 0;
    int32_t *key = op_copy(f, node, NAMED, sizeof *node);
    kd_groups groups = batch_of(f, NAMED, key, kind == NO_NAMED_ROW);
    const kd_groups *only = kind == EVERY_ROW || kind == NO_ROW ? NULL : &groups;
    int64_t sums = only ? NAMED : rows;
    float drop = variant % 2 ? 0.3f : 0.0f, *norm = not_numbers(f, rows), read[UNIT_ROWS];
    kd_mat x = columns(f, p, rows, 1, 1), y = variant % 2 ? x : columns(f, p, rows, 2, 2);
    kd_mat up = columns(f, p, rows, 1, 3), dx = columns(f, p, rows, 3, 4);
    if (rows > 2 && p->cols > 0) assert_ok(kd_zero(f->ctx, x.data + 2 * x.ld, p->cols * (int64_t)sizeof(float)));
    spoil_workspace(f);
    kd_unit_rows_forward_args forward = {
        .split = p->split, .only = only, .x = x, .p = drop, .rng = &RNG, .y = y, .norm = norm};
    assert_ok(kd_unit_rows_forward(f->ctx, &forward));
    took(p, sums);
    put_columns(f, y, out);
    spoil_workspace(f);
    assert_ok(kd_unit_rows_backward(f->ctx, &(kd_unit_rows_backward_args){.split = p->split,
                                                                          .only = only,
                                                                          .alpha = 0.7f,
                                                                          .y = y,
                                                                          .norm = norm,
                                                                          .dy = up,
                                                                          .p = drop,
                                                                          .rng = &RNG,
                                                                          .beta = 0.5f,
                                                                          .dx = dx}));
    took(p, sums);
    put_columns(f, dx, out);
    assert_ok(kd_download(f->ctx, read, norm, rows * (int64_t)sizeof *read));
    for (int64_t r = 0; r < rows && only; r++) {
        bool named = false;
        for (int64_t i = 0; i < NAMED && kind != NO_NAMED_ROW; i++) named = named || node[i] == r;
        assert_true(named != (isnan(read[r]) != 0)); /* left as it was */
        if (!named) read[r] = 0.0f;
    }
    assert_ok(kd_upload(f->ctx, norm, read, rows * (int64_t)sizeof *read));
    put_values(f, norm, rows, out);
}

static void unit_rows_are_those_of_whole_rows(void **state) {
    for (int64_t variant = 0; variant < 2 * UNIT_VARIANTS; variant++) check_cuts(state, units, variant);
}

enum { ENTITIES = 40, RELATIONS = 5, EVERY_HEAD = 0, FIRST_HEADS, NO_EDGES, NO_HEAD, HOP_VARIANTS };

static void attention(op_fixture *f, const part *p, int64_t variant, made *out) {
    int64_t n = variant == NO_EDGES ? 1 : ENTITIES, edges;
    int64_t heads = variant == FIRST_HEADS ? n - 7 : variant == NO_HEAD ? 0 : n;
    kd_kg kg = knowledge_graph(f, n, RELATIONS);
    kd_mat e = columns(f, p, n, 1, 1), rh = columns(f, p, RELATIONS, 2, 2), rt = columns(f, p, RELATIONS, 1, 3);
    kd_mat agg = columns(f, p, heads, 1, 4), up = columns(f, p, heads, 2, 5), de = columns(f, p, n, 1, 6);
    kd_mat drh = columns(f, p, RELATIONS, 1, 7), drt = columns(f, p, RELATIONS, 3, 8);
    float *logit = not_numbers(f, kg.capacity), *alpha = not_numbers(f, kg.capacity);
    float *read = malloc((size_t)kg.capacity * sizeof *read);
    edges = last_of(f, kg.head_ptr, heads);
    assert_ok(kd_rgat_forward(f->ctx, &(kd_rgat_forward_args){.split = p->split,
                                                              .kg = &kg,
                                                              .slope = 0.2f,
                                                              .e = e,
                                                              .rh = rh,
                                                              .rt = rt,
                                                              .logit = logit,
                                                              .alpha = alpha,
                                                              .agg = agg}));
    put_columns(f, agg, out);
    put_values(f, alpha, edges, out);
    put_values(f, logit, edges, out);
    assert_ok(kd_download(f->ctx, read, logit, kg.capacity * (int64_t)sizeof *read));
    for (int64_t k = edges; k < kg.capacity && p->split; k++) assert_true(read[k] == 0.0f);
    free(read);
    spoil_workspace(f);
    assert_ok(kd_rgat_backward(f->ctx, &(kd_rgat_backward_args){.split = p->split,
                                                                .kg = &kg,
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
    put_values(f, logit, edges, out);
    put_columns(f, de, out);
    put_columns(f, drh, out);
    put_columns(f, drt, out);
}

static void attention_is_that_of_whole_rows(void **state) {
    for (int64_t variant = 0; variant < HOP_VARIANTS; variant++) check_cuts(state, attention, variant);
}

enum { USERS = 20, ITEMS = 30, TRIPLES = 300 };

static kd_bpr_args triples(op_fixture *f, const part *p, int64_t count) {
    int32_t *user = random_ints(f, TRIPLES, USERS, 51), *item = random_ints(f, 2 * TRIPLES, ITEMS, 52);
    return (kd_bpr_args){.split = p->split,
                         .count = count,
                         .batch = 7.0,
                         .user = user,
                         .positive = item,
                         .negative = item + count,
                         .users = op_groups(f, count, user),
                         .items = op_groups(f, 2 * count, item),
                         .user_view = columns(f, p, USERS, 1, 1),
                         .item_view = columns(f, p, ITEMS, 2, 2),
                         .duser = columns(f, p, USERS, 1, 3),
                         .ditem = columns(f, p, ITEMS, 3, 4)};
}

/* One of the ranks, which all know the loss, adds it. */
static void ranking(op_fixture *f, const part *p, int64_t variant, made *out) {
    kd_bpr_args args = triples(f, p, variant ? 0 : TRIPLES);
    double loss = 1.0;
    float single;
    if (p->rank == 0) args.loss = op_copy(f, &loss, 1, sizeof loss);
    assert_ok(kd_bpr(f->ctx, &args));
    put_columns(f, args.duser, out);
    put_columns(f, args.ditem, out);
    if (p->rank > 0) return;
    assert_ok(kd_download(f->ctx, &loss, args.loss, sizeof loss));
    single = (float)loss;
    put_values(f, op_copy(f, &single, 1, sizeof single), 1, out);
}

static void bpr_is_that_of_whole_rows(void **state) {
    check_cuts(state, ranking, 0);
    check_cuts(state, ranking, 1);
}

static void taken_rows_are_given_back(void **state) {
    enum { ROWS = 50, COUNT = 21, MOST = 24, D = 9, FIRST = 4 };
    op_fixture *f = *state;
    for (int empty = 0; empty < 2; empty++) {
        int32_t *node = random_ints(f, COUNT, ROWS, 71), key[COUNT];
        kd_groups groups = batch_of(f, COUNT, node, empty);
        int64_t count = last_of(f, groups.count, 0);
        kd_mat table = random_mat(f, ROWS, D + 7, 0, 1), x = kd_mat_cols(table, FIRST, D),
               y = random_mat(f, MOST, D, 2, 2);
        float *before = op_read(f, table), *taken, *after;
        assert_ok(kd_take_rows(f->ctx, &groups, x, y));
        taken = op_read(f, y);
        assert_ok(kd_give_rows(f->ctx, &groups, y, x));
        after = op_read(f, table);
        assert_ok(kd_download(f->ctx, key, groups.key, count * (int64_t)sizeof *key));
        for (int64_t g = 0; g < MOST; g++)
            for (int64_t c = 0; c < D; c++) {
                float *from = before + key[g < count ? g : 0] * (D + 7) + FIRST + c;
                assert_true(taken[g * D + c] == (g < count ? *from : 0.0f));
                if (g < count) *from *= 2.0f;
            }
        assert_memory_equal(before, after, ROWS * (D + 7) * sizeof *before);
        free(before);
        free(taken);
        free(after);
    }
}

/* Every op once, as a step that is recorded; of two ranks that have the same columns. */
typedef struct step {
    kd_split split;
    kd_kg kg;
    kd_mat e, rh, rt, agg, unit, up, de, drh, drt;
    float *logit, *alpha, *norm;
    kd_bpr_args bpr;
} step;

static kd_status run_step(kd_ctx *ctx, void *arg) {
    step *s = arg;
    const kd_split *split = &s->split;
    kd_status status = kd_rgat_forward(ctx, &(kd_rgat_forward_args){.split = split,
                                                                    .kg = &s->kg,
                                                                    .slope = 0.2f,
                                                                    .e = s->e,
                                                                    .rh = s->rh,
                                                                    .rt = s->rt,
                                                                    .logit = s->logit,
                                                                    .alpha = s->alpha,
                                                                    .agg = s->agg});
    const kd_groups *only = &s->bpr.users;
    if (status == KD_OK)
        status = kd_unit_rows_forward(
            ctx, &(kd_unit_rows_forward_args){
                     .split = split, .only = only, .x = s->agg, .p = 0.3f, .rng = &RNG, .y = s->unit, .norm = s->norm});
    if (status == KD_OK)
        status = kd_unit_rows_backward(ctx, &(kd_unit_rows_backward_args){.split = split,
                                                                          .only = only,
                                                                          .alpha = 1.0f,
                                                                          .y = s->unit,
                                                                          .norm = s->norm,
                                                                          .dy = s->up,
                                                                          .p = 0.3f,
                                                                          .rng = &RNG,
                                                                          .dx = s->agg});
    if (status == KD_OK)
        status = kd_rgat_backward(ctx, &(kd_rgat_backward_args){.split = split,
                                                                .kg = &s->kg,
                                                                .slope = 0.2f,
                                                                .e = s->e,
                                                                .rh = s->rh,
                                                                .rt = s->rt,
                                                                .logit = s->logit,
                                                                .alpha = s->alpha,
                                                                .dagg = s->agg,
                                                                .de = s->de,
                                                                .drh = s->drh,
                                                                .drt = s->drt});
    return status == KD_OK ? kd_bpr(ctx, &s->bpr) : status;
}

static void steps(op_fixture *f, bool recorded, made *out) {
    kd_recording *recording = NULL;
    part p = {.cols = 12, .all = 24};
    kd_mat e = columns(f, &p, ENTITIES, 1, 1), r = columns(f, &p, RELATIONS, 1, 2);
    step s = {.split = {12, twice, NULL},
              .kg = knowledge_graph(f, ENTITIES, RELATIONS),
              .e = e,
              .rh = r,
              .rt = r,
              .agg = columns(f, &p, ENTITIES, 1, 3),
              .unit = columns(f, &p, ENTITIES, 1, 4),
              .up = columns(f, &p, ENTITIES, 1, 5),
              .de = columns(f, &p, ENTITIES, 1, 6),
              .drh = columns(f, &p, RELATIONS, 1, 7),
              .drt = columns(f, &p, RELATIONS, 1, 8),
              .norm = op_zeros(f, ENTITIES, sizeof *s.norm)};
    s.logit = op_zeros(f, s.kg.capacity, sizeof *s.logit);
    s.alpha = op_zeros(f, s.kg.capacity, sizeof *s.alpha);
    p.split = &s.split;
    s.bpr = triples(f, &p, TRIPLES);
    for (int i = 0; i < 3; i++)
        if (recorded)
            assert_ok(kd_replay(f->ctx, run_step, &s, &recording));
        else
            assert_ok(run_step(f->ctx, &s));
    kd_recording_free(f->ctx, &recording);
    put_columns(f, s.unit, out);
    put_columns(f, s.de, out);
    put_columns(f, s.drt, out);
    put_columns(f, s.bpr.duser, out);
}

static void a_recorded_step_is_the_step(void **state) {
    made direct = {0}, recorded = {0};
    steps(*state, false, &direct);
    steps(*state, true, &recorded);
    for (int64_t i = 0; i < direct.count; i++)
        assert_memory_equal(direct.of[i].value, recorded.of[i].value,
                            (size_t)(direct.of[i].rows * direct.of[i].cols) * sizeof(float));
    forget(&direct);
    forget(&recorded);
}

static void what_does_not_fit_is_refused(void **state) {
    op_fixture *f = *state;
    kd_mat x = op_mat(f, 3, 8, 8, NULL), few = op_mat(f, 2, 8, 8, NULL);
    int32_t node[3] = {0, 1, 2};
    kd_groups groups = op_groups(f, 3, op_copy(f, node, 3, sizeof *node));
    float *norm = op_zeros(f, 3, sizeof *norm);
    kd_split odd = {-4, twice, NULL}, silent = {4, NULL, NULL};
    kd_bpr_args args = triples(f, &(part){.cols = 4, .all = 4}, 0);
    assert_int_equal(
        kd_unit_rows_forward(f->ctx, &(kd_unit_rows_forward_args){.split = &odd, .x = x, .y = x, .norm = norm}),
        KD_ERR_ARGUMENT);
    assert_int_equal(
        kd_unit_rows_backward(
            f->ctx,
            &(kd_unit_rows_backward_args){.split = &silent, .alpha = 1.0f, .y = x, .norm = norm, .dy = x, .dx = x}),
        KD_ERR_ARGUMENT);
    assert_int_equal(kd_take_rows(f->ctx, &groups, x, few), KD_ERR_ARGUMENT);
    assert_int_equal(kd_give_rows(f->ctx, &groups, few, x), KD_ERR_ARGUMENT);
    assert_int_equal(kd_bpr(f->ctx, &args), KD_ERR_ARGUMENT); /* nobody gets the loss */
}

/* Unit rows in too small a workspace: only those whose sums lie there are refused. */
static void sums_need_room(void **state) {
    op_fixture *f = *state;
    kd_mat x = op_mat(f, 3, 8, 8, NULL);
    int32_t node[4] = {0, 1, 2, 1};
    kd_groups groups = op_groups(f, 4, op_copy(f, node, 4, sizeof *node));
    float *norm = op_zeros(f, 3, sizeof *norm);
    kd_split split = {4, twice, NULL};
    int64_t room = f->ctx->workspace_bytes;
    for (int divided = 0; divided < 2; divided++)
        for (int named = 0; named < 2; named++) {
            const kd_split *by = divided ? &split : NULL;
            const kd_groups *only = named ? &groups : NULL;
            f->ctx->workspace_bytes = divided ? kd_unit_rows_workspace(named ? 4 : 3) - 1 : 0;
            kd_status forward = kd_unit_rows_forward(
                f->ctx, &(kd_unit_rows_forward_args){.split = by, .only = only, .x = x, .y = x, .norm = norm});
            kd_unit_rows_backward_args back = {
                .split = by, .only = only, .alpha = 1.0f, .y = x, .norm = norm, .dy = x, .dx = x};
            kd_status backward = kd_unit_rows_backward(f->ctx, &back);
            f->ctx->workspace_bytes = room;
            assert_int_equal(forward, divided && named ? KD_ERR_ARGUMENT : KD_OK);
            assert_int_equal(backward, divided ? KD_ERR_ARGUMENT : KD_OK);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unit_rows_are_those_of_whole_rows),
        cmocka_unit_test(attention_is_that_of_whole_rows),
        cmocka_unit_test(bpr_is_that_of_whole_rows),
        cmocka_unit_test(taken_rows_are_given_back),
        cmocka_unit_test(a_recorded_step_is_the_step),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(sums_need_room),
    };
    return cmocka_run_group_tests_name("split", tests, op_set_up, op_tear_down);
}
