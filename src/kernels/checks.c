/* The checked entry points of the op table: shapes are compared once here, for every backend. */
#include "host/base/error.h"
#include "kernels/ctx.h"
#include "kernels/trace.h"

#define REQUIRE_OR_RETURN(condition)                                                                           \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            return KD_FAIL(KD_ERR_ARGUMENT, "%s: shapes do not fit (%s does not hold)", __func__, #condition); \
    } while (0)
#define REQUIRE_WORKSPACE_OR_RETURN(bytes)                                                                      \
    do {                                                                                                        \
        if ((bytes) > ctx->workspace_bytes)                                                                     \
            return KD_FAIL(KD_ERR_ARGUMENT, "%s: needs a workspace of %lld bytes, %lld are reserved", __func__, \
                           (long long)(bytes), (long long)ctx->workspace_bytes);                                \
    } while (0)

/* The status of the backend's op, in a range of its own for whoever profiles. */
#define FORWARDED(op, ...) (kd_range_push(ctx, #op), end_range(ctx, ctx->ops->op(__VA_ARGS__)))

static kd_status end_range(kd_ctx *ctx, kd_status status) {
    kd_range_pop(ctx);
    return status;
}
static bool sane(kd_mat m) { return m.rows >= 0 && m.cols >= 0 && m.ld >= m.cols; }
static bool split_fits(const kd_split *s) { return !s || (s->first >= 0 && s->sum); }
static bool same_shape(kd_mat a, kd_mat b) { return sane(a) && sane(b) && a.rows == b.rows && a.cols == b.cols; }

/* Memory. */

kd_status kd_alloc(kd_ctx *ctx, int64_t bytes, const char *what, void **out) {
    REQUIRE_OR_RETURN(bytes >= 0);
    return ctx->ops->alloc(ctx, bytes, what, out);
}
void kd_release(kd_ctx *ctx, void *block) { ctx->ops->release(ctx, block); }
kd_status kd_upload(kd_ctx *ctx, void *device, const void *host, int64_t bytes) {
    REQUIRE_OR_RETURN(bytes >= 0);
    return FORWARDED(upload, ctx, device, host, bytes);
}
kd_status kd_download(kd_ctx *ctx, void *host, const void *device, int64_t bytes) {
    REQUIRE_OR_RETURN(bytes >= 0);
    return FORWARDED(download, ctx, host, device, bytes);
}
kd_status kd_zero(kd_ctx *ctx, void *device, int64_t bytes) {
    REQUIRE_OR_RETURN(bytes >= 0);
    return FORWARDED(zero, ctx, device, bytes);
}
kd_status kd_synchronize(kd_ctx *ctx) { return ctx->ops->synchronize(ctx); }
kd_status kd_workspace_reserve(kd_ctx *ctx, int64_t bytes) { return ctx->ops->workspace_reserve(ctx, bytes); }
int64_t kd_available(kd_ctx *ctx) { return ctx->ops->available(ctx); }
kd_status kd_cursor_begin(kd_ctx *ctx, int64_t epoch, kd_cursor *cursor) {
    REQUIRE_OR_RETURN(cursor);
    return FORWARDED(cursor_begin, ctx, epoch, cursor);
}
kd_status kd_cursor_advance(kd_ctx *ctx, int64_t count, int64_t parts, double *slot, double *log, kd_cursor *cursor) {
    REQUIRE_OR_RETURN(count >= 0 && parts >= 0 && cursor);
    return FORWARDED(cursor_advance, ctx, count, parts, slot, log, cursor);
}
kd_status kd_replay(kd_ctx *ctx, kd_step_fn *step, void *arg, kd_recording **recording) {
    if (!kd_trace_lets_record(ctx)) return step(ctx, arg); /* a trace tells the ops of a step apart */
    return FORWARDED(replay, ctx, step, arg, recording);
}
void kd_recording_free(kd_ctx *ctx, kd_recording **recording) { ctx->ops->recording_free(ctx, recording); }

/* Dense. */

