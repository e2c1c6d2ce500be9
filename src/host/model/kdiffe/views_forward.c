/* The views, made from the parameters: inputs of every slot, then one propagation for all of them. */
#include "host/model/blocks.h"
#include "host/model/kdiffe/views.h"

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
    bool some = pass->training && !v->config.naive_rows && !v->config.naive_views;
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
