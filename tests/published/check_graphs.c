/* Graphs: the knowledge graph's edges, the attention-aware adjacency, each modality's graph. */
#include <stdio.h>
#include <stdlib.h>

#include "host/base/memory.h"
#include "published/golden.h"

static float *new_floats(int64_t n) {
    float *x;
    golden_require(kd_host_alloc(&x, n, sizeof *x, "test"), "test");
    return x;
}

/* A CSR on the device as a dense matrix on the host. */
static float *dense(golden_case *c, kd_csr a) {
    int64_t *ptr;
    int32_t *col;
    float *out = new_floats(a.rows * a.cols), *val;
    golden_require(kd_host_alloc(&ptr, a.rows + 1, sizeof *ptr, "test"), "test");
    golden_require(kd_download(c->ctx, ptr, a.row_ptr, (a.rows + 1) * (int64_t)sizeof *ptr), "csr");
    golden_require(kd_host_alloc(&col, ptr[a.rows], sizeof *col, "test"), "test");
    val = new_floats(ptr[a.rows]);
    golden_require(kd_download(c->ctx, col, a.col, ptr[a.rows] * (int64_t)sizeof *col), "csr");
    if (a.val) golden_require(kd_download(c->ctx, val, a.val, ptr[a.rows] * (int64_t)sizeof *val), "csr");
    for (int64_t r = 0; r < a.rows; r++)
        for (int64_t k = ptr[r]; k < ptr[r + 1]; k++) out[r * a.cols + col[k]] += a.val ? val[k] : 1.0f;
    free(ptr);
    free(col);
    free(val);
    return out;
}

static void compare_csr(golden_case *c, const char *name, kd_csr a) {
    float *actual = dense(c, a);
    golden_compare(c, name, actual, a.rows * a.cols);
    free(actual);
}

/* The same of a matrix of which a rank has some columns. */
static void compare_columns(golden_case *c, const char *name, kd_csr a, kd_range columns, int64_t width) {
    kd_pool pool;
    kd_mat whole;
    float *part = dense(c, a);
    kd_pool_init(&pool, c->ctx);
    golden_require(kd_pool_mat(&pool, a.rows, width, "test", &whole), "test");
    golden_require(kd_zero(c->ctx, whole.data, a.rows * width * (int64_t)sizeof(float)), "test");
    golden_require(kd_mat_upload(c->ctx, part, kd_mat_cols(whole, columns.first, columns.count)), "test");
    golden_join(c, whole);
    golden_compare_mat(c, name, whole, false);
    kd_pool_free(&pool);
    free(part);
}

/* The engine keeps edges by head; within a head in the published order. Forward edges of the whole list come before the
 * inverse ones, each part sorted, so merging the heads by (inverse, relation's direction, triple) gives the list back.
 */
static void compare_edges(golden_case *c, const kd_kg_edges *edges) {
    int64_t shape[4], next = 0;
    int32_t *published = golden_ints(c, "kg_edges", shape), *actual;
    int64_t *cursor;
    if (!published) return;
    golden_require(kd_host_alloc(&actual, 3 * edges->count, sizeof *actual, "test"), "test");
    golden_require(kd_host_alloc(&cursor, edges->entities, sizeof *cursor, "test"), "test");
    for (int64_t i = 0; i < shape[0]; i++) { /* the list's next edge of this head must be the engine's next one */
        int32_t head = published[3 * i];
        int64_t k = edges->head_ptr[head] + cursor[head]++;
        if (k >= edges->head_ptr[head + 1]) break;
        actual[next++] = head;
        actual[next++] = edges->tail[k];
        actual[next++] = edges->relation[k];
    }
    golden_compare_ints(c, "kg_edges", actual, shape[0] == edges->count ? next : -1);
    free(published);
    free(actual);
    free(cursor);
}

void golden_check_graphs(golden_case *c, kd_kdiffe *m) {
    compare_edges(c, &m->plan->full);
    compare_columns(c, "kg_x0", m->graphs.entity_rows, m->plan->sizes.entities, m->plan->shape.entities);
    compare_csr(c, "adj_dense", m->graphs.adjacency);
    for (int64_t i = 0; i < m->plan->shape.modalities; i++) {
        const kd_modality_graph *g = &m->graphs.modality[i];
        float *transpose = dense(c, kd_modality_adjacency(g, true)), *plain = dense(c, kd_modality_adjacency(g, false));
        golden_compare(c, golden_name("gen_%s_adj_dense", m->plan->shape.modality[i]), plain, g->nodes * g->nodes);
        for (int64_t k = 0; k < g->nodes * g->nodes; k++)
            if (!(transpose[k] == plain[k])) { /* unthinned graphs are symmetric */
                printf("%-44s transpose differs FAIL\n", m->plan->shape.modality[i]);
                c->failed++;
                break;
            }
        free(transpose);
        free(plain);
    }
}
