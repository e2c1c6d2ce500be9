/* Memory of the views and their forward pass. */
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
    v.one_by_one = c->naive & KD_NAIVE_VIEWS;
    v.every_row = c->naive & KD_NAIVE_ROWS;
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
    int64_t most = s->users > s->items ? s->users : s->items, here = 0;
    for (size_t i = 0; i < sizeof turned / sizeof turned[0]; i++) {
        int64_t count = kd_comm_share(v->comm, turned[i]).count;
        here = count > here ? count : here;
    }
    KD_OR_RETURN(kd_layout_allocate(pool, v->comm, most, here, v->slots.kg + 1, s->dim, &v->layout));
    v->split = kd_layout_split(&v->layout);
    v->rgat.split = &v->split;
    return kd_pool_mat(pool, s->item.count, s->dim, "modality views", &v->feature_rows);
}

kd_status kd_views_allocate(kd_pool *pool, kd_comm *comm, const kd_model_shape *s, const kd_graph_sizes *sizes,
                            const kd_views_config *config, kd_views *v) {
    static const char what[] = "views";
    int64_t nodes = s->users + s->items;
    *v = (kd_views){.config = *config, .shape = *s, .slots = assign_slots(config, s->modalities), .comm = comm};
    int64_t width = v->slots.count * s->local_dim, heads = config->every_row ? s->entities : s->items;
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
    if (config->every_row) KD_OR_RETURN(kd_pool_mat(pool, s->entities, s->local_dim, what, &v->dentity));
    KD_OR_RETURN(kd_pool_alloc(pool, s->modalities, sizeof(float), what, &v->share));
    KD_OR_RETURN(kd_pool_alloc(pool, s->modalities, sizeof(float), what, &v->dshare));
    for (int64_t m = 0; m < s->modalities; m++) KD_OR_RETURN(allocate_modality(pool, v, m));
    return KD_OK;
}

int64_t kd_views_workspace(const kd_model_shape *s, const kd_graph_sizes *sizes, int64_t batch) {
    int64_t nodes = s->users + s->items, rows = nodes > s->entities ? nodes : s->entities;
    if (!kd_is_divided(s)) return kd_rgat_backward_workspace(s->relations, s->local_dim, 0);
    int64_t attention = kd_rgat_backward_workspace(s->relations, s->local_dim, sizes->kg_edges);
    int64_t units = kd_unit_rows_workspace(rows > 2 * batch ? rows : 2 * batch);
    return attention > units ? attention : units;
}

kd_status kd_stack_gcn(kd_ctx *ctx, const kd_views *v, kd_csr a, kd_mat x, kd_mat y) {
    int64_t width = v->config.one_by_one ? v->shape.local_dim : x.cols;
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

/* The slot's Z = [uE ; the items' rows of the pass]. */
static kd_status kg_input(kd_ctx *ctx, const kd_params *p, kd_views *v, const kd_rgat_pass *pass, int64_t slot) {
    kd_mat z = kd_slot(v, v->input, slot);
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, p->user, 0.0f, kd_users_of(v, z)));
    return kd_add_scaled(ctx, 1.0f, kd_mat_rows(pass->result, 0, v->shape.items), 0.0f, kd_items_of(v, z));
}

static kd_status kg_inputs(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, const kd_view_pass *pass, kd_views *v) {
    float dropout = pass->training ? (float)v->config.mess_dropout : 0.0f;
    kd_rng rng = {pass->seed, KD_RNG_MESSAGE_DROPOUT, 0, (uint32_t)pass->step, pass->clock};
    KD_OR_RETURN(kd_rgat_begin(ctx, p, &v->rgat));
    KD_OR_RETURN(kd_rgat_pass_forward(ctx, p, pass->main_kg, dropout, &rng, &v->rgat, &v->main));
    KD_OR_RETURN(kg_input(ctx, p, v, &v->main, v->slots.kg));
    if (pass->training && v->slots.second_kg >= 0) {
        rng.instance = 1;
        KD_OR_RETURN(kd_rgat_pass_forward(ctx, p, &g->capped, dropout, &rng, &v->rgat, &v->second));
        KD_OR_RETURN(kg_input(ctx, p, v, &v->second, v->slots.second_kg));
    }
    return KD_OK;
}

