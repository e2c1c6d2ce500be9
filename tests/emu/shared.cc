/* Shared memory of the running block: an allocation of its exact size for every array, full of NaN (and of indices out
 * of range) when a block starts. Under ThreadSanitizer every block has new memory, or two blocks that use the same
 * place in turn would look like a race. */
#include <cstdlib>

#include "emu/engine.h"
#include "emu/runtime.h"

namespace emu {
namespace {

enum { MOST_ARRAYS = 64 };

struct Array {
    const void *site;
    char *memory;
    size_t bytes;
};

Array arrays[MOST_ARRAYS], dynamic;
int array_count;
size_t static_bytes, total_limit;

void poison(const Array &array) {
    if (array.memory) memset(array.memory, 0xff, array.bytes);
}

void *poisoned(size_t bytes) {
    void *memory = malloc(bytes);
    if (!memory) fatal("no memory for a shared array of %zu bytes", bytes);
    memset(memory, 0xff, bytes);
    return memory;
}

void forget_arrays() {
    for (int i = 0; i < array_count; i++) free(arrays[i].memory);
    free(dynamic.memory);
    dynamic.memory = nullptr;
    array_count = 0;
    static_bytes = 0;
}

} // namespace

void *block_array(const void *site, size_t bytes, const char *name, bool in_shared) {
    if (!in_kernel()) fatal("the shared array %s is used outside a kernel", name);
    for (int i = 0; i < array_count; i++)
        if (arrays[i].site == site) {
            host_work.acquire();
            return arrays[i].memory;
        }
    if (array_count == MOST_ARRAYS) fatal("more than %d shared arrays in one kernel", (int)MOST_ARRAYS);
    if (in_shared) static_bytes += bytes;
    if (static_bytes > SHARED_BYTES)
        fatal("static shared arrays of %zu bytes; a kernel has %zu", static_bytes, SHARED_BYTES);
    if (static_bytes + dynamic.bytes > total_limit)
        fatal("static and dynamic shared memory of %zu bytes; this launch has %zu", static_bytes + dynamic.bytes,
              total_limit);
    arrays[array_count] = Array{site, static_cast<char *>(make_as_host(poisoned, bytes)), bytes};
    host_work.acquire();
    return arrays[array_count++].memory;
}

void *dynamic_shared() {
    if (!in_kernel()) fatal("dynamic shared memory is used outside a kernel");
    return dynamic.memory;
}

void shared_begin_grid(const Launch &what) {
    dynamic = Array{nullptr, nullptr, what.shared_bytes};
    total_limit = dynamic_shared_limit(what.function) > SHARED_BYTES ? SHARED_BYTES_OPT_IN : SHARED_BYTES;
}

void shared_begin_block() {
    if (under_tsan()) {
        /* A fiber of its own lets go of the last block's arrays: it comes after all blocks, but no block after it. */
        static void *collector = __tsan_create_fiber(0);
        void *self = __tsan_get_current_fiber();
        become_fiber(collector);
        grid_end.acquire();
        forget_arrays();
        become_fiber(self);
    }
    for (int i = 0; i < array_count; i++) poison(arrays[i]);
    if (dynamic.bytes && !dynamic.memory)
        dynamic.memory = static_cast<char *>(poisoned(dynamic.bytes));
    else
        poison(dynamic);
}

void shared_end_grid() {
    forget_arrays();
    dynamic = Array{nullptr, nullptr, 0};
}

} // namespace emu
