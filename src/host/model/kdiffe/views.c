/* Memory of the views, and what both passes share. */
#include "host/model/kdiffe/views.h"

#include <string.h>

#include "host/model/blocks.h"

kd_views_config kd_views_configure(const kd_config *c, int64_t modalities) {
    kd_views_config v = {.gnn_layers = c->gnn_layers,
                         .kg_hops = c->kg_hops,
                         .res_lambda = c->res_lambda,
                         .ris_adj_lambda = c->ris_adj_lambda,
                         .mess_dropout = c->mess_dropout};
    v.multimodal = c->use.multimodal && modalities > 0;
    v.modality_views = c->use.contrastive && modalities > 0;
    v.second_kg = c->use.contrastive && c->cl_method == 1;
    v.naive_views = c->naive & KD_NAIVE_VIEWS;
    v.naive_rows = c->naive & KD_NAIVE_ROWS;
    return v;
}

static kd_view_slots assign_slots(const kd_views_config *c, int64_t modalities) {
    kd_view_slots s = {.modality = -1, .multimodal = -1, .second_kg = -1};
    if (c->modality_views) {
        s.modality = 0;
        s.count = modalities;
    }
    s.kg = s.count++;
    if (c->multimodal) s.multimodal = s.count++;
    s.score = s.count - s.kg;
    if (c->second_kg) s.second_kg = s.count++;
    return s;
}

static kd_status allocate_modality(kd_pool *pool, kd_views *v, int64_t m) {
    static const char what[] = "modality views";
    const kd_model_shape *s = &v->shape;
    int64_t nodes = s->users + s->items;
    KD_OR_RETURN(kd_pool_mat(pool, s->item.count, s->feature_width[m], "features", &v->modality[m].feature));
    KD_OR_RETURN(kd_pool_mat(pool, nodes, s->local_dim, what, &v->modality[m].nodes));
    if (kd_is_divided(s)) KD_OR_RETURN(kd_pool_mat(pool, s->item.count, s->dim, what, &v->modality[m].unit));
    KD_OR_RETURN(kd_pool_alloc(pool, s->item.count, sizeof(float), what, &v->modality[m].norm));
    KD_OR_RETURN(kd_pool_mat(pool, nodes, s->local_dim, what, &v->modality[m].neighbour));
    return kd_pool_mat(pool, s->items, s->local_dim, what, &v->modality[m].gradient);
}

/* Of divided columns: what passes them on, and room for the tallest matrices that are turned and for the views that are
 * keys of the contrast, which are turned together. */
static kd_status allocate_division(kd_pool *pool, kd_views *v) {
    const kd_model_shape *s = &v->shape;
    const kd_share turned[] = {kd_share_rows(s->users), kd_share_rows(s->items), kd_share_columns(s->items),
                               kd_share_guided(s)};
    int64_t most = s->users > s->items ? s->users : s->items, local = 0;
    for (size_t i = 0; i < sizeof turned / sizeof turned[0]; i++) {
        int64_t count = kd_comm_share(v->comm, turned[i]).count;
        local = count > local ? count : local;
    }
    KD_OR_RETURN(kd_layout_allocate(pool, v->comm, most, local, v->slots.kg + 1, s->dim, &v->layout));
    v->split = kd_layout_split(&v->layout);
    v->rgat.split = &v->split;
    return kd_pool_mat(pool, s->item.count, s->dim, "modality views", &v->feature_rows);
}

