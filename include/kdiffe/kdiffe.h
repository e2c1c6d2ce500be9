/* The library: open data, train, evaluate, recommend, read what was learned.
 *
 * Types are opaque; what a function opens is closed by the function of the same type, and NULL may be closed. Every
 * failure returns a status other than KD_OK, leaves *out NULL, and says in one line why: kd_last_error(). Strings are
 * UTF-8 and copied, unless said otherwise; indices are dense and from 0. The library prints nothing, catches no signals
 * and ends the process only where a job of several ranks cannot go on (kdiffe/ranks.h). One call at a time of a
 * process computes, on the threads that its run's configuration allows; OpenMP's and OpenBLAS's own numbers of threads
 * are afterwards what they were. docs/library.md has an example. */
#ifndef KDIFFE_KDIFFE_H
#define KDIFFE_KDIFFE_H

#include <stdbool.h>
#include <stdint.h>

#include "kdiffe/ranks.h"
#include "kdiffe/record.h"
#include "kdiffe/status.h"
#include "kdiffe/version.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kd_config kd_config;   /* keys and values of docs/configuration.md */
typedef struct kd_dataset kd_dataset; /* interactions, features, a knowledge graph */
typedef struct kd_run kd_run;         /* a trained model with the data that it was trained on */

/* *out = the defaults, then a YAML file (NULL: none), then `count` words "key=value"; the later wins. KD_ERR_ARGUMENT
 * names the key, the line if it came from a file, and for an unknown key the nearest known one. */
KD_API kd_status kd_config_open(const char *yaml_path, int64_t count, const char *const *key_value, kd_config **out);
KD_API void kd_config_close(kd_config *config);

/* text [size] = the value of a key, or of guidance_weight.<modality>, as kd_config_open takes it, cut off where it is
 * longer. KD_ERR_ARGUMENT for an unknown key. */
KD_API kd_status kd_config_value(const kd_config *config, const char *key, char *text, int64_t size);

/* *out = the data set in a folder of the engine's own format (docs/formats.md), read and checked whole. KD_ERR_FORMAT
 * names file and line or offset. */
KD_API kd_status kd_dataset_open(const char *folder, kd_dataset **out);
KD_API void kd_dataset_close(kd_dataset *data);

typedef enum kd_subset { KD_SUBSET_TRAIN, KD_SUBSET_VALID, KD_SUBSET_TEST } kd_subset;
typedef enum kd_id_kind { KD_ID_USER, KD_ID_ITEM, KD_ID_ENTITY, KD_ID_RELATION } kd_id_kind;

/* How many there are; 0 of another kind. */
KD_API int64_t kd_dataset_ids(const kd_dataset *data, kd_id_kind kind);

/* The data set's own name of index i; valid while the data set is. NULL if there is no such index. */
KD_API const char *kd_dataset_id(const kd_dataset *data, kd_id_kind kind, int64_t i);

/* index [count] = that of each id, -1 where the data set has no such id. KD_ERR_MEMORY. */
KD_API kd_status kd_dataset_find(const kd_dataset *data, kd_id_kind kind, int64_t count, const char *const *id,
                                 int64_t *index);

/* The interactions of a split, sorted by user then item: the number, and pointers to user [number] and item [number],
 * valid while the data set is. */
KD_API int64_t kd_dataset_interactions(const kd_dataset *data, kd_subset subset, const int32_t **user,
                                       const int32_t **item);

/* What is known of a run before it takes memory or writes a file. */
typedef struct kd_run_plan {
    const char *device;          /* one line: backend, device name, threads */
    int64_t ranks;               /* of the job */
    const kd_memory_plan *model; /* of this rank */
    int64_t available;           /* bytes on its device */
    const char *unread_keys;     /* set other than by default, and nothing to the model: "a, b"; "" for none */
    bool selects_on_test;        /* a validation split was to select the best epoch, and there is none */
} kd_run_plan;

/* How a run is trained and watched; all zero is a run in memory that nobody watches. Callbacks are called on the first
 * rank, from the thread that called kd_run_train. */
