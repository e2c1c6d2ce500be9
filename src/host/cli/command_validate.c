/* kdiffe validate: everything that is wrong or odd about a data set. */
#include <stdio.h>

#include "host/cli/command.h"
#include "host/data/dataset_check.h"

static const char HELP[] =
    "usage: kdiffe validate DATA\n\n"
    "Reads the data set and prints a line for each finding: `warn` for what deserves a look, such as users\n"
    "without items, then `ok` when it can be trained, or `error` with what stands in the way, exit code 3.\n\n"
    "example: kdiffe validate data/tiktok\n";

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_dataset data = {0};
    kd_dataset_warnings warnings;
    KD_TRY(kd_args_finish(args, 1));
    KD_TRY(kd_dataset_load(args->positional[0], &data));
    KD_TRY(kd_dataset_check(&data, &warnings));
    for (int64_t i = 0; i < warnings.count; i++) printf("warn  %s\n", warnings.warning[i].text);
    KD_TRY(kd_dataset_check_held_out(&data));
    printf("ok    %s can be trained\n", args->positional[0]);
cleanup:
    if (status == KD_ERR_FORMAT) printf("error %s\n", kd_last_error());
    kd_dataset_free(&data);
    return status;
}

const kd_command kd_command_validate = {"validate", "check a data set", HELP, command};
