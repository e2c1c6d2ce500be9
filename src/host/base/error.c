#include "host/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/signals.h"

static _Thread_local char last_error[1024];

const char *kd_last_error(void) { return last_error; }

kd_status kd_record_error(kd_status status, const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    if (length < 0) last_error[0] = '\0';
    for (char *c = last_error; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
    if (getenv("KDIFFE_DEBUG")) {
        size_t used = strlen(last_error);
        snprintf(last_error + used, sizeof last_error - used, " [%s:%d]", file, line);
    }
    return status;
}

kd_status kd_repeat_error(kd_status status, const char *message) {
    snprintf(last_error, sizeof last_error, "%s", message);
    return status;
}

void kd_forget_error(void) { last_error[0] = '\0'; }

int kd_exit_code(kd_status status) {
    switch (status) {
    case KD_OK: return 0;
    case KD_ERR_ARGUMENT: return 2;
    case KD_ERR_FORMAT: return 3;
    case KD_ERR_MEMORY: return 4;
    case KD_ERR_NUMERIC: return 5;
    case KD_ERR_NCCL:
    case KD_ERR_MPI: return 6;
    case KD_ERR_INTERRUPTED: return 128 + kd_signal_caught();
    case KD_ERR_IO:
    case KD_ERR_CUDA:
    case KD_ERR_CHECK: break;
    }
    return 1;
}
