/* Walks of many starts side by side. */
#include <omp.h>
#include <string.h>

#include "kernels/common/walk_draw.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/random.h"

enum {
    /* Walks that a thread takes at a time, a step of each in turn: a step waits for the memory of the one before it, so
     * two vectors of walks are under way. */
    LANES = 2 * KD_RANDOM_BATCH,
    STARTS = 32 /* that a thread takes at a time */
};

/* How a walk moves: as kd_walk_cumulative_fn says, or as kd_walk_node_fn, where draws below `below` go back and the
 * others are spread over the neighbours by share = 1 / (2^32 - below). */
typedef struct kd_walk_rule {
    int64_t walks, steps;
    bool cumulative;
    uint32_t below;
    double share;
} kd_walk_rule;

/* Scratch of one thread: list [nodes + 1], path [steps + 1, LANES], visited [-1 .. nodes - 1]. */
typedef struct walk_scratch {
    int32_t *list, *path;
    uint8_t *visited;
} walk_scratch;

static int64_t scratch_bytes(int64_t nodes, int64_t steps) {
    int64_t words = nodes + 1 + LANES * (steps + 1);
    return (words * (int64_t)sizeof(int32_t) + nodes + 1 + 63) / 64 * 64;
}

int64_t kd_cpu_walk_workspace(const kd_ctx *ctx, int64_t nodes, int64_t steps) {
    return ctx->threads * scratch_bytes(nodes, steps);
}

static walk_scratch scratch_of(const kd_ctx *ctx, int64_t nodes, int64_t steps, int thread) {
    void *own = (char *)ctx->workspace + scratch_bytes(nodes, steps) * thread;
    int32_t *list = own;
    int32_t *path = list + nodes + 1;
    uint8_t *visited = (uint8_t *)(path + LANES * (steps + 1)) + 1;
    memset(visited, 0, (size_t)nodes);
    visited[-1] = 1; /* nothing: not to be listed */
    return (walk_scratch){list, path, visited};
}

/* Walks under way: those that follow each other in the order of starts, so that no lane idles while another start has
 * walks left. What a step records stands in `newest` until the next step, which alone may take it back; -1: nothing. */
typedef struct walk_lanes {
    int64_t walk[LANES];
    uint32_t start[LANES], block[LANES], word[4][LANES];
    int32_t node[LANES], home[LANES], moves[LANES], newest[LANES];
} walk_lanes;

/* One step of every lane; taken [LANES] = what is left of the step before. All by masks: a branch would be
 * guessed wrong. */
static inline __attribute__((always_inline)) void step(const kd_csr *graph, const kd_walk_rule *rule,
                                                       const uint32_t *word, walk_lanes *w, int32_t *taken,
                                                       const bool cumulative) {
    const int64_t *row_ptr = graph->row_ptr;
    const int32_t *col = graph->col;
    const uint32_t below = rule->below;
    const double share = rule->share;
#pragma omp simd
    for (int lane = 0; lane < LANES; lane++) {
        int32_t node = w->node[lane], home = w->home[lane], newest = w->newest[lane], back, at;
        int64_t begin = row_ptr[node];
        int32_t degree = (int32_t)(row_ptr[node + 1] - begin);
        if (cumulative) {
            kd_walk_split split = kd_walk_split_of(word[lane]);
            back = -(int32_t)(split.fifth < w->moves[lane]);
            at = (int32_t)((uint64_t)split.rest * (uint32_t)degree >> 32);
        } else {
            back = -(int32_t)(word[lane] < below);
            /* 0 where it goes back: what is left of a draw below `below` would lead out of the row */
            at = (int32_t)((double)((word[lane] - below) & ~(uint32_t)back) * share * (double)degree);
            at = at < degree ? at : degree - 1;
        }
        int32_t moved = col[begin + at], next = (home & back) | (moved & ~back);
        taken[lane] = cumulative ? newest | back : newest;
        w->newest[lane] = moved | back;
        w->node[lane] = next;
        if (cumulative) {
            w->home[lane] = node;
            w->moves[lane] = (w->moves[lane] + 1) & ~back;
        }
    }
}

/* All steps of the lanes' walks: path [steps + 1, LANES], of which row 0 is empty and row i + 1 what is left of
 * step i. */
static void walk(const kd_csr *graph, const kd_walk_rule *rule, const kd_rng *rng, walk_lanes *w, int32_t *path) {
    for (int lane = 0; lane < LANES; lane++) {
        w->node[lane] = w->home[lane] = (int32_t)w->start[lane];
        w->moves[lane] = 0;
        w->newest[lane] = -1;
        w->block[lane] = (uint32_t)(w->walk[lane] * ((rule->steps + 3) / 4)); /* a block is four draws */
    }
    for (int64_t i = 0; i < rule->steps; i++) {
        int32_t *taken = path + i * LANES;
        if (i % 4 == 0) {
            for (int lane = 0; lane < LANES; lane += KD_RANDOM_BATCH)
                kd_draw_lanes(rng, w->start + lane, w->block + lane, LANES, w->word[0] + lane);
            for (int lane = 0; lane < LANES; lane++) w->block[lane]++;
        }
        if (rule->cumulative)
            step(graph, rule, w->word[i % 4], w, taken, true);
        else
            step(graph, rule, w->word[i % 4], w, taken, false);
    }
    memcpy(path + rule->steps * LANES, w->newest, sizeof w->newest);
}

