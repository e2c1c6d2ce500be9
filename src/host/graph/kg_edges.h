/* The knowledge graph as the model sees it (docs/model.md#knowledge-graph): triples sorted, duplicates removed, inverse
 * relations added, one relation for each ordered pair. Host side; built once. */
#ifndef KD_GRAPH_KG_EDGES_H
#define KD_GRAPH_KG_EDGES_H

#include "host/config/config.h"
#include "host/data/dataset.h"

/* Edges by head; within a head in the order of the published list. */
typedef struct kd_kg_edges {
    int64_t entities, relations; /* relations counts the inverse ones: 2R */
    int64_t count;
    int64_t *head_ptr; /* [entities + 1] */
    int32_t *tail, *relation;
} kd_kg_edges;

/* `id_space` separate gives every distinct tail an entity id of its own from `entities` on (no effect on a linked data
 * set). KD_ID_SPACE_SHARED takes the ids as they are. */
kd_status kd_kg_edges_build(const kd_dataset *data, kd_id_space id_space, kd_kg_edges *out);

/* The same without edges: entities = items. What `use.kg=false` and data sets without a graph train on. */
kd_status kd_kg_edges_empty(const kd_dataset *data, kd_kg_edges *out);

/* At most `triplet_num` edges of each head, uniform without replacement, keyed (seed, head, edge); -1 keeps all. */
kd_status kd_kg_edges_cap(const kd_kg_edges *full, int64_t triplet_num, uint64_t seed, kd_kg_edges *out);

/* col [count] = the tails of each head in ascending order: the neighbour rows that the denoiser is trained on. */
void kd_kg_edges_rows(const kd_kg_edges *edges, int32_t *col);

/* The same edges by tail: tail_ptr [entities + 1]; in_head, in_edge [count] = head and position of each tail's edges,
 * heads ascending. */
void kd_kg_edges_by_tail(const kd_kg_edges *edges, int64_t *tail_ptr, int32_t *in_head, int64_t *in_edge);

void kd_kg_edges_free(kd_kg_edges *edges);

#endif
