/* The checked entry points of the op table: shapes are compared once here, for every backend. */
#include "host/base/error.h"
#include "kernels/ctx.h"
#include "kernels/trace.h"

#define REQUIRE(condition)                                                                                     \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            return KD_FAIL(KD_ERR_ARGUMENT, "%s: shapes do not fit (%s does not hold)", __func__, #condition); \
    } while (0)
/* The backend's op, in a range of its own for whoever profiles. */
#define FORWARD(op, ...)                                 \
    do {                                                 \
        kd_range_push(ctx, #op);                         \
        kd_status forwarded = ctx->ops->op(__VA_ARGS__); \
        kd_range_pop(ctx);                               \
        return forwarded;                                \
    } while (0)
#define REQUIRE_WORKSPACE(bytes)                                                                                \
    do {                                                                                                        \
        if ((bytes) > ctx->workspace_bytes)                                                                     \
            return KD_FAIL(KD_ERR_ARGUMENT, "%s: needs a workspace of %lld bytes, %lld are reserved", __func__, \
                           (long long)(bytes), (long long)ctx->workspace_bytes);                                \
    } while (0)

static bool sane(kd_mat m) { return m.rows >= 0 && m.cols >= 0 && m.ld >= m.cols; }
static bool split_fits(const kd_split *s) { return !s || (s->first >= 0 && s->sum); }
static bool same_shape(kd_mat a, kd_mat b) { return sane(a) && sane(b) && a.rows == b.rows && a.cols == b.cols; }

/* Memory. */

kd_status kd_alloc(kd_ctx *ctx, int64_t bytes, const char *what, void **out) {
    REQUIRE(bytes >= 0);
    return ctx->ops->alloc(ctx, bytes, what, out);
}
void kd_release(kd_ctx *ctx, void *block) { ctx->ops->release(ctx, block); }
kd_status kd_upload(kd_ctx *ctx, void *device, const void *host, int64_t bytes) {
    REQUIRE(bytes >= 0);
    FORWARD(upload, ctx, device, host, bytes);
}
kd_status kd_download(kd_ctx *ctx, void *host, const void *device, int64_t bytes) {
    REQUIRE(bytes >= 0);
    FORWARD(download, ctx, host, device, bytes);
}
kd_status kd_zero(kd_ctx *ctx, void *device, int64_t bytes) {
    REQUIRE(bytes >= 0);
    FORWARD(zero, ctx, device, bytes);
}
kd_status kd_synchronize(kd_ctx *ctx) { return ctx->ops->synchronize(ctx); }
kd_status kd_workspace_reserve(kd_ctx *ctx, int64_t bytes) { return ctx->ops->workspace_reserve(ctx, bytes); }
int64_t kd_available(kd_ctx *ctx) { return ctx->ops->available(ctx); }
kd_status kd_cursor_begin(kd_ctx *ctx, int64_t epoch, kd_cursor *cursor) {
    REQUIRE(cursor);
    FORWARD(cursor_begin, ctx, epoch, cursor);
}
kd_status kd_cursor_advance(kd_ctx *ctx, int64_t count, int64_t parts, double *slot, double *log, kd_cursor *cursor) {
    REQUIRE(count >= 0 && parts >= 0 && cursor);
    FORWARD(cursor_advance, ctx, count, parts, slot, log, cursor);
}
kd_status kd_replay(kd_ctx *ctx, kd_step_fn *step, void *arg, kd_recording **recording) {
    if (!kd_trace_lets_record(ctx)) return step(ctx, arg); /* a trace tells the ops of a step apart */
    FORWARD(replay, ctx, step, arg, recording);
}
void kd_recording_free(kd_ctx *ctx, kd_recording **recording) { ctx->ops->recording_free(ctx, recording); }

/* Dense. */

kd_status kd_gemm(kd_ctx *ctx, bool transpose_a, bool transpose_b, float alpha, kd_mat a, kd_mat b, float beta,
                  kd_mat c) {
    REQUIRE(sane(a) && sane(b) && sane(c));
    REQUIRE((transpose_a ? a.cols : a.rows) == c.rows && (transpose_b ? b.rows : b.cols) == c.cols);
    REQUIRE((transpose_a ? a.rows : a.cols) == (transpose_b ? b.cols : b.rows));
    REQUIRE(c.rows <= INT32_MAX && c.cols <= INT32_MAX && a.ld <= INT32_MAX && b.ld <= INT32_MAX && c.ld <= INT32_MAX);
    FORWARD(gemm, ctx, transpose_a, transpose_b, alpha, a, b, beta, c);
}
kd_status kd_gram(kd_ctx *ctx, kd_mat x, kd_mat g) {
    REQUIRE(sane(x) && sane(g) && g.rows == x.cols && g.cols == x.cols && x.data != g.data);
    REQUIRE(x.rows <= INT32_MAX && x.ld <= INT32_MAX && g.ld <= INT32_MAX);
    FORWARD(gram, ctx, x, g);
}
kd_status kd_linear(kd_ctx *ctx, bool transpose_w, kd_mat x, kd_mat w, kd_mat b, kd_mat y) {
    REQUIRE(sane(x) && sane(w) && sane(y) && x.rows == y.rows);
    REQUIRE((transpose_w ? w.rows : w.cols) == y.cols && (transpose_w ? w.cols : w.rows) == x.cols);
    REQUIRE(!b.data || (b.rows == 1 && b.cols == y.cols));
    FORWARD(linear, ctx, transpose_w, x, w, b, y);
}
kd_status kd_column_sum(kd_ctx *ctx, kd_mat x, float beta, kd_mat y) {
    REQUIRE(sane(x) && y.rows == 1 && y.cols == x.cols);
    FORWARD(column_sum, ctx, x, beta, y);
}
kd_status kd_add_scaled(kd_ctx *ctx, float alpha, kd_mat x, float beta, kd_mat y) {
    REQUIRE(same_shape(x, y));
    FORWARD(add_scaled, ctx, alpha, x, beta, y);
}
kd_status kd_add_weighted(kd_ctx *ctx, float scale, const float *alpha, kd_mat x, float beta, kd_mat y) {
    REQUIRE(same_shape(x, y) && alpha);
    FORWARD(add_weighted, ctx, scale, alpha, x, beta, y);
}
kd_status kd_matrix_dot(kd_ctx *ctx, kd_mat x, kd_mat y, float beta, float *out) {
    REQUIRE(same_shape(x, y) && out);
    FORWARD(matrix_dot, ctx, x, y, beta, out);
}
kd_status kd_row_mean(kd_ctx *ctx, kd_mat x, float *out) {
    REQUIRE(sane(x) && x.cols > 0 && out);
    FORWARD(row_mean, ctx, x, out);
}
kd_status kd_squared_norm(kd_ctx *ctx, float weight, kd_mat x, kd_mat dx, double *loss) {
    REQUIRE(same_shape(x, dx) && loss);
    FORWARD(squared_norm, ctx, weight, x, dx, loss);
}
kd_status kd_unit_rows_forward(kd_ctx *ctx, const kd_split *split, const kd_groups *only, kd_mat x, float p,
                               const kd_rng *rng, kd_mat y, float *norm) {
    REQUIRE(split_fits(split) && same_shape(x, y) && norm && p >= 0.0f && p < 1.0f && (rng || p == 0.0f));
    if (split && only) REQUIRE_WORKSPACE(kd_unit_rows_workspace(only->capacity));
    FORWARD(unit_rows_forward, ctx, split, only, x, p, rng, y, norm);
}
kd_status kd_unit_rows_backward(kd_ctx *ctx, const kd_split *split, const kd_groups *only, float alpha, kd_mat y,
                                const float *norm, kd_mat dy, float p, const kd_rng *rng, float beta, kd_mat dx) {
    REQUIRE(split_fits(split) && same_shape(y, dy) && same_shape(y, dx));
    REQUIRE(norm && p >= 0.0f && p < 1.0f && (rng || p == 0.0f));
    if (split) REQUIRE_WORKSPACE(kd_unit_rows_workspace(only ? only->capacity : y.rows));
    FORWARD(unit_rows_backward, ctx, split, only, alpha, y, norm, dy, p, rng, beta, dx);
}
kd_status kd_take_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat x, kd_mat y) {
    REQUIRE(groups && sane(x) && sane(y) && x.cols == y.cols && y.rows >= groups->capacity);
    FORWARD(take_rows, ctx, groups, x, y);
}
kd_status kd_give_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat y, kd_mat x) {
    REQUIRE(groups && sane(x) && sane(y) && x.cols == y.cols && y.rows >= groups->capacity);
    FORWARD(give_rows, ctx, groups, y, x);
}
kd_status kd_leaky_relu_forward(kd_ctx *ctx, float slope, kd_mat x) {
    REQUIRE(sane(x));
    FORWARD(leaky_relu_forward, ctx, slope, x);
}
kd_status kd_leaky_relu_backward(kd_ctx *ctx, float slope, kd_mat y, kd_mat dy) {
    REQUIRE(same_shape(y, dy));
    FORWARD(leaky_relu_backward, ctx, slope, y, dy);
}
kd_status kd_softmax_forward(kd_ctx *ctx, int64_t count, const float *w, float *s) {
    REQUIRE(count >= 1);
    FORWARD(softmax_forward, ctx, count, w, s);
}
kd_status kd_softmax_backward(kd_ctx *ctx, int64_t count, const float *s, const float *ds, float *dw) {
    REQUIRE(count >= 1);
    FORWARD(softmax_backward, ctx, count, s, ds, dw);
}
kd_status kd_adam(kd_ctx *ctx, const kd_adam_config *config, const int64_t *steps, int64_t n, float *p, const float *g,
                  float *m, float *v) {
    REQUIRE(steps && n >= 0);
    FORWARD(adam, ctx, config, steps, n, p, g, m, v);
}

