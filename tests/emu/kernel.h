/* CUDA kernels on a CPU, for tests: what a .cu file sees when a host compiler compiles it. It comes in through
 * src/kernels/cuda/launch.h, which nvcc answers with the real thing instead. Every CUDA thread becomes a fiber that
 * runs until it waits for others (fibers.cc, barriers.cc); a launch is queued on its stream (streams.cc) as a GPU
 * would.
 *
 * Not here, so that a kernel using it does not compile: inline PTX, wgmma, asynchronous copies, clusters, cooperative
 * groups, __activemask (its answer depends on timing), textures. */
#ifndef KD_EMU_KERNEL_H
#define KD_EMU_KERNEL_H

#ifdef __CUDACC__
#error "tests/emu/kernel.h is for host compilers; nvcc has the real thing"
#endif

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#undef __launch_bounds__
#define __launch_bounds__(...)
/* A stray __shared__ would make an array of each thread's own and pass many tests. */
#undef __shared__
#define __shared__ static_assert(false, "shared arrays are declared with KD_SHARED or KD_DYNAMIC_SHARED");

/* The names every kernel reads; plain variables that the engine writes whenever it changes to another thread. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

namespace emu {

enum class WarpOp : uint8_t {
    Sync,
    ShuffleIndex,
    ShuffleUp,
    ShuffleDown,
    ShuffleXor,
    Ballot,
    All,
    Any,
    Add,
    Min,
    Max,
    SignedMin,
    SignedMax,
    And,
    Or,
    Xor,
    MatchAny
};

struct Launch {
    const char *kernel;
    const void *function;
    dim3 grid, block;
    size_t shared_bytes;
    cudaStream_t stream;
    std::vector<std::pair<int, const void *>> pointers; /* arguments that are pointers, with their places */
};

void launch(Launch what, std::function<void()> body);
/* The block's array of that place in the source; in_shared: it takes shared memory. */
void *block_array(const void *site, size_t bytes, const char *name, bool in_shared = true);
void *dynamic_shared();
void block_barrier(int line);
int block_count(int predicate, int line);
int block_and(int predicate, int line);
int block_or(int predicate, int line);
uint64_t warp_op(WarpOp op, unsigned mask, uint64_t value, int argument, int width, int line);
void fence();
void yield_thread();
void fatal(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

template <class T>
void note_pointer(std::vector<std::pair<int, const void *>> &pointers, int place, const T &argument) {
    if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>)
        pointers.emplace_back(place, static_cast<const void *>(argument));
}

template <class... P, class... A>
void launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            A &&...arguments) {
    static_assert(sizeof...(P) == sizeof...(A), "a kernel launched with the wrong number of arguments");
    static_assert((std::is_trivially_copyable_v<std::decay_t<P>> && ...), "kernel arguments are copied byte by byte");
    static_assert(!(std::is_reference_v<P> || ...), "a kernel cannot take a reference");
    /* Copies made here, as a launch makes them: what the caller does to its variables afterwards changes nothing. */
    [&](std::decay_t<P>... copies) {
        Launch what{name, reinterpret_cast<const void *>(kernel), grid, block, shared_bytes, stream, {}};
        [[maybe_unused]] int place = 0;
        (note_pointer(what.pointers, ++place, copies), ...);
        launch(std::move(what), [kernel, copies...] { kernel(copies...); });
    }(std::forward<A>(arguments)...);
}

template <class To, class From> To bits(From from) {
    To to{};
    memcpy(&to, &from, sizeof to < sizeof from ? sizeof to : sizeof from);
    return to;
}

} // namespace emu

#define KD_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    emu::launch(#kernel, kernel, dim3(grid), dim3(block), (shared_bytes), (stream), ##__VA_ARGS__)
/* The real header keeps this form for nvcc. */
template <class... P> cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute, int value) {
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), attribute, value);
}

