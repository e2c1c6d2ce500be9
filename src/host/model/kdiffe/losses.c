#include "host/model/kdiffe/losses.h"

#include "host/model/blocks.h"

/* The denominators' sum over the ranks. */
static kd_status sum_over_ranks(void *context, kd_ctx *ctx, int64_t n, double *x) {
    return kd_comm_allreduce_f64(context, ctx, n, x);
}

/* A rank's share of what every rank could do alone: gradients are summed over the ranks, unless each has the whole
 * gradient of its own columns. */
static double rank_share(const kd_views *v, const kd_step_losses *l) {
    return kd_is_divided(&v->shape) ? 1.0 : 1.0 / (double)kd_comm_ranks(l->comm);
}

/* Whether views are contrasted, `a` the anchor and b the key. Method 0: every pair of modalities; 1: the main KG view
 * against each modality. With 1 also the full-graph KG view against the main one. */
static bool is_term(const kd_views *v, int64_t cl_method, int64_t a, int64_t b) {
    const kd_view_slots *s = &v->slots;
    bool modality = s->modality >= 0 && b >= s->modality && b < s->modality + v->shape.modalities;
    if (a == s->second_kg) return b == s->kg;
    if (cl_method == 1) return a == s->kg && modality;
    return modality && a >= s->modality && a < b;
}

/* The views that are keys: they lie side by side. */
static kd_range find_keys(const kd_views *v, int64_t cl_method) {
    kd_range keys = {0, 0};
    for (int64_t b = 0; b <= v->slots.kg; b++)
        for (int64_t a = 0; a < v->slots.count; a++) {
            if (!is_term(v, cl_method, a, b)) continue;
            if (keys.count == 0) keys.first = b;
            keys.count = b + 1 - keys.first;
        }
    return keys;
}

static bool contrasts(const kd_step_losses *l) { return l->key_slots.count > 0; }

kd_status kd_step_losses_allocate(kd_pool *pool, const kd_views *v, const kd_loss_config *c, kd_step_losses *out) {
    static const char what[] = "contrastive loss";
    *out = (kd_step_losses){.comm = v->comm, .config = *c};
    KD_OR_RETURN(kd_pool_alloc(pool, c->batch, sizeof(int32_t), "batch", &out->user));
    KD_OR_RETURN(kd_pool_alloc(pool, 2 * c->batch, sizeof(int32_t), "batch", &out->item));
    KD_OR_RETURN(kd_groups_allocate(pool, c->batch, &out->users));
    KD_OR_RETURN(kd_groups_allocate(pool, c->batch, &out->positives));
    KD_OR_RETURN(kd_groups_allocate(pool, 2 * c->batch, &out->items));
    out->key_slots = find_keys(v, c->cl_method);
    if (contrasts(out)) {
        out->user_keys = kd_comm_share(v->comm, kd_share_rows(v->shape.users));
        out->item_keys = kd_comm_share(v->comm, kd_share_rows(v->shape.items));
        int64_t keys = out->user_keys.count + out->item_keys.count, views = out->key_slots.count;
        int64_t width = v->shape.dim;
        KD_OR_RETURN(kd_pool_mat(pool, keys, views * width, what, &out->unit));
        KD_OR_RETURN(kd_pool_mat(pool, keys, views * width, what, &out->dunit));
        KD_OR_RETURN(kd_pool_alloc(pool, views * keys, sizeof(float), what, &out->norm));
        KD_OR_RETURN(kd_pool_mat(pool, c->batch, width, what, &out->anchor));
        KD_OR_RETURN(kd_pool_mat(pool, c->batch, width, what, &out->danchor));
        KD_OR_RETURN(kd_pool_alloc(pool, c->batch, sizeof(float), what, &out->anchor_norm));
    }
    return KD_OK;
}

int64_t kd_step_losses_workspace(const kd_step_losses *l) {
    int64_t batch = l->config.batch, infonce = contrasts(l) ? kd_infonce_workspace(batch, l->anchor.cols) : 0;
    int64_t group = kd_group_workspace(2 * batch), bpr = kd_bpr_workspace(batch);
    int64_t most = infonce > group ? infonce : group;
    return most > bpr ? most : bpr;
}

kd_status kd_step_load(kd_ctx *ctx, const kd_step_batch *b, kd_step_losses *l) {
    KD_OR_RETURN(kd_gather(ctx, b->count, b->first, b->order, b->user, l->user));
    KD_OR_RETURN(kd_gather(ctx, b->count, b->first, b->order, b->positive, l->item));
    KD_OR_RETURN(kd_gather(ctx, b->count, b->first, b->order, b->negative, l->item + b->count));
    KD_OR_RETURN(kd_group(ctx, b->count, l->user, &l->users));
    KD_OR_RETURN(kd_group(ctx, b->count, l->item, &l->positives));
    return kd_group(ctx, 2 * b->count, l->item, &l->items);
}

