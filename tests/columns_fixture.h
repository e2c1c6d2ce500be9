/* Runs an op on two columns and compares what it left behind: integers equal, floats to 1e-5 of the largest. */
#ifndef KD_TESTS_COLUMNS_FIXTURE_H
#define KD_TESTS_COLUMNS_FIXTURE_H

#include "kernels/ref/ref.h"
#include "op_fixture.h"

enum { MOST_OUTPUTS = 24 };

/* What an op left behind: arrays of floats or of integers. */
typedef struct outputs {
    int64_t count, size[MOST_OUTPUTS];
    float *value[MOST_OUTPUTS];
    int64_t *integer[MOST_OUTPUTS];
} outputs;

typedef void subject(op_fixture *f, int64_t n, outputs *out);

static inline void keep(op_fixture *f, kd_mat m, outputs *out) {
    out->value[out->count] = op_read(f, m);
    out->size[out->count++] = m.rows * m.cols;
}

static inline void keep_floats(op_fixture *f, const float *device, int64_t n, outputs *out) {
    keep(f, kd_mat_make((float *)(uintptr_t)device, 1, n), out);
}

static inline void keep_doubles(op_fixture *f, const double *device, int64_t n, outputs *out) {
    double *host = malloc((size_t)n * sizeof *host);
    float *value = malloc((size_t)n * sizeof *value);
    assert_ok(kd_download(f->ctx, host, device, n * (int64_t)sizeof *host));
    for (int64_t i = 0; i < n; i++) value[i] = (float)host[i];
    free(host);
    out->value[out->count] = value;
    out->size[out->count++] = n;
}

static inline void keep_int32(op_fixture *f, const int32_t *device, int64_t n, outputs *out) {
    int32_t *host = calloc((size_t)n + 1, sizeof *host);
    int64_t *integer = malloc((size_t)(n + 1) * sizeof *integer);
    assert_ok(kd_download(f->ctx, host, device, n * (int64_t)sizeof *host));
    for (int64_t i = 0; i < n; i++) integer[i] = host[i];
    free(host);
    out->integer[out->count] = integer;
    out->size[out->count++] = n;
}

static inline void keep_int64(op_fixture *f, const int64_t *device, int64_t n, outputs *out) {
    int64_t *integer = malloc((size_t)(n + 1) * sizeof *integer);
    assert_ok(kd_download(f->ctx, integer, device, n * (int64_t)sizeof *integer));
    out->integer[out->count] = integer;
    out->size[out->count++] = n;
}

static inline int64_t last_of(op_fixture *f, const int64_t *device, int64_t at) {
    int64_t value;
    assert_ok(kd_download(f->ctx, &value, device + at, sizeof value));
    return value;
}

static inline kd_mat random_mat(op_fixture *f, int64_t rows, int64_t cols, int64_t pad, uint32_t what) {
    float *host = op_host(rows * cols, what);
    kd_mat m = op_mat(f, rows, cols, cols + pad, host);
    free(host);
    return m;
}

static inline uint32_t draw_below(uint32_t what, int64_t i, uint32_t n) {
    return kd_uniform_below((uint32_t)((op_value(what, i) + 1.0f) * 2147483000.0f), n);
}

static inline int32_t *random_ints(op_fixture *f, int64_t n, uint32_t below, uint32_t what) {
    int32_t *host = calloc((size_t)n + 1, sizeof *host);
    for (int64_t i = 0; i < n; i++) host[i] = (int32_t)draw_below(what, i, below);
    int32_t *device = op_copy(f, host, n, sizeof *host);
    free(host);
    return device;
}

/* A split's sum over two ranks that have the same columns. */
static inline kd_status twice(void *context, kd_ctx *ctx, int64_t n, float *x) {
    (void)context;
    return kd_add_scaled(ctx, 1.0f, kd_mat_make(x, 1, n), 1.0f, kd_mat_make(x, 1, n));
}

/* Compares what the columns left behind, then frees it; `who`: what they are called. Floats may differ by `tolerance`
 * of the largest of their output. */