/* One array a block and place in the source; of exactly this size, so that sanitizers know its ends. */
#define KD_SHARED(type, name, extent) \
    static char name##_site;          \
    typedef type name##_array extent; \
    name##_array &name = *static_cast<name##_array *>(emu::block_array(&name##_site, sizeof(name##_array), #name))
#define KD_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(emu::dynamic_shared())

inline void __syncthreads(int line = __builtin_LINE()) { emu::block_barrier(line); }
inline int __syncthreads_count(int predicate, int line = __builtin_LINE()) { return emu::block_count(predicate, line); }
inline int __syncthreads_and(int predicate, int line = __builtin_LINE()) { return emu::block_and(predicate, line); }
inline int __syncthreads_or(int predicate, int line = __builtin_LINE()) { return emu::block_or(predicate, line); }
inline void __threadfence() { emu::fence(); }
inline void __threadfence_block() { emu::fence(); }
inline void __threadfence_system() { emu::fence(); }
inline void __nanosleep(unsigned) { emu::yield_thread(); }
inline void __trap(int line = __builtin_LINE()) { emu::fatal("__trap at line %d", line); }

inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
    emu::warp_op(emu::WarpOp::Sync, mask, 0, 0, warpSize, line);
}

#define KD_EMU_SHUFFLE(name, op, argument_type)                                                            \
    template <class T>                                                                                     \
    T name(unsigned mask, T value, argument_type argument, int width = 32, int line = __builtin_LINE()) {  \
        static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4, "shuffles move numbers of 4 or 8 bytes"); \
        return emu::bits<T>(                                                                               \
            emu::warp_op(emu::WarpOp::op, mask, emu::bits<uint64_t>(value), (int)argument, width, line));  \
    }
KD_EMU_SHUFFLE(__shfl_sync, ShuffleIndex, int)
KD_EMU_SHUFFLE(__shfl_up_sync, ShuffleUp, unsigned)
KD_EMU_SHUFFLE(__shfl_down_sync, ShuffleDown, unsigned)
KD_EMU_SHUFFLE(__shfl_xor_sync, ShuffleXor, int)
#undef KD_EMU_SHUFFLE

#define KD_EMU_VOTE(name, type, value_type, op, handed)                              \
    inline type name(unsigned mask, value_type value, int line = __builtin_LINE()) { \
        return (type)emu::warp_op(emu::WarpOp::op, mask, handed, 0, warpSize, line); \
    }
KD_EMU_VOTE(__ballot_sync, unsigned, int, Ballot, value != 0)
KD_EMU_VOTE(__all_sync, int, int, All, value != 0)
KD_EMU_VOTE(__any_sync, int, int, Any, value != 0)
KD_EMU_VOTE(__reduce_add_sync, unsigned, unsigned, Add, value)
KD_EMU_VOTE(__reduce_min_sync, unsigned, unsigned, Min, value)
KD_EMU_VOTE(__reduce_max_sync, unsigned, unsigned, Max, value)
KD_EMU_VOTE(__reduce_add_sync, int, int, Add, (unsigned)value)
KD_EMU_VOTE(__reduce_min_sync, int, int, SignedMin, (unsigned)value)
KD_EMU_VOTE(__reduce_max_sync, int, int, SignedMax, (unsigned)value)
KD_EMU_VOTE(__reduce_and_sync, unsigned, unsigned, And, value)
KD_EMU_VOTE(__reduce_or_sync, unsigned, unsigned, Or, value)
KD_EMU_VOTE(__reduce_xor_sync, unsigned, unsigned, Xor, value)
#undef KD_EMU_VOTE

template <class T> unsigned __match_any_sync(unsigned mask, T value, int line = __builtin_LINE()) {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4, "matches compare numbers of 4 or 8 bytes");
    return (unsigned)emu::warp_op(emu::WarpOp::MatchAny, mask, emu::bits<uint64_t>(value), 0, warpSize, line);
}

#include "emu/atomics.h"
#include "emu/device_math.h"

#endif
