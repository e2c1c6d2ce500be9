/* What the walk ops share: walks of many starts side by side. */
#ifndef KD_CPU_WALK_H
#define KD_CPU_WALK_H

#include "kernels/ctx.h"

/* How a walk moves: as kd_walk_cumulative_fn says, or as kd_walk_node_fn, where draws below `below` go back and the
 * others are spread over the neighbours by share = 1 / (2^32 - below). */
typedef struct kd_walk_rule {
    int64_t walks, steps;
    bool cumulative;
    uint32_t below;
    double share;
} kd_walk_rule;

/* All walks of the starts of `visits` into it. */
void kd_walk_all(const kd_ctx *ctx, const kd_csr *graph, const kd_walk_rule *rule, const kd_rng *rng,
                 kd_visits *visits);

#endif
