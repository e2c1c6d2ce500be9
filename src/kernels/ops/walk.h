/* Random walks with restart over the interaction graph and the similarity of what they visit
 * (docs/model.md#attention-aware-graph). */
#ifndef KD_OPS_WALK_H
#define KD_OPS_WALK_H

#include "kernels/ops/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kd_walk_config {
    int64_t walks; /* N: walks per edge end (cumulative) or per node (node) */
    int64_t steps; /* M: steps of a walk */
    float restart; /* node only: probability of going back to the start at each step */
} kd_walk_config;

/* `cumulative`: for start node u and each of its edges k, N walks of M steps. A walk: restart probability r starts at
 * 0; each step, with probability r it goes back to the previous node, forgets the last visited one and sets r = 0 (the
 * step is used up); else it moves to a uniform neighbour, records it and r += 0.2. Only nodes still in the list when
 * the walk ends count. The starts are those of `visits`, whose node and end are overwritten; a draw is keyed by the
 * start's own number, so that lists do not depend on which others are walked from. Step i of walk n of edge k takes
 * draw i of the blocks that follow (k N + n) ceil(M / 4), row u, for both: with m moves since the last restart it
 * restarts if floor(5 draw / 2^32) < m, else takes neighbour floor(degree (5 draw mod 2^32) / 2^32). Workspace:
 * kd_walk_workspace. */
typedef kd_status kd_walk_cumulative_fn(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                        kd_visits *visits);

/* `node`: N walks of M steps per node; each step, with probability `restart` back to the start, else to a uniform
 * neighbour, which is recorded. end is the whole list for every edge. Draws as above with k = 0: those below
 * b = floor(2^32 restart) go back, the others take neighbour floor(degree (draw - b) / (2^32 - b)). Workspace:
 * kd_walk_workspace. */
typedef kd_status kd_walk_node_fn(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                  kd_visits *visits);

/* `power`: the nodes x of column s of `score` [graph.rows, block] (visit probabilities of start first + s) with
 * score >= threshold, ascending, become visits of start first + s, one of `visits`; as many as fit its room, which
 * holds at most 1/threshold. end is the whole list for every edge of the start. */
typedef kd_status kd_visits_above_fn(kd_ctx *ctx, kd_csr graph, int64_t first, kd_mat score, float threshold,
                                     kd_visits *visits);

/* The lists of the starts of `visits`, copied to where packed->ptr puts them, with ends to match: packed holds those
 * starts at least, and room for what each visited: nothing without edges, else up to the end of its last edge. Nodes
 * and ends of packed's other starts are left alone. packed->end may be visits->end. */
typedef kd_status kd_visits_pack_fn(kd_ctx *ctx, kd_csr graph, const kd_visits *visits, kd_visits *packed);

/* val [edges]: for edge (u, v) at rank k of u, with l the rank of u in v's row: Jaccard of the nodes that u visited up
 * to rank k and v up to rank l; 0 where both are empty. Symmetric. graph must hold both directions of every edge.
 * Written, in both directions, for the edges whose higher node is one of first .. first + count - 1; visits are those
 * of all nodes. Workspace: kd_walk_workspace. */
typedef kd_status kd_prefix_jaccard_fn(kd_ctx *ctx, kd_csr graph, int64_t first, int64_t count, const kd_visits *visits,
                                       float *val);

/* Most nodes that a cumulative walk of `steps` steps leaves in its list: five moves make the sixth step a restart,
 * which takes one back. */
static inline int64_t kd_walk_longest(int64_t steps) { return steps / 6 * 4 + steps % 6; }

/* Scratch of the walk ops for a graph of `nodes` nodes and walks of `steps` steps: it follows from how many starts the
 * backend takes at a time. */
typedef int64_t kd_walk_workspace_fn(const kd_ctx *ctx, int64_t nodes, int64_t steps);

#ifdef __cplusplus
}
#endif
#endif
