/* The reference: every op that computes as a plain loop in double precision, as its contract in kernels/ops/ says it,
 * on host memory. Nothing here is fast, and no trick of the columns is repeated. Tests and `kdiffe bench` run the same
 * calls on a context of its own and on a column's, and compare what is left behind; nothing else includes it, and the
 * library is without it. Unlike ops it may allocate: KD_ERR_MEMORY where it cannot. */
#ifndef KD_KERNELS_REF_H
#define KD_KERNELS_REF_H

#include "host/base/error.h"
#include "kernels/ctx.h"

/* A context whose computing ops are these; its plumbing is the CPU's. Numbers of threads stay as they are. kd_ctx_close
 * ends it. */
kd_status kd_ref_open(kd_ctx **out);

#define KD_OP(name) kd_##name##_fn kd_ref_##name;
#define KD_OP_PLUMBING(name)
#include "kernels/ops/ops.def"

static inline float *kd_ref_at(kd_mat m, int64_t row, int64_t col) { return m.data + row * m.ld + col; }
static inline double kd_ref_value(kd_csr a, int64_t entry) { return a.val ? a.val[entry] : 1.0; }

/* *out (a pointer variable) = [n] zeros, to be freed. */
kd_status kd_ref_zeros(int64_t n, int64_t size, void *out);

/* What an op accumulates into, in double, to be freed: the matrix's values, and back when the sums are done. */
kd_status kd_ref_widen(kd_mat m, double **sums);
void kd_ref_narrow(const double *sums, kd_mat m);

/* Draw `col` of row `row`: draws come by fours. */
uint32_t kd_ref_draw(const kd_rng *rng, int64_t row, int64_t col);

/* 1 / (1 - p) with probability 1 - p, else 0; 1 where p is 0. */
double kd_ref_dropout(const kd_rng *rng, int64_t row, int64_t col, float p);

/* Entry (row, col) of a, 0 where nothing is stored. */
double kd_ref_entry(kd_csr a, int64_t row, int64_t col);

/* Whether list [n] holds `wanted`. */
bool kd_ref_holds(const int32_t *list, int64_t n, int64_t wanted);

/* Positions 0 .. n - 1 of key [n], ordered by key; equals in their order. */
kd_status kd_ref_order(int64_t n, const uint64_t *key, int32_t *order);

#endif