kd_status kd_gemm(kd_ctx *ctx, const kd_gemm_args *a) {
    REQUIRE_OR_RETURN(sane(a->a) && sane(a->b) && sane(a->c));
    REQUIRE_OR_RETURN((a->transpose_a ? a->a.cols : a->a.rows) == a->c.rows &&
                      (a->transpose_b ? a->b.rows : a->b.cols) == a->c.cols);
    REQUIRE_OR_RETURN((a->transpose_a ? a->a.rows : a->a.cols) == (a->transpose_b ? a->b.cols : a->b.rows));
    REQUIRE_OR_RETURN(a->c.rows <= INT32_MAX && a->c.cols <= INT32_MAX && a->a.ld <= INT32_MAX &&
                      a->b.ld <= INT32_MAX && a->c.ld <= INT32_MAX);
    return FORWARDED(gemm, ctx, a);
}
kd_status kd_gram(kd_ctx *ctx, kd_mat x, kd_mat g) {
    REQUIRE_OR_RETURN(sane(x) && sane(g) && g.rows == x.cols && g.cols == x.cols && x.data != g.data);
    REQUIRE_OR_RETURN(x.rows <= INT32_MAX && x.ld <= INT32_MAX && g.ld <= INT32_MAX);
    return FORWARDED(gram, ctx, x, g);
}
kd_status kd_linear(kd_ctx *ctx, bool transpose_w, kd_mat x, kd_mat w, kd_mat b, kd_mat y) {
    REQUIRE_OR_RETURN(sane(x) && sane(w) && sane(y) && x.rows == y.rows);
    REQUIRE_OR_RETURN((transpose_w ? w.rows : w.cols) == y.cols && (transpose_w ? w.cols : w.rows) == x.cols);
    REQUIRE_OR_RETURN(!b.data || (b.rows == 1 && b.cols == y.cols));
    return FORWARDED(linear, ctx, transpose_w, x, w, b, y);
}
kd_status kd_column_sum(kd_ctx *ctx, kd_mat x, float beta, kd_mat y) {
    REQUIRE_OR_RETURN(sane(x) && y.rows == 1 && y.cols == x.cols);
    return FORWARDED(column_sum, ctx, x, beta, y);
}
kd_status kd_add_scaled(kd_ctx *ctx, float alpha, kd_mat x, float beta, kd_mat y) {
    REQUIRE_OR_RETURN(same_shape(x, y));
    return FORWARDED(add_scaled, ctx, alpha, x, beta, y);
}
kd_status kd_add_weighted(kd_ctx *ctx, float scale, const float *alpha, kd_mat x, float beta, kd_mat y) {
    REQUIRE_OR_RETURN(same_shape(x, y) && alpha);
    return FORWARDED(add_weighted, ctx, scale, alpha, x, beta, y);
}
kd_status kd_matrix_dot(kd_ctx *ctx, kd_mat x, kd_mat y, float beta, float *out) {
    REQUIRE_OR_RETURN(same_shape(x, y) && out);
    return FORWARDED(matrix_dot, ctx, x, y, beta, out);
}
kd_status kd_row_mean(kd_ctx *ctx, kd_mat x, float *out) {
    REQUIRE_OR_RETURN(sane(x) && x.cols > 0 && out);
    return FORWARDED(row_mean, ctx, x, out);
}
kd_status kd_squared_norm(kd_ctx *ctx, float weight, kd_mat x, kd_mat dx, double *loss) {
    REQUIRE_OR_RETURN(same_shape(x, dx) && loss);
    return FORWARDED(squared_norm, ctx, weight, x, dx, loss);
}
kd_status kd_unit_rows_forward(kd_ctx *ctx, const kd_unit_rows_forward_args *a) {
    REQUIRE_OR_RETURN(split_fits(a->split) && same_shape(a->x, a->y) && a->norm && a->p >= 0.0f && a->p < 1.0f &&
                      (a->rng || a->p == 0.0f));
    if (a->split && a->only) REQUIRE_WORKSPACE_OR_RETURN(kd_unit_rows_workspace(a->only->capacity));
    return FORWARDED(unit_rows_forward, ctx, a);
}
kd_status kd_unit_rows_backward(kd_ctx *ctx, const kd_unit_rows_backward_args *a) {
    REQUIRE_OR_RETURN(split_fits(a->split) && same_shape(a->y, a->dy) && same_shape(a->y, a->dx));
    REQUIRE_OR_RETURN(a->norm && a->p >= 0.0f && a->p < 1.0f && (a->rng || a->p == 0.0f));
    if (a->split) REQUIRE_WORKSPACE_OR_RETURN(kd_unit_rows_workspace(a->only ? a->only->capacity : a->y.rows));
    return FORWARDED(unit_rows_backward, ctx, a);
}
kd_status kd_take_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat x, kd_mat y) {
    REQUIRE_OR_RETURN(groups && sane(x) && sane(y) && x.cols == y.cols && y.rows >= groups->capacity);
    return FORWARDED(take_rows, ctx, groups, x, y);
}
kd_status kd_give_rows(kd_ctx *ctx, const kd_groups *groups, kd_mat y, kd_mat x) {
    REQUIRE_OR_RETURN(groups && sane(x) && sane(y) && x.cols == y.cols && y.rows >= groups->capacity);
    return FORWARDED(give_rows, ctx, groups, y, x);
}
kd_status kd_leaky_relu_forward(kd_ctx *ctx, float slope, kd_mat x) {
    REQUIRE_OR_RETURN(sane(x));
    return FORWARDED(leaky_relu_forward, ctx, slope, x);
}
kd_status kd_leaky_relu_backward(kd_ctx *ctx, float slope, kd_mat y, kd_mat dy) {
    REQUIRE_OR_RETURN(same_shape(y, dy));
    return FORWARDED(leaky_relu_backward, ctx, slope, y, dy);
}
kd_status kd_softmax_forward(kd_ctx *ctx, int64_t count, const float *w, float *s) {
    REQUIRE_OR_RETURN(count >= 1);
    return FORWARDED(softmax_forward, ctx, count, w, s);
}
kd_status kd_softmax_backward(kd_ctx *ctx, int64_t count, const float *s, const float *ds, float *dw) {
    REQUIRE_OR_RETURN(count >= 1);
    return FORWARDED(softmax_backward, ctx, count, s, ds, dw);
}
kd_status kd_adam(kd_ctx *ctx, const kd_adam_args *a) {
    REQUIRE_OR_RETURN(a->steps && a->n >= 0);
    return FORWARDED(adam, ctx, a);
}

