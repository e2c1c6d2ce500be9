/* The op table: every computation of the model goes through one of these entries, and each backend fills them all.
 * Contracts stand beside the function types in kernels/ops/. Model code calls kd_<op>(ctx, ...), which checks the
 * shapes (kernels/checks.c) and forwards to the backend's entry; it never asks which backend that is. */
#ifndef KD_KERNELS_OPS_H
#define KD_KERNELS_OPS_H

#include "kernels/ops/dense.h"
#include "kernels/ops/diffusion.h"
#include "kernels/ops/graph.h"
#include "kernels/ops/loss.h"
#include "kernels/ops/memory.h"
#include "kernels/ops/rank.h"
#include "kernels/ops/walk.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kd_ops {
    const char *name; /* "cpu" or "cuda" */
#define KD_OP(name) kd_##name##_fn *name;
#include "kernels/ops/ops.def"
    int64_t bf16_room; /* bytes of ctx->bf16_room that a CPU column's products in bf16 pack into; 0: it has none */
} kd_ops;

/* Checked entry points. */
#define KD_OP(name) kd_##name##_fn kd_##name;
#define KD_OP_UNCHECKED(name)
#include "kernels/ops/ops.def"

#ifdef __cplusplus
}
#endif
#endif
