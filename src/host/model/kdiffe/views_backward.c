/* Gradients of the views: the forward pass of views_forward.c read from the end. */
#include "host/model/kdiffe/views.h"

/* dz, which is overwritten, flows into uE and, through the pass, into the entities. */
static kd_status kg_backward(kd_ctx *ctx, const kd_params *p, kd_views *v, kd_rgat_pass *pass, kd_mat dz) {
    kd_mat de = kd_items_of(v, dz);
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_users_of(v, dz), 1.0f, kd_gradient_of(p, p->user)));
    if (v->config.naive_rows) {
        de = v->dentity;
        KD_OR_RETURN(kd_zero(ctx, de.data, de.rows * de.cols * (int64_t)sizeof(float)));
        KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_items_of(v, dz), 0.0f, kd_mat_rows(de, 0, v->shape.items)));
    }
    return kd_rgat_pass_backward(ctx, p, de, &v->rgat, pass);
}

/* dz of A_m [uE ; n_m]; the unit features' gradient is set or, after the multimodal view, added to. */
static kd_status contrastive_backward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v, int64_t m,
                                      kd_mat dz) {
    kd_mat none = {0}, dnode = v->node_scratch;
    float beta = v->slots.multimodal >= 0 ? 1.0f : 0.0f;
    KD_OR_RETURN(kd_spmm(ctx, 1.0f, kd_modality_adjacency(&g->modality[m], true), dz, 0.0f, none, dnode));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_users_of(v, dnode), 1.0f, kd_gradient_of(p, p->user)));
    return kd_add_scaled(ctx, 1.0f, kd_items_of(v, dnode), beta, v->modality[m].gradient);
}

/* Through the unit rows and the transform into W and b. */
static kd_status feature_backward(kd_ctx *ctx, const kd_params *p, kd_views *v, int64_t m) {
    kd_mat unit = kd_unit_features(v, m), d = v->modality[m].gradient;
    if (kd_is_divided(&v->shape)) {
        d = v->feature_rows;
        KD_OR_RETURN(kd_layout_to_rows(ctx, &v->layout, kd_share_columns(v->shape.items), v->modality[m].gradient, d));
    }
    KD_OR_RETURN(kd_unit_rows_backward(
        ctx, &(kd_unit_rows_backward_args){.alpha = 1.0f, .y = unit, .norm = v->modality[m].norm, .dy = d, .dx = d}));
    if (p->feature_b[m].data)
        KD_OR_RETURN(kd_column_sum(ctx, d, 1.0f, kd_gradient_of(p, p->feature_b[m])));
    else /* unit rows have the signs of the LeakyReLU's output */
        KD_OR_RETURN(kd_leaky_relu_backward(ctx, KD_LEAKY_SLOPE, unit, d));
    return kd_gemm(ctx, &(kd_gemm_args){.transpose_a = true,
                                        .alpha = 1.0f,
                                        .a = v->modality[m].feature,
                                        .b = d,
                                        .beta = 1.0f,
                                        .c = kd_gradient_of(p, p->feature_w[m])});
}

kd_status kd_node_units_backward(kd_ctx *ctx, const kd_views *v, kd_nodes nodes, const kd_unit_rows_backward_args *of) {
    kd_unit_rows_backward_args all = *of, users, items;
    all.split = kd_views_split(v);
    all.only = NULL;
    if (!nodes.users) return kd_unit_rows_backward(ctx, &all);
    users = items = all;
    users.only = nodes.users;
    users.y = kd_users_of(v, all.y);
    users.dy = kd_users_of(v, all.dy);
    users.dx = kd_users_of(v, all.dx);
    items.only = nodes.items;
    items.y = kd_items_of(v, all.y);
    items.norm = all.norm + v->shape.users;
    items.dy = kd_items_of(v, all.dy);
    items.dx = kd_items_of(v, all.dx);
    KD_OR_RETURN(kd_unit_rows_backward(ctx, &users));
    return kd_unit_rows_backward(ctx, &items);
}

/* Sums over the ranks: the knowledge graph's parameters, whose gradients are whole first, then those before and after
 * them. Of tables whose columns are divided each rank has the whole gradient of its own. */
static kd_status sum_graph_side(kd_ctx *ctx, const kd_params *p, const kd_views *v, int64_t first, int64_t end) {
    return kd_comm_begin_allreduce(v->comm, ctx, end - first, p->gradient + first);
}

static kd_status sum_the_rest(kd_ctx *ctx, const kd_params *p, const kd_views *v, int64_t first, int64_t end) {
    if (!kd_is_divided(&v->shape)) KD_OR_RETURN(kd_comm_begin_allreduce(v->comm, ctx, first, p->gradient));
    KD_OR_RETURN(kd_comm_begin_allreduce(v->comm, ctx, p->count - end, p->gradient + end));
    return kd_comm_end_allreduce(v->comm, ctx);
}

kd_status kd_views_backward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v) {
    const kd_view_slots *s = &v->slots;
    kd_mat dinput = v->input; /* the inputs are not read again */
    int64_t first = (kd_is_divided(&v->shape) ? p->relation : p->entity).data - p->value,
            end = kd_tensor_floats(p->rgat_w.data + p->rgat_w.rows * p->rgat_w.cols - p->value);
    KD_OR_RETURN(kd_stack_gcn(ctx, v, g->adjacency, v->doutput, dinput));
    KD_OR_RETURN(kg_backward(ctx, p, v, &v->main, kd_slot(v, dinput, s->kg)));
    if (s->second_kg >= 0) KD_OR_RETURN(kg_backward(ctx, p, v, &v->second, kd_slot(v, dinput, s->second_kg)));
    KD_OR_RETURN(kd_rgat_end(ctx, p, &v->rgat));
    KD_OR_RETURN(sum_graph_side(ctx, p, v, first, end));
    if (s->multimodal >= 0) {
        kd_mat dz = kd_slot(v, dinput, s->multimodal);
        kd_unit_rows_backward_args residual = {.alpha = (float)v->config.res_lambda,
                                               .y = v->residual,
                                               .norm = v->residual_norm,
                                               .dy = kd_slot(v, v->doutput, s->multimodal),
                                               .beta = 1.0f,
                                               .dx = dz};
        KD_OR_RETURN(kd_node_units_backward(ctx, v, v->read, &residual));
        KD_OR_RETURN(kd_multimodal_backward(ctx, p, g, v, dz));
    }
    for (int64_t m = 0; m < v->shape.modalities; m++) {
        if (s->modality >= 0) KD_OR_RETURN(contrastive_backward(ctx, p, g, v, m, kd_slot(v, dinput, s->modality + m)));
        if (s->modality >= 0 || s->multimodal >= 0) KD_OR_RETURN(feature_backward(ctx, p, v, m));
    }
    return sum_the_rest(ctx, p, v, first, end);
}
