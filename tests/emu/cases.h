/* The stand-in's own tests: what test_emu.cc (kernels), test_runtime.cc (streams, memory, libraries),
 * test_nccl.cc and test_peers.cc (several ranks) share. */
#ifndef KD_EMU_CASES_H
#define KD_EMU_CASES_H

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

/* Something the stand-in does, done right or with the bug that the name says; whether the result is the right one.
 * Cases without a bug ignore the argument. */
struct Case {
    const char *name;
    bool (*right)(bool bug);
};
extern const std::vector<Case> kernel_cases, runtime_cases, rank_cases, peer_cases;

/* A rank that was started as a program of its own: its exit code. id: in hexadecimal digits. */
int run_rank(const char *id, int rank, int ranks);

#define TRY(call)                                                                                       \
    do {                                                                                                \
        cudaError_t try_error = (call);                                                                 \
        if (try_error != cudaSuccess) {                                                                 \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(try_error)); \
            exit(2);                                                                                    \
        }                                                                                               \
    } while (0)

/* An array on the device. */
template <class T> struct Device {
    T *p = nullptr;
    size_t count;
    explicit Device(size_t n) : count(n) { TRY(cudaMalloc((void **)&p, n * sizeof(T))); }
    explicit Device(const std::vector<T> &from) : Device(from.size()) {
        TRY(cudaMemcpy(p, from.data(), count * sizeof(T), cudaMemcpyHostToDevice));
    }
    Device(const Device &) = delete;
    ~Device() { cudaFree(p); }
    /* After all work: what it holds. */
    std::vector<T> get() const {
        std::vector<T> values(count);
        TRY(cudaGetLastError());
        TRY(cudaDeviceSynchronize());
        TRY(cudaMemcpy(values.data(), p, count * sizeof(T), cudaMemcpyDeviceToHost));
        return values;
    }
};

/* Page-locked memory of the host. */
template <class T> struct Pinned {
    T *p = nullptr;
    explicit Pinned(size_t n) { TRY(cudaMallocHost((void **)&p, n * sizeof(T))); }
    Pinned(const Pinned &) = delete;
    ~Pinned() { cudaFreeHost(p); }
};

struct Stream {
    cudaStream_t s = nullptr;
    Stream() { TRY(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking)); }
    Stream(const Stream &) = delete;
    ~Stream() { cudaStreamDestroy(s); }
};

struct Happening {
    cudaEvent_t e = nullptr;
    Happening() { TRY(cudaEventCreateWithFlags(&e, cudaEventDisableTiming)); }
    Happening(const Happening &) = delete;
    ~Happening() { cudaEventDestroy(e); }
};

#endif