/* Graphs. */

kd_status kd_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    REQUIRE(sane(x) && sane(y) && a.cols == x.rows && a.rows == y.rows && x.cols == y.cols && x.data != y.data);
    REQUIRE(beta == 0.0f || same_shape(c, y));
    FORWARD(spmm, ctx, alpha, a, x, beta, c, y);
}
kd_status kd_spmm_rows(kd_ctx *ctx, const kd_groups *only, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c,
                       kd_mat y) {
    REQUIRE(sane(x) && sane(y) && a.cols == x.rows && a.rows == y.rows && x.cols == y.cols && x.data != y.data);
    REQUIRE(only && (beta == 0.0f || same_shape(c, y)));
    FORWARD(spmm_rows, ctx, only, alpha, a, x, beta, c, y);
}
kd_status kd_place_rows(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t rows, int32_t *place) {
    REQUIRE(n >= 0 && n <= rows && n <= INT32_MAX);
    FORWARD(place_rows, ctx, n, row, rows, place);
}
kd_status kd_spmm_batch(kd_ctx *ctx, float alpha, kd_csr a, const int32_t *row, const int32_t *place, kd_mat x,
                        float beta, kd_mat y) {
    REQUIRE(sane(x) && sane(y) && x.cols == y.cols && x.data != y.data && (beta == 0.0f || beta == 1.0f));
    REQUIRE(!row != !place && (row ? a.cols == x.rows : a.rows == y.rows));
    FORWARD(spmm_batch, ctx, alpha, a, row, place, x, beta, y);
}
static bool rgat_fits(const kd_kg *kg, kd_mat e, kd_mat rh, kd_mat rt) {
    return sane(e) && same_shape(rh, rt) && e.rows == kg->entities && rh.rows == kg->relations && rh.cols == e.cols;
}
kd_status kd_rgat_forward(kd_ctx *ctx, const kd_split *split, const kd_kg *kg, float slope, kd_mat e, kd_mat rh,
                          kd_mat rt, float *logit, float *alpha, kd_mat agg) {
    REQUIRE(split_fits(split) && rgat_fits(kg, e, rh, rt));
    REQUIRE(sane(agg) && agg.rows <= e.rows && agg.cols == e.cols);
    FORWARD(rgat_forward, ctx, split, kg, slope, e, rh, rt, logit, alpha, agg);
}
kd_status kd_rgat_backward(kd_ctx *ctx, const kd_split *split, const kd_kg *kg, float slope, kd_mat e, kd_mat rh,
                           kd_mat rt, float *logit, const float *alpha, kd_mat dagg, kd_mat de, kd_mat drh,
                           kd_mat drt) {
    REQUIRE(rgat_fits(kg, e, rh, rt) && sane(dagg) && dagg.rows <= e.rows && dagg.cols == e.cols && same_shape(e, de));
    REQUIRE(split_fits(split) && same_shape(rh, drh) && same_shape(rt, drt));
    REQUIRE_WORKSPACE(kd_rgat_backward_workspace(kg->relations, e.cols, split ? kg->capacity : 0));
    FORWARD(rgat_backward, ctx, split, kg, slope, e, rh, rt, logit, alpha, dagg, de, drh, drt);
}
kd_status kd_modality_graph_build(kd_ctx *ctx, const int32_t *top, float keep_rate, const kd_rng *rng,
                                  kd_modality_graph *out) {
    REQUIRE(out->users >= 0 && out->q >= 1 && out->q <= out->nodes - out->users && keep_rate > 0.0f);
    REQUIRE_WORKSPACE(kd_modality_graph_workspace(out->nodes));
    FORWARD(modality_graph_build, ctx, top, keep_rate, rng, out);
}
kd_status kd_kg_generate(kd_ctx *ctx, const kd_kg *full, int64_t q, const int32_t *top, float keep_rate,
                         const kd_rng *rng, kd_kg *out) {
    REQUIRE(out->entities == full->entities && out->capacity >= full->capacity && q >= 1);
    REQUIRE_WORKSPACE(kd_kg_generate_workspace(full->capacity));
    FORWARD(kg_generate, ctx, full, q, top, keep_rate, rng, out);
}

