/* Where the time of a run goes, op by op: what kd_range_push and kd_range_pop bracket, kept as a Chrome trace. */
#ifndef KD_KERNELS_TRACE_H
#define KD_KERNELS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"
#include "kernels/ops/types.h"

typedef struct kd_trace kd_trace;

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

/* What goes on beside the ops, on a line of its own: from the first begin to the end that follows. */
void kd_trace_span_begin(kd_ctx *ctx, const char *name);
void kd_trace_span_end(kd_ctx *ctx);

/* Whether steps may be recorded now: not where ranges are kept, by this rank or another, since what is recorded is to
 * be recorded by all ranks. */
bool kd_trace_lets_record(const kd_ctx *ctx);

/* Frees what kd_trace_close did not write; NULL is allowed. */
void kd_trace_free(kd_trace *trace);

#endif
