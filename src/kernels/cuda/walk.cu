/* Random walks with restart. A block takes a start at a time with a table of its
 * own over all nodes; its threads take the start's walks side by side. What a walk visits first is decided by a minimum
 * over (walk, place in its list), which any order of threads gives alike, so lists equal the CPU's to the last entry.
 * Integer work bound by the latency of neighbour look-ups: what counts is that many walks are under way. */
#include "kernels/common/walk_draw.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/walk.h"

static const unsigned long long NEVER = ~0ull;
extern "C" int64_t kd_cuda_walk_workspace(const kd_ctx *ctx, int64_t nodes, int64_t steps) {
    (void)steps; /* a walk's path is not kept */
    return kd_starts_at_once(ctx, nodes) * nodes * (int64_t)sizeof(unsigned long long);
}

/* The list of a start while its walks are under way. */
struct visit_list {
    unsigned long long *first; /* [nodes] walk << 32 | place of the first visit */
    int32_t *node;
    unsigned long long *count;
    __device__ void add(int32_t visited, int64_t walk, int64_t place) const {
        unsigned long long key = (unsigned long long)walk << 32 | (unsigned long long)place;
        if (atomicMin(first + visited, key) == NEVER) node[atomicAdd(count, 1ull)] = visited;
    }
};

/* The draws of one walk, one a step. */
struct walk_draws {
    const kd_rng *rng;
    uint32_t row, block, word[4];
    __device__ uint32_t at(int64_t step) {
        if (step % 4 == 0) kd_rng_draw4(rng, row, block++, word);
        switch (step % 4) {
        case 0: return word[0];
        case 1: return word[1];
        case 2: return word[2];
        default: return word[3];
        }
    }
};

/* The neighbours of a node. */
struct neighbours {
    int64_t begin, degree;
    __device__ neighbours(const kd_csr &graph, int64_t node)
        : begin(__ldg(graph.row_ptr + node)), degree(__ldg(graph.row_ptr + node + 1) - begin) {}
};

/* A restart takes back the node visited last, and a move always follows it: only the newest node of the list can still
 * go, so it waits in registers until the next one stands on it, and no path is stored. */
struct cumulative_walk {
    int64_t walks, steps;
    __device__ int64_t walks_of(int64_t degree) const { return degree * walks; }
    __device__ int64_t walks_up_to(int64_t edge) const { return (edge + 1) * walks; }
    __device__ void take(const kd_csr &graph, walk_draws draws, int64_t start, int64_t walk,
                         const visit_list &list) const {
        int32_t node = (int32_t)start, previous = node, pending = -1;
        int64_t length = 0, moves = 0;
        for (int64_t step = 0; step < steps; step++) {
            kd_walk_split split = kd_walk_split_of(draws.at(step));
            int32_t next = previous;
            if (split.fifth < moves) {
                pending = -1;
                length--;
                moves = 0;
            } else {
                neighbours of(graph, node);
                next = __ldg(graph.col + of.begin + kd_uniform_below(split.rest, (uint32_t)of.degree));
                if (pending >= 0) list.add(pending, walk, length - 1);
                pending = next;
                length++;
                moves++;
            }
            previous = node;
            node = next;
        }
        if (pending >= 0) list.add(pending, walk, length - 1);
    }
};

/* Each step back to the start with one probability, else to a neighbour, which counts. */
struct restarting_walk {
    int64_t walks, steps;
    unsigned long long below;
    double share;
    __device__ int64_t walks_of(int64_t degree) const { return degree > 0 ? walks : 0; }
    __device__ int64_t walks_up_to(int64_t edge) const {
        (void)edge;
        return walks;
    }
    __device__ void take(const kd_csr &graph, walk_draws draws, int64_t start, int64_t walk,
                         const visit_list &list) const {
        int32_t node = (int32_t)start;
        int64_t length = 0;
        for (int64_t step = 0; step < steps; step++) {
            uint32_t draw = draws.at(step);
            if (draw < below) {
                node = (int32_t)start;
                continue;
            }
            neighbours of(graph, node);
            int64_t at = (int64_t)((double)(uint32_t)(draw - below) * share * (double)of.degree);
            node = __ldg(graph.col + of.begin + (at < of.degree ? at : of.degree - 1));
            list.add(node, walk, length++);
        }
    }
};

struct by_first_visit {
    const unsigned long long *first;
    __device__ bool operator()(int32_t a, int32_t b) const { return first[a] < first[b]; }
};

template <class Walk>
__global__ void __launch_bounds__(KD_BLOCK, 4)
    walk_starts(kd_csr graph, Walk rule, kd_rng rng, kd_visits visits, unsigned long long *tables) {
    KD_SHARED(unsigned long long, count, [1]);
    unsigned long long *first = tables + (int64_t)blockIdx.x * graph.rows;
    for (int64_t v = threadIdx.x; v < graph.rows; v += KD_BLOCK) first[v] = NEVER;
    for (int64_t i = blockIdx.x; i < visits.starts; i += gridDim.x) {
        int64_t u = visits.first + i, place = visits.ptr[i];
        int64_t begin = graph.row_ptr[u], end = graph.row_ptr[u + 1], walks = rule.walks_of(end - begin);
        visit_list list = {first, visits.node + place, count};
        if (threadIdx.x == 0) count[0] = 0;
        __syncthreads();
        for (int64_t walk = threadIdx.x; walk < walks; walk += KD_BLOCK) {
            walk_draws draws = {&rng, (uint32_t)u, (uint32_t)(walk * ((rule.steps + 3) / 4)), {0, 0, 0, 0}};
            rule.take(graph, draws, u, walk, list);
        }
        __syncthreads();
        int64_t visited = (int64_t)count[0];
        kd_block_sort(list.node, visited, by_first_visit{first});
        for (int64_t e = threadIdx.x; e < end - begin; e += KD_BLOCK) {
            unsigned long long beyond = (unsigned long long)rule.walks_up_to(e) << 32;
            int64_t low = 0, high = visited;
            while (low < high) {
                int64_t middle = low + (high - low) / 2;
                if (first[list.node[middle]] < beyond)
                    low = middle + 1;
                else
                    high = middle;
            }
            visits.end[begin + e] = place + low;
        }
        __syncthreads();
        for (int64_t at = threadIdx.x; at < visited; at += KD_BLOCK) first[list.node[at]] = NEVER;
        __syncthreads();
    }
}

extern "C" kd_status kd_cuda_walk_cumulative(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                             kd_visits *visits) {
    cumulative_walk rule = {config->walks, config->steps};
    if (visits->starts == 0) return KD_OK;
    KD_LAUNCH(walk_starts<cumulative_walk>, (unsigned)kd_starts_at_once(ctx, graph.rows), KD_BLOCK, 0, kd_stream(ctx),
              graph, rule, *rng, *visits, (unsigned long long *)ctx->workspace);
    return kd_cuda_launched(__func__);
}

extern "C" kd_status kd_cuda_walk_node(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                       kd_visits *visits) {
    unsigned long long below = (unsigned long long)((double)config->restart * 0x1p32);
    restarting_walk rule = {config->walks, config->steps, below, 1.0 / (0x1p32 - (double)below)};
    if (visits->starts == 0) return KD_OK;
    KD_LAUNCH(walk_starts<restarting_walk>, (unsigned)kd_starts_at_once(ctx, graph.rows), KD_BLOCK, 0, kd_stream(ctx),
              graph, rule, *rng, *visits, (unsigned long long *)ctx->workspace);
    return kd_cuda_launched(__func__);
}
