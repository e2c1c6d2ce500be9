/* How fast ranks add up what they hold, as nccl-tests' all_reduce_perf reports it. */
#ifndef KD_BENCH_ALLREDUCE_H
#define KD_BENCH_ALLREDUCE_H

#include "host/ranks/collectives.h"

/* In-place float32 sums of 8 bytes to `most` bytes, checked, then timed `iterations` times each; rank 0 prints a table.
 * KD_ERR_ARGUMENT for a single rank, KD_ERR_CHECK after the table if a sum was wrong. */
kd_status kd_bench_allreduce(kd_comm *comm, kd_ctx *ctx, int64_t most, int64_t iterations);

#endif
