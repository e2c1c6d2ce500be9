/* Data with planted structure, so that tests can ask whether training finds it. */
#ifndef KD_DATA_SYNTH_H
#define KD_DATA_SYNTH_H

#include "host/data/dataset.h"

enum { KD_SYNTH_MAX_MODALITIES = 8, KD_SYNTH_MAX_WIDTH = 65536 };

/* Every item has one of `tastes` latent tastes and a popularity (Zipf within its taste); every user has a few tastes.
 *  interactions: a user draws one of its tastes and an item of it by popularity; with probability `stray` any item.
 *                Where there are active_users, so many users of any tastes share all but the least that everybody has,
 *                by Zipf weights: few of them make most of a data set such as TikTok's.
 *  features:     the taste's centre of the modality plus normal noise of size feature_noise.
 *  triples:      an item has kg_informative triples to attributes of its taste and kg_noise triples to attributes of
 *                any; an attribute belongs to one relation and one taste. Every item has one more triple to each of
 *                the kg_hubs, attributes that say nothing about tastes. */
typedef struct kd_synth_config {
    int64_t users, items, tastes;
    int64_t user_tastes;  /* tastes of a user */
    double interactions;  /* mean per user, at least 3 each; a user gets fewer than it wants where its tastes run out */
    double stray;         /* share of interactions that ignore taste */
    double popularity;    /* exponent of the items' Zipf weights */
    int64_t active_users; /* 0: activity is exponential, every user's by the same law */
    double activity;      /* exponent of the active users' Zipf weights */
    int64_t modality_count; /* in any order; the data set has them in its own */
    struct {
        char name[64];
        int64_t width;
    } modality[KD_SYNTH_MAX_MODALITIES];
    double feature_noise;            /* standard deviation beside centres of unit variance */
    int64_t relations, attributes;   /* attributes of each relation and taste */
    double kg_informative, kg_noise; /* mean triples of an item; 0 and 0: no attributes but hubs */
    int64_t kg_hubs;                 /* no triple at all: no knowledge graph */
    double split[3]; /* shares for train, valid and test, rounded for each user, who always keeps one to train */
    uint64_t seed;
} kd_synth_config;

/* 1000 users, 500 items, 20 tastes, image:64 and text:32; the help of `kdiffe synth` lists them all. */
void kd_synth_defaults(kd_synth_config *out);

/* *out = the data set (named "synth"), *informative [kg.count] = 1 for a triple to an attribute of the item's own
 * taste, 0 for hubs and noise (a noise triple that hits one by chance counts as informative); free it with free(), NULL
 * without a knowledge graph. The same config gives the same data, whatever the number of threads. KD_ERR_ARGUMENT names
 * what does not make sense, KD_ERR_MEMORY; on failure *out is empty. */
kd_status kd_synth_generate(const kd_synth_config *config, kd_dataset *out, uint8_t **informative);

#endif
