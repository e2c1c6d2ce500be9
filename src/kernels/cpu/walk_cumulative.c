#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/walk.h"

enum { FIFTHS = 5 }; /* the restart probability grows by a fifth a move: after five moves it is certain */

int64_t kd_cpu_walk_workspace(const kd_ctx *ctx, int64_t nodes, int64_t steps) {
    return ctx->threads * (nodes + KD_WALK_LANES * steps) * (int64_t)sizeof(int32_t);
}

/* Draws below `below[f]` restart a walk that has moved f times; the others spread over the neighbours by `share[f]`. */
typedef struct restart_table {
    uint64_t below[FIFTHS + 1];
    double share[FIFTHS + 1]; /* 1 / (2^32 - below), 0 where every draw restarts */
} restart_table;

static restart_table make_table(void) {
    restart_table table;
    for (int f = 0; f <= FIFTHS; f++) {
        table.below[f] = (UINT64_C(1) << 32) * (uint64_t)f / FIFTHS;
        table.share[f] = f < FIFTHS ? 1.0 / (double)((UINT64_C(1) << 32) - table.below[f]) : 0.0;
    }
    return table;
}

/* Walks of one start, side by side. A walk's list is what stands in its column of path below its length: a restart
 * shortens it by one, and whatever that step wrote is overwritten by the next move, which always follows a restart. */
typedef struct walk_lanes {
    uint32_t word[4][KD_WALK_LANES]; /* draws of four steps */
    int32_t node[KD_WALK_LANES], previous[KD_WALK_LANES], fifths[KD_WALK_LANES], length[KD_WALK_LANES];
} walk_lanes;

static void draw(const kd_rng *rng, int64_t start, uint32_t block, uint32_t blocks, walk_lanes *w) {
    for (int lane = 0; lane < KD_WALK_LANES; lane++) {
        uint32_t four[4];
        kd_rng_draw4(rng, (uint32_t)start, block + (uint32_t)lane * blocks, four);
        w->word[0][lane] = four[0];
        w->word[1][lane] = four[1];
        w->word[2][lane] = four[2];
        w->word[3][lane] = four[3];
    }
}

static void step(const kd_csr *graph, const restart_table *table, const uint32_t *word, walk_lanes *w, int32_t *path) {
    for (int lane = 0; lane < KD_WALK_LANES; lane++) {
        int32_t node = w->node[lane], fifths = w->fifths[lane];
        int32_t back = -(int32_t)(word[lane] < table->below[fifths]); /* a mask: its branch would be guessed wrong */
        int32_t moved = kd_walk_neighbour(graph, node, word[lane], table->below[fifths], table->share[fifths]);
        int32_t next = (w->previous[lane] & back) | (moved & ~back);
        path[w->length[lane] * KD_WALK_LANES + lane] = next;
        w->length[lane] += 1 + 2 * back;
        w->previous[lane] = node;
        w->node[lane] = next;
        w->fifths[lane] = (fifths + 1) & ~back;
    }
}

/* Walks first .. first + KD_WALK_LANES - 1 of `start` into path; w->length says how many nodes are left in each. */
static void walk(const kd_csr *graph, const restart_table *table, const kd_rng *rng, int64_t start, int64_t first,
                 int64_t steps, walk_lanes *w, int32_t *path) {
    uint32_t blocks = kd_walk_block(1, steps), block = kd_walk_block(first, steps);
    for (int lane = 0; lane < KD_WALK_LANES; lane++) {
        w->node[lane] = w->previous[lane] = (int32_t)start;
        w->fifths[lane] = w->length[lane] = 0;
    }
    for (int64_t i = 0; i < steps; i++) {
        if (i % 4 == 0) draw(rng, start, block++, blocks, w);
        step(graph, table, w->word[i % 4], w, path);
    }
}

/* All walks of start u, in their order; a rank ends with its last walk. */
static void walks_of(const kd_csr *graph, const kd_walk_config *config, const restart_table *table, const kd_rng *rng,
                     int64_t u, kd_walk_scratch scratch, kd_visits *visits) {
    int64_t count = 0, walks = (graph->row_ptr[u + 1] - graph->row_ptr[u]) * config->walks;
    walk_lanes w;
    for (int64_t first = 0; first < walks; first += KD_WALK_LANES) {
        walk(graph, table, rng, u, first, config->steps, &w, scratch.path);
        for (int64_t n = first; n < walks && n < first + KD_WALK_LANES; n++) {
            count = kd_walk_collect(scratch.path + (n - first), w.length[n - first], KD_WALK_LANES, (int32_t)(u + 1),
                                    scratch.mark, visits->node + visits->ptr[u], count);
            visits->end[graph->row_ptr[u] + n / config->walks] = visits->ptr[u] + count;
        }
    }
}

kd_status kd_cpu_walk_cumulative(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                 kd_visits *visits) {
    restart_table table = make_table();
#pragma omp parallel num_threads(ctx->threads)
    {
        kd_walk_scratch scratch = kd_walk_thread_scratch(ctx, graph.rows, config->steps, omp_get_thread_num());
        memset(scratch.mark, 0, (size_t)graph.rows * sizeof *scratch.mark);
#pragma omp for schedule(dynamic, 16)
        for (int64_t u = 0; u < graph.rows; u++) walks_of(&graph, config, &table, rng, u, scratch, visits);
    }
    return KD_OK;
}
