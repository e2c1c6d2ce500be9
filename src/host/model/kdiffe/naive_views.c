/* `naive: views`: the multimodal view's input and its gradients as docs/model.md#multimodal-view writes them, modality
 * by modality. */
#include "host/model/kdiffe/views.h"

/* z = Z_m. */
static kd_status modality_input(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v, int64_t m, kd_mat z) {
    kd_mat none = {0};
    KD_OR_RETURN(kd_spmm(ctx, 1.0f, g->adjacency, v->modality[m].nodes, 0.0f, none, z));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_users_of(v, z), 0.0f, kd_users_of(v, v->spread)));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, p->item, 0.0f, kd_items_of(v, v->spread)));
    KD_OR_RETURN(kd_spmm(ctx, 1.0f, g->adjacency, v->spread, 1.0f, z, z));
    return kd_spmm(ctx, (float)v->config.ris_adj_lambda, kd_modality_adjacency(&g->modality[m], false),
                   kd_params_nodes(p), 1.0f, z, z);
}

kd_status kd_naive_views_forward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v) {
    kd_mat z = kd_slot(v, v->input, v->slots.multimodal);
    KD_OR_RETURN(kd_softmax_forward(ctx, v->shape.modalities, p->modal_weight.data, v->share));
    for (int64_t m = 0; m < v->shape.modalities; m++) {
        KD_OR_RETURN(modality_input(ctx, p, g, v, m, v->mixed));
        KD_OR_RETURN(kd_add_weighted(ctx, 1.0f, v->share + m, v->mixed, m > 0 ? 1.0f : 0.0f, z));
    }
    return KD_OK;
}

kd_status kd_naive_views_backward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v, kd_mat dz) {
    kd_mat none = {0}, dm = v->node_scratch, dq = v->dspread, dnodes = kd_gradient_of(p, kd_params_nodes(p));
    for (int64_t m = 0; m < v->shape.modalities; m++) {
        KD_OR_RETURN(modality_input(ctx, p, g, v, m, v->mixed));
        KD_OR_RETURN(kd_matrix_dot(ctx, dz, v->mixed, 0.0f, v->dshare + m));
        KD_OR_RETURN(kd_add_weighted(ctx, 1.0f, v->share + m, dz, 0.0f, dm));
        KD_OR_RETURN(kd_spmm(ctx, (float)v->config.ris_adj_lambda, kd_modality_adjacency(&g->modality[m], true), dm,
                             1.0f, dnodes, dnodes));
        KD_OR_RETURN(kd_spmm(ctx, 1.0f, g->adjacency, dm, 0.0f, none, dq));
        KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_items_of(v, dq), 1.0f, kd_gradient_of(p, p->item)));
        KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_users_of(v, dq), 1.0f, kd_users_of(v, dm)));
        KD_OR_RETURN(kd_spmm(ctx, 1.0f, g->adjacency, dm, 0.0f, none, v->dmixed));
        KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_users_of(v, v->dmixed), 1.0f, kd_gradient_of(p, p->user)));
        KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_items_of(v, v->dmixed), 0.0f, v->modality[m].gradient));
    }
    return kd_softmax_backward(ctx, v->shape.modalities, v->share, v->dshare, kd_gradient_of(p, p->modal_weight).data);
}
