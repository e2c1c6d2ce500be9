/* What several commands do with their words. */
#ifndef KD_CLI_SHARED_H
#define KD_CLI_SHARED_H

#include "host/base/safetensors.h"
#include "host/cli/command.h"
#include "host/config/config.h"
#include "host/data/dataset.h"
#include "host/eval/evaluate.h"
#include "host/ranks/collectives.h"
#include "kernels/device.h"

/* --config=FILE and every remaining --key=value as a configuration; they are taken from args. */
kd_status kd_cli_config(kd_args *args, kd_config *out);

/* The same over a given file (NULL: the defaults). */
kd_status kd_cli_config_over(kd_args *args, const char *file, kd_config *out);

/* Takes --rendezvous and --comm-timeout and opens the job's communicator, NULL for a run of one rank. */
kd_status kd_cli_comm(kd_args *args, kd_comm **out);

/* How a rank of the job computes: it shares its machine with the others. */
kd_compute kd_cli_compute(const kd_comm *comm, const kd_config *config);

/* Loads and checks a data set; *path (may be NULL) = its absolute path, free with free(). */
kd_status kd_cli_data(const char *folder, kd_dataset *out, char **path);

/* KD_ERR_MEMORY with what to lower, when `bytes` are more than this machine has available. */
kd_status kd_cli_check_memory(kd_ctx *ctx, int64_t bytes);

/* A finished run: its model, its view tables, and the data set that it was trained on (or `data` if not NULL; its hash
 * must be the run's). */
typedef struct kd_cli_run {
    kd_safetensors model;
    kd_dataset data;
    kd_views_host views;
} kd_cli_run;
kd_status kd_cli_run_open(const char *folder, const char *data, kd_cli_run *out);
void kd_cli_run_close(kd_cli_run *run);

#endif
