/* The configuration of a run: defaults < YAML file < --key=value. Keys are documented in docs/configuration.md. */
#ifndef KD_CONFIG_CONFIG_H
#define KD_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"
#include "kdiffe/record.h"
#include "kernels/compute.h"

typedef enum kd_model_choice { KD_MODEL_KDIFFE, KD_MODEL_LIGHTGCN, KD_MODEL_COUNT } kd_model_choice;
typedef enum kd_semantics { KD_SEMANTICS_PUBLISHED, KD_SEMANTICS_PAPER } kd_semantics;
typedef enum kd_attention_method { KD_ATTENTION_CUMULATIVE, KD_ATTENTION_NODE, KD_ATTENTION_POWER } kd_attention_method;
typedef enum kd_train_view { KD_TRAIN_VIEW_FULL, KD_TRAIN_VIEW_GENERATED } kd_train_view;
typedef enum kd_id_space { KD_ID_SPACE_SHARED, KD_ID_SPACE_SEPARATE } kd_id_space;
typedef enum kd_guidance { KD_GUIDANCE_ROW_INDEX, KD_GUIDANCE_LINKED_USERS } kd_guidance;
typedef enum kd_select_on { KD_SELECT_ON_TEST, KD_SELECT_ON_VALID } kd_select_on;

/* Identities that a run can do without, to show that they change nothing but the time (docs/architecture.md). */
typedef enum kd_naive {
    KD_NAIVE_CHAIN = 1,     /* reverse chain: every step through the full width */
    KD_NAIVE_OUTPUT = 2,    /* denoiser gradients: always by the output itself */
    KD_NAIVE_VIEWS = 4,     /* views: a product for each modality and each view */
    KD_NAIVE_ROWS = 8,      /* views: every row, also those that nothing reads */
    KD_NAIVE_FEATURES = 16, /* guidance: features transformed anew for every batch */
    KD_NAIVE_SCORES = 32    /* evaluation: a product for each view */
} kd_naive;

/* guidance_weight.<modality>: overrides e_loss (or 1 - e_loss for text). */
typedef struct kd_guidance_weight {
    char modality[64];
    double weight;
} kd_guidance_weight;

/* Field names are the keys; nested keys (attention.walks) are nested structs. */
typedef struct kd_config {
    kd_model_choice model;
    kd_semantics semantics; /* sets kg.train_view, guidance, kg.id_space and select_on where they are not given */
    int64_t epochs, batch, dim;
    double lr, reg;
    uint64_t seed;
    int64_t gnn_layers, kg_hops;
    int64_t triplet_num; /* edges per head in message passing; -1: no cap */
    double mess_dropout;
    int64_t trans; /* 0 matrix, 1 linear, 2 image as 0 and the others as 1 */
    double res_lambda, ris_adj_lambda;
    int64_t cl_method; /* 0 pairs of modalities, 1 main view against each modality */
    double ssl_reg, temp;
    int64_t guidance_weight_count;
    kd_guidance_weight guidance_weight[KD_MAX_MODALITIES];
    int64_t hidden, time_dim, steps, sampling_steps;
    double noise_scale, noise_min, noise_max, e_loss;
    int64_t q;
    double keep_rate, epsilon;
    struct {
        kd_attention_method method;
        int64_t walks, walk_steps;
        double restart;
        char file[1024]; /* a given matrix (.pkl or .tsv) instead of walks; "" if none */
    } attention;
    struct {
        kd_train_view train_view;
        kd_id_space id_space;
    } kg;
    kd_guidance guidance;
    kd_select_on select_on;
    struct {               /* ablation switches, all true by default */
        bool attention;    /* false: A-hat without eps S */
        bool kg;           /* false: the knowledge graph has no edges */
        bool generated_kg; /* false: no KG denoiser, the full graph is used everywhere */
        bool multimodal;   /* false: no multimodal view in score and BPR */
        bool contrastive;  /* false: no contrastive loss */
    } use;
    int64_t topk_count, topk[KD_MAX_TOPK]; /* ascending; the largest is the one that selects the best epoch */
    int64_t eval_every, patience;          /* patience in evaluations; 0: never stop early */
    kd_device device;
    int64_t threads; /* 0: every core */
    kd_precision precision;
    bool deterministic; /* the same bits run to run */
    bool shard;         /* of several ranks: each holds some columns of the tables instead of whole rows */
    uint32_t naive;     /* kd_naive bits; 0: everything as fast as can be */
} kd_config;

/* What a run's configuration says of how to compute. */
static inline kd_compute kd_compute_of(const kd_config *config) {
    kd_compute compute = {.device = config->device,
                          .threads = config->threads,
                          .precision = config->precision,
                          .any_order = !config->deterministic};
    return compute;
}

#endif