static inline void compare(const char *const who[2], const char *name, int64_t n, double tolerance, outputs *a,
                           outputs *b) {
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        double largest = 1e-30;
        assert_int_equal(a->size[i], b->size[i]);
        for (int64_t k = 0; k < a->size[i]; k++) {
            if (a->integer[i]) {
                if (a->integer[i][k] != b->integer[i][k])
                    fail_msg("%s %lld: output %lld, element %lld: %lld on %s, %lld on %s", name, (long long)n,
                             (long long)i, (long long)k, (long long)a->integer[i][k], who[0],
                             (long long)b->integer[i][k], who[1]);
            } else {
                largest = fmax(largest, fabs((double)a->value[i][k]));
            }
        }
        for (int64_t k = 0; k < a->size[i] && !a->integer[i]; k++)
            if (!(fabs((double)a->value[i][k] - (double)b->value[i][k]) <= tolerance * largest))
                fail_msg("%s %lld: output %lld, element %lld: %.9g on %s, %.9g on %s (largest %.3g)", name,
                         (long long)n, (long long)i, (long long)k, (double)a->value[i][k], who[0],
                         (double)b->value[i][k], who[1], largest);
        free(a->value[i]);
        free(a->integer[i]);
        free(b->value[i]);
        free(b->integer[i]);
    }
}

typedef struct both {
    op_fixture column[2]; /* CPU and CUDA, or the reference and a column */
    const char *who[2];
} both;

/* Runs the subject on both columns; device memory is given back after each. */
static inline void on_both_to(both *c, const char *name, subject *run, int64_t n, double tolerance) {
    outputs out[2] = {{0}};
    for (int i = 0; i < 2; i++) {
        kd_pool_init(&c->column[i].pool, c->column[i].ctx);
        run(&c->column[i], n, &out[i]);
        kd_pool_free(&c->column[i].pool);
    }
    compare(c->who, name, n, tolerance, &out[0], &out[1]);
}
static inline void on_both(both *c, const char *name, subject *run, int64_t n) { on_both_to(c, name, run, n, 1e-5); }

/* What columns tests share besides: sizes around those of warps and blocks, and a runner. */
static const int64_t SIZES[] = {1, 7, 8, 31, 32, 33, 63, 64, 65, 257};
enum { SIZE_COUNT = sizeof SIZES / sizeof SIZES[0] };
static const kd_rng RNG = {11, KD_RNG_MESSAGE_DROPOUT, 2, 3, NULL};

static inline void on_sizes(void **state, const char *name, subject *run) {
    const char *most = getenv("KDIFFE_TEST_MOST"); /* the largest size, where kernels are instrumented */
    for (int i = 0; i < SIZE_COUNT; i++)
        if (!most || SIZES[i] <= atoll(most)) on_both(*state, name, run, SIZES[i]);
}
#define COMPARE_ON_SIZES(name) \
    static void name##_agree(void **state) { on_sizes(state, #name, name); }

/* A CSR of rows x cols: row 0 empty, row 1 full (a hub), the others (5 r) % 7 entries; ptr begins at 2 to be a range of
 * a larger one. */
static inline kd_csr sparse(op_fixture *f, int64_t rows, int64_t cols, bool values, uint32_t what) {
    int64_t n = 2, *ptr = malloc((size_t)(rows + 1) * sizeof *ptr);
    int32_t *col = malloc((size_t)((rows + 2) * cols + 2) * sizeof *col);
    float *val;
    col[0] = col[1] = 0;
    ptr[0] = n;
    for (int64_t r = 0; r < rows; r++) {
        int64_t degree = r == 1 ? cols : 5 * r % 7 < cols ? 5 * r % 7 : cols;
        for (int64_t k = 0; k < degree; k++) col[n++] = (int32_t)(k * cols / degree);
        ptr[r + 1] = n;
    }
    val = op_host(n, what);
    kd_csr a = {rows,
                cols,
                op_copy(f, ptr, rows + 1, sizeof *ptr),
                op_copy(f, col, n, sizeof *col),
                values ? op_copy(f, val, n, sizeof *val) : NULL,
                0};
    free(ptr);
    free(col);
    free(val);
    return a;
}

/* A CSR of rows of these lengths, in columns that are spread over all. */
static inline kd_csr sparse_rows(op_fixture *f, int64_t rows, const int64_t *length, int64_t cols, uint32_t what) {
    int64_t n = 0, *ptr = malloc((size_t)(rows + 1) * sizeof *ptr);
    ptr[0] = 0;
    for (int64_t r = 0; r < rows; r++) ptr[r + 1] = ptr[r] + length[r];
    int32_t *col = malloc((size_t)(ptr[rows] + 1) * sizeof *col);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < length[r]; k++) col[n++] = (int32_t)(k * cols / length[r]);
    float *val = op_host(n, what);
    kd_csr a = {rows,
                cols,
                op_copy(f, ptr, rows + 1, sizeof *ptr),
                op_copy(f, col, n, sizeof *col),
                op_copy(f, val, n, sizeof *val),
                0};
    free(ptr);
    free(col);
    free(val);
    return a;
}

