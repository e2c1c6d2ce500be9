/* The models that the key `model` chooses from. */
#include <stdio.h>
#include <string.h>

#include "host/config/keys.h"
#include "host/config/load.h"
#include "host/model/kdiffe/kdiffe.h"
#include "host/model/lightgcn/lightgcn.h"
#include "host/model/model.h"

const kd_model_kind *kd_model_kind_of(const kd_config *config) {
    static const kd_model_kind *const KINDS[] = {
        [KD_MODEL_KDIFFE] = &kd_kdiffe_kind, [KD_MODEL_LIGHTGCN] = &kd_lightgcn_kind};
    _Static_assert(sizeof KINDS / sizeof KINDS[0] == KD_MODEL_COUNT, "each model has a row");
    return KINDS[config->model];
}

static bool reads(const char *keys, const char *name) {
    char word[64];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(keys, word) != NULL;
}

static bool differ(const kd_key *key, const kd_config *a, const kd_config *b) {
    char one[1100], other[1100];
    kd_key_format(key, a, one, sizeof one);
    kd_key_format(key, b, other, sizeof other);
    return strcmp(one, other) != 0;
}

void kd_model_unread_keys(const kd_config *config, char *text, size_t size) {
    const char *const semantics = config->semantics == KD_SEMANTICS_PAPER ? "semantics=paper" : "semantics=published";
    const char *keys = kd_model_kind_of(config)->keys;
    kd_config plain;
    size_t used = 0;
    text[0] = '\0';
    if (!keys || kd_config_load(NULL, 1, &semantics, &plain) != KD_OK) return;
    for (const kd_key *key = kd_keys; key < kd_keys + kd_key_count; key++)
        if (!reads(keys, key->name) && differ(key, config, &plain) && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", key->name);
    if (config->guidance_weight_count > 0 && used < size)
        snprintf(text + used, size - used, "%sguidance_weight", used ? ", " : "");
}
