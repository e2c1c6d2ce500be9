/* The compute context: which backend runs the ops, its stream, its threads. Chosen once, at start. */
#ifndef KD_UTIL_DEVICE_H
#define KD_UTIL_DEVICE_H

#include "host/config/config.h"

typedef struct kd_ctx kd_ctx;

/* Opens the backend for `device` (KD_DEVICE_AUTO: CUDA where built and usable, else the CPU). threads 0: every core.
 * KD_ERR_ARGUMENT for CUDA in a build without it, or a precision that the backend has not. */
kd_status kd_ctx_open(kd_device device, int64_t threads, kd_precision precision, kd_ctx **out);

/* Waits for outstanding work and frees the context; NULL is allowed. */
void kd_ctx_close(kd_ctx *ctx);

/* One line for logs: backend, device name, threads, BLAS. Valid until the context is closed. */
const char *kd_ctx_describe(const kd_ctx *ctx);

#endif
