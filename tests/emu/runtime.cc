/* Stand-in for the CUDA runtime: the device, its errors and its memory. Every cudaMalloc is an allocation of its own,
 * so that sanitizers know its ends, and full of 0xff: NaN, and as an index out of range. */
#include "emu/runtime.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>

namespace emu {
namespace {

/* Start and size of live allocations. Starts are kept inverted: a leak checker that finds the plain address here would
 * take a block that the program has lost for one in use. */
class Allocations {
  public:
    void add(void *p, size_t bytes) { of_start[~reinterpret_cast<uintptr_t>(p)] = bytes; }
    bool remove(void *p, size_t *bytes) {
        auto found = of_start.find(~reinterpret_cast<uintptr_t>(p));
        if (found == of_start.end()) return false;
        *bytes = found->second;
        of_start.erase(found);
        return true;
    }
    bool hold(const void *p, size_t bytes) const {
        uintptr_t address = reinterpret_cast<uintptr_t>(p);
        auto found = of_start.lower_bound(~address); /* the nearest start at or below p */
        if (found == of_start.end()) return false;
        uintptr_t offset = address - ~found->first;
        return offset <= found->second && bytes <= found->second - offset && (bytes > 0 || offset < found->second);
    }

  private:
    std::map<uintptr_t, size_t> of_start;
};

const int MAJOR = 9, MINOR = 0, L2_BYTES = 1 << 20, THREADS_OF_MULTIPROCESSOR = 2048;

/* Never destroyed: programs may free in destructors that run after those of this file. */
Allocations &device_blocks = *new Allocations, &pinned_blocks = *new Allocations;
std::map<const void *, int> &shared_limits = *new std::map<const void *, int>;
size_t device_bytes, pinned_bytes;
long allocations_made;
int device_now;
thread_local cudaError_t last_error = cudaSuccess;
thread_local int open_calls;

std::recursive_mutex &one_caller() {
    static std::recursive_mutex &mutex = *new std::recursive_mutex;
    return mutex;
}

Settings read_settings() {
    const char *memory = getenv("KDIFFE_EMU_MEM"), *devices = getenv("KDIFFE_EMU_DEVICES");
    const char *failing = getenv("KDIFFE_EMU_FAIL_MALLOC"), *streams = getenv("KDIFFE_EMU_STREAMS");
    const char *timeout = getenv("KDIFFE_EMU_NCCL_TIMEOUT"), *death = getenv("KDIFFE_EMU_NCCL_DIE");
    const char *multiprocessors = getenv("KDIFFE_EMU_MULTIPROCESSORS");
    const char *least = getenv("KDIFFE_EMU_LT_LEAST");
    Settings s{(size_t)4 << 30, 1, 0, Settings::Starve, 1, 60.0, 0, 1, 4};
    if (memory) s.memory_bytes = strtoull(memory, nullptr, 0);
    if (devices) s.devices = atoi(devices);
    if (failing) s.failing_malloc = atol(failing);
    if (timeout) s.nccl_timeout = atof(timeout);
    if (multiprocessors) s.multiprocessors = atoi(multiprocessors);
    if (death) s.nccl_death = strtoull(death, nullptr, 10);
    if (least) s.lt_least = strtoull(least, nullptr, 10);
    if (!streams || !*streams || strcmp(streams, "starve") == 0) return s;
    if (strcmp(streams, "eager") == 0) {
        s.streams = Settings::Eager;
    } else if (strncmp(streams, "random:", 7) == 0) {
        s.streams = Settings::Random;
        s.seed = (unsigned)strtoul(streams + 7, nullptr, 10) * 2654435761u | 1u;
    } else {
        fatal("KDIFFE_EMU_STREAMS is '%s'; starve, eager or random:SEED", streams);
    }
    return s;
}

cudaError_t no_device() { return settings().devices > 0 ? cudaSuccess : failed(cudaErrorNoDevice); }

/* Does the direction of a copy fit where its two ends are? */
bool direction_fits(const void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    bool to_device = is_device_memory(to, bytes), from_device = is_device_memory(from, bytes);
    switch (kind) {
    case cudaMemcpyHostToHost: return !to_device && !from_device;
    case cudaMemcpyHostToDevice: return to_device && !is_device_memory(from, 1);
    case cudaMemcpyDeviceToHost: return !is_device_memory(to, 1) && from_device;
    case cudaMemcpyDeviceToDevice: return to_device && from_device;
    default: /* where they point to decides; then neither may start in an allocation that it leaves */
        return to_device == is_device_memory(to, 1) && from_device == is_device_memory(from, 1);
    }
}

} // namespace

const Settings &settings() {
    static const Settings read = read_settings();
    return read;
}

Call::Call() {
    one_caller().lock();
    open_calls++;
}
Call::~Call() {
    open_calls--;
    one_caller().unlock();
}
void rest(unsigned microseconds) {
    for (int i = 0; i < open_calls; i++) one_caller().unlock();
    usleep(microseconds);
    for (int i = 0; i < open_calls; i++) one_caller().lock();
}

cudaError_t failed(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

bool is_device_memory(const void *p, size_t bytes) { return device_blocks.hold(p, bytes); }
bool is_pinned_memory(const void *p, size_t bytes) { return pinned_blocks.hold(p, bytes); }

size_t dynamic_shared_limit(const void *function) {
    auto found = shared_limits.find(function);
    return found == shared_limits.end() ? SHARED_BYTES : (size_t)found->second;
}

} // namespace emu

using namespace emu;

extern "C" {

size_t kdiffe_emu_device_bytes(void) { return device_bytes; }
size_t kdiffe_emu_pinned_bytes(void) { return pinned_bytes; }

cudaError_t cudaGetDeviceCount(int *count) {
    *count = settings().devices;
    return no_device();
}
cudaError_t cudaSetDevice(int device) {
    if (no_device() != cudaSuccess) return cudaErrorNoDevice;
    if (device < 0 || device >= settings().devices) return failed(cudaErrorInvalidDevice);
    device_now = device;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int *device) {
    *device = device_now;
    return no_device();
}
cudaError_t cudaDeviceReset(void) { return cudaSuccess; }
cudaError_t cudaProfilerStart(void) { return no_device(); }
cudaError_t cudaProfilerStop(void) { return no_device(); }
cudaError_t cudaDriverGetVersion(int *version) {
    *version = settings().devices > 0 ? CUDART_VERSION : 0;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
    if (device < 0 || device >= settings().devices) return failed(cudaErrorInvalidDevice);
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "stand-in on the CPU");
    properties->major = MAJOR;
    properties->minor = MINOR;
    properties->multiProcessorCount = settings().multiprocessors;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->maxThreadsPerMultiProcessor = THREADS_OF_MULTIPROCESSOR;
    properties->sharedMemPerBlock = SHARED_BYTES;
    properties->sharedMemPerBlockOptin = SHARED_BYTES_OPT_IN;
    properties->totalGlobalMem = settings().memory_bytes;
    properties->l2CacheSize = L2_BYTES;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    if (device < 0 || device >= settings().devices) return failed(cudaErrorInvalidDevice);
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = settings().multiprocessors; break;
    case cudaDevAttrComputeCapabilityMajor: *value = MAJOR; break;
    case cudaDevAttrComputeCapabilityMinor: *value = MINOR; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)SHARED_BYTES; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)SHARED_BYTES_OPT_IN; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = THREADS_OF_MULTIPROCESSOR; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrL2CacheSize: *value = L2_BYTES; break;
    case cudaDevAttrMemoryPoolsSupported: *value = 0; break;
    default: return failed(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void) {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
cudaError_t cudaPeekAtLastError(void) { return last_error; }

cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute, int value) {
    Call call;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || (size_t)value > SHARED_BYTES_OPT_IN) return failed(cudaErrorInvalidValue);
    shared_limits[function] = value;
    return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int threads, size_t) {
    if (threads < 1 || threads > 1024) return failed(cudaErrorInvalidValue);
    *blocks = THREADS_OF_MULTIPROCESSOR / threads;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    Call call;
    *total_bytes = settings().memory_bytes;
    *free_bytes = settings().memory_bytes - device_bytes;
    return no_device();
}

