/* Inside the engine: what fibers.cc (who runs), barriers.cc (who waits for whom) and shared.cc (shared memory) have in
 * common. One grid runs at a time, one block of it, one thread of that. All of it is compiled without sanitizers. */
#ifndef KD_EMU_ENGINE_H
#define KD_EMU_ENGINE_H

#include "emu/kernel.h"
#include "emu/sanitizers.h"

namespace emu {

enum { LANES = 32, MOST_THREADS = 1024, MOST_WARPS = MOST_THREADS / LANES };
/* ThreadSanitizer has two sets of fibers, used by every second block: neighbouring blocks are then different threads to
 * it, and what they do to each other is unordered, as on a GPU. */
enum { FIBER_SETS = 2 };

enum class Waits : uint8_t { No, ForBlock, ForWarp };

struct Fiber;
struct Thread {
    uint3 index;
    Fiber *fiber; /* none: not started */
    Waits waits;
    int line; /* of what it waits at */
    WarpOp op;
    unsigned mask;
    uint64_t value, result;
    int argument, width;
    int group; /* of the __syncwarp that let it go on */
};

/* Sets of lanes. A lane is ready from its start until it waits or is gone. */
struct Warp {
    unsigned lanes, ready, waiting, gone;
};

struct Block {
    int threads, warps, gone;
    int set; /* of fibers */
    const char *kernel;
};

struct Counters {
    uint64_t launches, threads, switches, barriers, warp_ops;
};

extern Thread threads[MOST_THREADS];
extern Warp warps[MOST_WARPS];
extern Block block;
extern Counters counters;
extern int current;     /* thread, -1 outside kernels */
extern Order grid_end;  /* released by every thread when it ends */
extern Order host_work; /* released after make_as_host, to be acquired by whoever uses what was made */

inline bool in_kernel() { return current >= 0; }
/* The running thread is not ready any more; runs others until somebody makes it ready again. */
void wait_here();
/* For barriers.cc at the start of a block. */
void barriers_reset();
/* This thread has ended: operations of its warp wait only for the others. */
void barriers_leave(int thread);
/* Runs `make` as the host for ThreadSanitizer: nothing that this thread did before is ordered by it. */
void *make_as_host(void *(*make)(size_t bytes), size_t bytes);

void shared_begin_grid(const Launch &what);
void shared_begin_block();
void shared_end_grid();

/* Only in programs that are linked with loads.cc: books what the threads of a block, and of a grid, have loaded. */
void loads_end_block() __attribute__((weak));
void loads_end_grid(const Launch &what) __attribute__((weak));

} // namespace emu

#endif
