/* The CUDA column. */
#include "kernels/cuda/cuda.h"

extern "C" {
#define KD_OP(name) kd_##name##_fn kd_cuda_##name;
#include "kernels/ops/ops.def"
}

/* nvcc's C++ has no designators: the order is that of the list, which kd_ops has as well. */
extern const kd_ops kd_cuda_ops = {
    "cuda",
#define KD_OP(name) kd_cuda_##name,
#include "kernels/ops/ops.def"
    0, /* bf16_room: cuBLASLt's products need none */
};
