/* Where a configuration comes from and goes to: defaults < YAML file < --key=value. */
#ifndef KD_CONFIG_LOAD_H
#define KD_CONFIG_LOAD_H

#include "host/base/error.h"
#include "host/config/config.h"

/* The published defaults with semantics `published`. */
void kd_config_defaults(kd_config *config);

/* defaults, then the YAML file (NULL: none), then `count` overrides of the form "key=value" or "nested.key=value"; then
 * semantics fills the keys of docs/model.md#paper-and-published-code that nobody gave, and every value is checked.
 * KD_ERR_ARGUMENT names the key, the line if it came from a file, and for an unknown key the nearest known one. */
kd_status kd_config_load(const char *yaml_path, int64_t count, const char *const *overrides, kd_config *out);

/* The resolved configuration as YAML that kd_config_load reads back to the same values; written whole or not at all. */
kd_status kd_config_save(const kd_config *config, const char *path);

/* *out = the keys and values that make the model what it is, a line "key=value" each: all but those that say where it
 * is computed, how long and how often it is looked at. Free with free(). KD_ERR_MEMORY. */
kd_status kd_config_identity(const kd_config *config, char **out);

/* Weight of the guidance term of a modality's denoiser: the given one, else 1 - e_loss for "text", else e_loss. */
double kd_config_guidance_weight(const kd_config *config, const char *modality);

#endif