/* `n` entities; entity 0 without edges, entity 1 the head of many and entity 2 the tail of many. */
static inline kd_kg knowledge_graph(op_fixture *f, int64_t n, int64_t relations) {
    int64_t hub = n > 3 ? 600 : 3, most = hub * 2 + n * 4 + 8, edges = 0;
    int64_t *head_ptr = calloc((size_t)n + 1, sizeof *head_ptr), *tail_ptr = calloc((size_t)n + 1, sizeof *tail_ptr);
    int32_t *tail = calloc((size_t)most, sizeof *tail), *relation = calloc((size_t)most, sizeof *relation);
    int32_t *in_head = calloc((size_t)most, sizeof *in_head);
    int64_t *in_edge = calloc((size_t)most, sizeof *in_edge), at = 0;
    for (int64_t h = 0; h < n; h++) {
        int64_t degree = h == 0 ? 0 : h == 1 ? hub : 1 + h % 4;
        for (int64_t k = 0; k < degree; k++) {
            tail[edges] = (int32_t)(h > 2 && k == 0 ? 2 : draw_below(21, edges, (uint32_t)n));
            relation[edges] = (int32_t)draw_below(22, edges, (uint32_t)relations);
            edges++;
        }
        head_ptr[h + 1] = edges;
    }
    for (int64_t t = 0; t < n; t++) {
        for (int64_t h = 0; h < n; h++)
            for (int64_t k = head_ptr[h]; k < head_ptr[h + 1]; k++)
                if (tail[k] == t) {
                    in_head[at] = (int32_t)h;
                    in_edge[at++] = k;
                }
        tail_ptr[t + 1] = at;
    }
    kd_kg kg = {n,
                relations,
                most,
                op_copy(f, head_ptr, n + 1, sizeof *head_ptr),
                op_copy(f, tail, most, sizeof *tail),
                op_copy(f, relation, most, sizeof *relation),
                op_copy(f, tail_ptr, n + 1, sizeof *tail_ptr),
                op_copy(f, in_head, most, sizeof *in_head),
                op_copy(f, in_edge, most, sizeof *in_edge)};
    free(head_ptr);
    free(tail_ptr);
    free(tail);
    free(relation);
    free(in_head);
    free(in_edge);
    return kg;
}

static inline int open_both(void **state) {
    both *c = calloc(1, sizeof *c);
    kd_device device[2] = {KD_DEVICE_CPU, KD_DEVICE_CUDA};
    c->who[0] = "the CPU";
    c->who[1] = "the device";
    for (int i = 0; i < 2; i++)
        if (kd_ctx_open((kd_compute){.device = device[i], .threads = 2}, &c->column[i].ctx) != KD_OK ||
            kd_workspace_reserve(c->column[i].ctx, 64 << 20) != KD_OK)
            return -1;
    *state = c;
    return 0;
}

/* The reference, and the column that op_device names. */
static inline int open_reference(void **state) {
    both *c = calloc(1, sizeof *c);
    c->who[0] = "the reference";
    c->who[1] = "the column";
    if (kd_ref_open(&c->column[0].ctx) != KD_OK ||
        kd_ctx_open((kd_compute){.device = op_device(), .threads = 2}, &c->column[1].ctx) != KD_OK)
        return -1;
    *state = c;
    return kd_workspace_reserve(c->column[0].ctx, 64 << 20) == KD_OK &&
                   kd_workspace_reserve(c->column[1].ctx, 64 << 20) == KD_OK
               ? 0
               : -1;
}

static inline int close_both(void **state) {
    both *c = *state;
    for (int i = 0; i < 2; i++) kd_ctx_close(c->column[i].ctx);
    free(c);
    return 0;
}

static inline void needs_a_device(void **state) {
    (void)state;
    print_message("skipped: CPU against CUDA, op by op: %s\n", kd_last_error());
    skip();
}

/* Whether a device is there to be compared with; if not, one skipped test says why. */
static inline bool has_device(int *code) {
    const struct CMUnitTest skipped[] = {cmocka_unit_test(needs_a_device)};
    kd_ctx *ctx;
    cmocka_set_test_filter(getenv("KDIFFE_TEST_FILTER")); /* instrumented stand-ins are slow: CI picks */
    if (kd_ctx_open((kd_compute){.device = KD_DEVICE_CUDA, .threads = 1}, &ctx) != KD_OK) {
        *code = cmocka_run_group_tests_name("columns", skipped, NULL, NULL);
        return false;
    }
    kd_ctx_close(ctx);
    return true;
}

#endif
