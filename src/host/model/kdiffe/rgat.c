#include "host/model/kdiffe/rgat.h"

kd_status kd_rgat_allocate(kd_pool *pool, const kd_model_shape *s, kd_rgat *out) {
    kd_mat *tables[] = {&out->head, &out->tail, &out->dhead, &out->dtail};
    kd_mat *scratch[] = {&out->agg, &out->drows, &out->de};
    for (int i = 0; i < 4; i++)
        KD_OR_RETURN(kd_pool_mat(pool, s->relations, s->local_dim, "relation-aware attention", tables[i]));
    for (int i = 0; i < 3; i++)
        KD_OR_RETURN(kd_pool_mat(pool, s->entities, s->local_dim, "relation-aware attention", scratch[i]));
    return KD_OK;
}

kd_status kd_rgat_pass_allocate(kd_pool *pool, const kd_model_shape *s, int64_t hops, int64_t heads, int64_t edges,
                                kd_rgat_pass *out) {
    static const char what[] = "relation-aware attention";
    out->hops = hops;
    out->heads = heads;
    KD_OR_RETURN(kd_pool_mat(pool, heads, s->local_dim, what, &out->result));
    for (int64_t k = 0; k < hops; k++) {
        KD_OR_RETURN(kd_pool_mat(pool, s->entities, s->local_dim, what, &out->rows[k]));
        KD_OR_RETURN(kd_pool_alloc(pool, s->entities, sizeof(float), what, &out->norm[k]));
        KD_OR_RETURN(kd_pool_alloc(pool, edges, sizeof(float), what, &out->logit[k]));
        KD_OR_RETURN(kd_pool_alloc(pool, edges, sizeof(float), what, &out->alpha[k]));
    }
    return KD_OK;
}

/* The rows of W_top and W_bottom that make the local columns. */
static kd_mat top(const kd_rgat *rgat, kd_mat w) {
    return kd_mat_rows(w, rgat->split ? rgat->split->first : 0, rgat->head.cols);
}
static kd_mat bottom(const kd_rgat *rgat, kd_mat w) { return top(rgat, kd_mat_rows(w, w.cols, w.cols)); }

kd_status kd_rgat_begin(kd_ctx *ctx, const kd_params *p, kd_rgat *rgat) {
    int64_t bytes = rgat->dhead.rows * rgat->dhead.cols * (int64_t)sizeof(float);
    kd_gemm_args head = {
        .transpose_b = true, .alpha = 1.0f, .a = p->relation, .b = top(rgat, p->rgat_w), .c = rgat->head};
    kd_gemm_args tail = {
        .transpose_b = true, .alpha = 1.0f, .a = p->relation, .b = bottom(rgat, p->rgat_w), .c = rgat->tail};
    KD_OR_RETURN(kd_gemm(ctx, &head));
    KD_OR_RETURN(kd_gemm(ctx, &tail));
    KD_OR_RETURN(kd_zero(ctx, rgat->dhead.data, bytes));
    return kd_zero(ctx, rgat->dtail.data, bytes);
}

static kd_rng hop_rng(const kd_rgat_pass *pass, int64_t hop) {
    kd_rng rng = pass->rng;
    rng.instance = rng.instance * KD_MAX_HOPS + (uint32_t)hop;
    return rng;
}

/* The rows of a hop that anybody reads. */
static kd_mat of_hop(const kd_rgat_pass *pass, int64_t hop, kd_mat m) {
    return hop == pass->hops - 1 ? kd_mat_rows(m, 0, pass->heads) : m;
}

kd_status kd_rgat_pass_forward(kd_ctx *ctx, const kd_params *p, const kd_kg *kg, float dropout, const kd_rng *rng,
                               const kd_rgat *rgat, kd_rgat_pass *pass) {
    kd_mat e = p->entity;
    pass->kg = kg;
    pass->dropout = dropout;
    pass->rng = *rng;
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_mat_rows(e, 0, pass->heads), 0.0f, pass->result));
    for (int64_t k = 0; k < pass->hops; k++) {
        kd_rng key = hop_rng(pass, k);
        kd_mat agg = of_hop(pass, k, rgat->agg), rows = of_hop(pass, k, pass->rows[k]);
        KD_OR_RETURN(kd_rgat_forward(ctx, &(kd_rgat_forward_args){.split = rgat->split,
                                                                  .kg = kg,
                                                                  .slope = KD_LEAKY_SLOPE,
                                                                  .e = e,
                                                                  .rh = rgat->head,
                                                                  .rt = rgat->tail,
                                                                  .logit = pass->logit[k],
                                                                  .alpha = pass->alpha[k],
                                                                  .agg = agg}));
        kd_unit_rows_forward_args unit = {
            .split = rgat->split, .x = agg, .p = dropout, .rng = &key, .y = rows, .norm = pass->norm[k]};
        KD_OR_RETURN(kd_unit_rows_forward(ctx, &unit));
        KD_OR_RETURN(
            kd_add_scaled(ctx, 1.0f, kd_mat_rows(rows, 0, pass->heads), (float)rgat->res_lambda, pass->result));
        e = pass->rows[k];
    }
    return KD_OK;
}

