/* The multimodal view's input Z = sum s_m Z_m with
 *   Z_m = P_m + Q_m + ris_adj_lambda A_m [uE ; iE],  P_m = A-hat [uE ; n_m],  Q_m = A-hat [P_m users ; iE],
 * s = softmax(w) and n_m the unit rows of the transformed features (docs/model.md#multimodal-view), and its gradients,
 * with the modalities merged before the products. */
#include "host/model/kdiffe/views.h"

/* Z = P + Q + ris_adj_lambda sum s_m A_m [uE ; iE] with P = A-hat [uE ; sum s_m n_m], Q = A-hat [P users ; iE]: P and Q
 * are linear in the features and the weights s_m sum to 1, so the modalities merge before the products. */
static kd_status merged_forward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v) {
    kd_mat z = kd_slot(v, v->input, v->slots.multimodal), none = {0}, items = kd_items_of(v, v->mixed);
    KD_OR_RETURN(kd_softmax_forward(ctx, v->shape.modalities, p->modal_weight.data, v->share));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, p->user, 0.0f, kd_users_of(v, v->mixed)));
    for (int64_t m = 0; m < v->shape.modalities; m++)
        KD_OR_RETURN(
            kd_add_weighted(ctx, 1.0f, v->share + m, kd_items_of(v, v->modality[m].nodes), m > 0 ? 1.0f : 0.0f, items));
    KD_OR_RETURN(kd_spmm(ctx, 1.0f, g->adjacency, v->mixed, 0.0f, none, z));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_users_of(v, z), 0.0f, kd_users_of(v, v->spread)));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, p->item, 0.0f, kd_items_of(v, v->spread)));
    KD_OR_RETURN(kd_spmm(ctx, 1.0f, g->adjacency, v->spread, 1.0f, z, z));
    for (int64_t m = 0; m < v->shape.modalities; m++) {
        kd_csr a = kd_modality_adjacency(&g->modality[m], false);
        KD_OR_RETURN(kd_spmm(ctx, 1.0f, a, kd_params_nodes(p), 0.0f, none, v->modality[m].neighbour));
        KD_OR_RETURN(
            kd_add_weighted(ctx, (float)v->config.ris_adj_lambda, v->share + m, v->modality[m].neighbour, 1.0f, z));
    }
    return KD_OK;
}

/* dz of Z = P + Q + ris_adj_lambda sum s_m A_m [uE ; iE]: into uE, iE, the unit features and the weights. A part of ds
 * that is the same for every modality would cancel in the softmax, so only what depends on m is summed. */
static kd_status merged_backward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v, kd_mat dz) {
    kd_mat none = {0}, dq = v->dspread, dp = v->node_scratch, ditems = kd_items_of(v, v->dmixed);
    float lambda = (float)v->config.ris_adj_lambda;
    KD_OR_RETURN(kd_spmm(ctx, 1.0f, g->adjacency, dz, 0.0f, none, dq));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_items_of(v, dq), 1.0f, kd_gradient_of(p, p->item)));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, dz, 0.0f, dp));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_users_of(v, dq), 1.0f, kd_users_of(v, dp)));
    KD_OR_RETURN(kd_spmm(ctx, 1.0f, g->adjacency, dp, 0.0f, none, v->dmixed));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_users_of(v, v->dmixed), 1.0f, kd_gradient_of(p, p->user)));
    for (int64_t m = 0; m < v->shape.modalities; m++) {
        KD_OR_RETURN(kd_spmm(ctx, lambda, kd_modality_adjacency(&g->modality[m], true), dz, 0.0f, none, dp));
        KD_OR_RETURN(kd_add_weighted(ctx, 1.0f, v->share + m, dp, 1.0f, kd_gradient_of(p, kd_params_nodes(p))));
        KD_OR_RETURN(kd_matrix_dot(ctx, dz, v->modality[m].neighbour, 0.0f, v->dshare + m));
        KD_OR_RETURN(
            kd_add_scaled(ctx, 0.0f, kd_mat_make(v->dshare + m, 1, 1), lambda, kd_mat_make(v->dshare + m, 1, 1)));
        KD_OR_RETURN(kd_matrix_dot(ctx, ditems, kd_items_of(v, v->modality[m].nodes), 1.0f, v->dshare + m));
        KD_OR_RETURN(kd_add_weighted(ctx, 1.0f, v->share + m, ditems, 0.0f, v->modality[m].gradient));
    }
    return kd_softmax_backward(ctx, v->shape.modalities, v->share, v->dshare, kd_gradient_of(p, p->modal_weight).data);
}

kd_status kd_multimodal_forward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v) {
    return (v->config.naive_views ? kd_naive_views_forward : merged_forward)(ctx, p, g, v);
}

kd_status kd_multimodal_backward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v, kd_mat dz) {
    return (v->config.naive_views ? kd_naive_views_backward : merged_backward)(ctx, p, g, v, dz);
}