/* The walks of starts u .. end - 1 in order, and the list of the start whose walks are being collected. */
typedef struct walk_queue {
    int64_t u, end, next; /* the next walk to set out */
    int64_t count;        /* visited so far by the start being collected */
} walk_queue;

static int64_t degree_of(const kd_csr *graph, int64_t u) { return graph->row_ptr[u + 1] - graph->row_ptr[u]; }

static int64_t walks_of(const kd_csr *graph, const kd_walk_rule *rule, int64_t u) {
    int64_t degree = degree_of(graph, u);
    return rule->walks * (rule->cumulative ? degree : degree > 0);
}

/* Gives each lane a walk; returns how many are new. Lanes left over repeat the last one. */
static int set_out(const kd_csr *graph, const kd_walk_rule *rule, walk_queue *q, walk_lanes *w) {
    int lanes = 0;
    while (q->u < q->end && lanes < LANES) {
        if (q->next == walks_of(graph, rule, q->u)) {
            q->u++;
            q->next = 0;
            continue;
        }
        w->start[lanes] = (uint32_t)q->u;
        w->walk[lanes++] = q->next++;
    }
    for (int lane = lanes; lanes > 0 && lane < LANES; lane++) {
        w->start[lane] = w->start[lanes - 1];
        w->walk[lane] = w->walk[lanes - 1];
    }
    return lanes;
}

/* Adds what a lane's walk left to its start's list, each node once; ends of the edges whose last walk it was. */
static void collect(const kd_csr *graph, const kd_walk_rule *rule, walk_scratch scratch, const walk_lanes *w, int lane,
                    walk_queue *q, kd_visits *visits) {
    const int32_t *path = scratch.path + lane;
    int64_t u = w->start[lane], walk = w->walk[lane];
    int64_t first = graph->row_ptr[u], place = visits->ptr[u - visits->first], count = walk == 0 ? 0 : q->count;
    for (int64_t i = 0; i <= rule->steps; i++) {
        int32_t node = path[i * LANES];
        scratch.list[count] = node;
        count += !scratch.visited[node];
        scratch.visited[node] = 1;
    }
    q->count = count;
    if (rule->cumulative) visits->end[first + walk / rule->walks] = place + count;
    if (walk + 1 < walks_of(graph, rule, u)) return;
    for (int64_t k = 0; !rule->cumulative && k < degree_of(graph, u); k++) visits->end[first + k] = place + count;
    memcpy(visits->node + place, scratch.list, (size_t)count * sizeof *scratch.list);
    for (int64_t i = 0; i < count; i++) scratch.visited[scratch.list[i]] = 0;
}

/* All walks of the starts of `visits` into it. */
static void walk_all(const kd_ctx *ctx, const kd_csr *graph, const kd_walk_rule *rule, const kd_rng *rng,
                     kd_visits *visits) {
    int64_t end = visits->first + visits->starts;
#pragma omp parallel num_threads(ctx->threads)
    {
        walk_scratch scratch = scratch_of(ctx, graph->rows, rule->steps, omp_get_thread_num());
        walk_lanes w;
#pragma omp for schedule(dynamic, 1)
        for (int64_t first = visits->first; first < end; first += STARTS) {
            walk_queue q = {.u = first, .end = first + STARTS < end ? first + STARTS : end};
            for (int lanes; (lanes = set_out(graph, rule, &q, &w)) > 0;) {
                walk(graph, rule, rng, &w, scratch.path);
                for (int lane = 0; lane < lanes; lane++) collect(graph, rule, scratch, &w, lane, &q, visits);
            }
        }
    }
}

kd_status kd_cpu_walk_cumulative(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                 kd_visits *visits) {
    kd_walk_rule rule = {.walks = config->walks, .steps = config->steps, .cumulative = true};
    walk_all(ctx, &graph, &rule, rng, visits);
    return KD_OK;
}

kd_status kd_cpu_walk_node(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                           kd_visits *visits) {
    kd_walk_rule rule = {.walks = config->walks, .steps = config->steps};
    rule.below = (uint32_t)((double)config->restart * 0x1p32);
    rule.share = 1.0 / (0x1p32 - (double)rule.below);
    walk_all(ctx, &graph, &rule, rng, visits);
    return KD_OK;
}
