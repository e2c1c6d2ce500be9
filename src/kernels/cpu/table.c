/* The CPU column. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm_bf16.h"

const kd_ops kd_cpu_ops = {
    .name = "cpu",
#define KD_OP(name) .name = kd_cpu_##name,
#include "kernels/ops/ops.def"
    .bf16_room = KD_BF16_ROOM,
};
