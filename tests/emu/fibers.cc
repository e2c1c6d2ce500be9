/* The engine: one fiber a CUDA thread, blocks one after the other. A thread runs until it waits for others or ends, and
 * which goes on then is KDIFFE_EMU_ORDER's choice: ascending (default), descending or random:SEED. A kernel whose
 * result depends on it is wrong. Compiled without sanitizers in every build, see sanitizers.h. */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "emu/engine.h"
#include "emu/runtime.h"
#include "emu/switch.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emu {

struct Fiber {
    Context context;
    char *stack;
    void *fake_stack; /* AddressSanitizer's */
    void *tsan_fiber; /* ThreadSanitizer's */
};

Thread threads[MOST_THREADS];
Warp warps[MOST_WARPS];
Block block;
Counters counters;
int current = -1;
Order grid_end, host_work;

namespace {

enum { EXIT_FATAL = 97 };
const size_t STACK_BYTES = 256 << 10, GUARD_BYTES = 4096;

enum class Direction { Ascending, Descending, Random };

/* Under ThreadSanitizer thread i of a block is fiber i of its set; else a fiber that is idle takes any thread. */
Fiber fibers[FIBER_SETS][MOST_THREADS], host;
int fiber_count[FIBER_SETS];
Fiber *idle[MOST_THREADS];
int idle_count;
const void *host_stack;
size_t host_stack_bytes;
Order grid_start;
const Task *body;
int warp_now;

Direction direction;
unsigned random_state = 1;

void read_order() {
    static bool done;
    const char *wanted = getenv("KDIFFE_EMU_ORDER");
    if (done) return;
    done = true;
    if (!wanted || !*wanted || strcmp(wanted, "ascending") == 0) return;
    if (strncmp(wanted, "random:", 7) == 0) {
        direction = Direction::Random;
        random_state = (unsigned)strtoul(wanted + 7, nullptr, 10) * 2654435761u | 1u;
    } else if (strcmp(wanted, "descending") == 0) {
        direction = Direction::Descending;
    } else {
        fatal("KDIFFE_EMU_ORDER is '%s'; ascending, descending or random:SEED", wanted);
    }
}

unsigned random_number() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

int lane_to_run(unsigned ready) {
    switch (direction) {
    case Direction::Ascending: return __builtin_ctz(ready);
    case Direction::Descending: return LANES - 1 - __builtin_clz(ready);
    default: break;
    }
    unsigned turn = random_number() % LANES;
    unsigned turned = turn ? ready >> turn | ready << (LANES - turn) : ready;
    return (__builtin_ctz(turned) + (int)turn) % LANES;
}

/* The thread to run next, -1 if none can: of the present warp while it has one, then of the next warp. */
int thread_to_run() {
    if (direction == Direction::Random && random_number() % 8 == 0)
        warp_now = (int)(random_number() % (unsigned)block.warps);
    for (int tried = 0; tried < block.warps; tried++) {
        if (warps[warp_now].ready) return warp_now * LANES + lane_to_run(warps[warp_now].ready);
        if (direction == Direction::Descending)
            warp_now = warp_now == 0 ? block.warps - 1 : warp_now - 1;
        else
            warp_now = warp_now + 1 == block.warps ? 0 : warp_now + 1;
    }
    return -1;
}

void enter(int thread) {
    current = thread;
    threadIdx = threads[thread].index;
}

void switch_fiber(Fiber *from, Fiber *to) {
    const void *bottom = to == &host ? host_stack : to->stack;
    size_t bytes = to == &host ? host_stack_bytes : STACK_BYTES;
    counters.switches++;
    if (under_tsan())
        become_fiber(to->tsan_fiber);
    else if (under_asan())
        __sanitizer_start_switch_fiber(&from->fake_stack, bottom, bytes);
    context_switch(&from->context, &to->context);
    if (!under_tsan() && under_asan()) __sanitizer_finish_switch_fiber(from->fake_stack, &bottom, &bytes);
}

void fiber_main();

Fiber *make_fiber(int set) {
    Fiber *fiber = &fibers[set][fiber_count[set]++];
    void *memory = mmap(nullptr, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fatal("no memory for the stack of a thread");
    mprotect(memory, GUARD_BYTES, PROT_NONE); /* a kernel that recurses too deep stops there */
    fiber->stack = static_cast<char *>(memory) + GUARD_BYTES;
    context_make(&fiber->context, fiber->stack, STACK_BYTES, fiber_main);
    if (under_tsan()) fiber->tsan_fiber = __tsan_create_fiber(0);
    return fiber;
}

Fiber *take_fiber(int thread) {
    if (under_tsan()) return &fibers[block.set][thread];
    return idle_count ? idle[--idle_count] : make_fiber(0);
}

void run(Fiber *from, int thread) {
    if (thread < 0) {
        switch_fiber(from, &host);
        return;
    }
    if (!threads[thread].fiber) threads[thread].fiber = take_fiber(thread);
    enter(thread);
    switch_fiber(from, threads[thread].fiber);
}

void leave(int thread) {
    Warp *warp = &warps[thread / LANES];
    warp->ready &= ~(1u << thread % LANES);
    warp->gone |= 1u << thread % LANES;
    block.gone++;
    counters.threads++;
    if (warp->waiting) barriers_leave(thread);
}

/* A fiber lives as long as the program: thread after thread of block after block. */
void fiber_main() {
    if (!under_tsan() && under_asan()) {
        const void *bottom;
        size_t bytes;
        __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    }
    Fiber *self = threads[current].fiber;
    for (;;) {
        grid_start.acquire();
        (*body)();
        grid_end.release();
        leave(current);
        int next = thread_to_run();
        if (!under_tsan() && next >= 0 && !threads[next].fiber) { /* begins on this very stack, without a switch */
            threads[next].fiber = self;
            enter(next);
            continue;
        }
        if (!under_tsan()) idle[idle_count++] = self;
        run(self, next);
    }
}

void report_deadlock() {
    fprintf(stderr, "emu: ERROR: the threads of %s wait for each other in block (%u,%u,%u); %d of %d have exited\n",
            block.kernel, blockIdx.x, blockIdx.y, blockIdx.z, block.gone, block.threads);
    for (int i = 0, shown = 0; i < block.threads && shown < 8; i++) {
        const Thread *thread = &threads[i];
        if (thread->waits == Waits::No) continue;
        fprintf(stderr, "  thread %d waits at line %d for its %s, mask 0x%08x\n", i, thread->line,
                thread->waits == Waits::ForBlock ? "block" : "warp",
                thread->waits == Waits::ForBlock ? 0xffffffffu : thread->mask);
        shown++;
    }
    fflush(nullptr);
    _exit(EXIT_FATAL);
}

void find_host_stack() {
    static thread_local void *stack;
    static thread_local size_t bytes;
    if (!stack) {
        pthread_attr_t attributes;
        pthread_getattr_np(pthread_self(), &attributes);
        pthread_attr_getstack(&attributes, &stack, &bytes);
        pthread_attr_destroy(&attributes);
    }
    host_stack = stack;
    host_stack_bytes = bytes;
}

void begin_block(uint64_t number, dim3 grid, dim3 shape) {
    blockIdx = make_uint3((unsigned)(number % grid.x), (unsigned)(number / grid.x % grid.y),
                          (unsigned)(number / grid.x / grid.y));
    for (int i = 0; i < block.threads; i++) {
        threads[i].index =
            make_uint3((unsigned)i % shape.x, (unsigned)i / shape.x % shape.y, (unsigned)i / (shape.x * shape.y));
        threads[i].fiber = nullptr;
        threads[i].waits = Waits::No;
    }
    for (int w = 0; w < block.warps; w++) {
        int lanes = block.threads - w * LANES;
        unsigned all = lanes >= LANES ? ~0u : (1u << lanes) - 1;
        warps[w] = Warp{all, all, 0, 0};
    }
    block.gone = 0;
    warp_now = direction == Direction::Ascending    ? 0
               : direction == Direction::Descending ? block.warps - 1
                                                    : (int)(random_number() % (unsigned)block.warps);
    barriers_reset();
    shared_begin_block();
}

} // namespace

void fatal(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "emu: ERROR: ");
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (in_kernel())
        fprintf(stderr, " [%s, block (%u,%u,%u), thread (%u,%u,%u)]", block.kernel, blockIdx.x, blockIdx.y, blockIdx.z,
                threadIdx.x, threadIdx.y, threadIdx.z);
    fprintf(stderr, "\n");
    fflush(nullptr);
    _exit(EXIT_FATAL);
}

