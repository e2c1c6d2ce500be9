#include "host/graph/kg_edges.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "kernels/common/philox.h"

typedef struct edge {
    int64_t order; /* position in the published list: forward triples before inverse ones */
    int32_t head, relation, tail;
} edge;

static int compare(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int by_triple(const void *x, const void *y) {
    const edge *a = x, *b = y;
    int c = compare(a->head, b->head);
    if (!c) c = compare(a->relation, b->relation);
    return c ? c : compare(a->tail, b->tail);
}

static int by_pair(const void *x, const void *y) {
    const edge *a = x, *b = y;
    int c = compare(a->head, b->head);
    if (!c) c = compare(a->tail, b->tail);
    return c ? c : compare(a->order, b->order);
}

static int by_head(const void *x, const void *y) {
    const edge *a = x, *b = y;
    int c = compare(a->head, b->head);
    return c ? c : compare(a->order, b->order);
}

static int by_id(const void *x, const void *y) { return compare(*(const int32_t *)x, *(const int32_t *)y); }

/* Sorted distinct triples in edges[0..n), then their inverses; returns the number of both. */
static int64_t add_inverses(edge *edges, int64_t n, int64_t relations) {
    int64_t distinct = 0;
    qsort(edges, (size_t)n, sizeof *edges, by_triple);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || by_triple(&edges[i], &edges[distinct - 1]) != 0) edges[distinct++] = edges[i];
    for (int64_t i = 0; i < distinct; i++) {
        edge e = edges[i];
        edges[i].order = i;
        edges[distinct + i] = (edge){distinct + i, e.tail, (int32_t)(e.relation + relations), e.head};
    }
    return 2 * distinct;
}

/* The first edge of each ordered pair, sorted by head; returns their number. */
static int64_t keep_first_of_pairs(edge *edges, int64_t n) {
    int64_t kept = 0;
    qsort(edges, (size_t)n, sizeof *edges, by_pair);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || edges[i].head != edges[i - 1].head || edges[i].tail != edges[i - 1].tail)
            edges[kept++] = edges[i];
    qsort(edges, (size_t)kept, sizeof *edges, by_head);
    return kept;
}

static kd_status allocate(int64_t entities, int64_t relations, int64_t count, kd_kg_edges *out) {
    *out = (kd_kg_edges){.entities = entities, .relations = relations, .count = count};
    kd_status status = kd_host_alloc(&out->head_ptr, entities + 1, sizeof(int64_t), "knowledge graph");
    if (status == KD_OK) status = kd_host_alloc(&out->tail, count, sizeof(int32_t), "knowledge graph");
    if (status == KD_OK) status = kd_host_alloc(&out->relation, count, sizeof(int32_t), "knowledge graph");
    if (status != KD_OK) kd_kg_edges_free(out);
    return status;
}

/* New ids entities, entities + 1, ... for the distinct tails in ascending order; *added = their number. */
static kd_status separate_tails(const kd_dataset *data, edge *edges, int64_t *added) {
    int64_t n = data->kg.count, distinct = 0;
    int32_t *tail;
    KD_OR_RETURN(kd_host_alloc(&tail, n, sizeof *tail, "knowledge graph tails"));
    memcpy(tail, data->kg.tail, (size_t)n * sizeof *tail);
    qsort(tail, (size_t)n, sizeof *tail, by_id);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || tail[i] != tail[distinct - 1]) tail[distinct++] = tail[i];
    for (int64_t i = 0; i < n; i++) {
        const int32_t *at = bsearch(&edges[i].tail, tail, (size_t)distinct, sizeof *tail, by_id);
        edges[i].tail = (int32_t)(data->entities + (at - tail));
    }
    *added = distinct;
    free(tail);
    return KD_OK;
}

kd_status kd_kg_edges_build(const kd_dataset *data, kd_id_space id_space, kd_kg_edges *out) {
    kd_status status = KD_OK;
    edge *edges = NULL;
    int64_t n = data->kg.count, entities = data->entities;
    *out = (kd_kg_edges){0};
    if (n == 0) return kd_kg_edges_empty(data, out);
    KD_TRY(kd_host_alloc(&edges, 2 * n, sizeof *edges, "knowledge graph"));
    for (int64_t i = 0; i < n; i++) edges[i] = (edge){0, data->kg.head[i], data->kg.relation[i], data->kg.tail[i]};
    if (id_space == KD_ID_SPACE_SEPARATE && !data->kg_linked) {
        int64_t added;
        KD_TRY(separate_tails(data, edges, &added));
        entities += added;
        if (entities > INT32_MAX) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "knowledge graph: more than 2^31 entities");
    }
    n = keep_first_of_pairs(edges, add_inverses(edges, n, data->relations));
    KD_TRY(allocate(entities, 2 * data->relations, n, out));
    for (int64_t i = 0; i < n; i++) {
        out->head_ptr[edges[i].head + 1]++;
        out->tail[i] = edges[i].tail;
        out->relation[i] = edges[i].relation;
    }
    for (int64_t h = 0; h < entities; h++) out->head_ptr[h + 1] += out->head_ptr[h];