/* Batches and losses. */

kd_status kd_permutation(kd_ctx *ctx, int64_t n, const kd_rng *rng, int32_t *order) {
    REQUIRE(n >= 0 && n <= INT32_MAX);
    REQUIRE_WORKSPACE(kd_permutation_workspace(n));
    FORWARD(permutation, ctx, n, rng, order);
}
kd_status kd_sample_negatives(kd_ctx *ctx, kd_csr train, int64_t n, const int32_t *user, const kd_rng *rng,
                              int32_t *negative) {
    REQUIRE(n >= 0 && n <= INT32_MAX && train.cols >= 1);
    FORWARD(sample_negatives, ctx, train, n, user, rng, negative);
}
kd_status kd_gather(kd_ctx *ctx, int64_t n, const int64_t *first, const int32_t *order, const int32_t *values,
                    int32_t *out) {
    REQUIRE(n >= 0);
    FORWARD(gather, ctx, n, first, order, values, out);
}
kd_status kd_group(kd_ctx *ctx, int64_t n, const int32_t *key, kd_groups *out) {
    REQUIRE(n >= 0 && n <= out->capacity);
    REQUIRE_WORKSPACE(kd_group_workspace(n));
    FORWARD(group, ctx, n, key, out);
}
kd_status kd_bpr(kd_ctx *ctx, const kd_bpr_args *a) {
    REQUIRE(a->count >= 0 && a->batch >= 1 && a->users.capacity >= a->count && a->items.capacity >= 2 * a->count);
    REQUIRE(same_shape(a->user_view, a->duser) && same_shape(a->item_view, a->ditem));
    REQUIRE(a->user_view.cols == a->item_view.cols && split_fits(a->split) && (a->loss || a->split));
    REQUIRE_WORKSPACE(kd_bpr_workspace(a->count));
    FORWARD(bpr, ctx, a);
}
kd_status kd_infonce(kd_ctx *ctx, const kd_infonce_args *a) {
    REQUIRE(a->count >= 1 && a->nodes.capacity >= a->count && a->temp > 0.0f);
    REQUIRE(same_shape(a->a, a->da) && same_shape(a->b, a->db) && a->a.cols == a->b.cols);
    REQUIRE(a->a.rows >= a->nodes.capacity && a->first_key >= 0 && a->first_key <= INT32_MAX - a->b.rows);
    REQUIRE(a->most_keys == 0 || a->most_keys >= a->b.rows);
    REQUIRE_WORKSPACE(kd_infonce_workspace(a->count, a->a.cols));
    FORWARD(infonce, ctx, a);
}

