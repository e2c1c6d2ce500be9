/* What the walk ops share: scratch of a thread, the draws of a walk, lists of distinct visits. */
#ifndef KD_CPU_WALK_H
#define KD_CPU_WALK_H

#include "kernels/ctx.h"

/* Walks that one thread takes at a time, a step of each in turn: a step waits for the memory of the one before it, so a
 * single walk would leave the core idle. */
enum { KD_WALK_LANES = 8 };

/* mark [nodes] and path [steps, KD_WALK_LANES] of one thread. */
typedef struct kd_walk_scratch {
    int32_t *mark, *path;
} kd_walk_scratch;

static inline kd_walk_scratch kd_walk_thread_scratch(const kd_ctx *ctx, int64_t nodes, int64_t steps, int thread) {
    int32_t *mark = (int32_t *)ctx->workspace + (nodes + KD_WALK_LANES * steps) * thread;
    return (kd_walk_scratch){mark, mark + nodes};
}

/* The first block of a walk's draws: a block is four draws, a draw is a step. */
static inline uint32_t kd_walk_block(int64_t walk, int64_t steps) { return (uint32_t)(walk * ((steps + 3) / 4)); }

/* The draws of one walk, one a step. */
typedef struct kd_walk_draws {
    const kd_rng *rng;
    uint32_t row, block, word[4];
    int used;
} kd_walk_draws;

static inline kd_walk_draws kd_walk_draws_of(const kd_rng *rng, int64_t start, int64_t walk, int64_t steps) {
    return (kd_walk_draws){.rng = rng, .row = (uint32_t)start, .block = kd_walk_block(walk, steps), .used = 4};
}

static inline uint32_t kd_walk_draw(kd_walk_draws *d) {
    if (d->used == 4) {
        kd_rng_draw4(d->rng, d->row, d->block++, d->word);
        d->used = 0;
    }
    return d->word[d->used++];
}

/* A draw at or above threshold, spread evenly over the node's neighbours; share = 1 / (2^32 - threshold). */
static inline int32_t kd_walk_neighbour(const kd_csr *graph, int64_t node, uint32_t draw, uint64_t threshold,
                                        double share) {
    int64_t begin = graph->row_ptr[node], degree = graph->row_ptr[node + 1] - begin;
    int64_t at = (int64_t)((double)(draw - threshold) * share * (double)degree);
    return graph->col[begin + (at < degree ? at : degree - 1)];
}

/* Appends the nodes path[0], path[stride], ... that start has not visited yet; returns the new length of its list. */
static inline int64_t kd_walk_collect(const int32_t *path, int64_t length, int64_t stride, int32_t start_mark,
                                      int32_t *mark, int32_t *list, int64_t count) {
    for (int64_t i = 0; i < length; i++) {
        int32_t node = path[i * stride];
        if (mark[node] != start_mark) {
            mark[node] = start_mark;
            list[count++] = node;
        }
    }
    return count;
}

#endif
