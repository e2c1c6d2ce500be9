/* Relation-aware graph attention over the knowledge graph, several hops (docs/model.md#relation-aware-attention). */
#ifndef KD_KDIFFE_RGAT_H
#define KD_KDIFFE_RGAT_H

#include "host/model/kdiffe/params.h"

#define KD_LEAKY_SLOPE 0.2f /* of every LeakyReLU of the model */

enum { KD_MAX_HOPS = 8 };

/* What one forward pass leaves for its backward pass. */
typedef struct kd_rgat_pass {
    int64_t hops;
    int64_t heads;            /* entities 0 .. heads - 1 are read after the last hop */
    kd_mat result;            /* [heads, local_dim]: res_lambda-weighted sum of the hops' rows */
    kd_mat rows[KD_MAX_HOPS]; /* [entities, local_dim] unit rows of each hop: the next hop's input */
    float *norm[KD_MAX_HOPS]; /* [entities] */
    float *logit[KD_MAX_HOPS], *alpha[KD_MAX_HOPS]; /* [edges] */
    const kd_kg *kg;                                /* set by the forward pass */
    float dropout;
    kd_rng rng;
} kd_rgat_pass;

/* What all passes share: relations projected by W, and scratch. */
typedef struct kd_rgat {
    double res_lambda;
    const kd_split *split;           /* NULL: whole rows */
    kd_mat head, tail, dhead, dtail; /* [relations, local_dim] rE W_top^T, rE W_bottom^T and their gradients */
    kd_mat agg, drows, de;           /* [entities, local_dim] scratch */
} kd_rgat;

kd_status kd_rgat_allocate(kd_pool *pool, const kd_model_shape *shape, kd_rgat *out);
kd_status kd_rgat_pass_allocate(kd_pool *pool, const kd_model_shape *shape, int64_t hops, int64_t heads, int64_t edges,
                                kd_rgat_pass *out);

/* Once a step, before the passes: projects the relations and zeroes their gradients. */
kd_status kd_rgat_begin(kd_ctx *ctx, const kd_params *params, kd_rgat *rgat);

/* pass->result = the heads' rows after all hops; dropout 0 outside training. `rng` is keyed further by hop. */
kd_status kd_rgat_pass_forward(kd_ctx *ctx, const kd_params *params, const kd_kg *kg, float dropout, const kd_rng *rng,
                               const kd_rgat *rgat, kd_rgat_pass *pass);

/* dresult [heads, local_dim] is overwritten; entity gradients += ; relation gradients are held in rgat. */
kd_status kd_rgat_pass_backward(kd_ctx *ctx, const kd_params *params, kd_mat dresult, kd_rgat *rgat,
                                kd_rgat_pass *pass);

/* Once a step, after the passes: gradients of W and rE += . */
kd_status kd_rgat_end(kd_ctx *ctx, const kd_params *params, const kd_rgat *rgat);

#endif
