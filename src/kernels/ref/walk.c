#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"

static int64_t degree_of(kd_csr graph, int64_t node) { return graph.row_ptr[node + 1] - graph.row_ptr[node]; }

/* Neighbour `at` of a node. */
static int32_t neighbour(kd_csr graph, int64_t node, uint64_t at) {
    return graph.col[graph.row_ptr[node] + (int64_t)at];
}

/* Draw i of walk `walk` of start u: a walk's draws begin with a block of their own. */
static uint32_t draw_of(const kd_rng *rng, const kd_walk_config *config, int64_t u, int64_t walk, int64_t i) {
    return kd_ref_draw(rng, u, walk * ((config->steps + 3) / 4) * 4 + i);
}

/* list [steps] = what a walk that may go back a step leaves; returns how many. */
static int64_t cumulative_walk(kd_csr graph, const kd_walk_config *config, const kd_rng *rng, int64_t u, int64_t walk,
                               int32_t *list) {
    int64_t count = 0, moves = 0;
    int32_t node = (int32_t)u, before = node;
    for (int64_t i = 0; i < config->steps; i++) {
        uint64_t five = 5 * (uint64_t)draw_of(rng, config, u, walk, i);
        int32_t left = node;
        if ((int64_t)(five >> 32) < moves) {
            node = before;
            count--;
            moves = 0;
        } else {
            node = neighbour(graph, node, (five & UINT32_MAX) * (uint64_t)degree_of(graph, node) >> 32);
            list[count++] = node;
            moves++;
        }
        before = left;
    }
    return count;
}

/* The same of a walk that may go back to its start. */
static int64_t restarting_walk(kd_csr graph, const kd_walk_config *config, const kd_rng *rng, int64_t u, int64_t walk,
                               int32_t *list) {
    uint64_t below = (uint64_t)floor(0x1p32 * (double)config->restart);
    int64_t count = 0;
    int32_t node = (int32_t)u;
    for (int64_t i = 0; i < config->steps; i++) {
        uint64_t draw = draw_of(rng, config, u, walk, i);
        if (draw < below) {
            node = (int32_t)u;
            continue;
        }
        node =
            neighbour(graph, node, (uint64_t)degree_of(graph, node) * (draw - below) / ((UINT64_C(1) << 32) - below));
        list[count++] = node;
    }
    return count;
}

/* Adds to the visits of the i-th start what is new in list [count]; returns how many visits it has. */
static int64_t add_visits(kd_visits *visits, int64_t i, int64_t visited, const int32_t *list, int64_t count) {
    int32_t *node = visits->node + visits->ptr[i];
    for (int64_t j = 0; j < count; j++)
        if (!kd_ref_holds(node, visited, list[j])) node[visited++] = list[j];
    return visited;
}

kd_status kd_ref_walk_cumulative(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                 kd_visits *visits) {
    (void)ctx;
    int32_t *list;
    KD_OR_RETURN(kd_ref_zeros(config->steps, sizeof *list, &list));
    for (int64_t i = 0; i < visits->starts; i++) {
        int64_t u = visits->first + i, visited = 0;
        for (int64_t k = 0; k < degree_of(graph, u); k++) {
            for (int64_t n = 0; n < config->walks; n++) {
                int64_t count = cumulative_walk(graph, config, rng, u, k * config->walks + n, list);
                visited = add_visits(visits, i, visited, list, count);
            }
            visits->end[graph.row_ptr[u] + k] = visits->ptr[i] + visited;
        }
    }
    free(list);
    return KD_OK;
}

kd_status kd_ref_walk_node(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                           kd_visits *visits) {
    (void)ctx;
    int32_t *list;
    KD_OR_RETURN(kd_ref_zeros(config->steps, sizeof *list, &list));
    for (int64_t i = 0; i < visits->starts; i++) {
        int64_t u = visits->first + i, visited = 0;
        for (int64_t n = 0; n < config->walks && degree_of(graph, u) > 0; n++)
            visited = add_visits(visits, i, visited, list, restarting_walk(graph, config, rng, u, n, list));
        for (int64_t k = graph.row_ptr[u]; k < graph.row_ptr[u + 1]; k++) visits->end[k] = visits->ptr[i] + visited;
    }
    free(list);
    return KD_OK;
}
