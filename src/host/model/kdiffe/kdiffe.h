/* KDiffE: its plan, everything it holds on the device, and the stages of an epoch that are its own. */
#ifndef KD_KDIFFE_KDIFFE_H
#define KD_KDIFFE_KDIFFE_H

#include "host/model/kdiffe/denoiser.h"
#include "host/model/kdiffe/losses.h"
#include "host/model/kdiffe/views.h"
#include "host/model/model.h"

extern const kd_model_kind kd_kdiffe_kind;

typedef struct kd_kdiffe_plan {
    kd_plan base;
    kd_model_shape shape;
    kd_graph_sizes sizes;
    bool denoises_modalities, denoises_kg;
    kd_kg_edges full, capped; /* every edge, and at most triplet_num of each head */
} kd_kdiffe_plan;

/* The tables that guide the denoisers; constants of a phase. */
typedef struct kd_guidance_tables {
    kd_mat projection;  /* [items among the denoiser's local columns, dim] f_m, or Y^T uE for the KG */
    kd_mat item_sum;    /* [items, local_dim] Y^T uE where columns are divided, else not there */
    kd_mat target;      /* [users, local_dim] x0 iE */
    float *user_mean;   /* [users] mean over dim of uE */
    float *entity_mean; /* [entities] what guides an entity's row */
} kd_guidance_tables;

typedef struct kd_kdiffe {
    kd_model base;
    const kd_kdiffe_plan *plan;
    kd_params params;
    kd_graphs graphs;
    kd_views views;
    kd_step_losses losses;
    kd_mat ranked_item; /* [local items, score slots * dim] where columns are divided: whole rows of what ranks */
    kd_diffusion_scratch diffusion;
    kd_denoiser modality_denoiser[KD_MAX_MODALITIES], kg_denoiser;
    kd_guidance_tables guidance;
    int32_t *top; /* [max(users, entities), q] sampled columns */
    int32_t *row; /* 0, 1, 2, ...: rows of the reverse chain */
} kd_kdiffe;

/* The model behind the seam; it must be one of kd_kdiffe_kind. */
static inline kd_kdiffe *kd_kdiffe_of(kd_model *model) { return (kd_kdiffe *)model; }
static inline const kd_kdiffe *kd_kdiffe_of_const(const kd_model *model) { return (const kd_kdiffe *)model; }
static inline const kd_kdiffe_plan *kd_kdiffe_plan_of(const kd_plan *plan) { return (const kd_kdiffe_plan *)plan; }

/* As kd_model_kind has them. */
kd_status kd_kdiffe_plan_make(const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_plan **out);
void kd_kdiffe_plan_free(kd_plan *plan);
kd_status kd_kdiffe_allocate(const kd_plan *plan, kd_pool *pool, kd_model **out);
void kd_kdiffe_free(kd_model *model);
int64_t kd_kdiffe_workspace(const kd_model *model);
kd_status kd_kdiffe_fill(kd_model *model, const kd_bipartite *graph, const float *similarity);
void kd_kdiffe_arrays(kd_model *model, kd_position at, kd_run_arrays *out);

/* The graph of the main KG view in training: the capped full graph, or the generated one. */
const kd_kg *kd_kdiffe_train_kg(const kd_kdiffe *model);
/* The graph of evaluation: the generated one where there is one. */
const kd_kg *kd_kdiffe_eval_kg(const kd_kdiffe *model);

/* The views that the last forward pass has left, as the ranker takes them. */
kd_status kd_kdiffe_ranked(const kd_kdiffe *model, kd_ranked *out);

/* The stages: each modality's denoiser trains on every user row once; the knowledge graph's on every entity row; then
 * all rows are sampled, and every A_m and the generated knowledge graph rebuilt. Losses are mean row losses. */
kd_status kd_denoise_modalities(kd_model *model, kd_loop *loop, int64_t epoch);
kd_status kd_denoise_kg(kd_model *model, kd_loop *loop, int64_t epoch);
kd_status kd_rebuild_graphs(kd_model *model, kd_loop *loop, int64_t epoch);

/* Fill the guidance tables from the present parameters and say how they guide modality i's denoiser or the knowledge
 * graph's. kd_guide_kg also sets guidance.entity_mean by config->guidance. */
kd_status kd_guide_modality(kd_kdiffe *model, int64_t i, kd_denoiser_guidance *out);
kd_status kd_guide_kg(kd_kdiffe *model, kd_denoiser_guidance *out);

/* guidance.user_mean = the mean of every user's row: what guides a user's row when it is sampled. */
kd_status kd_guide_users(kd_kdiffe *model);

#endif
