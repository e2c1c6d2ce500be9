#include "host/loss/step.h"

/* The denominators' sum over the ranks. */
static kd_status sum_over_ranks(void *context, kd_ctx *ctx, int64_t n, double *x) {
    return kd_comm_sum_f64(context, ctx, n, x);
}

/* A rank's share of what every rank could do alone: gradients are summed over the ranks. */
static double rank_share(const kd_step_losses *l) { return 1.0 / (double)kd_comm_ranks(l->comm); }

static kd_status allocate_groups(kd_pool *pool, int64_t capacity, kd_groups *out) {
    static const char what[] = "batch";
    kd_status status = KD_OK;
    *out = (kd_groups){.capacity = capacity};
    KD_TRY(kd_pool_alloc(pool, 1, sizeof(int64_t), what, &out->count));
    KD_TRY(kd_pool_alloc(pool, capacity, sizeof(int32_t), what, &out->key));
    KD_TRY(kd_pool_alloc(pool, capacity + 1, sizeof(int32_t), what, &out->ptr));
    KD_TRY(kd_pool_alloc(pool, capacity, sizeof(int32_t), what, &out->member));
cleanup:
    return status;
}

static bool contrasts(const kd_views *v) { return v->slots.second_kg >= 0 || v->slots.modality >= 0; }

kd_status kd_step_losses_allocate(kd_pool *pool, const kd_views *v, const kd_loss_config *c, kd_step_losses *out) {
    kd_status status = KD_OK;
    int64_t nodes = v->shape.users + v->shape.items;
    *out = (kd_step_losses){.config = *c};
    KD_TRY(kd_pool_alloc(pool, c->batch, sizeof(int32_t), "batch", &out->user));
    KD_TRY(kd_pool_alloc(pool, 2 * c->batch, sizeof(int32_t), "batch", &out->item));
    KD_TRY(allocate_groups(pool, c->batch, &out->users));
    KD_TRY(allocate_groups(pool, c->batch, &out->positives));
    KD_TRY(allocate_groups(pool, 2 * c->batch, &out->items));
    if (contrasts(v)) {
        KD_TRY(kd_pool_mat(pool, nodes, v->slots.count * v->shape.dim, "contrastive loss", &out->unit));
        KD_TRY(kd_pool_mat(pool, nodes, v->slots.count * v->shape.dim, "contrastive loss", &out->dunit));
        KD_TRY(kd_pool_alloc(pool, v->slots.count * nodes, sizeof(float), "contrastive loss", &out->norm));
    }
cleanup:
    return status;
}

int64_t kd_step_losses_workspace(const kd_loss_config *c, int64_t dim) {
    int64_t infonce = kd_infonce_workspace(c->batch, dim), group = kd_group_workspace(2 * c->batch);
    int64_t bpr = c->batch * (int64_t)sizeof(float), most = infonce > group ? infonce : group;
    return most > bpr ? most : bpr;
}

kd_status kd_step_load(kd_ctx *ctx, int64_t count, const int64_t *first, const int32_t *order, const int32_t *user,
                       const int32_t *positive, const int32_t *negative, kd_step_losses *l) {
    kd_status status = KD_OK;
    KD_TRY(kd_gather(ctx, count, first, order, user, l->user));
    KD_TRY(kd_gather(ctx, count, first, order, positive, l->item));
    KD_TRY(kd_gather(ctx, count, first, order, negative, l->item + count));
    KD_TRY(kd_group(ctx, count, l->user, &l->users));
    KD_TRY(kd_group(ctx, count, l->item, &l->positives));
    KD_TRY(kd_group(ctx, 2 * count, l->item, &l->items));
cleanup:
    return status;
}

static kd_status bpr(kd_ctx *ctx, int64_t count, const kd_views *v, const kd_step_losses *l, double *loss) {
    kd_mat score = kd_score_of(v, v->output);
    kd_mat dscore = kd_score_of(v, v->doutput);
    kd_bpr_args args = {.count = count,
                        .batch = (double)l->config.batch / rank_share(l),
                        .user = l->user,
                        .positive = l->item,
                        .negative = l->item + count,
                        .users = l->users,
                        .items = l->items,
                        .user_view = kd_users_of(v, score),
                        .item_view = kd_items_of(v, score),
                        .duser = kd_users_of(v, dscore),
                        .ditem = kd_items_of(v, dscore),
                        .loss = loss};
    return kd_bpr(ctx, &args);
}

/* The keys of this rank. */
static void share_keys(const kd_step_losses *l, kd_infonce_args *args) {
    int64_t rank = kd_comm_rank(l->comm), ranks = kd_comm_ranks(l->comm), keys = args->b.rows;
    int64_t count = kd_share_first(keys, rank + 1, ranks) - kd_share_first(keys, rank, ranks);
    args->first_key = kd_share_first(keys, rank, ranks);
    args->most_keys = (keys + ranks - 1) / ranks;
    args->b = kd_mat_rows(args->b, args->first_key, count);
    args->db = kd_mat_rows(args->db, args->first_key, count);
    args->sum = l->comm ? sum_over_ranks : NULL;
    args->sum_context = l->comm;
}

