/* The CPU column of the op table: the same contracts as kernels/ops/, one file a group of ops, which has the same name
 * in both columns. */
#ifndef KD_KERNELS_CPU_H
#define KD_KERNELS_CPU_H

#include "kernels/ctx.h"

extern const kd_ops kd_cpu_ops;

#define KD_OP(name) kd_##name##_fn kd_cpu_##name;
#include "kernels/ops/ops.def"

#endif
