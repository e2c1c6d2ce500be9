#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/command.h"

const char *kd_args_take(kd_args *args, const char *key) {
    size_t length = strlen(key);
    const char *value = NULL;
    for (int64_t i = 0; i < args->option_count; i++) {
        const char *option = args->option[i];
        if (!option || strncmp(option, key, length) != 0 || (option[length] != '=' && option[length] != '\0')) continue;
        value = option[length] == '=' ? option + length + 1 : "";
        args->option[i] = NULL; /* the last one given counts */
    }
    return value;
}

kd_status kd_args_take_flag(kd_args *args, const char *key, bool *out) {
    const char *text = kd_args_take(args, key);
    *out = text != NULL;
    if (text && text[0]) return KD_FAIL(KD_ERR_ARGUMENT, "--%s: takes no value, got '%s'", key, text);
    return KD_OK;
}

kd_status kd_args_take_int(kd_args *args, const char *key, int64_t low, int64_t high, int64_t *out) {
    const char *text = kd_args_take(args, key);
    char *end;
    if (!text) return KD_OK;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < low || value > high)
        return KD_FAIL(KD_ERR_ARGUMENT, "--%s: expected a whole number from %lld to %lld, got '%s'", key,
                       (long long)low, (long long)high, text);
    *out = value;
    return KD_OK;
}

kd_status kd_args_take_real(kd_args *args, const char *key, double low, double high, double *out) {
    const char *text = kd_args_take(args, key);
    char *end;
    if (!text) return KD_OK;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high))
        return KD_FAIL(KD_ERR_ARGUMENT, "--%s: expected a number from %g to %g, got '%s'", key, low, high, text);
    *out = value;
    return KD_OK;
}

kd_status kd_args_finish(const kd_args *args, int64_t positionals) {
    for (int64_t i = 0; i < args->option_count; i++)
        if (args->option[i]) return KD_FAIL(KD_ERR_ARGUMENT, "unknown option --%s; see --help", args->option[i]);
    if (args->positional_count > positionals)
        return KD_FAIL(KD_ERR_ARGUMENT, "unexpected word '%s'; see --help", args->positional[positionals]);
    if (args->positional_count < positionals)
        return KD_FAIL(KD_ERR_ARGUMENT, "expected %lld word%s after the command, got %lld; see --help",
                       (long long)positionals, positionals == 1 ? "" : "s", (long long)args->positional_count);
    return KD_OK;
}