/* Diffusion. */

kd_status kd_diffusion_steps(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t steps, const kd_rng *rng, int32_t *t) {
    REQUIRE(n >= 0 && steps >= 1);
    FORWARD(diffusion_steps, ctx, n, row, steps, rng, t);
}
kd_status kd_q_sample(kd_ctx *ctx, const kd_q_sample_args *a) {
    REQUIRE(sane(a->x) && a->x.cols == a->x0.cols && a->p >= 0.0f && a->p < 1.0f && a->first >= 0 && a->first % 4 == 0);
    FORWARD(q_sample, ctx, a);
}
kd_status kd_hidden_forward(kd_ctx *ctx, kd_mat p, kd_mat table, const int32_t *t, kd_mat h) {
    REQUIRE(same_shape(p, h) && sane(table) && table.cols == p.cols && table.rows >= 1);
    FORWARD(hidden_forward, ctx, p, table, t, h);
}
kd_status kd_hidden_backward(kd_ctx *ctx, kd_mat h, const int32_t *t, kd_mat dh, kd_mat dtable) {
    REQUIRE(same_shape(h, dh) && sane(dtable) && dtable.cols == h.cols && t);
    FORWARD(hidden_backward, ctx, h, t, dh, dtable);
}
kd_status kd_denoise_loss(kd_ctx *ctx, kd_csr x0, const int32_t *row, const int32_t *t, const float *weight,
                          int64_t width, kd_mat out, float *row_loss, double *loss) {
    REQUIRE(sane(out) && out.cols == x0.cols && out.rows >= 1 && width >= out.cols);
    FORWARD(denoise_loss, ctx, x0, row, t, weight, width, out, row_loss, loss);
}
kd_status kd_gram_loss(kd_ctx *ctx, const kd_gram_loss_args *a) {
    REQUIRE(same_shape(a->h, a->dh) && same_shape(a->h, a->xw) && a->h.rows >= 1 && a->width >= a->x0.cols);
    FORWARD(gram_loss, ctx, a);
}
kd_status kd_guidance_loss(kd_ctx *ctx, kd_mat target, const int32_t *row, float weight, int64_t width, kd_mat y,
                           float *row_loss, double *loss) {
    REQUIRE(sane(y) && sane(target) && y.cols == target.cols && y.rows >= 1 && width >= y.cols);
    FORWARD(guidance_loss, ctx, target, row, weight, width, y, row_loss, loss);
}

