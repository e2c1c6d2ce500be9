/* What the ops over walks share. */
#ifndef KD_CUDA_WALK_H
#define KD_CUDA_WALK_H

#include "kernels/cuda/cuda.h"

/* Starts under way at once: four blocks a multiprocessor, or as many as 256 MiB of tables allow. */
static inline int64_t kd_starts_at_once(const kd_ctx *ctx, int64_t nodes) {
    const int64_t MOST_TABLES = INT64_C(256) << 20, FEWEST_BLOCKS = 8;
    int64_t blocks = 4 * (int64_t)kd_cuda_of(ctx)->multiprocessors, room = MOST_TABLES / (8 * (nodes + 1));
    if (blocks > room) blocks = room;
    return blocks < FEWEST_BLOCKS ? FEWEST_BLOCKS : blocks;
}

#endif