static kd_status bpr(kd_ctx *ctx, int64_t count, const kd_views *v, const kd_step_losses *l, double *loss) {
    kd_mat score = kd_score_of(v, v->output);
    kd_mat dscore = kd_score_of(v, v->doutput);
    const kd_split *split = kd_views_split(v);
    kd_bpr_args args = {.split = split,
                        .count = count,
                        .batch = (double)l->config.batch / rank_share(v, l),
                        .user = l->user,
                        .positive = l->item,
                        .negative = l->item + count,
                        .users = l->users,
                        .items = l->items,
                        .user_view = kd_users_of(v, score),
                        .item_view = kd_items_of(v, score),
                        .duser = kd_users_of(v, dscore),
                        .ditem = kd_items_of(v, dscore),
                        .loss = split && kd_comm_rank(l->comm) > 0 ? NULL : loss};
    return kd_bpr(ctx, &args);
}

/* Users or items, as keys and as a batch's anchors. */
typedef struct side {
    kd_mat output, doutput; /* [all of them, ...] the views and their gradients */
    kd_mat unit, dunit;     /* [those that are local keys, ...] */
    float *norm;
    int64_t norm_stride; /* from one view's norms to the next one's */
    kd_range keys;
    kd_share share;
    const kd_groups *batch;
} side;

static side side_of(const kd_views *v, const kd_step_losses *l, bool items) {
    kd_range keys = items ? l->item_keys : l->user_keys;
    int64_t first = items ? l->user_keys.count : 0;
    return (side){.output = items ? kd_items_of(v, v->output) : kd_users_of(v, v->output),
                  .doutput = items ? kd_items_of(v, v->doutput) : kd_users_of(v, v->doutput),
                  .unit = kd_mat_rows(l->unit, first, keys.count),
                  .dunit = kd_mat_rows(l->dunit, first, keys.count),
                  .norm = l->norm + first,
                  .norm_stride = l->unit.rows,
                  .keys = keys,
                  .share = kd_share_rows(items ? v->shape.items : v->shape.users),
                  .batch = items ? &l->positives : &l->users};
}

/* The i-th of the views that are keys. */
static kd_mat key_view(const kd_views *v, kd_mat stack, int64_t i) {
    return kd_mat_cols(stack, i * v->shape.dim, v->shape.dim);
}

/* Their local columns of a stack of all views. */
static kd_mat key_slots(const kd_views *v, const kd_step_losses *l, kd_mat stack) {
    return kd_mat_cols(stack, l->key_slots.first * v->shape.local_dim, l->key_slots.count * v->shape.local_dim);
}

/* Unit rows of the views that are keys at this rank's keys. */
static kd_status keys_forward(kd_ctx *ctx, const kd_views *v, const kd_step_losses *l, const side *s) {
    bool divided = kd_is_divided(&v->shape);
    if (divided) KD_OR_RETURN(kd_layout_to_rows(ctx, &v->layout, s->share, key_slots(v, l, s->output), s->unit));
    for (int64_t i = 0; i < l->key_slots.count; i++) {
        kd_mat unit = key_view(v, s->unit, i), view = kd_slot(v, s->output, l->key_slots.first + i);
        kd_mat from = divided ? unit : kd_mat_rows(view, s->keys.first, s->keys.count);
        KD_OR_RETURN(kd_unit_rows_forward(
            ctx, &(kd_unit_rows_forward_args){.x = from, .y = unit, .norm = s->norm + i * s->norm_stride}));
    }
    return KD_OK;
}

static kd_status keys_backward(kd_ctx *ctx, const kd_views *v, const kd_step_losses *l, const side *s) {
    bool divided = kd_is_divided(&v->shape);
    for (int64_t i = 0; i < l->key_slots.count; i++) {
        kd_mat d = key_view(v, s->dunit, i), view = kd_slot(v, s->doutput, l->key_slots.first + i);
        kd_mat to = divided ? d : kd_mat_rows(view, s->keys.first, s->keys.count);
        KD_OR_RETURN(kd_unit_rows_backward(ctx, &(kd_unit_rows_backward_args){.alpha = 1.0f,
                                                                              .y = key_view(v, s->unit, i),
                                                                              .norm = s->norm + i * s->norm_stride,
                                                                              .dy = d,
                                                                              .beta = divided ? 0.0f : 1.0f,
                                                                              .dx = to}));
    }
    if (divided)
        KD_OR_RETURN(kd_layout_to_columns(ctx, &v->layout, s->share, s->dunit, 1.0f, key_slots(v, l, s->doutput)));
    return KD_OK;
}

