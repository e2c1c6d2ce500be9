#include <math.h>

#include "kernels/ref/ref.h"

/* Whether the graph has an edge from r to c: a node to itself, a user to its items and back. */
static bool linked(const kd_modality_graph *g, const int32_t *top, int64_t r, int64_t c) {
    int64_t user = r < c ? r : c, item = (r < c ? c : r) - g->users;
    return r == c || (user < g->users && item >= 0 && kd_ref_holds(top + user * g->q, g->q, item));
}

static double thinned(double value, int64_t row, int64_t col, float keep_rate, const kd_rng *rng) {
    kd_rng now = kd_rng_now(*rng);
    uint32_t draw[4];
    kd_rng_draw4(&now, (uint32_t)row, (uint32_t)col, draw);
    return kd_uniform(draw[0]) < keep_rate ? value / keep_rate : 0.0;
}

kd_status kd_ref_modality_graph_build(kd_ctx *ctx, const int32_t *top, float keep_rate, const kd_rng *rng,
                                      kd_modality_graph *out) {
    (void)ctx;
    int64_t at = 0;
    for (int64_t r = 0; r < out->nodes; r++) {
        out->row_ptr[r] = at;
        for (int64_t c = 0; c < out->nodes; c++)
            if (linked(out, top, r, c)) out->col[at++] = (int32_t)c;
    }
    out->row_ptr[out->nodes] = at;
    for (int64_t r = 0; r < out->nodes; r++)
        for (int64_t k = out->row_ptr[r]; k < out->row_ptr[r + 1]; k++) {
            int64_t c = out->col[k];
            double row_degree = (double)(out->row_ptr[r + 1] - out->row_ptr[r]);
            double col_degree = (double)(out->row_ptr[c + 1] - out->row_ptr[c]);
            double value = 1.0 / sqrt(row_degree * col_degree);
            out->val[k] = (float)thinned(value, r, c, keep_rate, rng);
            out->val_transpose[k] = (float)thinned(value, c, r, keep_rate, rng);
        }
    return KD_OK;
}

kd_status kd_ref_kg_generate(kd_ctx *ctx, const kd_kg *full, int64_t q, const int32_t *top, float keep_rate,
                             const kd_rng *rng, kd_kg *out) {
    (void)ctx;
    int64_t edges = 0, at = 0;
    for (int64_t h = 0; h < full->entities; h++) {
        out->head_ptr[h] = edges;
        for (int64_t k = full->head_ptr[h]; k < full->head_ptr[h + 1]; k++) {
            int32_t t = full->tail[k];
            if (thinned(1.0, h, t, keep_rate, rng) == 0.0) continue;
            if (!kd_ref_holds(top + h * q, q, t) && !kd_ref_holds(top + t * q, q, h)) continue;
            out->tail[edges] = t;
            out->relation[edges++] = full->relation[k];
        }
    }
    out->head_ptr[full->entities] = edges;
    for (int64_t t = 0; t < full->entities; t++) {
        out->tail_ptr[t] = at;
        for (int64_t h = 0; h < full->entities; h++)
            for (int64_t k = out->head_ptr[h]; k < out->head_ptr[h + 1]; k++)
                if (out->tail[k] == t) {
                    out->in_head[at] = (int32_t)h;
                    out->in_edge[at++] = k;
                }
    }
    out->tail_ptr[full->entities] = at;
    return KD_OK;
}