kd_status kd_views_allocate(kd_pool *pool, kd_comm *comm, const kd_model_shape *s, const kd_graph_sizes *sizes,
                            const kd_views_config *config, kd_views *v) {
    static const char what[] = "views";
    int64_t nodes = s->users + s->items;
    *v = (kd_views){.config = *config, .shape = *s, .slots = assign_slots(config, s->modalities), .comm = comm};
    int64_t width = v->slots.count * s->local_dim, heads = config->naive_rows ? s->entities : s->items;
    kd_mat *stacks[] = {&v->input, &v->output, &v->doutput, &v->layer};
    kd_mat *tables[] = {&v->mixed, &v->spread, &v->residual, &v->node_scratch, &v->dmixed, &v->dspread};
    KD_OR_RETURN(kd_rgat_allocate(pool, s, &v->rgat));
    v->rgat.res_lambda = config->res_lambda;
    if (kd_is_divided(s)) KD_OR_RETURN(allocate_division(pool, v));
    KD_OR_RETURN(kd_rgat_pass_allocate(pool, s, config->kg_hops, heads, sizes->kg_edges, &v->main));
    if (config->second_kg)
        KD_OR_RETURN(kd_rgat_pass_allocate(pool, s, config->kg_hops, heads, sizes->kg_capped_edges, &v->second));
    for (int i = 0; i < 4; i++) KD_OR_RETURN(kd_pool_mat(pool, nodes, width, what, stacks[i]));
    for (int i = 0; i < 6; i++) KD_OR_RETURN(kd_pool_mat(pool, nodes, s->local_dim, what, tables[i]));
    KD_OR_RETURN(kd_pool_alloc(pool, nodes, sizeof(float), what, &v->residual_norm));
    if (config->naive_rows) KD_OR_RETURN(kd_pool_mat(pool, s->entities, s->local_dim, what, &v->dentity));
    KD_OR_RETURN(kd_pool_alloc(pool, s->modalities, sizeof(float), what, &v->share));
    KD_OR_RETURN(kd_pool_alloc(pool, s->modalities, sizeof(float), what, &v->dshare));
    for (int64_t m = 0; m < s->modalities; m++) KD_OR_RETURN(allocate_modality(pool, v, m));
    return KD_OK;
}

int64_t kd_views_workspace(const kd_model_shape *s, const kd_graph_sizes *sizes, int64_t batch) {
    int64_t nodes = s->users + s->items, rows = nodes > s->entities ? nodes : s->entities;
    int64_t attention = kd_rgat_backward_workspace(s->relations, s->local_dim, sizes->kg_edges);
    if (!kd_is_divided(s)) return attention;
    int64_t units = kd_unit_rows_workspace(rows > 2 * batch ? rows : 2 * batch);
    return attention > units ? attention : units;
}

kd_status kd_stack_gcn(kd_ctx *ctx, const kd_views *v, kd_csr a, kd_mat x, kd_mat y) {
    int64_t width = v->config.naive_views ? v->shape.local_dim : x.cols;
    for (int64_t c = 0; c < x.cols; c += width)
        KD_OR_RETURN(kd_gcn(ctx, a, v->config.gnn_layers, kd_mat_cols(x, c, width), kd_mat_cols(v->layer, c, width),
                            kd_mat_cols(y, c, width)));
    return KD_OK;
}

kd_status kd_feature_transform(kd_ctx *ctx, const kd_params *p, const kd_views *v, int64_t m, kd_range items,
                               kd_mat out) {
    kd_mat feature = kd_mat_rows(v->modality[m].feature, items.first - v->shape.item.first, items.count);
    kd_status status = kd_linear(ctx, false, feature, p->feature_w[m], p->feature_b[m], out);
    if (status == KD_OK && !p->feature_b[m].data) status = kd_leaky_relu_forward(ctx, KD_LEAKY_SLOPE, out);
    return status;
}

kd_status kd_node_units(kd_ctx *ctx, const kd_views *v, kd_nodes nodes, kd_mat x, kd_mat y, float *norm) {
    const kd_split *split = kd_views_split(v);
    if (!nodes.users)
        return kd_unit_rows_forward(ctx, &(kd_unit_rows_forward_args){.split = split, .x = x, .y = y, .norm = norm});
    kd_unit_rows_forward_args of_users = {
        .split = split, .only = nodes.users, .x = kd_users_of(v, x), .y = kd_users_of(v, y), .norm = norm};
    KD_OR_RETURN(kd_unit_rows_forward(ctx, &of_users));
    return kd_unit_rows_forward(ctx, &(kd_unit_rows_forward_args){.split = split,
                                                                  .only = nodes.items,
                                                                  .x = kd_items_of(v, x),
                                                                  .y = kd_items_of(v, y),
                                                                  .norm = norm + v->shape.users});
}
