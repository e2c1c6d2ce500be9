/* Threads that wait for each other: __syncthreads and the operations of a warp. Each is checked as strictly as CUDA
 * documents it, and tells ThreadSanitizer exactly what it orders: barriers order memory, shuffles and votes do not. */
#include <algorithm>

#include "emu/engine.h"

namespace emu {
namespace {

/* Orders of one fiber set; a thread can be at most one block barrier ahead of another, hence two. */
enum { GROUPS = 64 };
struct WarpOrders {
    Order arrival[LANES]; /* what each lane had done when it came to its last __syncwarp */
    Order group[GROUPS];  /* all of that together, for those whom one __syncwarp let go */
    int next_group;
};
Order block_orders[FIBER_SETS][2];
WarpOrders warp_orders[FIBER_SETS][MOST_WARPS];

struct Votes {
    int count, all, any;
};
struct {
    int arrived, line, parity;
    Votes votes, result;
} barrier;

void release_block() {
    barrier.result = barrier.votes;
    barrier.arrived = 0;
    barrier.parity ^= 1;
    counters.barriers++;
    for (int w = 0; w < block.warps; w++) warps[w].ready = warps[w].lanes & ~warps[w].gone;
    for (int i = 0; i < block.threads; i++) threads[i].waits = Waits::No;
}

Votes meet(int predicate, int line) {
    if (!in_kernel()) fatal("__syncthreads outside a kernel");
    if (block.gone) fatal("__syncthreads at line %d after %d threads of the block have exited", line, block.gone);
    if (barrier.arrived == 0) {
        barrier.line = line;
        barrier.votes = Votes{0, 1, 0};
    } else if (line != barrier.line) {
        fatal("threads of one block wait at different barriers: line %d and line %d", barrier.line, line);
    }
    barrier.votes.count += predicate != 0;
    barrier.votes.all &= predicate != 0;
    barrier.votes.any |= predicate != 0;
    barrier.arrived++;
    Order *order = &block_orders[block.set][barrier.parity];
    order->release();
    if (barrier.arrived == block.threads) {
        release_block();
    } else {
        threads[current].waits = Waits::ForBlock;
        threads[current].line = line;
        wait_here();
    }
    order->acquire();
    return barrier.result;
}

/* The lane whose value this lane gets, as the tables of CUDA's documentation say. */
int source_lane(const Thread &thread, int lane) {
    int width = thread.width, segment = lane & ~(width - 1), source;
    switch (thread.op) {
    case WarpOp::ShuffleIndex: return segment + (thread.argument & (width - 1));
    case WarpOp::ShuffleUp: source = lane - thread.argument; return source < segment ? lane : source;
    case WarpOp::ShuffleDown: source = lane + thread.argument; return source >= segment + width ? lane : source;
    default: source = lane ^ thread.argument; return source >= segment + width ? lane : source;
    }
}

bool is_shuffle(WarpOp op) { return op >= WarpOp::ShuffleIndex && op <= WarpOp::ShuffleXor; }

/* The one answer that all lanes of a vote or reduction get. */
uint64_t combined(WarpOp op, const Thread *lanes, unsigned group) {
    uint64_t result = 0;
    bool first = true;
    for (unsigned rest = group; rest; rest &= rest - 1, first = false) {
        int lane = __builtin_ctz(rest);
        unsigned value = (unsigned)lanes[lane].value, so_far = (unsigned)result;
        switch (op) {
        case WarpOp::Add: result = so_far + value; break;
        case WarpOp::Min: result = first ? value : std::min(so_far, value); break;
        case WarpOp::Max: result = first ? value : std::max(so_far, value); break;
        case WarpOp::SignedMin: result = first ? value : (unsigned)std::min((int)so_far, (int)value); break;
        case WarpOp::SignedMax: result = first ? value : (unsigned)std::max((int)so_far, (int)value); break;
        case WarpOp::And: result = first ? value : so_far & value; break;
        case WarpOp::Or: result = so_far | value; break;
        case WarpOp::Xor: result = so_far ^ value; break;
        default: result = so_far | (value & 1) << lane; break;
        }
        if (op == WarpOp::Add) result = (unsigned)result;
    }
    if (op == WarpOp::All) return result == group;
    if (op == WarpOp::Any) return result != 0;
    return result;
}

unsigned lanes_equal(const Thread *lanes, unsigned group, uint64_t value) {
    unsigned equal = 0;
    for (unsigned rest = group; rest; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        if (lanes[lane].value == value) equal |= 1u << lane;
    }
    return equal;
}

/* The lanes that an operation with this mask is about, if all of them have come to it; else none. */
unsigned complete_group(int warp, WarpOp op, unsigned mask) {
    unsigned group = mask & ~warps[warp].gone;
    if ((warps[warp].waiting & group) != group) return 0;
    for (unsigned rest = group; rest; rest &= rest - 1) {
        const Thread *other = &threads[warp * LANES + __builtin_ctz(rest)];
        if (other->op != op || other->mask != mask) return 0;
    }
    return group;
}

/* Their results, and on they go. */
void complete(int warp, WarpOp op, unsigned group) {
    Thread *lanes = &threads[warp * LANES];
    WarpOrders *orders = &warp_orders[block.set][warp];
    bool shuffle = is_shuffle(op);
    uint64_t same = op == WarpOp::Sync || op == WarpOp::MatchAny || shuffle ? 0 : combined(op, lanes, group);
    for (unsigned rest = group; rest; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        Thread *thread = &lanes[lane];
        thread->waits = Waits::No;
        thread->result = op == WarpOp::MatchAny ? lanes_equal(lanes, group, thread->value) : same;
        if (!shuffle) continue;
        int source = source_lane(*thread, lane);
        if (!(group >> source & 1))
            fatal("lane %d shuffles at line %d from lane %d, which is not in the mask 0x%08x or has exited", lane,
                  thread->line, source, thread->mask);
        thread->result = lanes[source].value;
    }
    if (op == WarpOp::Sync && under_tsan()) {
        int token = orders->next_group;
        orders->next_group = (token + 1) % GROUPS;
        for (unsigned rest = group; rest; rest &= rest - 1) {
            orders->arrival[__builtin_ctz(rest)].acquire();
            lanes[__builtin_ctz(rest)].group = token;
        }
        orders->group[token].release();
    }
    warps[warp].waiting &= ~group;
    warps[warp].ready |= group;
}

} // namespace

void barriers_reset() { barrier.arrived = 0; }

void block_barrier(int line) { meet(0, line); }
int block_count(int predicate, int line) { return meet(predicate, line).count; }
int block_and(int predicate, int line) { return meet(predicate, line).all; }
int block_or(int predicate, int line) { return meet(predicate, line).any; }

void barriers_leave(int thread) {
    int number = thread / LANES;
    for (unsigned rest = warps[number].waiting; rest; rest &= rest - 1) {
        const Thread *waiting = &threads[number * LANES + __builtin_ctz(rest)];
        if (waiting->waits != Waits::ForWarp) continue;
        unsigned group = complete_group(number, waiting->op, waiting->mask);
        if (group) complete(number, waiting->op, group);
    }
}

/* More than a GPU promises (all fences are ordered with each other), which hides no barrier that is missing altogether.
 */
void fence() {
    static Order fences;
    fences.release();
    fences.acquire();
}

uint64_t warp_op(WarpOp op, unsigned mask, uint64_t value, int argument, int width, int line) {
    if (!in_kernel()) fatal("an operation of a warp outside a kernel");
    int number = current / LANES, lane = current % LANES;
    Thread *self = &threads[current];
    Warp *warp = &warps[number];
    if (!(mask >> lane & 1)) fatal("lane %d is not in its own mask 0x%08x at line %d", lane, mask, line);
    if (mask & ~warp->lanes)
        fatal("the mask 0x%08x at line %d names lanes that the block does not have (0x%08x)", mask, line, warp->lanes);
    if (width < 1 || width > LANES || (width & (width - 1))) fatal("shuffle of width %d at line %d", width, line);
    self->op = op;
    self->mask = mask;
    self->value = value;
    self->argument = argument;
    self->width = width;
    self->line = line;
    self->waits = Waits::ForWarp;
    warp->waiting |= 1u << lane;
    counters.warp_ops++;
    if (op == WarpOp::Sync) warp_orders[block.set][number].arrival[lane].release();

    unsigned group = complete_group(number, op, mask);
    if (group)
        complete(number, op, group);
    else
        wait_here();
    if (op == WarpOp::Sync) warp_orders[block.set][number].group[self->group].acquire();
    return self->result;
}

} // namespace emu