void wait_here() {
    int self = current;
    warps[self / LANES].ready &= ~(1u << self % LANES);
    run(threads[self].fiber, thread_to_run());
    enter(self);
}

void yield_thread() {
    if (!in_kernel()) fatal("__nanosleep outside a kernel");
    int self = current;
    warp_now = warp_now + 1 == block.warps ? 0 : warp_now + 1; /* in any order, or a waiting warp would stay alone */
    int next = thread_to_run();
    if (next == self) return;
    run(threads[self].fiber, next);
    enter(self);
}

void *make_as_host(void *(*make)(size_t), size_t bytes) {
    if (!under_tsan()) return make(bytes);
    void *self = __tsan_get_current_fiber();
    become_fiber(host.tsan_fiber);
    void *result = make(bytes);
    host_work.release();
    become_fiber(self);
    return result;
}

void run_grid(const Launch &what, const Task &thread_body) {
    if (in_kernel() || body) fatal("%s starts while %s runs", what.kernel, block.kernel);
    uint64_t blocks = (uint64_t)what.grid.x * what.grid.y * what.grid.z, step = 1, first = 0;
    body = &thread_body;
    blockDim = what.block;
    gridDim = what.grid;
    block.kernel = what.kernel;
    block.threads = (int)(what.block.x * what.block.y * what.block.z);
    block.warps = (block.threads + LANES - 1) / LANES;
    block.set = 0;
    counters.launches++;
    find_host_stack();
    read_order();
    if (under_tsan()) {
        host.tsan_fiber = __tsan_get_current_fiber();
        for (int set = 0; set < FIBER_SETS && (uint64_t)set < blocks; set++)
            while (fiber_count[set] < block.threads)
                make_fiber(set); /* here: made by a thread, it would come after what that did */
    }
    if (direction == Direction::Random) { /* a stride that meets every block once */
        step = blocks / 2 + 1 + random_number() % 7;
        while (std::gcd(step, blocks) != 1) step++;
        first = random_number() % blocks;
    }
    shared_begin_grid(what);
    for (uint64_t done = 0; done < blocks; done++) {
        uint64_t number = direction == Direction::Descending ? blocks - 1 - done : (done * step + first) % blocks;
        begin_block(number, what.grid, what.block);
        grid_start.release();
        while (block.gone < block.threads) {
            int next = thread_to_run();
            if (next < 0) report_deadlock();
            run(&host, next);
        }
        if (loads_end_block) loads_end_block();
        block.set = (block.set + 1) % FIBER_SETS;
    }
    grid_end.acquire();
    current = -1;
    if (loads_end_grid) loads_end_grid(what);
    shared_end_grid();
    body = nullptr;
}

} // namespace emu
