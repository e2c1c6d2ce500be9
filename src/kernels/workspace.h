/* What the sizes of workspaces rest on. One size serves both columns (kernels/workspace.c): it must hold what either
 * lays out, so the numbers that a layout is made of stand here, and each column asserts that its own fit them. */
#ifndef KD_KERNELS_WORKSPACE_H
#define KD_KERNELS_WORKSPACE_H

#include <stdint.h>

enum {
    KD_SORT_ENTRY = 32,  /* bytes: an entry that is sorted, with its index, and its place in scratch */
    KD_SORT_TAIL = 4096, /* bytes: what a GPU counts the digits of its last tile of keys in */

    KD_INFONCE_RANGES = 16,        /* of keys, each with partial sums of its own */
    KD_INFONCE_ROWS = 6,           /* anchors are padded to a multiple of this, */
    KD_INFONCE_COLUMNS = 16,       /* and columns to one of the widest vector */
    KD_INFONCE_TILE = 192,         /* keys: whole strips of logits, whole blocks of rows of gradients */
    KD_INFONCE_KEPT = 4 << 20,     /* exponentials that exist at a time: 16 MB */
    KD_INFONCE_ANCHOR_BYTES = 136, /* an anchor's denominators: one a range, in double, and their sum */

    KD_RGAT_FEWEST = 16, /* ranges of heads */
    KD_RGAT_MOST = 256,
    KD_RGAT_FLOATS = 1 << 20 /* of all ranges' partial sums, while that many ranges are not too few */
};

/* Relation gradients are summed over this many ranges of heads, then over the ranges: many where the partial sums are
 * small, so that a GPU is filled; from shapes alone, so that the order never changes. */
static inline int64_t kd_rgat_ranges(int64_t relations, int64_t width) {
    int64_t ranges = KD_RGAT_FLOATS / (relations * width + 1);
    if (ranges < KD_RGAT_FEWEST) return KD_RGAT_FEWEST;
    return ranges < KD_RGAT_MOST ? ranges : (int64_t)KD_RGAT_MOST;
}

#endif
