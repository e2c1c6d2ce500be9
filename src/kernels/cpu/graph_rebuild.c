/* Graphs rebuilt from sampled rows: each modality's A_m and the generated knowledge graph. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

static int64_t prefix_sum(int64_t n, int64_t *ptr) {
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t count = ptr[i];
        ptr[i] = total;
        total += count;
    }
    ptr[n] = total;
    return total;
}

/* Structure: a user's row holds itself and its items (columns ascending: users come first); an item's row its users,
 * then itself. */
static void fill_structure(const int32_t *top, kd_modality_graph *g, int64_t *cursor) {
    int64_t users = g->users, q = g->q, items = g->nodes - users;
    for (int64_t u = 0; u < users; u++) g->row_ptr[u] = q + 1;
    for (int64_t i = 0; i < items; i++) g->row_ptr[users + i] = 1;
    for (int64_t k = 0; k < users * q; k++) g->row_ptr[users + top[k]]++;
    prefix_sum(g->nodes, g->row_ptr);
    memcpy(cursor, g->row_ptr, (size_t)g->nodes * sizeof *cursor);
    for (int64_t u = 0; u < users; u++) {
        int32_t *row = g->col + g->row_ptr[u];
        row[0] = (int32_t)u;
        for (int64_t k = 0; k < q; k++) {
            int32_t item = (int32_t)(users + top[u * q + k]);
            int64_t at = k + 1;
            for (; at > 1 && row[at - 1] > item; at--) row[at] = row[at - 1];
            row[at] = item;
            g->col[cursor[item]++] = (int32_t)u;
        }
    }
    for (int64_t i = users; i < g->nodes; i++) g->col[cursor[i]] = (int32_t)i;
}

static float thinned(float value, int64_t row, int64_t col, float keep_rate, const kd_rng *rng) {
    uint32_t draw[4];
    kd_rng_draw4(rng, (uint32_t)row, (uint32_t)col, draw);
    return kd_uniform(draw[0]) < keep_rate ? value / keep_rate : 0.0f;
}

kd_status kd_cpu_modality_graph_build(kd_ctx *ctx, const int32_t *top, float keep_rate, const kd_rng *rng,
                                      kd_modality_graph *out) {
    kd_rng now = kd_rng_now(*rng);
    fill_structure(top, out, ctx->workspace);
    const int64_t *ptr = out->row_ptr;
#pragma omp parallel for schedule(static, 256)
    for (int64_t r = 0; r < out->nodes; r++)
        for (int64_t k = ptr[r]; k < ptr[r + 1]; k++) {
            int64_t c = out->col[k];
            float value = (float)(1.0 / sqrt((double)(ptr[r + 1] - ptr[r]) * (double)(ptr[c + 1] - ptr[c])));
            out->val[k] = thinned(value, r, c, keep_rate, &now);
            out->val_transpose[k] = thinned(value, c, r, keep_rate, &now);
        }
    return KD_OK;
}

/* Indexes edges by tail: stable, so heads ascend within a tail. */
static void index_by_tail(kd_kg *kg) {
    int64_t edges = kg->head_ptr[kg->entities];
    memset(kg->tail_ptr, 0, (size_t)(kg->entities + 1) * sizeof(int64_t));
    for (int64_t k = 0; k < edges; k++) kg->tail_ptr[kg->tail[k]]++;
    prefix_sum(kg->entities, kg->tail_ptr);
    for (int64_t h = 0; h < kg->entities; h++)
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++) {
            int64_t at = kg->tail_ptr[kg->tail[k]]++;
            kg->in_head[at] = (int32_t)h;
            kg->in_edge[at] = k;
        }
    for (int64_t t = kg->entities; t > 0; t--) kg->tail_ptr[t] = kg->tail_ptr[t - 1];
    kg->tail_ptr[0] = 0;
}

/* out = the edges of `full` with keep [edges of full] != 0, in order. */
static void take_kept(const kd_kg *full, const uint8_t *keep, kd_kg *out) {
    int64_t kept = 0;
    for (int64_t h = 0; h < full->entities; h++) {
        int64_t begin = full->head_ptr[h], end = full->head_ptr[h + 1];
        out->head_ptr[h] = kept;
        for (int64_t k = begin; k < end; k++)
            if (keep[k]) {
                out->tail[kept] = full->tail[k];
                out->relation[kept++] = full->relation[k];
            }
    }
    out->head_ptr[full->entities] = kept;
    index_by_tail(out);
}

static bool contains(const int32_t *list, int64_t n, int32_t wanted) {
    for (int64_t i = 0; i < n; i++)
        if (list[i] == wanted) return true;
    return false;
}

kd_status kd_cpu_kg_generate(kd_ctx *ctx, const kd_kg *full, int64_t q, const int32_t *top, float keep_rate,
                             const kd_rng *rng, kd_kg *out) {
    uint8_t *keep = ctx->workspace;
    kd_rng now = kd_rng_now(*rng);
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t h = 0; h < full->entities; h++)
        for (int64_t k = full->head_ptr[h]; k < full->head_ptr[h + 1]; k++) {
            int32_t t = full->tail[k];
            uint32_t draw[4];
            kd_rng_draw4(&now, (uint32_t)h, (uint32_t)t, draw);
            keep[k] = kd_uniform(draw[0]) < keep_rate &&
                      (contains(top + h * q, q, t) || contains(top + t * q, q, (int32_t)h));
        }
    take_kept(full, keep, out);
    return KD_OK;
}
