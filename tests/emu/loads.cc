/* Counts what kernels load from device memory, where KDIFFE_EMU_LAUNCHES names a file: a line a launch, as HEADING has
 * it. For programs whose kernels are compiled with -fsanitize=thread and that are linked with this file instead of
 * ThreadSanitizer's runtime: the compiler then calls a function before every load, whose return address says which.
 *
 * A round of a thread is a longest run of loads in which no load instruction comes twice: what one turn of a loop
 * loads, or several turns where the compiler has unrolled it. Loads of a round can be on their way together; those of
 * the next are asked for later. Atomic functions are no loads here, nor is what comes from shared memory or a stack. */
#include <cstdio>
#include <cstdlib>

#include "emu/engine.h"
#include "emu/loads.h"
#include "emu/runtime.h"

namespace emu {
namespace {

const char HEADING[] = "step\tkernel\tgrid\tblock\tblocks\twarps\tloading\tloads\tbusiest\tmean\tchain\n";

enum { MOST_SITES = 8192, GRANULES = 1 << 16, GRANULE_BYTES = 16, VECTOR_BYTES = 16, MOST_RANGES = 1024 };

struct Range {
    uintptr_t begin, end;
};

/* A load instruction, and the allocation that it last loaded from. */
struct Site {
    uintptr_t address;
    Range range;
};

Site sites[MOST_SITES]; /* hashed by address; a range is of the present grid */
/* Allocations that the present grid has loaded from, and places found to be none. No allocation of either kind of
 * memory begins within a granule of the other. */
Range ranges[MOST_RANGES];
int range_count;
struct Granule {
    uintptr_t number;
    uint64_t grid;
} elsewhere[GRANULES];
uint64_t grid = 1;

/* Of each thread. Rounds are numbered on and on, so that nothing need be cleared between blocks. */
struct Loader {
    uint32_t first_round, rounds; /* of the block, and all so far */
    uint64_t loads;
    uintptr_t end; /* of the last load */
    const Site *site;
} loaders[MOST_THREADS];
uint32_t last_round[MOST_SITES][MOST_THREADS]; /* in which a thread has last come to a site; from 1 on */

/* Of the present grid. */
/* What a warp loads to find out that there is nothing for it to do: how much there is, of how many. */
const uint64_t IDLE_LOADS = 4;
uint64_t all_loads, warps_that_load, sum_of_warps, warps_at_work, sum_at_work, busiest_lane, longest_chain;

const char *step = "";

FILE *open_file() {
    const char *path = getenv("KDIFFE_EMU_LAUNCHES");
    if (!path || !*path) return nullptr;
    FILE *opened = fopen(path, "w");
    if (!opened) fatal("KDIFFE_EMU_LAUNCHES: cannot write to %s", path);
    fputs(HEADING, opened);
    return opened;
}

FILE *file() {
    static FILE *const opened = open_file();
    return opened;
}

unsigned mixed(uintptr_t x) { return (unsigned)(x * 0x9E3779B97F4A7C15u >> 40); }

Site *site_at(uintptr_t address) {
    unsigned at = mixed(address) % MOST_SITES;
    for (int tried = 0; tried < MOST_SITES; tried++, at = (at + 1) % MOST_SITES) {
        if (sites[at].address == address) return &sites[at];
        if (sites[at].address) continue;
        sites[at].address = address;
        return &sites[at];
    }
    fatal("more than %d load instructions", (int)MOST_SITES);
}

bool within(const Range &r, uintptr_t p) { return p - r.begin < r.end - r.begin; }

bool is_device_at(uintptr_t p, size_t bytes) { return is_device_memory(reinterpret_cast<const void *>(p), bytes); }

/* The largest n with holds(n), which holds for 0. */
template <class Holds> size_t most(Holds holds) {
    size_t known = 0, step_bytes = 1;
    while (holds(known + step_bytes)) {
        known += step_bytes;
        step_bytes *= 2;
    }
    for (; step_bytes; step_bytes /= 2)
        if (holds(known + step_bytes)) known += step_bytes;
    return known;
}

/* The allocation that holds p. */
Range allocation(uintptr_t p) {
    size_t before = most([=](size_t n) { return n <= p && is_device_at(p - n, n + 1); });
    return Range{p - before, p + 1 + most([=](size_t n) { return is_device_at(p, n + 1); })};
}

bool is_device(Site *site, uintptr_t p) {
    if (within(site->range, p)) return true;
    Granule *granule = &elsewhere[mixed(p / GRANULE_BYTES) % GRANULES];
    if (granule->grid == grid && granule->number == p / GRANULE_BYTES) return false;
    for (int i = 0; i < range_count; i++)
        if (within(ranges[i], p)) {
            site->range = ranges[i];
            return true;
        }
    if (!is_device_at(p, 1)) {
        *granule = Granule{p / GRANULE_BYTES, grid};
        return false;
    }
    site->range = allocation(p);
    if (range_count < MOST_RANGES) ranges[range_count++] = site->range;
    return true;
}

/* Vectors are loaded by one instruction of a GPU, though the compiler may have made loads of their elements of it. */
bool continues(const Loader &loader, const Site *site, uintptr_t p) {
    return p == loader.end && p % VECTOR_BYTES != 0 && site != loader.site;
}

void count(const void *from, size_t bytes, const void *instruction) {
    if (!in_kernel() || !file()) return;
    uintptr_t p = reinterpret_cast<uintptr_t>(from);
    Site *site = site_at(reinterpret_cast<uintptr_t>(instruction));
    if (!is_device(site, p)) return;
    Loader &loader = loaders[current];
    uint32_t *last = &last_round[site - sites][current];
    if (*last == loader.rounds + 1) loader.rounds++;
    *last = loader.rounds + 1;
    if (!continues(loader, site, p)) loader.loads++;
    loader.end = p + bytes;
    loader.site = site;
}

void end_warp(Loader *lane, int lanes) {
    uint64_t busiest = 0;
    for (; lanes > 0; lane++, lanes--) {
        uint64_t rounds = lane->loads ? lane->rounds - lane->first_round + 1 : 0;
        all_loads += lane->loads;
        if (lane->loads > busiest) busiest = lane->loads;
        if (rounds > longest_chain) longest_chain = rounds;
        uint32_t next = lane->rounds + 1;
        *lane = Loader{next, next, 0, 0, nullptr};
    }
    warps_that_load += busiest > 0;
    warps_at_work += busiest > IDLE_LOADS;
    sum_of_warps += busiest;
    if (busiest > IDLE_LOADS) sum_at_work += busiest;
    if (busiest > busiest_lane) busiest_lane = busiest;
}

/* Over the warps at work, or, of a kernel in which none has that much to do, over all that load. */
double mean_of_warps() {
    if (warps_at_work) return (double)sum_at_work / (double)warps_at_work;
    return warps_that_load ? (double)sum_of_warps / (double)warps_that_load : 0.0;
}

} // namespace

void loads_end_block() {
    for (int first = 0; first < block.threads; first += LANES)
        end_warp(loaders + first, block.threads - first < LANES ? block.threads - first : LANES);
}

void loads_end_grid(const Launch &what) {
    uint64_t blocks = (uint64_t)what.grid.x * what.grid.y * what.grid.z;
    if (file())
        fprintf(file(), "%s\t%s\t%u,%u,%u\t%u,%u,%u\t%llu\t%llu\t%llu\t%llu\t%llu\t%.3f\t%llu\n", step, what.kernel,
                what.grid.x, what.grid.y, what.grid.z, what.block.x, what.block.y, what.block.z,
                (unsigned long long)blocks, (unsigned long long)(blocks * (uint64_t)block.warps),
                (unsigned long long)warps_that_load, (unsigned long long)all_loads, (unsigned long long)busiest_lane,
                mean_of_warps(), (unsigned long long)longest_chain);
    all_loads = warps_that_load = sum_of_warps = warps_at_work = sum_at_work = busiest_lane = longest_chain = 0;
    for (Site &site : sites) site.range = Range{0, 0}; /* allocations may change between grids */
    range_count = 0;
    grid++;
}

} // namespace emu

