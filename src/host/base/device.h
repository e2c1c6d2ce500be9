/* The compute context: which backend runs the ops, its stream, its threads. Chosen once, at start. */
#ifndef KD_BASE_DEVICE_H
#define KD_BASE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"

typedef struct kd_ctx kd_ctx;

typedef enum kd_device { KD_DEVICE_AUTO, KD_DEVICE_CPU, KD_DEVICE_CUDA } kd_device;
typedef enum kd_precision { KD_PRECISION_FP32, KD_PRECISION_TF32, KD_PRECISION_BF16 } kd_precision;

/* How to compute; a run takes it from its configuration (kd_compute_of). */
typedef struct kd_compute {
    kd_device device;
    int64_t threads; /* of the host; 0: every core */
    kd_precision precision;
    bool any_order;     /* GPU sums may take algorithms whose order depends on timing */
    int64_t sharing;    /* ranks of the job that share the cores which this process may use; 0: it is no rank */
    int64_t local_rank; /* of the machine's ranks: it takes the GPU of that number, round again beyond the last */
} kd_compute;

/* Opens the backend for compute.device. KD_DEVICE_AUTO: CUDA where it is built in and usable, else the CPU, and
 * kd_ctx_describe says why. KD_ERR_ARGUMENT for CUDA that is not to be had, or a precision that the backend has not. */
kd_status kd_ctx_open(kd_compute compute, kd_ctx **out);

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

/* From now on keeps every op and stage, to be written as a Chrome trace (also read by Perfetto) by kd_trace_close:
 * name, begin and duration in microseconds. Each op is waited for, and steps are not replayed from recordings: a run
 * with a trace is slower on a GPU. KD_ERR_MEMORY; KD_ERR_IO if the file cannot be made. */
kd_status kd_trace_open(kd_ctx *ctx, const char *path);

/* Another rank of the job keeps a trace: this one, too, does not replay its steps meanwhile. */
void kd_trace_elsewhere(kd_ctx *ctx);

/* Writes the file, whole or not at all, and ends the trace; nothing to do where there is none. KD_ERR_IO. */
kd_status kd_trace_close(kd_ctx *ctx);

/* Profiles and traces only the training steps first .. last - 1, counted from the run's first. */
void kd_profile_window(kd_ctx *ctx, int64_t first, int64_t last);

/* To be called before each training step, and with INT64_MAX after the last. */
void kd_profile_step(kd_ctx *ctx, int64_t step);

#endif
