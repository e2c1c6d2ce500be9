#include <math.h>
#include <string.h>

#include "host/base/error.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/random.h"

static const float SMALLEST_NORM = 1e-12f;

/* Rows of an op that takes some of them: their number, and which the i-th one is. */
static int64_t rows_of(const kd_groups *only, int64_t all) { return only ? only->count[0] : all; }
static int64_t row_of(const kd_groups *only, int64_t i) { return only ? only->key[i] : i; }

/* How many sums the ranks add up, the i-th row's the i-th: groups that a batch does not have are among them, as 0. */
static int64_t sums_of(const kd_groups *only, int64_t all) { return only ? only->capacity : all; }

static int64_t first_column(const kd_split *split) { return split ? split->first : 0; }

typedef struct unit_pass {
    int64_t column; /* of the whole row, that the first local one is */
    float p;
    kd_mat x, y;
    float *norm;
    kd_rng rng;
} unit_pass;

/* Columns begin .. end - 1 of a row that are drawn at once: draws go by fours of the whole row, whose column `column`
 * is the first local one, so that a strip may begin before it, at `first` < 0. */
typedef struct strip {
    int64_t first, begin, end;
} strip;
static strip first_strip(int64_t column, int64_t cols) {
    int64_t first = -(column % 4), end = first + KD_RANDOM_WIDTH;
    return (strip){first, 0, end < cols ? end : cols};
}
static void next_strip(strip *s, int64_t cols) {
    s->begin = s->first += KD_RANDOM_WIDTH;
    s->end = s->first + KD_RANDOM_WIDTH < cols ? s->first + KD_RANDOM_WIDTH : cols;
}

/* Y's row = X's after dropout. */
static void drop_row(const unit_pass *u, int64_t r) {
    const float *from = u->x.data + r * u->x.ld;
    float *to = u->y.data + r * u->y.ld;
    for (strip s = first_strip(u->column, u->x.cols); s.begin < u->x.cols; next_strip(&s, u->x.cols)) {
        float scale[KD_RANDOM_WIDTH];
        kd_dropout_scale(&u->rng, (uint32_t)r, (uint32_t)(u->column + s.first), u->p, scale);
        for (int64_t c = s.begin; c < s.end; c++) to[c] = from[c] * scale[c - s.first];
    }
}

/* The row that is made a unit: after dropout it lies in Y already. */
static const float *row_before(const unit_pass *u, int64_t r) {
    return u->p > 0.0f ? u->y.data + r * u->y.ld : u->x.data + r * u->x.ld;
}

static double row_square(const unit_pass *u, int64_t r) {
    const float *from = row_before(u, r);
    double square = 0.0;
    if (u->p > 0.0f) drop_row(u, r);
#pragma omp simd reduction(+ : square)
    for (int64_t c = 0; c < u->x.cols; c++) square += (double)from[c] * from[c];
    return square;
}

static void unit_row(const unit_pass *u, int64_t r, double square) {
    const float *from = row_before(u, r);
    float *to = u->y.data + r * u->y.ld, length = fmaxf((float)sqrt(square), SMALLEST_NORM);
    u->norm[r] = length;
    for (int64_t c = 0; c < u->x.cols; c++) to[c] = from[c] / length;
}

kd_status kd_cpu_unit_rows_forward(kd_ctx *ctx, const kd_unit_rows_forward_args *a) {
    int64_t sums = sums_of(a->only, a->x.rows);
    float *sum = a->only ? ctx->workspace : a->norm;
    unit_pass u = {first_column(a->split), a->p, a->x, a->y, a->norm, a->p > 0.0f ? kd_rng_now(*a->rng) : (kd_rng){0}};
    if (a->split) {
        memset(sum, 0, (size_t)sums * sizeof *sum);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < rows_of(a->only, a->x.rows); i++) sum[i] = (float)row_square(&u, row_of(a->only, i));
        KD_OR_RETURN(kd_split_sum(a->split, ctx, sums, sum));
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows_of(a->only, a->x.rows); i++) {
        int64_t r = row_of(a->only, i);
        unit_row(&u, r, a->split ? sum[i] : row_square(&u, r));
    }
    return KD_OK;
}

typedef struct unit_gradient {
    int64_t column; /* as of unit_pass */
    float alpha, beta, p;
    kd_mat y, dy, dx;
    const float *norm;
    kd_rng rng;
} unit_gradient;

static double row_along(const unit_gradient *g, int64_t r) {
    const float *unit = g->y.data + r * g->y.ld, *up = g->dy.data + r * g->dy.ld;
    double along = 0.0;
#pragma omp simd reduction(+ : along)
    for (int64_t c = 0; c < g->y.cols; c++) along += (double)unit[c] * up[c];
    return along;
}

static void unit_row_backward(const unit_gradient *g, int64_t r, float along) {
    int64_t cols = g->y.cols;
    const float *unit = g->y.data + r * g->y.ld, *up = g->dy.data + r * g->dy.ld;
    float *to = g->dx.data + r * g->dx.ld, norm = g->norm[r];
    float shrink = g->alpha / norm, inner = norm > SMALLEST_NORM ? along : 0.0f;
    for (strip s = first_strip(g->column, cols); s.begin < cols; next_strip(&s, cols)) {
        float scale[KD_RANDOM_WIDTH];
        if (g->p > 0.0f)
            kd_dropout_scale(&g->rng, (uint32_t)r, (uint32_t)(g->column + s.first), g->p, scale);
        else
            for (int64_t c = 0; c < KD_RANDOM_WIDTH; c++) scale[c] = 1.0f;
        for (int64_t c = s.begin; c < s.end; c++) {
            float gradient = (up[c] - unit[c] * inner) * shrink * scale[c - s.first];
            to[c] = g->beta == 0.0f ? gradient : gradient + g->beta * to[c];
        }
    }
}

kd_status kd_cpu_unit_rows_backward(kd_ctx *ctx, const kd_unit_rows_backward_args *a) {
    int64_t sums = sums_of(a->only, a->y.rows);
    float *along = ctx->workspace;
    unit_gradient g = {first_column(a->split),
                       a->alpha,
                       a->beta,
                       a->p,
                       a->y,
                       a->dy,
                       a->dx,
                       a->norm,
                       a->p > 0.0f ? kd_rng_now(*a->rng) : (kd_rng){0}};
    if (a->split) {
        memset(along, 0, (size_t)sums * sizeof *along);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < rows_of(a->only, a->y.rows); i++) along[i] = (float)row_along(&g, row_of(a->only, i));
        KD_OR_RETURN(kd_split_sum(a->split, ctx, sums, along));
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows_of(a->only, a->y.rows); i++) {
        int64_t r = row_of(a->only, i);
        unit_row_backward(&g, r, a->split ? along[i] : (float)row_along(&g, r));
    }
    return KD_OK;
}