extern "C" {

void kdiffe_emu_step(const char *name) { emu::step = name; }

/* What the compiler calls. None of it is declared anywhere: its names are the compiler's own. */
#pragma GCC diagnostic ignored "-Wmissing-declarations"

void __tsan_init(void) {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}

#define KD_EMU_ACCESS(bytes)                                                                          \
    void __tsan_read##bytes(void *p) { emu::count(p, bytes, __builtin_return_address(0)); }           \
    void __tsan_unaligned_read##bytes(void *p) { emu::count(p, bytes, __builtin_return_address(0)); } \
    void __tsan_write##bytes(void *) {}                                                               \
    void __tsan_unaligned_write##bytes(void *) {}
KD_EMU_ACCESS(1)
KD_EMU_ACCESS(2)
KD_EMU_ACCESS(4)
KD_EMU_ACCESS(8)
KD_EMU_ACCESS(16)
#undef KD_EMU_ACCESS
void __tsan_read_range(void *p, size_t bytes) { emu::count(p, bytes, __builtin_return_address(0)); }
void __tsan_write_range(void *, size_t) {}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}

#define KD_EMU_ATOMIC_CALLS(bits, type)                                                                           \
    type __tsan_atomic##bits##_load(const volatile type *p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); } \
    void __tsan_atomic##bits##_store(volatile type *p, type value, int) {                                         \
        __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                             \
    }                                                                                                             \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *seen, type value, int, int) {       \
        return __atomic_compare_exchange_n(p, seen, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);            \
    }
KD_EMU_ATOMIC_CALLS(8, uint8_t)
KD_EMU_ATOMIC_CALLS(32, uint32_t)
KD_EMU_ATOMIC_CALLS(64, uint64_t)
#undef KD_EMU_ATOMIC_CALLS

} // extern "C"
