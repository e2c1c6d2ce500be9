/* What several commands do with their words. */
#ifndef KD_CLI_SHARED_H
#define KD_CLI_SHARED_H

#include "host/cli/command.h"
#include "host/config/config.h"
#include "kdiffe/kdiffe.h"

/* --config=FILE and every remaining --key=value as a configuration; they are taken from args. To be
 * closed. */
kd_status kd_cli_config(kd_args *args, kd_config **out);

/* The same over a given file (NULL: the defaults). */
kd_status kd_cli_config_over(kd_args *args, const char *file, kd_config **out);

/* Takes --rendezvous and --comm-timeout and opens the job's communicator, NULL for a run of one rank. */
kd_status kd_cli_comm(kd_args *args, kd_comm **out);

#endif
