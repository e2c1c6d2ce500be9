/* Host memory with overflow-checked sizes. Device memory comes from kd_alloc (kernels/ops.h). */
#ifndef KD_BASE_MEMORY_H
#define KD_BASE_MEMORY_H

#include <stdint.h>

#include "host/base/error.h"

/* *out = count * size zeroed bytes; KD_ERR_MEMORY (with `what` in the message) when it overflows or is not to be had,
 * KD_ERR_ARGUMENT for a negative count. count 0 gives a valid pointer that must be freed. Free with free(). */
kd_status kd_host_alloc(void *out, int64_t count, int64_t size, const char *what);

/* Grows *buffer (capacity *capacity elements of `size` bytes) so that `needed` elements fit; contents are kept. */
kd_status kd_host_grow(void *buffer, int64_t *capacity, int64_t needed, int64_t size, const char *what);

/* Bytes that the machine can still give without swapping; INT64_MAX where it does not say. */
int64_t kd_host_available(void);

#endif
