/* The CPU column of the op table: one file an op family in this folder, the same contracts as kernels/ops/. */
#ifndef KD_KERNELS_CPU_H
#define KD_KERNELS_CPU_H

#include "kernels/ctx.h"

extern const kd_ops kd_cpu_ops;

#define KD_OP(name) kd_##name##_fn kd_cpu_##name;
#include "kernels/ops/ops.def"

#endif
