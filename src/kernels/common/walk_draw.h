/* How one draw both restarts a cumulative walk and picks its neighbour (docs/model.md#cumulative-walks). Compiled for
 * the host and for CUDA. */
#ifndef KD_COMMON_WALK_DRAW_H
#define KD_COMMON_WALK_DRAW_H

#include "kernels/common/philox.h"

enum { KD_WALK_FIFTHS = 5 }; /* the restart probability grows by a fifth a move: after five moves it is certain */

/* 5 draw = fifth 2^32 + rest: the fifth is uniform in 0..4, and whatever it is, the rest is uniform below 2^32. */
typedef struct kd_walk_split {
    int32_t fifth;
    uint32_t rest;
} kd_walk_split;

static inline KD_HOST_DEVICE kd_walk_split kd_walk_split_of(uint32_t draw) {
    uint64_t five = (uint64_t)draw * KD_WALK_FIFTHS;
    kd_walk_split split = {(int32_t)(five >> 32), (uint32_t)five};
    return split;
}

#endif
