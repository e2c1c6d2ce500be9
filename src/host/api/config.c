#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/config/keys.h"
#include "host/config/load.h"
#include "kdiffe/kdiffe.h"

kd_status kd_config_open(const char *yaml_path, int64_t count, const char *const *key_value, kd_config **out) {
    *out = NULL;
    KD_OR_RETURN(kd_host_alloc(out, 1, sizeof **out, "configuration"));
    kd_status status = kd_config_load(yaml_path, count, key_value, *out);
    if (status == KD_OK) return KD_OK;
    kd_config_close(*out);
    *out = NULL;
    return status;
}

void kd_config_close(kd_config *config) { free(config); }

kd_status kd_config_value(const kd_config *config, const char *key, char *text, int64_t size) {
    static const char weight[] = "guidance_weight.";
    const kd_key *known = kd_key_find(key);
    if (strncmp(key, weight, sizeof weight - 1) == 0 && key[sizeof weight - 1]) {
        snprintf(text, (size_t)size, "%.17g", kd_config_guidance_weight(config, key + sizeof weight - 1));
        return KD_OK;
    }
    if (!known)
        return KD_FAIL(KD_ERR_ARGUMENT, "unknown key '%s'; the nearest known one is '%s'", key, kd_key_nearest(key));
    kd_key_format(known, config, text, (size_t)size);
    return KD_OK;
}
