/* Subcommands of the kdiffe program. Each lives in command_<name>.c; main.c holds the table and the exit code. */
#ifndef KD_CLI_COMMAND_H
#define KD_CLI_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"

/* Words after the subcommand. "--key=value" and "--key value"-less flags are options, everything else is positional;
 * after "--" everything is positional. */
typedef struct kd_args {
    int64_t positional_count;
    const char **positional;
    int64_t option_count;
    const char **option; /* without the leading "--"; an option that was taken is NULL */
} kd_args;

typedef struct kd_command {
    const char *name;
    const char *summary; /* one line for `kdiffe --help` */
    const char *help;    /* usage, options with defaults, one example; for `kdiffe NAME --help` */
    kd_status (*run)(kd_args *args);
} kd_command;

/* The value of option `key` and removes it from args: NULL if not given, "" for a bare flag. */
const char *kd_args_take(kd_args *args, const char *key);

/* *out = whether the bare flag `key` was given; KD_ERR_ARGUMENT for "--key=value", as --overwrite=false would be. */
kd_status kd_args_take_flag(kd_args *args, const char *key, bool *out);

/* As kd_args_take, parsed whole as a number in [low, high]; *out is left alone when it is not given. */
kd_status kd_args_take_int(kd_args *args, const char *key, int64_t low, int64_t high, int64_t *out);
kd_status kd_args_take_real(kd_args *args, const char *key, double low, double high, double *out);

/* Fails with KD_ERR_ARGUMENT unless exactly `positionals` words are left and no option remains untaken; names the
 * first. */
kd_status kd_args_finish(const kd_args *args, int64_t positionals);

extern const kd_command kd_command_convert, kd_command_validate, kd_command_info, kd_command_synth,
    kd_command_attention, kd_command_train, kd_command_eval, kd_command_recommend, kd_command_export, kd_command_bench,
    kd_command_launch;

#endif
