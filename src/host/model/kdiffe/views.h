/* The views of users and items (docs/model.md#views) and their gradients. All views of a pass lie side by side in one
 * stack, so that one wide sparse product serves them all. */
#ifndef KD_KDIFFE_VIEWS_H
#define KD_KDIFFE_VIEWS_H

#include "host/model/kdiffe/graphs.h"
#include "host/model/kdiffe/rgat.h"
#include "host/ranks/layout.h"

/* Which column block of the stack holds which view; -1: the run has no such view. First the views that are read at
 * every node, as keys of the contrast; from `multimodal` on those that a training step reads at the batch's nodes only.
 * The main KG view and the multimodal one, which make the score, lie side by side, so that their concatenation is one
 * matrix. */
typedef struct kd_view_slots {
    int64_t count;
    int64_t modality; /* contrastive view of modality 0; the others follow */
    int64_t kg;       /* main KG view */
    int64_t multimodal;
    int64_t second_kg; /* full-graph KG view with its own dropout mask: an anchor of cl_method 1 */
    int64_t score;     /* number of slots, from kg on, whose concatenation scores */
} kd_view_slots;

typedef struct kd_views_config {
    int64_t gnn_layers, kg_hops;
    double res_lambda, ris_adj_lambda, mess_dropout;
    bool multimodal, modality_views, second_kg;
    bool naive_rows;  /* computed, whether it is read or not */
    bool naive_views; /* a product for each modality and each view */
} kd_views_config;

/* Settings that follow from the configuration and the number of modalities. */
kd_views_config kd_views_configure(const kd_config *config, int64_t modalities);

/* Nodes: the keys of two groups, user rows and item rows; or, both NULL, all. */
typedef struct kd_nodes {
    const kd_groups *users, *items;
} kd_nodes;

typedef struct kd_views {
    kd_views_config config;
    kd_model_shape shape;
    kd_view_slots slots;
    kd_rgat rgat;
    kd_rgat_pass main, second;
    kd_nodes read;   /* where the last forward pass computed the slots from `multimodal` on */
    kd_mat input;    /* [nodes, slots * local_dim] Z of each slot */
    kd_mat output;   /* [nodes, slots * local_dim] the views */
    kd_mat doutput;  /* their gradients: the losses write here */
    kd_mat layer;    /* [nodes, slots * local_dim] the other end of the layers' ping-pong */
    kd_mat mixed;    /* [nodes, local_dim] uE ; softmax-weighted unit features */
    kd_mat spread;   /* [nodes, local_dim] users of P ; iE */
    kd_mat residual; /* [nodes, local_dim] unit rows of Z, and their norms */
    float *residual_norm;
    kd_mat node_scratch, dmixed, dspread; /* [nodes, local_dim] */
    kd_mat dentity;                       /* [entities, local_dim] scratch, where every row is computed */
    float *share, *dshare;                /* [modalities] softmax(w) */
    struct {
        kd_mat feature;   /* [local items, width], the data */
        kd_mat nodes;     /* [nodes, local_dim] uE ; unit rows of the transformed features */
        kd_mat unit;      /* [local items, dim] those rows where columns are divided, else not there */
        float *norm;      /* [local items] */
        kd_mat neighbour; /* [nodes, local_dim] A_m [uE ; iE] */
        kd_mat gradient;  /* [items, local_dim] of the unit rows */
    } modality[KD_MAX_MODALITIES];
    kd_comm *comm;       /* NULL: one rank */
    kd_split split;      /* of divided columns, as kd_views_split has it */
    kd_layout layout;    /* divided columns to whole rows and back */
    kd_mat feature_rows; /* [local items, dim] scratch */
} kd_views;

/* Not to be copied afterwards. */
kd_status kd_views_allocate(kd_pool *pool, kd_comm *comm, const kd_model_shape *shape, const kd_graph_sizes *sizes,
                            const kd_views_config *config, kd_views *out);

/* Bytes of workspace that forward and backward need; a pass's groups have room for twice the batch at most. */
int64_t kd_views_workspace(const kd_model_shape *shape, const kd_graph_sizes *sizes, int64_t batch);