cleanup:
    free(edges);
    return status;
}

kd_status kd_kg_edges_empty(const kd_dataset *data, kd_kg_edges *out) {
    return allocate(data->items, data->relations > 0 ? 2 * data->relations : 2, 0, out);
}

typedef struct draw {
    uint64_t key;
    int64_t edge;
} draw;

static int by_draw(const void *x, const void *y) {
    const draw *a = x, *b = y;
    return a->key != b->key ? (a->key > b->key) - (a->key < b->key) : compare(a->edge, b->edge);
}

/* Marks the `most` edges of one head with the smallest draws. */
static void choose(const kd_kg_edges *full, int64_t head, int64_t most, const kd_rng *rng, draw *draws, uint8_t *keep) {
    int64_t begin = full->head_ptr[head], degree = full->head_ptr[head + 1] - begin;
    for (int64_t k = 0; k < degree; k++) {
        uint32_t bits[4] = {0};
        if (degree > most) kd_rng_draw4(rng, (uint32_t)head, (uint32_t)k, bits);
        draws[k] = (draw){(uint64_t)bits[0] << 32 | bits[1], begin + k};
    }
    if (degree > most) qsort(draws, (size_t)degree, sizeof *draws, by_draw);
    for (int64_t k = 0; k < degree && k < most; k++) keep[draws[k].edge] = 1;
}

kd_status kd_kg_edges_cap(const kd_kg_edges *full, int64_t triplet_num, uint64_t seed, kd_kg_edges *out) {
    kd_status status = KD_OK;
    draw *draws = NULL;
    uint8_t *keep = NULL;
    kd_rng rng = {seed, KD_RNG_TRIPLET_CAP, 0, 0, NULL};
    int64_t most = triplet_num < 0 ? full->count : triplet_num, kept = 0;
    *out = (kd_kg_edges){0};
    KD_TRY(kd_host_alloc(&draws, full->count, sizeof *draws, "knowledge graph"));
    KD_TRY(kd_host_alloc(&keep, full->count, 1, "knowledge graph"));
    for (int64_t h = 0; h < full->entities; h++) choose(full, h, most, &rng, draws, keep);
    for (int64_t k = 0; k < full->count; k++) kept += keep[k];
    KD_TRY(allocate(full->entities, full->relations, kept, out));
    kept = 0;
    for (int64_t h = 0; h < full->entities; h++) {
        for (int64_t k = full->head_ptr[h]; k < full->head_ptr[h + 1]; k++)
            if (keep[k]) {
                out->tail[kept] = full->tail[k];
                out->relation[kept++] = full->relation[k];
            }
        out->head_ptr[h + 1] = kept;
    }
cleanup:
    free(draws);
    free(keep);
    return status;
}

void kd_kg_edges_rows(const kd_kg_edges *edges, int32_t *col) {
    memcpy(col, edges->tail, (size_t)edges->count * sizeof *col);
    for (int64_t h = 0; h < edges->entities; h++)
        qsort(col + edges->head_ptr[h], (size_t)(edges->head_ptr[h + 1] - edges->head_ptr[h]), sizeof *col, by_id);
}

void kd_kg_edges_by_tail(const kd_kg_edges *edges, int64_t *tail_ptr, int32_t *in_head, int64_t *in_edge) {
    int64_t n = edges->entities;
    memset(tail_ptr, 0, (size_t)(n + 1) * sizeof *tail_ptr);
    for (int64_t k = 0; k < edges->count; k++) tail_ptr[edges->tail[k] + 1]++;
    for (int64_t t = 0; t < n; t++) tail_ptr[t + 1] += tail_ptr[t];
    for (int64_t h = 0; h < n; h++)
        for (int64_t k = edges->head_ptr[h]; k < edges->head_ptr[h + 1]; k++) {
            int64_t at = tail_ptr[edges->tail[k]]++;
            in_head[at] = (int32_t)h;
            in_edge[at] = k;
        }
    memmove(tail_ptr + 1, tail_ptr, (size_t)n * sizeof *tail_ptr); /* each start had become the next one's */
    tail_ptr[0] = 0;
}

void kd_kg_edges_free(kd_kg_edges *edges) {
    free(edges->head_ptr);
    free(edges->tail);
    free(edges->relation);
    *edges = (kd_kg_edges){0};
}
