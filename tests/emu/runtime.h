/* Between the files of the stand-in for the CUDA runtime and libraries: memory, streams, graphs, cublasLt, NCCL. */
#ifndef KD_EMU_RUNTIME_H
#define KD_EMU_RUNTIME_H

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <mutex>

#include "emu/kernel.h"

namespace emu {

/* The environment, read once; see run.sh's head for what the variables mean. */
struct Settings {
    enum Streams { Starve, Eager, Random };
    size_t memory_bytes;
    int devices;
    long failing_malloc; /* 0: none */
    Streams streams;
    unsigned seed;
    double nccl_timeout; /* seconds */
    uint64_t nccl_death; /* the last rank is killed as it comes to this collective; 0: never */
    uint64_t lt_least;   /* cublasLt has algorithms for products of at least so many rows, columns and terms of a sum */
    int multiprocessors;
};
const Settings &settings();

/* Every function of the runtime holds one, so that host threads come one after the other. */
class Call {
  public:
    Call();
    ~Call();
    Call(const Call &) = delete;
};
/* Sleeps for somebody who waits for another process; other host threads may call meanwhile. */
void rest(unsigned microseconds);

typedef std::function<void()> Task;
/* Work that needs other processes: false if they are not there yet; it is then tried again. waited: for how many
 * seconds a call has now done nothing but wait for it, 0 if the caller only asks. */
typedef std::function<bool(double waited)> Attempt;
struct Event;

/* Remembers an error for cudaGetLastError and returns it. */
cudaError_t failed(cudaError_t error);

/* Whether [p, p + bytes) lies within one live allocation. */
bool is_device_memory(const void *p, size_t bytes);
bool is_pinned_memory(const void *p, size_t bytes);

/* The one door of all work on a stream, of libraries too: queued, or captured into a graph. */
cudaError_t enqueue(cudaStream_t stream, Task task);
/* The same for an attempt. What has the same turns (or none: null) is done in the order in which it was queued,
 * whatever the streams. follows: it belongs to the same call as what was queued before it, which a query does together.
 */
cudaError_t enqueue_attempt(cudaStream_t stream, Attempt attempt, const std::shared_ptr<Event> &turns, bool follows);
/* Does all work that was queued with these turns. */
void finish_turns(const std::shared_ptr<Event> &turns);
/* Does all work queued in any stream, or in a stream that the legacy default stream waits for. */
void finish_everything();
void finish_blocking_streams();
/* Does all work of this stream, and what it waits for. */
void finish(cudaStream_t stream);
/* Shared memory of a block: what every kernel has, and what one has that asked with cudaFuncSetAttribute. */
const size_t SHARED_BYTES = 48 << 10, SHARED_BYTES_OPT_IN = 227 << 10;
/* The most dynamic shared memory that a launch of this function may ask for. */
size_t dynamic_shared_limit(const void *function);

/* An error (not remembered) if a capture forbids calls like cudaMalloc now; the capture is then spoilt. */
cudaError_t forbidden_in_capture();
bool is_capturing(cudaStream_t stream);
void spoil_capture(cudaStream_t stream);

/* Runs a whole grid here and now; the engine (fibers.cc). */
void run_grid(const Launch &what, const Task &body);

} // namespace emu

#endif
