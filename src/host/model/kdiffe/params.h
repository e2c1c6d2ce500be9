/* The model's parameters in one flat device buffer: values, gradients and Adam moments, so that one launch updates all.
 */
#ifndef KD_KDIFFE_PARAMS_H
#define KD_KDIFFE_PARAMS_H

#include "host/config/config.h"
#include "host/ranks/layout.h"
#include "kernels/pool.h"

enum { KD_MAX_PARAMS = 6 + 2 * KD_MAX_MODALITIES };

/* What the parameters' shapes follow from. Ranks may divide the tables of users, items and entities, and all that is
 * made of them, by columns: then a row's `local_dim` columns from `column` on are local, and the rows `item` of the
 * features; all other parameters are whole on every rank. */
typedef struct kd_model_shape {
    int64_t users, items, entities, relations; /* relations counts the inverse ones */
    int64_t local_dim, dim, column;            /* dim: columns of a whole row */
    kd_range item;                             /* items whose features are local */
    int64_t modalities;
    int64_t feature_width[KD_MAX_MODALITIES];
    bool linear[KD_MAX_MODALITIES]; /* X W + b; else LeakyReLU_0.2(X W) */
    char modality[KD_MAX_MODALITIES][64];
} kd_model_shape;

/* The items among the columns of the knowledge graph's denoiser, as ranks divide those. */
static inline kd_share kd_share_guided(const kd_model_shape *s) {
    return (kd_share){.count = s->items, .unit = 4, .over = s->entities};
}

static inline bool kd_is_divided(const kd_model_shape *s) { return s->local_dim < s->dim; }

/* Tables lie next to each other; every other tensor begins at a multiple of KD_TENSOR_FLOATS, after zeros that nothing
 * reads and that have no gradient. */
typedef struct kd_params {
    int64_t count; /* floats of one copy, zeros between tensors included */
    float *value, *gradient, *m, *v;
    /* matrices inside value; kd_gradient_of gives the same place in gradient */
    kd_mat user, item;                   /* adjacent: user is followed by item */
    kd_mat entity;                       /* follows item; from relation on all are whole on every rank */
    kd_mat relation, rgat_w;             /* rgat_w [2 dim, dim] */
    kd_mat modal_weight;                 /* [1, modalities] */
    kd_mat feature_w[KD_MAX_MODALITIES]; /* [F, dim] */
    kd_mat feature_b[KD_MAX_MODALITIES]; /* [1, dim]; data NULL for a matrix transform */
    int64_t entries;
    struct {
        char name[96]; /* the published name */
        kd_mat value;
        bool divided; /* only the local columns */
    } entry[KD_MAX_PARAMS];
} kd_params;

/* Lays the parameters out in `pool` (which may be counting). */
kd_status kd_params_allocate(kd_pool *pool, const kd_model_shape *shape, kd_params *out);

/* Initial values of docs/model.md#initial-values: xavier uniform tables, rgat W with gain sqrt(2), linear transforms
 * +-1/sqrt(F), modal weights 1/modalities; keyed (seed, tensor, row, column). */
kd_status kd_params_init(kd_ctx *ctx, uint64_t seed, const kd_model_shape *shape, kd_params *params);

/* The gradient of a matrix of params->value. */
static inline kd_mat kd_gradient_of(const kd_params *params, kd_mat value) {
    if (value.data) value.data = params->gradient + (value.data - params->value);
    return value;
}

/* [user ; item] as one matrix. */
static inline kd_mat kd_params_nodes(const kd_params *params) {
    return kd_mat_make(params->user.data, params->user.rows + params->item.rows, params->user.cols);
}

/* One Adam step (0.9, 0.999, 1e-8) on all of them, after *steps earlier ones; gradients are left as they are. */
kd_status kd_params_adam(kd_ctx *ctx, double lr, const int64_t *steps, kd_params *params);

#endif