kd_status kd_rgat_pass_backward(kd_ctx *ctx, const kd_params *p, kd_mat dresult, kd_rgat *rgat, kd_rgat_pass *pass) {
    kd_mat dentity = kd_gradient_of(p, p->entity);
    int64_t bytes = rgat->de.rows * rgat->de.cols * (int64_t)sizeof(float);
    for (int64_t k = pass->hops - 1; k >= 0; k--) {
        kd_rng key = hop_rng(pass, k);
        bool last = k == pass->hops - 1; /* no gradient flows into its rows but dresult */
        kd_mat e = k > 0 ? pass->rows[k - 1] : p->entity;
        kd_mat drows = of_hop(pass, k, rgat->drows), dagg = of_hop(pass, k, rgat->agg);
        if (!last) KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, rgat->de, 0.0f, drows));
        KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, dresult, last ? 0.0f : 1.0f, kd_mat_rows(drows, 0, pass->heads)));
        KD_OR_RETURN(kd_unit_rows_backward(ctx, &(kd_unit_rows_backward_args){.split = rgat->split,
                                                                              .alpha = 1.0f,
                                                                              .y = of_hop(pass, k, pass->rows[k]),
                                                                              .norm = pass->norm[k],
                                                                              .dy = drows,
                                                                              .p = pass->dropout,
                                                                              .rng = &key,
                                                                              .dx = dagg}));
        KD_OR_RETURN(kd_zero(ctx, rgat->de.data, bytes));
        KD_OR_RETURN(kd_rgat_backward(ctx, &(kd_rgat_backward_args){.split = rgat->split,
                                                                    .kg = pass->kg,
                                                                    .slope = KD_LEAKY_SLOPE,
                                                                    .e = e,
                                                                    .rh = rgat->head,
                                                                    .rt = rgat->tail,
                                                                    .logit = pass->logit[k],
                                                                    .alpha = pass->alpha[k],
                                                                    .dagg = dagg,
                                                                    .de = rgat->de,
                                                                    .drh = rgat->dhead,
                                                                    .drt = rgat->dtail}));
        KD_OR_RETURN(kd_add_scaled(ctx, 0.0f, dresult, (float)rgat->res_lambda, dresult));
    }
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, dresult, 1.0f, kd_mat_rows(dentity, 0, pass->heads)));
    return kd_add_scaled(ctx, 1.0f, rgat->de, 1.0f, dentity);
}

kd_status kd_rgat_end(kd_ctx *ctx, const kd_params *p, const kd_rgat *rgat) {
    kd_mat dw = kd_gradient_of(p, p->rgat_w), dr = kd_gradient_of(p, p->relation);
    kd_gemm_args to_top = {
        .transpose_a = true, .alpha = 1.0f, .a = rgat->dhead, .b = p->relation, .beta = 1.0f, .c = top(rgat, dw)};
    kd_gemm_args to_bottom = {
        .transpose_a = true, .alpha = 1.0f, .a = rgat->dtail, .b = p->relation, .beta = 1.0f, .c = bottom(rgat, dw)};
    kd_gemm_args by_head = {.alpha = 1.0f, .a = rgat->dhead, .b = top(rgat, p->rgat_w), .beta = 1.0f, .c = dr};
    kd_gemm_args by_tail = {.alpha = 1.0f, .a = rgat->dtail, .b = bottom(rgat, p->rgat_w), .beta = 1.0f, .c = dr};
    KD_OR_RETURN(kd_gemm(ctx, &to_top));
    KD_OR_RETURN(kd_gemm(ctx, &to_bottom));
    KD_OR_RETURN(kd_gemm(ctx, &by_head));
    return kd_gemm(ctx, &by_tail);
}