/* Unit rows of a view at the batch's nodes, on every rank. */
static kd_status anchors_forward(kd_ctx *ctx, const kd_views *v, const kd_step_losses *l, const side *s, int64_t slot) {
    kd_mat a = l->anchor, local = kd_mat_cols(a, v->shape.column, v->shape.local_dim);
    int64_t bytes = a.rows * a.cols * (int64_t)sizeof(float);
    bool divided = kd_is_divided(&v->shape);
    if (divided) KD_OR_RETURN(kd_zero(ctx, a.data, bytes));
    KD_OR_RETURN(kd_take_rows(ctx, s->batch, kd_slot(v, s->output, slot), local));
    if (divided) KD_OR_RETURN(kd_comm_allreduce_f32(l->comm, ctx, a.rows * a.cols, a.data));
    KD_OR_RETURN(kd_unit_rows_forward(ctx, &(kd_unit_rows_forward_args){.x = a, .y = a, .norm = l->anchor_norm}));
    return kd_zero(ctx, l->danchor.data, bytes);
}

/* Their gradients, of which every rank has made a part. */
static kd_status anchors_backward(kd_ctx *ctx, const kd_views *v, const kd_step_losses *l, const side *s,
                                  int64_t slot) {
    kd_mat d = l->danchor, local = kd_mat_cols(d, v->shape.column, v->shape.local_dim);
    if (kd_is_divided(&v->shape)) KD_OR_RETURN(kd_comm_allreduce_f32(l->comm, ctx, d.rows * d.cols, d.data));
    KD_OR_RETURN(kd_unit_rows_backward(
        ctx, &(kd_unit_rows_backward_args){.alpha = 1.0f, .y = l->anchor, .norm = l->anchor_norm, .dy = d, .dx = d}));
    return kd_give_rows(ctx, s->batch, local, kd_slot(v, s->doutput, slot));
}

/* InfoNCE of the anchors against this rank's keys of the i-th view that has them. */
static kd_status contrast(kd_ctx *ctx, int64_t count, const kd_views *v, const kd_step_losses *l, const side *s,
                          int64_t i, double *loss) {
    kd_infonce_args args = {.count = count,
                            .temp = (float)l->config.temp,
                            .weight = (float)l->config.ssl_reg,
                            .nodes = *s->batch,
                            .a = l->anchor,
                            .b = key_view(v, s->unit, i),
                            .da = l->danchor,
                            .db = key_view(v, s->dunit, i),
                            .loss = loss,
                            .first_key = s->keys.first,
                            .most_keys = kd_share_most(s->share.count, s->share.unit, kd_comm_ranks(l->comm)),
                            .sum = l->comm ? sum_over_ranks : NULL,
                            .sum_context = l->comm};
    return kd_infonce(ctx, &args);
}

/* All terms of an anchor. */
static kd_status anchor_terms(kd_ctx *ctx, int64_t count, const kd_views *v, const kd_step_losses *l, const side *s,
                              int64_t a, double *loss) {
    bool any = false;
    for (int64_t i = 0; i < l->key_slots.count; i++) {
        if (!is_term(v, l->config.cl_method, a, l->key_slots.first + i)) continue;
        if (!any) KD_OR_RETURN(anchors_forward(ctx, v, l, s, a));
        KD_OR_RETURN(contrast(ctx, count, v, l, s, i, loss));
        any = true;
    }
    if (any) KD_OR_RETURN(anchors_backward(ctx, v, l, s, a));
    return KD_OK;
}

/* Of the users or the items: keys are normalised once for all terms, and their gradients flow back once. */
static kd_status contrastive(kd_ctx *ctx, int64_t count, const kd_views *v, const kd_step_losses *l, bool items,
                             double *loss) {
    side s = side_of(v, l, items);
    KD_OR_RETURN(kd_zero(ctx, s.dunit.data, s.dunit.rows * s.dunit.ld * (int64_t)sizeof(float)));
    KD_OR_RETURN(keys_forward(ctx, v, l, &s));
    for (int64_t a = 0; a < v->slots.count; a++) KD_OR_RETURN(anchor_terms(ctx, count, v, l, &s, a, loss));
    return keys_backward(ctx, v, l, &s);
}

kd_status kd_step_losses_gradient(kd_ctx *ctx, int64_t count, const kd_params *p, kd_views *v, kd_step_losses *l,
                                  double *loss) {
    kd_mat nodes = kd_params_nodes(p);
    KD_OR_RETURN(kd_zero(ctx, v->doutput.data, v->doutput.rows * v->doutput.ld * (int64_t)sizeof(float)));
    KD_OR_RETURN(bpr(ctx, count, v, l, loss + KD_LOSS_BPR));
    for (int items = 0; items < 2 && contrasts(l); items++)
        KD_OR_RETURN(contrastive(ctx, count, v, l, items, loss + KD_LOSS_CONTRASTIVE));
    return kd_squared_norm(ctx, (float)(l->config.reg * rank_share(v, l)), nodes, kd_gradient_of(p, nodes),
                           loss + KD_LOSS_WEIGHT_DECAY);
}
