/* Where the time of a run goes, op by op: what kd_range_push and kd_range_pop bracket, kept as a Chrome trace. The
 * public face is in host/base/device.h. */
#ifndef KD_KERNELS_TRACE_H
#define KD_KERNELS_TRACE_H

#include <stdbool.h>

#include "kernels/ops/types.h"

typedef struct kd_trace kd_trace;

/* What goes on beside the ops, on a line of its own: from the first begin to the end that follows. */
void kd_trace_span_begin(kd_ctx *ctx, const char *name);
void kd_trace_span_end(kd_ctx *ctx);

/* Whether steps may be recorded now: not where ranges are kept, by this rank or another, since what is recorded is to
 * be recorded by all ranks. */
bool kd_trace_lets_record(const kd_ctx *ctx);

/* Frees what kd_trace_close did not write; NULL is allowed. */
void kd_trace_free(kd_trace *trace);

#endif