typedef struct kd_training {
    kd_comm *comm; /* NULL: one rank. All ranks train with the same options. */

    const char *folder;        /* config.yaml, metrics.jsonl, model.safetensors are written there; NULL: nothing is */
    bool overwrite;            /* a run that is there is replaced */
    bool resume;               /* go on from the folder's newest checkpoint */
    int64_t checkpoint_epochs; /* a checkpoint every so many epochs, and at the end; 0: none */
    int64_t checkpoint_steps;  /* the same in steps of any kind */
    int64_t checkpoint_keep;   /* newest checkpoints that stay; 0: 2 */

    const char *trace;                  /* a file for every stage and op as a Chrome trace; NULL: none */
    int64_t profile_first, profile_end; /* training steps that alone are traced, and profiled for Nsight; 0, 0: all */

    void *context;                                          /* of the callbacks, each of which may be NULL */
    bool (*planned)(void *context, const kd_run_plan *run); /* false: nothing is trained, KD_OK */
    void (*connected)(void *context, const char *library);  /* several ranks: what sums over them, and its version */
    void (*resumed)(void *context, int64_t epoch);          /* the run goes on in that epoch */
    /* before each step of a stage of an epoch; false stops the run there, with a checkpoint if it has a folder. Of
     * several GPUs, which are given work ahead of time, up to sixteen steps later. */
    bool (*progress)(void *context, int64_t epoch, kd_stage stage, int64_t done, int64_t total);
    bool (*epoch)(void *context, const kd_epoch_record *record); /* false: the run is over, as if its patience were */
} kd_training;

/* What a run has come to, also one that failed. */
typedef struct kd_run_summary {
    int64_t best_epoch;                 /* -1: none yet */
    int64_t peak_bytes;                 /* of the process */
    int64_t exchanges, exchanged_bytes; /* of this run, between ranks on CPUs */
} kd_run_summary;

/* Trains a model as the configuration says. summary, out: may be NULL. *out = the model of the best epoch, on the first
 * rank; NULL on the others, and where `planned` said no. `data` must outlive it. KD_ERR_INTERRUPTED after `progress`
 * said no or a signal was caught, KD_ERR_NUMERIC for a loss that is not finite: then too *out is the best model so far
 * if there is one. KD_ERR_ARGUMENT, KD_ERR_FORMAT, KD_ERR_MEMORY, KD_ERR_IO, KD_ERR_CUDA, KD_ERR_MPI, KD_ERR_NCCL. */
KD_API kd_status kd_run_train(const kd_dataset *data, const kd_config *config, const kd_training *training,
                              kd_run_summary *summary, kd_run **out);

/* *out = a run from its folder. data_folder: where its data set is now, NULL: where it was; its contents must be those
 * of the training. KD_ERR_FORMAT. */
KD_API kd_status kd_run_open(const char *folder, const char *data_folder, kd_run **out);
KD_API void kd_run_close(kd_run *run);

/* The data set of the run: the caller's, or what kd_run_open has opened, which is closed with the run. */
KD_API const kd_dataset *kd_run_dataset(const kd_run *run);

/* The epoch of the model, from 0. */
KD_API int64_t kd_run_epoch(const kd_run *run);

/* Where evaluation and recommendation compute from now on: device as the key `device` ("auto", "cpu", "cuda"), threads
 * (0: every core). Otherwise as the training did; a run from a folder on "auto" with every core. KD_ERR_ARGUMENT. */
KD_API kd_status kd_run_compute(kd_run *run, const char *device, int64_t threads);

/* Ranks all items for every user of a held-out split, training items left out (docs/model.md#evaluation). topk
 * [topk_count] ascending, to 1000000, topk_count at most KD_MAX_TOPK. out->users is 0 for an empty split.
 * KD_ERR_ARGUMENT. */
KD_API kd_status kd_run_evaluate(kd_run *run, kd_subset subset, int64_t topk_count, const int64_t *topk,
                                 kd_metrics *out);

/* The best k items of each listed user by descending score (lower index first among equals), training items left out.
 * item [count * k] (-1 where fewer than k are left), score [count * k]. KD_ERR_ARGUMENT for a user out of range and a k
 * beyond 1000000. */
KD_API kd_status kd_run_recommend(kd_run *run, int64_t count, const int32_t *user, int64_t k, int32_t *item,
                                  float *score);

/* A matrix of the model, row-major, where it lies: valid while the run is. "view.user" [users, w] and "view.item"
 * [items, w] are the tables whose rows' dot products rank; the others are parameters under their published names. */
typedef struct kd_array {
    const char *name;
    int64_t rank, shape[2];
    const float *data;
} kd_array;
KD_API int64_t kd_run_array_count(const kd_run *run);             /* how many */
KD_API kd_array kd_run_array(const kd_run *run, int64_t i);       /* data is NULL if there is no such index */
KD_API kd_array kd_run_find(const kd_run *run, const char *name); /* or no such name */

#ifdef __cplusplus
}
#endif
#endif
