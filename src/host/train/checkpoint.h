/* A run kept on disk between two steps, so that it can go on from there to the same bits: one safetensors file, which
 * holds parameters, denoisers, Adam moments, cursors, the graphs of the epoch under way and its losses; random numbers
 * are functions of the cursors. The data and the attention-aware matrix are made anew. */
#ifndef KD_TRAIN_CHECKPOINT_H
#define KD_TRAIN_CHECKPOINT_H

#include "host/train/trainer.h"

/* Writes FOLDER/checkpoint-EPOCH-STAGE-PART-BATCH.safetensors for m->progress.checkpoints->folder (temporary file,
 * fsync, rename, fsync of the folder), then removes all but the newest `keep`. Of several ranks, which all call it, the
 * first writes; any number of ranks can go on from it. KD_ERR_IO, KD_ERR_MEMORY. */
kd_status kd_checkpoint_save(kd_trainer *m, kd_position at);

/* Takes the arrays and m->progress from the folder's newest checkpoint. KD_ERR_FORMAT if there is none, if it is of
 * other data, or does not fit the model; KD_ERR_ARGUMENT names the key of a configuration that makes another model. */
kd_status kd_checkpoint_load(kd_trainer *m);

/* *out = the path of the newest checkpoint of a folder, NULL if there is none; free with free(). */
kd_status kd_checkpoint_newest(const char *folder, char **out);

/* The folder of the data that a checkpoint was made with, as a new string. KD_ERR_FORMAT. */
kd_status kd_checkpoint_data_path(const char *path, char **out);

/* Removes all but the newest `keep` checkpoints of a folder, and what a killed run left half-written. */
void kd_checkpoint_prune(const char *folder, int64_t keep);

#endif
