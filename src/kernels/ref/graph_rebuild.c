#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"

/* Row and column as one number, by which places are in the order of a CSR. */
static uint64_t place(int64_t row, int64_t col) { return (uint64_t)row << 32 | (uint64_t)col; }

/* ptr [rows + 1] = where each row begins among the places key [n]. */
static void begin_rows(int64_t rows, int64_t n, const uint64_t *key, int64_t *ptr) {
    for (int64_t r = 0; r <= rows; r++) ptr[r] = 0;
    for (int64_t i = 0; i < n; i++) ptr[(key[i] >> 32) + 1]++;
    for (int64_t r = 0; r < rows; r++) ptr[r + 1] += ptr[r];
}

static double thinned(double value, int64_t row, int64_t col, float keep_rate, const kd_rng *rng) {
    kd_rng now = kd_rng_now(*rng);
    uint32_t draw[4];
    kd_rng_draw4(&now, (uint32_t)row, (uint32_t)col, draw);
    return kd_uniform(draw[0]) < keep_rate ? value / keep_rate : 0.0;
}

/* The structure: a node is linked to itself, a user to its items and they to it. */
static kd_status link_nodes(const int32_t *top, kd_modality_graph *out) {
    int64_t chosen = out->users * out->q, n = out->nodes + 2 * chosen, at = 0;
    uint64_t *key = NULL;
    int32_t *order = NULL;
    kd_status status = KD_OK;
    KD_TRY(kd_ref_zeros(n, sizeof *key, &key));
    KD_TRY(kd_ref_zeros(n, sizeof *order, &order));
    for (int64_t r = 0; r < out->nodes; r++) key[at++] = place(r, r);
    for (int64_t i = 0; i < chosen; i++) {
        key[at++] = place(i / out->q, out->users + top[i]);
        key[at++] = place(out->users + top[i], i / out->q);
    }
    KD_TRY(kd_ref_order(n, key, order));
    begin_rows(out->nodes, n, key, out->row_ptr);
    for (int64_t i = 0; i < n; i++) out->col[i] = (int32_t)key[order[i]];
cleanup:
    free(key);
    free(order);
    return status;
}

kd_status kd_ref_modality_graph_build(kd_ctx *ctx, const int32_t *top, float keep_rate, const kd_rng *rng,
                                      kd_modality_graph *out) {
    (void)ctx;
    KD_OR_RETURN(link_nodes(top, out));
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

/* Edges of `full` that are drawn and chosen, key [edges] = tail and head of each; returns how many. */
static int64_t choose_edges(const kd_kg *full, int64_t q, const int32_t *top, float keep_rate, const kd_rng *rng,
                            uint64_t *key, kd_kg *out) {
    int64_t edges = 0;
    for (int64_t h = 0; h < full->entities; h++) {
        out->head_ptr[h] = edges;
        for (int64_t k = full->head_ptr[h]; k < full->head_ptr[h + 1]; k++) {
            int32_t t = full->tail[k];
            if (thinned(1.0, h, t, keep_rate, rng) == 0.0) continue;
            if (!kd_ref_holds(top + h * q, q, t) && !kd_ref_holds(top + t * q, q, h)) continue;
            key[edges] = place(t, h);
            out->tail[edges] = t;
            out->relation[edges++] = full->relation[k];
        }
    }
    return out->head_ptr[full->entities] = edges;
}

kd_status kd_ref_kg_generate(kd_ctx *ctx, const kd_kg *full, int64_t q, const int32_t *top, float keep_rate,
                             const kd_rng *rng, kd_kg *out) {
    (void)ctx;
    uint64_t *key = NULL;
    int32_t *order = NULL;
    kd_status status = KD_OK;
    KD_TRY(kd_ref_zeros(full->capacity, sizeof *key, &key));
    KD_TRY(kd_ref_zeros(full->capacity, sizeof *order, &order));
    int64_t edges = choose_edges(full, q, top, keep_rate, rng, key, out);
    KD_TRY(kd_ref_order(edges, key, order));
    begin_rows(full->entities, edges, key, out->tail_ptr);
    for (int64_t i = 0; i < edges; i++) {
        out->in_head[i] = (int32_t)key[order[i]];
        out->in_edge[i] = order[i];
    }
cleanup:
    free(key);
    free(order);
    return status;
}
