/* The walks' lists while the attention-aware matrix is made, over the ranks of a job. */
#ifndef KD_ATTENTION_WALKED_H
#define KD_ATTENTION_WALKED_H

#include "host/graph/bipartite.h"
#include "host/ranks/collectives.h"
#include "kernels/pool.h"

/* The graph and the walks' lists on the device: this rank's share of the starts, later those of all. */
typedef struct kd_walked {
    kd_pool pool, walking; /* what stays, and what is given back once the lists are on all ranks */
    kd_csr graph;
    kd_visits visits;
    float *similarity;
    int64_t edges;
    int64_t *room;  /* host copy of visits.ptr while walking */
    int64_t *share; /* [ranks + 1] first start of each rank */
    int64_t *place; /* [nodes + 1] host copy of visits.ptr afterwards, where there are several ranks */
} kd_walked;

/* The first node of a rank's share of work, of which node v's is work[v] .. work[v + 1]: where no node begins, the one
 * that does next. */
int64_t kd_walked_first(const int64_t *work, int64_t nodes, int64_t rank, int64_t ranks);

/* The lists of all starts on every rank, one after the other without gaps; nothing to do on one rank. `walking` is
 * given back. */
kd_status kd_walked_gather(kd_ctx *ctx, kd_comm *comm, const kd_bipartite *g, kd_walked *w);

/* w->similarity of every edge, on every rank. */
kd_status kd_walked_compare(kd_ctx *ctx, kd_comm *comm, const kd_bipartite *g, kd_walked *w);

#endif