/* Graphs. */

kd_status kd_spmm(kd_ctx *ctx, float alpha, kd_csr a, kd_mat x, float beta, kd_mat c, kd_mat y) {
    REQUIRE_OR_RETURN(sane(x) && sane(y) && a.cols == x.rows && a.rows == y.rows && x.cols == y.cols &&
                      x.data != y.data);
    REQUIRE_OR_RETURN(beta == 0.0f || same_shape(c, y));
    return FORWARDED(spmm, ctx, alpha, a, x, beta, c, y);
}
kd_status kd_spmm_rows(kd_ctx *ctx, const kd_spmm_rows_args *a) {
    REQUIRE_OR_RETURN(sane(a->x) && sane(a->y) && a->a.cols == a->x.rows && a->a.rows == a->y.rows &&
                      a->x.cols == a->y.cols && a->x.data != a->y.data);
    REQUIRE_OR_RETURN(a->only && (a->beta == 0.0f || same_shape(a->c, a->y)));
    return FORWARDED(spmm_rows, ctx, a);
}
kd_status kd_place_rows(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t rows, int32_t *place) {
    REQUIRE_OR_RETURN(n >= 0 && n <= rows && n <= INT32_MAX);
    return FORWARDED(place_rows, ctx, n, row, rows, place);
}
kd_status kd_spmm_batch(kd_ctx *ctx, const kd_spmm_batch_args *a) {
    REQUIRE_OR_RETURN(sane(a->x) && sane(a->y) && a->x.cols == a->y.cols && a->x.data != a->y.data &&
                      (a->beta == 0.0f || a->beta == 1.0f));
    REQUIRE_OR_RETURN(!a->row != !a->place && (a->row ? a->a.cols == a->x.rows : a->a.rows == a->y.rows));
    return FORWARDED(spmm_batch, ctx, a);
}
static bool rgat_fits(const kd_kg *kg, kd_mat e, kd_mat rh, kd_mat rt) {
    return sane(e) && same_shape(rh, rt) && e.rows == kg->entities && rh.rows == kg->relations && rh.cols == e.cols;
}
kd_status kd_rgat_forward(kd_ctx *ctx, const kd_rgat_forward_args *a) {
    REQUIRE_OR_RETURN(split_fits(a->split) && rgat_fits(a->kg, a->e, a->rh, a->rt));
    REQUIRE_OR_RETURN(sane(a->agg) && a->agg.rows <= a->e.rows && a->agg.cols == a->e.cols);
    return FORWARDED(rgat_forward, ctx, a);
}
kd_status kd_rgat_backward(kd_ctx *ctx, const kd_rgat_backward_args *a) {
    REQUIRE_OR_RETURN(rgat_fits(a->kg, a->e, a->rh, a->rt) && sane(a->dagg) && a->dagg.rows <= a->e.rows &&
                      a->dagg.cols == a->e.cols && same_shape(a->e, a->de));
    REQUIRE_OR_RETURN(split_fits(a->split) && same_shape(a->rh, a->drh) && same_shape(a->rt, a->drt));
    REQUIRE_WORKSPACE_OR_RETURN(kd_rgat_backward_workspace(a->kg->relations, a->e.cols, a->kg->capacity));
    return FORWARDED(rgat_backward, ctx, a);
}
kd_status kd_modality_graph_build(kd_ctx *ctx, const int32_t *top, float keep_rate, const kd_rng *rng,
                                  kd_modality_graph *out) {
    REQUIRE_OR_RETURN(out->users >= 0 && out->q >= 1 && out->q <= out->nodes - out->users && keep_rate > 0.0f);
    REQUIRE_WORKSPACE_OR_RETURN(kd_modality_graph_workspace(out->nodes, out->users * out->q));
    return FORWARDED(modality_graph_build, ctx, top, keep_rate, rng, out);
}
kd_status kd_kg_generate(kd_ctx *ctx, const kd_kg *full, int64_t q, const int32_t *top, float keep_rate,
                         const kd_rng *rng, kd_kg *out) {
    REQUIRE_OR_RETURN(out->entities == full->entities && out->capacity >= full->capacity && q >= 1);
    REQUIRE_WORKSPACE_OR_RETURN(kd_kg_generate_workspace(full->capacity));
    return FORWARDED(kg_generate, ctx, full, q, top, keep_rate, rng, out);
}