/* Ranking. */

kd_status kd_topk_rows(kd_ctx *ctx, kd_mat x, kd_csr mask, int64_t k, int32_t *index, float *value) {
    REQUIRE(sane(x) && k >= 1 && (!mask.row_ptr || (mask.rows == x.rows && mask.cols == x.cols)));
    if (!value) REQUIRE_WORKSPACE(kd_topk_rows_workspace(x.rows, k));
    FORWARD(topk_rows, ctx, x, mask, k, index, value);
}
kd_status kd_merge_top(kd_ctx *ctx, int64_t rows, int64_t k, int64_t parts, const int32_t *first, const int32_t *index,
                       const float *value, int32_t *top) {
    REQUIRE(rows >= 0 && k >= 1 && parts >= 1);
    FORWARD(merge_top, ctx, rows, k, parts, first, index, value, top);
}
kd_status kd_rank_metrics(kd_ctx *ctx, int64_t rows, int64_t k, const int32_t *index, kd_csr held_out,
                          int64_t topk_count, const int64_t *topk, double *sums) {
    REQUIRE(rows == held_out.rows && topk_count >= 1 && topk[0] >= 1 && topk[topk_count - 1] <= k);
    FORWARD(rank_metrics, ctx, rows, k, index, held_out, topk_count, topk, sums);
}

/* Walks. */

static bool square(kd_csr a) { return a.rows == a.cols && a.row_ptr; }
static bool within(int64_t first, int64_t count, int64_t outer, int64_t outers) {
    return count >= 0 && first >= outer && first + count <= outer + outers;
}
static bool visits_fit(kd_csr graph, const kd_visits *v) { return within(v->first, v->starts, 0, graph.rows); }
kd_status kd_walk_cumulative(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                             kd_visits *visits) {
    REQUIRE(square(graph) && visits_fit(graph, visits) && config->walks >= 1 && config->steps >= 1);
    REQUIRE(!rng->clock);
    REQUIRE_WORKSPACE(kd_walk_workspace(ctx, graph.rows, config->steps));
    FORWARD(walk_cumulative, ctx, graph, config, rng, visits);
}
kd_status kd_walk_node(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng, kd_visits *visits) {
    REQUIRE(square(graph) && visits_fit(graph, visits) && config->walks >= 1 && config->steps >= 1);
    REQUIRE(!rng->clock);
    REQUIRE_WORKSPACE(kd_walk_workspace(ctx, graph.rows, config->steps));
    FORWARD(walk_node, ctx, graph, config, rng, visits);
}
kd_status kd_visits_above(kd_ctx *ctx, kd_csr graph, int64_t first, kd_mat score, float threshold, kd_visits *visits) {
    REQUIRE(square(graph) && visits_fit(graph, visits) && sane(score) && score.rows == graph.rows);
    REQUIRE(within(first, score.cols, visits->first, visits->starts));
    FORWARD(visits_above, ctx, graph, first, score, threshold, visits);
}
kd_status kd_visits_pack(kd_ctx *ctx, kd_csr graph, const kd_visits *visits, kd_visits *packed) {
    REQUIRE(square(graph) && visits_fit(graph, visits) && visits_fit(graph, packed));
    REQUIRE(within(visits->first, visits->starts, packed->first, packed->starts) && visits->node != packed->node);
    FORWARD(visits_pack, ctx, graph, visits, packed);
}
kd_status kd_prefix_jaccard(kd_ctx *ctx, kd_csr graph, int64_t first, int64_t count, const kd_visits *visits,
                            float *val) {
    REQUIRE(square(graph) && visits->first == 0 && visits->starts == graph.rows);
    REQUIRE(within(first, count, 0, graph.rows));
    REQUIRE_WORKSPACE(kd_walk_workspace(ctx, graph.rows, 0));
    FORWARD(prefix_jaccard, ctx, graph, first, count, visits, val);
}