/* How the views' columns are divided over the ranks; NULL: not. */
static inline const kd_split *kd_views_split(const kd_views *views) {
    return kd_is_divided(&views->shape) ? &views->split : NULL;
}

/* One forward pass: output = the views. training: dropout on, keyed (seed, step + *clock), every slot, and where
 * `batch` names nodes only these rows of the slots that are read there only; else only the score slots and no dropout.
 * main_kg: the graph of the main KG view; the second one always walks graphs->capped. */
typedef struct kd_view_pass {
    bool training;
    const kd_kg *main_kg;
    kd_nodes batch;
    uint64_t seed;
    int64_t step;
    const int64_t *clock; /* on the device, or NULL */
} kd_view_pass;
kd_status kd_views_forward(kd_ctx *ctx, const kd_params *params, const kd_graphs *graphs, const kd_view_pass *pass,
                           kd_views *views);

/* After a training forward pass: doutput (all slots; overwritten) flows back; parameter gradients += . They are sums
 * over the ranks of views->comm then; those of the knowledge graph's side are summed while the rest is made. */
kd_status kd_views_backward(kd_ctx *ctx, const kd_params *params, const kd_graphs *graphs, kd_views *views);

/* The multimodal slot's input from the modalities' nodes, and, given its gradient dz, their unit features' gradients
 * (=) and those of the parameters (+=). */
kd_status kd_multimodal_forward(kd_ctx *ctx, const kd_params *params, const kd_graphs *graphs, kd_views *views);
kd_status kd_multimodal_backward(kd_ctx *ctx, const kd_params *params, const kd_graphs *graphs, kd_views *views,
                                 kd_mat dz);

/* The same modality by modality, for `naive: views`. */
kd_status kd_naive_views_forward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v);
kd_status kd_naive_views_backward(kd_ctx *ctx, const kd_params *p, const kd_graphs *g, kd_views *v, kd_mat dz);

/* [local items, dim] unit rows of modality m's transformed features, in whole rows. */
static inline kd_mat kd_unit_features(const kd_views *views, int64_t m) {
    return kd_is_divided(&views->shape) ? views->modality[m].unit
                                        : kd_mat_rows(views->modality[m].nodes, views->shape.users, views->shape.items);
}

/* kd_unit_rows_forward and _backward without dropout for some nodes of matrices [nodes, local_dim]. */
kd_status kd_node_units(kd_ctx *ctx, const kd_views *views, kd_nodes nodes, kd_mat x, kd_mat y, float *norm);
/* of: as of all nodes; its split and `only` are not read. */
kd_status kd_node_units_backward(kd_ctx *ctx, const kd_views *views, kd_nodes nodes,
                                 const kd_unit_rows_backward_args *of);

/* kd_gcn of stacked views in one wide product a layer. */
kd_status kd_stack_gcn(kd_ctx *ctx, const kd_views *views, kd_csr a, kd_mat x, kd_mat y);

/* A column block of a stack. */
static inline kd_mat kd_slot(const kd_views *views, kd_mat stack, int64_t slot) {
    return kd_mat_cols(stack, slot * views->shape.local_dim, views->shape.local_dim);
}

/* The columns of a stack that make the score. */
static inline kd_mat kd_score_of(const kd_views *views, kd_mat stack) {
    return kd_mat_cols(stack, views->slots.kg * views->shape.local_dim, views->slots.score * views->shape.local_dim);
}

/* The user rows and the item rows of a matrix over all nodes. */
static inline kd_mat kd_users_of(const kd_views *views, kd_mat nodes) {
    return kd_mat_rows(nodes, 0, views->shape.users);
}
static inline kd_mat kd_items_of(const kd_views *views, kd_mat nodes) {
    return kd_mat_rows(nodes, views->shape.users, views->shape.items);
}

/* out [items.count, dim] = f_m of docs/model.md#feature-transform of some of the local items, not
 * normalised: X W + b, or LeakyReLU_0.2(X W). */
kd_status kd_feature_transform(kd_ctx *ctx, const kd_params *params, const kd_views *views, int64_t m, kd_range items,
                               kd_mat out);

#endif
