/* Everything a run holds on the device, laid out once before the first epoch. */
#ifndef KD_KDIFFE_MODEL_H
#define KD_KDIFFE_MODEL_H

#include "host/eval/ranker.h"
#include "host/model/kdiffe/denoiser.h"
#include "host/model/kdiffe/losses.h"
#include "host/model/kdiffe/views.h"
#include "host/train/train.h"

/* The tables that guide the denoisers; constants of a phase. */
typedef struct kd_guidance_tables {
    kd_mat projection;  /* [items among the denoiser's columns here, whole_dim] f_m, or Y^T uE for the KG */
    kd_mat item_sum;    /* [items, dim] Y^T uE where columns are divided, else not there */
    kd_mat target;      /* [users, dim] x0 iE */
    float *user_mean;   /* [users] mean over dim of uE */
    float *entity_mean; /* [entities] what guides an entity's row */
} kd_guidance_tables;

/* The place between two steps of a run: before batch `batch` of part `part` (a denoiser) of a stage of an epoch. */
typedef struct kd_position {
    int64_t epoch;
    kd_stage stage;
    int64_t part, batch;
} kd_position;

/* How far a run has come. */
typedef struct kd_run {
    const kd_checkpointing *checkpoints; /* NULL: none are made */
    int64_t steps;                       /* since the last one */
    int64_t pauses;                      /* all of them */
    bool resuming;                       /* until the part that `start` names goes on */
    kd_position start;
    double best; /* selecting recall; below 0: none yet */
    int64_t best_epoch, since_best;
    kd_epoch_record record; /* of the epoch under way, as far as it has come */
} kd_run;

typedef struct kd_model {
    kd_ctx *ctx;
    kd_comm *comm; /* NULL: one rank */
    const kd_config *config;
    const kd_dataset *data;
    kd_pool pool;
    kd_model_shape shape;
    kd_graph_sizes sizes;
    kd_params params;
    kd_graphs graphs;
    kd_views views;
    kd_step_losses losses;
    kd_ranker ranker;
    kd_mat ranked_item; /* [items here, score slots * whole_dim] where columns are divided: whole rows of what ranks */
    kd_csr valid, test; /* held-out rows; row_ptr NULL where the split is empty */
    bool denoises_modalities, denoises_kg;
    kd_diffusion_scratch diffusion;
    kd_denoiser modality_denoiser[KD_MAX_MODALITIES], kg_denoiser;
    kd_guidance_tables guidance;
    int32_t *top;                        /* [max(users, entities), q] sampled columns */
    int32_t *row;                        /* 0, 1, 2, ...: rows of the reverse chain */
    int32_t *order;                      /* an epoch's order of rows or interactions */
    int32_t *user, *positive, *negative; /* [interactions] */
    kd_cursor *cursor;                   /* of the interactions */
    double *step_loss;                   /* [KD_LOSS_PARTS] */
    double *loss;                        /* [most steps of a stage, KD_LOSS_PARTS] */
    kd_recording *step[2];               /* a step of a whole batch, and of the last, shorter one */
    int64_t loss_steps;
    kd_kg_edges full, capped; /* host copies, until the device has them */
    kd_run run;
} kd_model;

/* Shapes from data and configuration; builds model->full and model->capped on the host, allocates nothing else. */
kd_status kd_model_shape_of(const kd_config *config, const kd_dataset *data, kd_model *model);

/* Lays out every device block in model->pool (counting or real). */
kd_status kd_model_allocate(kd_model *model);

/* Uploads data and graphs, draws initial parameters. similarity: S in the bipartite graph's CSR order or NULL. */
kd_status kd_model_fill(kd_model *model, const kd_bipartite *graph, const float *similarity);

void kd_model_free(kd_model *model);

/* The graph of the main KG view in training: the capped full graph, or the generated one. */
const kd_kg *kd_model_train_kg(const kd_model *model);
/* The graph of evaluation: the generated one where there is one. */
const kd_kg *kd_model_eval_kg(const kd_model *model);

/* Column blocks of the score in the views' output: users and items of the last forward pass. */
kd_mat kd_model_user_view(const kd_model *model);
kd_mat kd_model_item_view(const kd_model *model);

/* The same as the ranker takes them. */
kd_status kd_model_ranked(const kd_model *model, kd_ranked *out);

/* host [value.rows, whole columns] = a matrix of parameters or views of all ranks. Where columns are divided, value has
 * one or several blocks of this rank's, all ranks call it, and host may be NULL on those that have no use for it. */
kd_status kd_model_download(const kd_model *model, kd_mat value, bool divided, float *host);

/* to = `bytes` bytes from byte `first` on of that matrix, row by row; called and given NULL as kd_model_download. */
kd_status kd_model_read(const kd_model *model, kd_mat value, bool divided, int64_t first, int64_t bytes, void *to);

#endif
