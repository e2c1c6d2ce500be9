/* The attention-aware matrix S on the edges of the interaction graph (docs/model.md#attention-aware-graph). Made once,
 * before the first epoch. */
#ifndef KD_ATTENTION_ATTENTION_H
#define KD_ATTENTION_ATTENTION_H

#include "host/config/config.h"
#include "host/graph/bipartite.h"
#include "host/ranks/collectives.h"
#include "kernels/ops.h"

/* similarity [2 * interactions] = S of every edge in the CSR order of `graph`, by attention.method or, where it is
 * given, read from attention.file (0 on an edge that the file lacks; KD_ERR_FORMAT for an entry that is no edge,
 * and for an edge whose two directions differ by more than 1e-5 of the greater value).
 * Walks and comparisons are split over the ranks of `comm` (NULL: this is the only one), which all get the same bits,
 * those of one rank. KD_ERR_MEMORY when the walks' lists do not fit; lower attention.walks or attention.walk_steps. */
kd_status kd_attention_matrix(kd_ctx *ctx, kd_comm *comm, const kd_config *config, const kd_dataset *data,
                              const kd_bipartite *graph, float *similarity);

/* The published walks, given in order, as lists of visits: for each edge (item ascending, its users ascending)
 * `per_edge` pairs of the item's walk and the user's walk. walks [count, width]: start, length, visited nodes, padding.
 * ptr [nodes+1], node and end [edges] are allocated; free them with free(). KD_ERR_FORMAT names the first walk that
 * does not follow that order, is longer than its row or visits what is no node; *out is empty then. */
kd_status kd_visits_from_walks(const kd_bipartite *graph, int64_t users, int64_t count, int64_t width,
                               const int32_t *walks, kd_visits *out);

#endif