/* Batches and losses. */

kd_status kd_permutation(kd_ctx *ctx, int64_t n, const kd_rng *rng, int32_t *order) {
    REQUIRE_OR_RETURN(n >= 0 && n <= INT32_MAX);
    REQUIRE_WORKSPACE_OR_RETURN(kd_permutation_workspace(n));
    return FORWARDED(permutation, ctx, n, rng, order);
}
kd_status kd_sample_negatives(kd_ctx *ctx, kd_csr train, int64_t n, const int32_t *user, const kd_rng *rng,
                              int32_t *negative) {
    REQUIRE_OR_RETURN(n >= 0 && n <= INT32_MAX && train.cols >= 1);
    return FORWARDED(sample_negatives, ctx, train, n, user, rng, negative);
}
kd_status kd_gather(kd_ctx *ctx, int64_t n, const int64_t *first, const int32_t *order, const int32_t *values,
                    int32_t *out) {
    REQUIRE_OR_RETURN(n >= 0);
    return FORWARDED(gather, ctx, n, first, order, values, out);
}
kd_status kd_group(kd_ctx *ctx, int64_t n, const int32_t *key, kd_groups *out) {
    REQUIRE_OR_RETURN(n >= 0 && n <= out->capacity);
    REQUIRE_WORKSPACE_OR_RETURN(kd_group_workspace(n));
    return FORWARDED(group, ctx, n, key, out);
}
kd_status kd_bpr(kd_ctx *ctx, const kd_bpr_args *a) {
    REQUIRE_OR_RETURN(a->count >= 0 && a->batch >= 1 && a->users.capacity >= a->count &&
                      a->items.capacity >= 2 * a->count);
    REQUIRE_OR_RETURN(same_shape(a->user_view, a->duser) && same_shape(a->item_view, a->ditem));
    REQUIRE_OR_RETURN(a->user_view.cols == a->item_view.cols && split_fits(a->split) && (a->loss || a->split));
    REQUIRE_WORKSPACE_OR_RETURN(kd_bpr_workspace(a->count));
    return FORWARDED(bpr, ctx, a);
}
kd_status kd_infonce(kd_ctx *ctx, const kd_infonce_args *a) {
    REQUIRE_OR_RETURN(a->count >= 1 && a->nodes.capacity >= a->count && a->temp > 0.0f);
    REQUIRE_OR_RETURN(same_shape(a->a, a->da) && same_shape(a->b, a->db) && a->a.cols == a->b.cols);
    REQUIRE_OR_RETURN(a->a.rows >= a->nodes.capacity && a->first_key >= 0 && a->first_key <= INT32_MAX - a->b.rows);
    REQUIRE_OR_RETURN(a->most_keys == 0 || a->most_keys >= a->b.rows);
    REQUIRE_WORKSPACE_OR_RETURN(kd_infonce_workspace(a->count, a->a.cols));
    return FORWARDED(infonce, ctx, a);
}

