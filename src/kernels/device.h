/* The compute context: which backend runs the ops, its stream, its threads. Chosen once, at start. */
#ifndef KD_KERNELS_DEVICE_H
#define KD_KERNELS_DEVICE_H

#include "host/base/error.h"
#include "kernels/compute.h"

typedef struct kd_ctx kd_ctx;

/* Opens the backend for compute.device. KD_DEVICE_AUTO: CUDA where it is built in and usable, else the CPU, and
 * kd_ctx_describe says why. KD_ERR_ARGUMENT for CUDA that is not to be had, or a precision that the backend has not. */
kd_status kd_ctx_open(kd_compute compute, kd_ctx **out);

/* Numbers of threads that OpenMP and OpenBLAS take, which are the process's: a context sets both when it is opened.
 * Where several are at work in turn, each takes its own before it computes, and a library puts back what it found. */
typedef struct kd_threads {
    int openmp, blas;
} kd_threads;
kd_threads kd_threads_now(void);
void kd_threads_set(kd_threads threads);
void kd_ctx_use_threads(const kd_ctx *ctx);

/* GPUs that this build can see; 0 without CUDA. */
int64_t kd_gpu_count(void);

/* Waits for outstanding work and frees the context; NULL is allowed. */
void kd_ctx_close(kd_ctx *ctx);

/* Whether its memory is a GPU's. */
bool kd_ctx_is_gpu(const kd_ctx *ctx);

/* The number of the wait for other ranks that is under way, 0 if none is. From any thread. */
int64_t kd_ctx_waiting(const kd_ctx *ctx);

/* One line for logs: backend, device name, threads, level of the instruction set, BLAS. Valid until the context is
 * closed. */
const char *kd_ctx_describe(const kd_ctx *ctx);

#endif
