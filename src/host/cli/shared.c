#include "host/cli/shared.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/memory.h"

kd_status kd_cli_config(kd_args *args, kd_config **out) {
    return kd_cli_config_over(args, kd_args_take(args, "config"), out);
}

kd_status kd_cli_config_over(kd_args *args, const char *file, kd_config **out) {
    const char **overrides;
    int64_t count = 0;
    KD_OR_RETURN(kd_host_alloc(&overrides, args->option_count, sizeof *overrides, "options"));
    for (int64_t i = 0; i < args->option_count; i++) {
        if (args->option[i]) overrides[count++] = args->option[i];
        args->option[i] = NULL;
    }
    kd_status status = kd_config_open(file, count, overrides, out);
    free(overrides);
    return status;
}

kd_status kd_cli_comm(kd_args *args, kd_comm **out) {
    int64_t timeout_s = 30;
    const char *rendezvous = kd_args_take(args, "rendezvous");
    kd_status status = kd_args_take_int(args, "comm-timeout", 1, 1000000, &timeout_s), opened;
    char message[256];
    snprintf(message, sizeof message, "%s", kd_last_error());
    opened = kd_comm_open(rendezvous, timeout_s, out);
    if (*out) setvbuf(stdout, NULL, _IOLBF, 0); /* the job may end at any time: what was said is to be seen */
    if (status == KD_OK || opened != KD_OK) return opened;
    return kd_comm_agree(*out, KD_FAIL(status, "%s", message)); /* wrong on all ranks alike: one says so */
}
