/* Which compilation of the CPU column computes. The Makefile compiles src/kernels/cpu once for each level of the
 * instruction set - on x86-64 v2 (SSE4.2), v3 (AVX2, FMA) and v4 (AVX-512), elsewhere `native` alone - and each has an
 * op table of its own. */
#ifndef KD_KERNELS_CPU_LEVEL_H
#define KD_KERNELS_CPU_LEVEL_H

#include <stdbool.h>

#include "kernels/ops.h"

typedef struct kd_cpu_level {
    const char *name; /* "v3" */
    const kd_ops *ops;
} kd_cpu_level;

/* Whether this machine can run code of a level. */
bool kd_cpu_level_runs(const char *name);

/* Whether this machine has dot products of bf16 pairs (AVX-512 BF16). */
bool kd_cpu_has_bf16(void);

/* The highest level of this build that this machine can run, or the one that KDIFFE_CPU names. KD_ERR_ARGUMENT: that is
 * not among them, or none is. */
kd_status kd_cpu_level_choose(const kd_cpu_level **out);

#endif
