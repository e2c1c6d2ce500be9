/* The training interactions as one undirected graph over users and items, users first. Host side; built once. */
#ifndef KD_GRAPH_BIPARTITE_H
#define KD_GRAPH_BIPARTITE_H

#include "host/data/dataset.h"

typedef struct kd_bipartite {
    int64_t nodes;    /* users + items; item i is node users + i */
    int64_t *row_ptr; /* [nodes + 1] */
    int32_t *col;     /* [2 * interactions], ascending within a row; every edge in both directions */
} kd_bipartite;

/* On failure *out is empty. KD_ERR_FORMAT when there are more than 2^31 - 1 nodes. */
kd_status kd_bipartite_build(int64_t users, int64_t items, const kd_interactions *train, kd_bipartite *out);
void kd_bipartite_free(kd_bipartite *graph);

#endif
