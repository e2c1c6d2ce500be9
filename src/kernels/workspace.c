/* Bytes of scratch memory that ops need, from shapes alone: the same for both columns and for every level of the CPU's,
 * so that who reserves them need not know which runs. The walks', which follow from how many starts a column takes at a
 * time, are the columns' own. */
#include "kernels/workspace.h"

#include "kernels/ctx.h"

static const int64_t FLOAT = sizeof(float), INTEGER = sizeof(int64_t);

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t round_up(int64_t n, int64_t of) { return (n + of - 1) / of * of; }

/* A sum for each row or group: what ranks add up. */
int64_t kd_unit_rows_workspace(int64_t sums) { return sums * FLOAT; }

/* [ranges, 2, relations, width] partial sums; d loss / d alpha of each edge is used up before they take its place. */
int64_t kd_rgat_backward_workspace(int64_t relations, int64_t width, int64_t edges) {
    return larger(kd_rgat_ranges(relations, width) * 2 * relations * width, edges) * FLOAT;
}

/* Where each row's next entry goes, or the sampled pairs, sorted. */
int64_t kd_modality_graph_workspace(int64_t nodes, int64_t pairs) {
    return larger(nodes * INTEGER, pairs * KD_SORT_ENTRY + KD_SORT_TAIL);
}

/* Of each edge, by head and by tail: how many are kept before it. */
int64_t kd_kg_generate_workspace(int64_t capacity) { return (2 * capacity + 1) * INTEGER; }

int64_t kd_permutation_workspace(int64_t n) { return n * KD_SORT_ENTRY + KD_SORT_TAIL; }

int64_t kd_group_workspace(int64_t n) { return n * KD_SORT_ENTRY; }

/* x_b, then d loss / d x_b. */
int64_t kd_bpr_workspace(int64_t count) { return count * FLOAT; }

/* Denominators; then, in floats, exponentials, the anchors as they are, scaled, and their gradients for each range, and
 * of each range a tile of keys, the same transposed, and its gradient. */
int64_t kd_infonce_workspace(int64_t count, int64_t width) {
    int64_t rows = round_up(count, KD_INFONCE_ROWS), columns = round_up(width, KD_INFONCE_COLUMNS);
    int64_t anchors = (2 + KD_INFONCE_RANGES) * rows * columns;
    int64_t keys = 3 * KD_INFONCE_RANGES * KD_INFONCE_TILE * columns;
    return rows * KD_INFONCE_ANCHOR_BYTES + (KD_INFONCE_KEPT + anchors + keys) * FLOAT;
}

/* The values that nobody asked for. */
int64_t kd_topk_rows_workspace(int64_t rows, int64_t k) { return rows * k * FLOAT; }

int64_t kd_walk_workspace(const kd_ctx *ctx, int64_t nodes, int64_t steps) {
    return ctx->ops->walk_workspace(ctx, nodes, steps);
}
