/* The stages of an epoch (MODEL section 6). */
#ifndef KD_TRAIN_EPOCH_H
#define KD_TRAIN_EPOCH_H

#include "host/model/kdiffe/model.h"

/* One whole epoch, or what a resumed run has left of it; fills the record but for its `best`. */
kd_status kd_train_epoch(kd_model *model, int64_t epoch, const kd_observer *observer, kd_epoch_record *record);

/* Between two steps, before the one at `at`: tells the observer, keeps a checkpoint if one is due, and stops the run if
 * a signal has asked for it, which is kept as well. */
kd_status kd_train_pause(kd_model *model, const kd_observer *observer, kd_position at, int64_t done, int64_t total);

/* The batch at which a part of a stage begins: 0, or where a resumed run goes on; -1 if it had done the part. To be
 * asked once, when the part begins. */
int64_t kd_train_first_batch(kd_model *model, kd_stage stage, int64_t part);

/* Trains each modality's denoiser on every user row once. mean_loss[m] = mean row loss. */
kd_status kd_denoise_modalities(kd_model *model, int64_t epoch, const kd_observer *observer, double *mean_loss);

/* Trains the knowledge graph's denoiser on every entity row once. */
kd_status kd_denoise_kg(kd_model *model, int64_t epoch, const kd_observer *observer, double *mean_loss);

/* Fill the guidance tables from the present parameters and say how they guide modality i's denoiser or the knowledge
 * graph's. kd_guide_kg also sets guidance.entity_mean by config->guidance. */
kd_status kd_guide_modality(kd_model *model, int64_t i, kd_denoiser_guidance *out);
kd_status kd_guide_kg(kd_model *model, kd_denoiser_guidance *out);

/* guidance.user_mean = the mean of every user's row: what guides a user's row when it is sampled. */
kd_status kd_guide_users(kd_model *model);

/* Samples all rows and rebuilds every A_m and the generated knowledge graph. */
kd_status kd_rebuild_graphs(kd_model *model, int64_t epoch, const kd_observer *observer);

/* BPR and contrastive steps over all interactions; fills the record's losses. */
kd_status kd_train_steps(kd_model *model, int64_t epoch, const kd_observer *observer, kd_epoch_record *record);

/* Metrics of the held-out splits; leaves the evaluated views in model->views.output. */
kd_status kd_evaluate_epoch(kd_model *model, int64_t epoch, kd_epoch_record *record);

/* Downloads `count` step losses of `parts` parts each; sums[part] = their sums; KD_ERR_NUMERIC names the first step
 * that is not finite. */
kd_status kd_train_losses(kd_model *model, kd_stage stage, int64_t epoch, int64_t count, int64_t parts, double *sums);

#endif