/* Diffusion. */

kd_status kd_diffusion_steps(kd_ctx *ctx, int64_t n, const int32_t *row, int64_t steps, const kd_rng *rng, int32_t *t) {
    REQUIRE_OR_RETURN(n >= 0 && steps >= 1);
    return FORWARDED(diffusion_steps, ctx, n, row, steps, rng, t);
}
kd_status kd_q_sample(kd_ctx *ctx, const kd_q_sample_args *a) {
    REQUIRE_OR_RETURN(sane(a->x) && a->x.cols == a->x0.cols && a->p >= 0.0f && a->p < 1.0f && a->first >= 0 &&
                      a->first % 4 == 0);
    return FORWARDED(q_sample, ctx, a);
}
kd_status kd_hidden_forward(kd_ctx *ctx, kd_mat p, kd_mat table, const int32_t *t, kd_mat h) {
    REQUIRE_OR_RETURN(same_shape(p, h) && sane(table) && table.cols == p.cols && table.rows >= 1);
    return FORWARDED(hidden_forward, ctx, p, table, t, h);
}
kd_status kd_hidden_backward(kd_ctx *ctx, kd_mat h, const int32_t *t, kd_mat dh, kd_mat dtable) {
    REQUIRE_OR_RETURN(same_shape(h, dh) && sane(dtable) && dtable.cols == h.cols && t);
    return FORWARDED(hidden_backward, ctx, h, t, dh, dtable);
}
kd_status kd_denoise_loss(kd_ctx *ctx, const kd_denoise_loss_args *a) {
    REQUIRE_OR_RETURN(sane(a->out) && a->out.cols == a->x0.cols && a->out.rows >= 1 && a->width >= a->out.cols);
    return FORWARDED(denoise_loss, ctx, a);
}
kd_status kd_gram_loss(kd_ctx *ctx, const kd_gram_loss_args *a) {
    REQUIRE_OR_RETURN(same_shape(a->h, a->dh) && same_shape(a->h, a->xw) && a->h.rows >= 1 && a->width >= a->x0.cols);
    return FORWARDED(gram_loss, ctx, a);
}
kd_status kd_guidance_loss(kd_ctx *ctx, const kd_guidance_loss_args *a) {
    REQUIRE_OR_RETURN(sane(a->y) && sane(a->target) && a->y.cols == a->target.cols && a->y.rows >= 1 &&
                      a->width >= a->y.cols);
    return FORWARDED(guidance_loss, ctx, a);
}

