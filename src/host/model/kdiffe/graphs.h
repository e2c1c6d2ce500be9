/* The graphs on the device: the interactions, the attention-aware adjacency, the knowledge graphs, and the graphs that
 * are rebuilt from samples every epoch. */
#ifndef KD_KDIFFE_GRAPHS_H
#define KD_KDIFFE_GRAPHS_H

#include "host/graph/bipartite.h"
#include "host/graph/kg_edges.h"
#include "host/model/kdiffe/params.h"
#include "host/ranks/collectives.h"

typedef struct kd_graphs {
    kd_csr train;           /* [users, items] 0/1: mask of the ranking and of the negatives */
    kd_csr train_transpose; /* [items, users] 0/1 */
    kd_csr linked_mean;     /* [items, users]: 1/degree, the mean over an item's users */
    kd_csr adjacency;       /* A-hat [nodes, nodes], symmetric */
    /* what the denoisers train on, 0/1, in the columns that are this rank's, and the transposes */
    kd_csr user_rows, user_rows_transpose;     /* [users, local items]: train */
    kd_csr entity_rows, entity_rows_transpose; /* [entities, local entities]: neighbours in the full knowledge graph */
    kd_kg full;                                /* every edge: look-up for the generated graph */
    kd_kg capped; /* at most triplet_num edges a head: message passing over the full graph */
    kd_kg generated;
    kd_modality_graph modality[KD_MAX_MODALITIES];
} kd_graphs;

/* Sizes that follow from data and configuration; of several ranks, also the denoisers' columns that are this one's and
 * the entries in them. */
typedef struct kd_graph_sizes {
    int64_t interactions, kg_edges, kg_capped_edges, q;
    kd_range items, entities;
    int64_t local_interactions, local_kg_edges;
} kd_graph_sizes;

kd_status kd_graphs_allocate(kd_pool *pool, const kd_model_shape *shape, const kd_graph_sizes *sizes, kd_graphs *out);

/* What the graphs are filled from, in host memory. */
typedef struct kd_graphs_source {
    const kd_graph_sizes *sizes;
    const kd_bipartite *graph; /* of the training interactions */
    int64_t users;
    const float *similarity; /* S on the edges of `graph` in CSR order, NULL for none */
    double epsilon;          /* scales it */
    const kd_kg_edges *full, *capped;
} kd_graphs_source;

/* Fills everything but `generated` (left equal to the full graph's structure: no edges) and the modality graphs. A-hat
 * as in docs/model.md#attention-aware-graph. */
kd_status kd_graphs_fill(kd_ctx *ctx, const kd_graphs_source *source, kd_graphs *out);

/* A_m and its transpose as CSR. */
kd_csr kd_modality_adjacency(const kd_modality_graph *graph, bool transpose);

#endif