cudaError_t cudaMalloc(void **p, size_t bytes) {
    Call call;
    *p = nullptr;
    if (no_device() != cudaSuccess) return cudaErrorNoDevice;
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    if (bytes == 0) return cudaSuccess;
    if (++allocations_made == settings().failing_malloc || bytes > settings().memory_bytes - device_bytes)
        return failed(cudaErrorMemoryAllocation);
    if (posix_memalign(p, 256, bytes)) return failed(cudaErrorMemoryAllocation);
    memset(*p, 0xff, bytes);
    device_blocks.add(*p, bytes);
    device_bytes += bytes;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p) {
    Call call;
    size_t bytes;
    if (no_device() != cudaSuccess) return cudaErrorNoDevice;
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    if (!p) return cudaSuccess;
    finish_everything(); /* the real one waits for the device too */
    if (!device_blocks.remove(p, &bytes)) return failed(cudaErrorInvalidValue);
    device_bytes -= bytes;
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes) {
    Call call;
    *p = nullptr;
    if (no_device() != cudaSuccess) return cudaErrorNoDevice;
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    if (bytes == 0) return cudaSuccess;
    if (posix_memalign(p, 256, bytes)) return failed(cudaErrorMemoryAllocation);
    memset(*p, 0xff, bytes);
    pinned_blocks.add(*p, bytes);
    pinned_bytes += bytes;
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) { return cudaMallocHost(p, bytes); }

cudaError_t cudaFreeHost(void *p) {
    Call call;
    size_t bytes;
    if (!p) return cudaSuccess;
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    finish_everything();
    if (!pinned_blocks.remove(p, &bytes)) return failed(cudaErrorInvalidValue);
    pinned_bytes -= bytes;
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    Call call;
    if (bytes == 0) return cudaSuccess;
    if (!direction_fits(to, from, bytes, kind)) return failed(cudaErrorInvalidValue);
    bool pageable = (!is_device_memory(to, bytes) && !is_pinned_memory(to, bytes)) ||
                    (!is_device_memory(from, bytes) && !is_pinned_memory(from, bytes));
    if (pageable && is_capturing(stream)) {
        spoil_capture(stream);
        return failed(cudaErrorStreamCaptureUnsupported);
    }
    cudaError_t error = enqueue(stream, [=] { memmove(to, from, bytes); });
    /* With pageable memory the call is done with the host's buffer when it returns; with pinned memory it is not. */
    if (error == cudaSuccess && pageable) finish(stream);
    return error;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    Call call;
    if (cudaError_t error = forbidden_in_capture()) return failed(error);
    if (bytes == 0) return cudaSuccess;
    if (!direction_fits(to, from, bytes, kind)) return failed(cudaErrorInvalidValue);
    finish_blocking_streams();
    memmove(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream) {
    Call call;
    if (bytes == 0) return cudaSuccess;
    if (!is_device_memory(p, bytes)) return failed(cudaErrorInvalidValue);
    return enqueue(stream, [=] { memset(p, value, bytes); });
}
cudaError_t cudaMemset(void *p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, nullptr); }

} // extern "C"