/* InfoNCE over the batch's users plus over its positive items, view `a` the anchor. */
static kd_status contrast(kd_ctx *ctx, int64_t count, const kd_views *v, const kd_step_losses *l, int64_t a, int64_t b,
                          double *loss) {
    kd_mat unit_a = kd_slot(v, l->unit, a), unit_b = kd_slot(v, l->unit, b);
    kd_mat da = kd_slot(v, l->dunit, a), db = kd_slot(v, l->dunit, b);
    kd_infonce_args args = {.count = count,
                            .temp = (float)l->config.temp,
                            .weight = (float)l->config.ssl_reg,
                            .nodes = l->users,
                            .a = kd_users_of(v, unit_a),
                            .b = kd_users_of(v, unit_b),
                            .da = kd_users_of(v, da),
                            .db = kd_users_of(v, db),
                            .loss = loss};
    share_keys(l, &args);
    kd_status status = kd_infonce(ctx, &args);
    if (status != KD_OK) return status;
    args.nodes = l->positives;
    args.a = kd_items_of(v, unit_a);
    args.b = kd_items_of(v, unit_b);
    args.da = kd_items_of(v, da);
    args.db = kd_items_of(v, db);
    share_keys(l, &args);
    return kd_infonce(ctx, &args);
}

/* Every term of the method: 0 every pair of modalities, 1 the main KG view against each modality and the full-graph
 * view against the main one. */
static kd_status contrastive_terms(kd_ctx *ctx, int64_t count, const kd_views *v, const kd_step_losses *l,
                                   double *loss) {
    kd_status status = KD_OK;
    const kd_view_slots *s = &v->slots;
    int64_t modalities = s->modality >= 0 ? v->shape.modalities : 0;
    for (int64_t m = 0; m < modalities; m++) {
        if (l->config.cl_method == 1) KD_TRY(contrast(ctx, count, v, l, s->kg, s->modality + m, loss));
        for (int64_t other = m + 1; other < modalities && l->config.cl_method == 0; other++)
            KD_TRY(contrast(ctx, count, v, l, s->modality + m, s->modality + other, loss));
    }
    if (s->second_kg >= 0) KD_TRY(contrast(ctx, count, v, l, s->second_kg, s->kg, loss));
cleanup:
    return status;
}

/* Where the contrast reads a view: an anchor that is no key only at the batch's users and positive items. */
static kd_nodes contrasted(const kd_views *v, const kd_step_losses *l, int64_t slot) {
    bool anchor = slot == v->slots.second_kg && v->read.users;
    return anchor ? (kd_nodes){&l->users, &l->positives} : (kd_nodes){0};
}

/* The views' slots that take part, normalised once for all terms; their gradients flow back once. */
static kd_status contrastive(kd_ctx *ctx, int64_t count, const kd_views *v, const kd_step_losses *l, double *loss) {
    kd_status status = KD_OK;
    int64_t nodes = v->output.rows;
    KD_TRY(kd_zero(ctx, l->dunit.data, l->dunit.rows * l->dunit.ld * (int64_t)sizeof(float)));
    for (int64_t s = 0; s < v->slots.count; s++)
        if (s != v->slots.multimodal)
            KD_TRY(kd_node_units(ctx, v, contrasted(v, l, s), kd_slot(v, v->output, s), kd_slot(v, l->unit, s),
                                 l->norm + s * nodes));
    KD_TRY(contrastive_terms(ctx, count, v, l, loss));
    for (int64_t s = 0; s < v->slots.count; s++)
        if (s != v->slots.multimodal)
            KD_TRY(kd_node_units_backward(ctx, v, contrasted(v, l, s), 1.0f, kd_slot(v, l->unit, s),
                                          l->norm + s * nodes, kd_slot(v, l->dunit, s), 1.0f,
                                          kd_slot(v, v->doutput, s)));
cleanup:
    return status;
}

kd_status kd_step_losses_gradient(kd_ctx *ctx, int64_t count, const kd_params *p, kd_views *v, kd_step_losses *l,
                                  double *loss) {
    kd_status status = KD_OK;
    kd_mat nodes = kd_params_nodes(p);
    KD_TRY(kd_zero(ctx, v->doutput.data, v->doutput.rows * v->doutput.ld * (int64_t)sizeof(float)));
    KD_TRY(bpr(ctx, count, v, l, loss + KD_LOSS_BPR));
    if (contrasts(v)) KD_TRY(contrastive(ctx, count, v, l, loss + KD_LOSS_CONTRASTIVE));
    KD_TRY(kd_squared_norm(ctx, (float)(l->config.reg * rank_share(l)), nodes, kd_gradient_of(p, nodes),
                           loss + KD_LOSS_WEIGHT_DECAY));
cleanup:
    return status;
}
