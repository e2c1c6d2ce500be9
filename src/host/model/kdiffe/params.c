#include "host/model/kdiffe/params.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/memory.h"
#include "host/model/blocks.h"

/* Users, items and entities: [user ; item] is read as one matrix. */
enum { TABLES = 3 };

typedef struct layout {
    kd_params *params;
    kd_mat *named[KD_MAX_PARAMS]; /* of every entry the matrix, and where in a copy it begins */
    int64_t first[KD_MAX_PARAMS];
    int64_t used;
} layout;

static bool pads(layout *l) {
    if (l->used > INT64_MAX - KD_TENSOR_FLOATS) return false;
    l->used = kd_tensor_floats(l->used);
    return true;
}

/* Takes rows x cols floats; positions become pointers once the buffer is there. */
static kd_status take(layout *l, int64_t rows, int64_t cols, const char *prefix, const char *suffix, kd_mat *out) {
    int64_t size, entry = l->params->entries++;
    bool fits = entry < TABLES || pads(l);
    l->first[entry] = l->used;
    l->named[entry] = out;
    if (!fits || __builtin_mul_overflow(rows, cols, &size) || __builtin_add_overflow(l->used, size, &l->used))
        return KD_FAIL(KD_ERR_MEMORY, "parameters: %s%s does not fit in any memory", prefix, suffix);
    *out = kd_mat_make(NULL, rows, cols);
    l->params->entry[entry].value = *out;
    snprintf(l->params->entry[entry].name, sizeof l->params->entry[entry].name, "%s%s", prefix, suffix);
    return KD_OK;
}

static kd_status take_all(layout *l, const kd_model_shape *s) {
    kd_params *p = l->params;
    KD_OR_RETURN(take(l, s->users, s->local_dim, "uEmbeds", "", &p->user));
    KD_OR_RETURN(take(l, s->items, s->local_dim, "iEmbeds", "", &p->item));
    KD_OR_RETURN(take(l, s->entities, s->local_dim, "eEmbeds", "", &p->entity));
    for (int64_t i = 0; i < p->entries; i++) p->entry[i].divided = kd_is_divided(s);
    KD_OR_RETURN(take(l, s->relations, s->dim, "rEmbeds", "", &p->relation));
    KD_OR_RETURN(take(l, 2 * s->dim, s->dim, "rgat.W", "", &p->rgat_w));
    if (s->modalities > 0) KD_OR_RETURN(take(l, 1, s->modalities, "modal_weight", "", &p->modal_weight));
    for (int64_t m = 0; m < s->modalities; m++) {
        KD_OR_RETURN(take(l, s->feature_width[m], s->dim, s->modality[m], s->linear[m] ? "_trans.weight" : "_trans",
                          &p->feature_w[m]));
        if (s->linear[m]) KD_OR_RETURN(take(l, 1, s->dim, s->modality[m], "_trans.bias", &p->feature_b[m]));
    }
    return KD_OK;
}

/* Gives every entry, and the matrix of that name, its place in the buffer. */
static void place(const layout *l) {
    for (int64_t i = 0; i < l->params->entries; i++)
        l->named[i]->data = l->params->entry[i].value.data = l->params->value + l->first[i];
}

kd_status kd_params_allocate(kd_pool *pool, const kd_model_shape *shape, kd_params *out) {
    *out = (kd_params){0};
    layout l = {.params = out};
    int64_t four;
    KD_OR_RETURN(take_all(&l, shape));
    if (!pads(&l) || __builtin_mul_overflow(l.used, 4, &four))
        return KD_FAIL(KD_ERR_MEMORY, "parameters: do not fit in any memory");
    out->count = l.used;
    kd_status status = kd_pool_alloc(pool, four, sizeof(float), "parameters", &out->value);
    if (status != KD_OK || !out->value) return status;
    out->gradient = out->value + l.used;
    out->m = out->gradient + l.used;
    out->v = out->m + l.used;
    place(&l);
    return KD_OK;
}

kd_status kd_params_init(kd_ctx *ctx, uint64_t seed, const kd_model_shape *shape, kd_params *p) {
    float *host;
    KD_OR_RETURN(kd_host_alloc(&host, p->count, sizeof *host, "initial parameters"));
    for (int64_t i = 0; i < p->entries; i++) {
        kd_mat value = p->entry[i].value;
        float *at = host + (value.data - p->value);
        bool divided = p->entry[i].divided;
        double bound = kd_xavier_bound(value.rows, divided ? shape->dim : value.cols);
        if (value.data == p->rgat_w.data) bound *= sqrt(2.0);
        for (int64_t m = 0; m < shape->modalities; m++)
            if (shape->linear[m] && (value.data == p->feature_w[m].data || value.data == p->feature_b[m].data))
                bound = 1.0 / sqrt((double)shape->feature_width[m]);
        kd_uniform_fill(at, value, divided ? shape->column : 0, bound, seed, (uint32_t)i);
        if (shape->modalities > 0 && value.data == p->modal_weight.data)
            for (int64_t m = 0; m < shape->modalities; m++) at[m] = (float)(1.0 / (double)shape->modalities);
    }
    kd_status status = kd_upload(ctx, p->value, host, p->count * (int64_t)sizeof(float));
    free(host);
    return status;
}

kd_status kd_params_adam(kd_ctx *ctx, double lr, const int64_t *steps, kd_params *params) {
    const kd_adam_config adam = {lr, 0.9, 0.999, 1e-8};
    return kd_adam(ctx, &(kd_adam_args){.config = &adam,
                                        .steps = steps,
                                        .n = params->count,
                                        .p = params->value,
                                        .g = params->gradient,
                                        .m = params->m,
                                        .v = params->v});
}