/* Ranking. */

kd_status kd_topk_rows(kd_ctx *ctx, kd_mat x, kd_csr mask, int64_t k, int32_t *index, float *value) {
    REQUIRE_OR_RETURN(sane(x) && k >= 1 && (!mask.row_ptr || (mask.rows == x.rows && mask.cols == x.cols)));
    if (!value) REQUIRE_WORKSPACE_OR_RETURN(kd_topk_rows_workspace(x.rows, k));
    return FORWARDED(topk_rows, ctx, x, mask, k, index, value);
}
kd_status kd_merge_top(kd_ctx *ctx, const kd_merge_top_args *a) {
    REQUIRE_OR_RETURN(a->rows >= 0 && a->k >= 1 && a->parts >= 1);
    return FORWARDED(merge_top, ctx, a);
}
kd_status kd_rank_metrics(kd_ctx *ctx, const kd_rank_metrics_args *a) {
    REQUIRE_OR_RETURN(a->rows == a->held_out.rows && a->topk_count >= 1 && a->topk[0] >= 1 &&
                      a->topk[a->topk_count - 1] <= a->k);
    return FORWARDED(rank_metrics, ctx, a);
}

/* Walks. */

static bool square(kd_csr a) { return a.rows == a.cols && a.row_ptr; }
static bool within(int64_t first, int64_t count, int64_t outer, int64_t outers) {
    return count >= 0 && first >= outer && first + count <= outer + outers;
}
static bool visits_fit(kd_csr graph, const kd_visits *v) { return within(v->first, v->starts, 0, graph.rows); }
kd_status kd_walk_cumulative(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                             kd_visits *visits) {
    REQUIRE_OR_RETURN(square(graph) && visits_fit(graph, visits) && config->walks >= 1 && config->steps >= 1);
    REQUIRE_OR_RETURN(!rng->clock);
    REQUIRE_WORKSPACE_OR_RETURN(kd_walk_workspace(ctx, graph.rows, config->steps));
    return FORWARDED(walk_cumulative, ctx, graph, config, rng, visits);
}
kd_status kd_walk_node(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng, kd_visits *visits) {
    REQUIRE_OR_RETURN(square(graph) && visits_fit(graph, visits) && config->walks >= 1 && config->steps >= 1);
    REQUIRE_OR_RETURN(!rng->clock);
    REQUIRE_WORKSPACE_OR_RETURN(kd_walk_workspace(ctx, graph.rows, config->steps));
    return FORWARDED(walk_node, ctx, graph, config, rng, visits);
}
kd_status kd_visits_above(kd_ctx *ctx, kd_csr graph, int64_t first, kd_mat score, float threshold, kd_visits *visits) {
    REQUIRE_OR_RETURN(square(graph) && visits_fit(graph, visits) && sane(score) && score.rows == graph.rows);
    REQUIRE_OR_RETURN(within(first, score.cols, visits->first, visits->starts));
    return FORWARDED(visits_above, ctx, graph, first, score, threshold, visits);
}
kd_status kd_visits_pack(kd_ctx *ctx, kd_csr graph, const kd_visits *visits, kd_visits *packed) {
    REQUIRE_OR_RETURN(square(graph) && visits_fit(graph, visits) && visits_fit(graph, packed));
    REQUIRE_OR_RETURN(within(visits->first, visits->starts, packed->first, packed->starts) &&
                      visits->node != packed->node);
    return FORWARDED(visits_pack, ctx, graph, visits, packed);
}
kd_status kd_prefix_jaccard(kd_ctx *ctx, kd_csr graph, int64_t first, int64_t count, const kd_visits *visits,
                            float *val) {
    REQUIRE_OR_RETURN(square(graph) && visits->first == 0 && visits->starts == graph.rows);
    REQUIRE_OR_RETURN(within(first, count, 0, graph.rows));
    REQUIRE_WORKSPACE_OR_RETURN(kd_walk_workspace(ctx, graph.rows, 0));
    return FORWARDED(prefix_jaccard, ctx, graph, first, count, visits, val);
}
