/* What follows from data and configuration: shapes, edges, how ranks divide them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/model/blocks.h"
#include "host/model/kdiffe/kdiffe.h"

static bool linear_transform(int64_t trans, const char *modality) {
    return trans == 1 || (trans == 2 && strcmp(modality, "image") != 0);
}

/* Each rank holds some columns of the tables, and of the features the rows of the items whose columns the modality
 * denoisers have locally. */
static kd_status divide_columns(kd_kdiffe_plan *m) {
    kd_model_shape *s = &m->shape;
    int64_t ranks = kd_comm_ranks(m->base.comm);
    kd_range own = kd_comm_share(m->base.comm, kd_share_table(s->dim, ranks));
    if (ranks > s->dim)
        return KD_FAIL(KD_ERR_ARGUMENT, "shard: %lld ranks: at most one for each of dim's %lld columns",
                       (long long)ranks, (long long)s->dim);
    s->column = own.first;
    s->local_dim = own.count;
    s->item = m->sizes.items;
    return KD_OK;
}

static kd_status shape_of(const kd_config *c, const kd_dataset *data, kd_kdiffe_plan *m) {
    kd_model_shape *s = &m->shape;
    if (data->modality_count > KD_MAX_MODALITIES)
        return KD_FAIL(KD_ERR_ARGUMENT, "data: %lld modalities, at most %d", (long long)data->modality_count,
                       (int)KD_MAX_MODALITIES);
    if (c->kg_hops > KD_MAX_HOPS) return KD_FAIL(KD_ERR_ARGUMENT, "kg_hops: at most %d", (int)KD_MAX_HOPS);
    if (c->sampling_steps > c->steps)
        return KD_FAIL(KD_ERR_ARGUMENT, "sampling_steps: at most steps (%lld)", (long long)c->steps);
    if (c->q > data->items)
        return KD_FAIL(KD_ERR_ARGUMENT, "q: %lld, but there are %lld items", (long long)c->q, (long long)data->items);
    KD_OR_RETURN(c->use.kg ? kd_kg_edges_build(data, c->kg.id_space, &m->full) : kd_kg_edges_empty(data, &m->full));
    KD_OR_RETURN(kd_kg_edges_cap(&m->full, c->triplet_num, c->seed, &m->capped));
    *s = (kd_model_shape){.users = data->users,
                          .items = data->items,
                          .entities = m->full.entities,
                          .relations = m->full.relations,
                          .local_dim = c->dim,
                          .dim = c->dim,
                          .item = {0, data->items},
                          .modalities = c->use.multimodal || c->use.contrastive ? data->modality_count : 0};
    for (int64_t i = 0; i < s->modalities; i++) {
        s->feature_width[i] = data->modalities[i].width;
        s->linear[i] = linear_transform(c->trans, data->modalities[i].name);
        snprintf(s->modality[i], sizeof s->modality[i], "%s", data->modalities[i].name);
    }
    m->sizes = (kd_graph_sizes){.interactions = data->train.count,
                                .kg_edges = m->full.count,
                                .kg_capped_edges = m->capped.count,
                                .q = c->q,
                                .items = kd_comm_share(m->base.comm, kd_share_columns(s->items)),
                                .entities = kd_comm_share(m->base.comm, kd_share_columns(s->entities))};
    if (c->shard && m->base.comm) KD_OR_RETURN(divide_columns(m));
    m->sizes.local_interactions = kd_count_in(m->sizes.items, data->train.count, data->train.item);
    m->sizes.local_kg_edges = kd_count_in(m->sizes.entities, m->full.count, m->full.tail);
    m->denoises_modalities = s->modalities > 0;
    m->denoises_kg = m->full.count > 0 && c->use.generated_kg;
    return KD_OK;
}

kd_status kd_kdiffe_plan_make(const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_plan **out) {
    kd_kdiffe_plan *plan;
    *out = NULL;
    KD_OR_RETURN(kd_host_alloc(&plan, 1, sizeof *plan, "plan"));
    plan->base = (kd_plan){&kd_kdiffe_kind, config, data, comm};
    *out = &plan->base;
    return shape_of(config, data, plan);
}

void kd_kdiffe_plan_free(kd_plan *base) {
    kd_kdiffe_plan *plan = (kd_kdiffe_plan *)base;
    if (!plan) return;
    kd_kg_edges_free(&plan->full);
    kd_kg_edges_free(&plan->capped);
    free(plan);
}
