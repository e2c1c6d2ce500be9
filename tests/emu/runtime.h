/* Between the files of the stand-in for the CUDA runtime and libraries: memory, streams, graphs, cublasLt. */
#ifndef KD_EMU_RUNTIME_H
#define KD_EMU_RUNTIME_H

#include <cuda_runtime_api.h>

#include <functional>
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
};
const Settings &settings();

/* Every function of the runtime holds one, so that host threads come one after the other. */
class Call {
  public:
    Call();
    ~Call();
    Call(const Call &) = delete;
};

typedef std::function<void()> Task;

/* Remembers an error for cudaGetLastError and returns it. */
cudaError_t failed(cudaError_t error);

/* Whether [p, p + bytes) lies within one live allocation. */
bool is_device_memory(const void *p, size_t bytes);
bool is_pinned_memory(const void *p, size_t bytes);

/* The one door of all work on a stream, of libraries too: queued, or captured into a graph. */
cudaError_t enqueue(cudaStream_t stream, Task task);
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
