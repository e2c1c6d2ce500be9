/* Data with planted structure, so that tests can ask whether training finds it. */
#ifndef KD_DATA_SYNTH_H
#define KD_DATA_SYNTH_H

#include "host/data/dataset.h"

enum { KD_SYNTH_MAX_MODALITIES = 8 };

/* Every item has one of `tastes` latent tastes and a popularity (Zipf); every user has a few tastes.
 *  interactions: a user draws one of its tastes and an item of it by popularity; with probability `stray` any item.
 *  features:     the taste's centre of the modality plus normal noise of size feature_noise.
 *  triples:      an item has kg_informative triples to attributes of its taste and kg_noise triples to attributes of
 * any; an attribute belongs to one relation and one taste. */
typedef struct kd_synth_config {
    int64_t users, items, tastes;
    int64_t user_tastes; /* tastes of a user */
    double interactions; /* mean per user, at least 3 each */
    double stray;        /* share of interactions that ignore taste */
    double popularity;   /* exponent of the items' Zipf weights */
    int64_t modality_count;
    struct {
        char name[64];
        int64_t width;
    } modality[KD_SYNTH_MAX_MODALITIES];
    double feature_noise;            /* standard deviation beside centres of unit variance */
    int64_t relations, attributes;   /* attributes of each relation and taste */
    double kg_informative, kg_noise; /* mean triples of an item; 0 and 0: no knowledge graph */
    double split[3];
    uint64_t seed;
} kd_synth_config;

void kd_synth_defaults(kd_synth_config *out);

/* The data set, and informative [kg.count]: 1 for a triple to an attribute of the item's own taste, 0 for noise (a
 * noise triple that hits one by chance counts as informative). Free it with free(); NULL without a knowledge graph. The
 * same config gives the same data. KD_ERR_ARGUMENT names a size that does not make sense. */
kd_status kd_synth_generate(const kd_synth_config *config, kd_dataset *out, uint8_t **informative);

#endif
