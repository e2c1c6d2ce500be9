/* The one seam between the trainer and a model: what a model says of itself, and what a run asks of it.
 *
 * A model is a folder beside this file with one kd_model_kind. It plans on the host (shapes, edges: kd_plan), lays out
 * its device memory (kd_model), fills it, does the stages of an epoch that are its own, takes a step on a batch of
 * interactions, and scores. The trainer owns the rest: order, negatives, cursor, losses, ranking, checkpoints. */
#ifndef KD_MODEL_MODEL_H
#define KD_MODEL_MODEL_H

#include "host/data/dataset.h"
#include "host/eval/ranker.h"
#include "host/graph/bipartite.h"
#include "host/loop/arrays.h"
#include "host/loop/loop.h"

typedef struct kd_model_kind kd_model_kind;

/* First member of every model's own plan: what follows from data and configuration, in host memory. */
typedef struct kd_plan {
    const kd_model_kind *kind;
    const kd_config *config;
    const kd_dataset *data;
    kd_comm *comm; /* NULL: one rank */
} kd_plan;

/* First member of every model's own struct: what is on the device. */
typedef struct kd_model {
    const kd_plan *plan;
    kd_ctx *ctx;             /* NULL: counting mode */
    const kd_layout *layout; /* of tables and views whose columns ranks divide; NULL: they are whole */
    kd_csr train;            /* [users, items] 0/1: mask of the ranking and of the negatives */
    int64_t score_width;     /* columns of the views whose rows' dot products are the scores, of all ranks */
    int64_t naive_scores;    /* of one view, where evaluation multiplies each view by itself; 0: one product */
} kd_model;

/* A batch of interactions on the device: entry i is interaction order[*first + i]. */
typedef struct kd_step_batch {
    int64_t count; /* at most config->batch */
    const int64_t *first;
    const int32_t *order, *user, *positive, *negative; /* [interactions] */
    const int64_t *clock;                              /* Adam steps so far, on the device: keys dropout too */
} kd_step_batch;

/* A stage of an epoch before the steps. Its losses go into loop->progress->record. */
typedef struct kd_model_stage {
    kd_stage stage;
    kd_status (*run)(kd_model *model, kd_loop *loop, int64_t epoch);
} kd_model_stage;

/* The matrices of a model that is handed over: parameters under their published names (tables of users and items
 * without one: uEmbeds, iEmbeds), then "view.user" [users, w] and "view.item" [items, w], which may be those tables. */
enum { KD_MAX_NAMED = 8 + 2 * KD_MAX_MODALITIES };
typedef struct kd_named_matrices {
    int64_t count;
    struct {
        const char *name;
        kd_mat value;
        bool divided;    /* only the local columns of each block (kd_layout) */
        bool transposed; /* [cols, rows] where it is handed over */
    } entry[KD_MAX_NAMED];
} kd_named_matrices;

struct kd_model_kind {
    const char *name; /* of the key `model` */
    bool attention;   /* takes the attention-aware similarity of edges */
    const char *keys; /* of the configuration that it or the trainer reads, a space before and after each; NULL: all */

    /* *out, to be freed with plan_free, also after a failure. Allocates host memory alone. KD_ERR_ARGUMENT names the
     * key that does not fit the data. */
    kd_status (*plan)(const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_plan **out);
    void (*plan_free)(kd_plan *plan); /* NULL is allowed */

    /* Lays out every device block in `pool`, which may be counting. *out is freed with free_model. */
    kd_status (*allocate)(const kd_plan *plan, kd_pool *pool, kd_model **out);
    void (*free_model)(kd_model *model); /* but for what is the pool's; NULL is allowed */
    /* The most rows that any of its stages goes over in one pass. NULL: none but the interactions. */
    int64_t (*rows)(const kd_plan *plan);
    /* Bytes of the workspace that its ops need. */
    int64_t (*workspace)(const kd_model *model);

    /* Uploads data and graphs, draws initial parameters. similarity: S in the graph's CSR order, or NULL. */
    kd_status (*fill)(kd_model *model, const kd_bipartite *graph, const float *similarity);

    int64_t stages; /* before the steps, in their order */
    const kd_model_stage *stage;
    /* Forward, losses (loss [KD_LOSS_PARTS] +=), backward, update. Enqueued or recorded: it must not wait. Every rank
     * is given the whole batch, and what they add to loss is summed over ranks: a loss that each of them knows whole is
     * added by rank 0 alone. */
    kd_status (*step)(kd_model *model, const kd_step_batch *batch, double *loss);

    /* The views of evaluation, and how the ranker takes them. */
    kd_status (*score)(kd_model *model, int64_t epoch, kd_ranked *out);
    /* Those of the last score, with the parameters. */
    void (*matrices)(const kd_model *model, kd_named_matrices *out);
    /* Adds what a checkpoint at that place keeps of the model. */
    void (*arrays)(kd_model *model, kd_position at, kd_run_arrays *out);
    /* Names of the modalities whose denoisers have losses: fills record->modality and its count. NULL: none. */
    void (*begin_record)(const kd_model *model, kd_epoch_record *record);
};

/* The model that the key `model` names. */
const kd_model_kind *kd_model_kind_of(const kd_config *config);

/* text [size] = the keys whose values are other than by default and say nothing to that model, "a, b", cut off where
 * they are more; "" for none. */
void kd_model_unread_keys(const kd_config *config, char *text, size_t size);

#endif