/* nodes = [uE ; unit rows of f_m] for every modality. */
static kd_status modality_nodes(kd_ctx *ctx, const kd_params *p, kd_views *v) {
    for (int64_t m = 0; m < v->shape.modalities; m++) {
        kd_mat nodes = v->modality[m].nodes, rows = kd_unit_features(v, m);
        KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, p->user, 0.0f, kd_users_of(v, nodes)));
        KD_OR_RETURN(kd_feature_transform(ctx, p, v, m, v->shape.item, rows));
        KD_OR_RETURN(
            kd_unit_rows_forward(ctx, &(kd_unit_rows_forward_args){.x = rows, .y = rows, .norm = v->modality[m].norm}));
        if (kd_is_divided(&v->shape))
            KD_OR_RETURN(kd_layout_to_columns(ctx, &v->layout, kd_share_columns(v->shape.items), rows, 0.0f,
                                              kd_items_of(v, nodes)));
    }
    return KD_OK;
}

static kd_status contrastive_inputs(kd_ctx *ctx, const kd_graphs *g, kd_views *v) {
    kd_mat none = {0};
    for (int64_t m = 0; m < v->shape.modalities; m++)
        KD_OR_RETURN(kd_spmm(ctx, 1.0f, kd_modality_adjacency(&g->modality[m], false), v->modality[m].nodes, 0.0f, none,
                             kd_slot(v, v->input, v->slots.modality + m)));
    return KD_OK;
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

/* Y = A X + C for some nodes. */
static kd_status node_products(kd_ctx *ctx, const kd_views *v, kd_nodes nodes, kd_csr a, kd_mat x, kd_mat c, kd_mat y) {
    int64_t users = v->shape.users, items = v->shape.items;
    KD_OR_RETURN(kd_spmm_rows(ctx, &(kd_spmm_rows_args){.only = nodes.users,
                                                        .alpha = 1.0f,
                                                        .a = kd_csr_rows(a, 0, users),
                                                        .x = x,
                                                        .beta = 1.0f,
                                                        .c = kd_users_of(v, c),
                                                        .y = kd_users_of(v, y)}));
    return kd_spmm_rows(ctx, &(kd_spmm_rows_args){.only = nodes.items,
                                                  .alpha = 1.0f,
                                                  .a = kd_csr_rows(a, users, items),
                                                  .x = x,
                                                  .beta = 1.0f,
                                                  .c = kd_items_of(v, c),
                                                  .y = kd_items_of(v, y)});
}

/* The views from their inputs. Of the last layer the slots from `multimodal` on are made only where they are read. */
static kd_status propagate(kd_ctx *ctx, kd_csr a, const kd_view_pass *pass, kd_views *v) {
    int64_t everywhere = (v->slots.kg + 1) * v->shape.local_dim, width = v->slots.count * v->shape.local_dim;
    kd_mat from = v->input;
    if (!pass->training) return kd_stack_gcn(ctx, v, a, kd_score_of(v, v->input), kd_score_of(v, v->output));
    if (!v->read.users || v->config.gnn_layers == 0) return kd_stack_gcn(ctx, v, a, v->input, v->output);
    if (v->config.gnn_layers > 1) {
        from = v->layer;
        KD_OR_RETURN(kd_gcn(ctx, a, v->config.gnn_layers - 1, v->input, v->output, from));
    }
    KD_OR_RETURN(kd_spmm(ctx, 1.0f, a, kd_mat_cols(from, 0, everywhere), 1.0f, kd_mat_cols(v->input, 0, everywhere),
                         kd_mat_cols(v->output, 0, everywhere)));
    if (everywhere < width)
        KD_OR_RETURN(node_products(ctx, v, v->read, a, kd_mat_cols(from, everywhere, width - everywhere),
                                   kd_mat_cols(v->input, everywhere, width - everywhere),
                                   kd_mat_cols(v->output, everywhere, width - everywhere)));
    return KD_OK;
}

kd_status kd_views_forward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, const kd_view_pass *pass, kd_views *v) {
    bool modality_views = pass->training && v->slots.modality >= 0;
    bool some = pass->training && !v->config.every_row && !v->config.one_by_one;
    v->read = some ? pass->batch : (kd_nodes){0};
    KD_OR_RETURN(kg_inputs(ctx, p, g, pass, v));
    if (v->slots.multimodal >= 0 || modality_views) KD_OR_RETURN(modality_nodes(ctx, p, v));
    if (v->slots.multimodal >= 0) KD_OR_RETURN(kd_multimodal_forward(ctx, p, g, v));
    if (modality_views) KD_OR_RETURN(contrastive_inputs(ctx, g, v));
    KD_OR_RETURN(propagate(ctx, g->adjacency, pass, v));
    if (v->slots.multimodal >= 0) {
        KD_OR_RETURN(
            kd_node_units(ctx, v, v->read, kd_slot(v, v->input, v->slots.multimodal), v->residual, v->residual_norm));
        KD_OR_RETURN(kd_add_scaled(ctx, (float)v->config.res_lambda, v->residual, 1.0f,
                                   kd_slot(v, v->output, v->slots.multimodal)));
    }
    return KD_OK;
}
