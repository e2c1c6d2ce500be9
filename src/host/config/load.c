#include "host/config/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "host/base/file.h"
#include "host/config/keys.h"

enum { VALUE_SIZE = 1100 };
static const char WEIGHT_PREFIX[] = "guidance_weight.";

/* Which keys somebody gave, so that semantics fills only the others. */
typedef struct loading {
    kd_config *config;
    bool given[KD_KEY_MOST];
} loading;

void kd_config_defaults(kd_config *config) {
    memset(config, 0, sizeof *config);
    for (int64_t i = 0; i < kd_key_count; i++)
        kd_key_set(&kd_keys[i], kd_keys[i].fallback, "", config); /* tests/test_config.c checks that none fails */
}

static kd_status set_weight(const char *modality, const char *text, const char *where, kd_config *config) {
    int64_t i = 0;
    double weight;
    char *end;
    while (i < config->guidance_weight_count && strcmp(config->guidance_weight[i].modality, modality) != 0) i++;
    if (i == KD_MAX_MODALITIES || strlen(modality) == 0 ||
        strlen(modality) >= sizeof config->guidance_weight[0].modality)
        return KD_FAIL(KD_ERR_ARGUMENT, "%s%s%s: too many modalities, or no usable name", where, WEIGHT_PREFIX,
                       modality);
    weight = strtod(text, &end);
    if (end == text || *end || !(weight >= 0.0 && weight <= 1000.0))
        return KD_FAIL(KD_ERR_ARGUMENT, "%s%s%s: expected a number from 0 to 1000, got '%s'", where, WEIGHT_PREFIX,
                       modality, text);
    if (i == config->guidance_weight_count) config->guidance_weight_count++;
    snprintf(config->guidance_weight[i].modality, sizeof config->guidance_weight[i].modality, "%s", modality);
    config->guidance_weight[i].weight = weight;
    return KD_OK;
}

static kd_status set(loading *l, const char *name, const char *text, const char *where) {
    const kd_key *key = kd_key_find(name);
    if (strncmp(name, WEIGHT_PREFIX, strlen(WEIGHT_PREFIX)) == 0)
        return set_weight(name + strlen(WEIGHT_PREFIX), text, where, l->config);
    if (!key)
        return KD_FAIL(KD_ERR_ARGUMENT, "%sunknown key '%s'; the nearest is '%s'", where, name, kd_key_nearest(name));
    l->given[key - kd_keys] = true;
    return kd_key_set(key, text, where, l->config);
}

/* The text of a scalar, or of a sequence of scalars joined by commas. */
static kd_status value_text(yaml_document_t *doc, const yaml_node_t *node, const char *where, char text[VALUE_SIZE]) {
    size_t used = 0;
    text[0] = '\0';
    if (node->type == YAML_SCALAR_NODE && node->data.scalar.length < VALUE_SIZE) {
        memcpy(text, node->data.scalar.value, node->data.scalar.length);
        text[node->data.scalar.length] = '\0';
        return KD_OK;
    }
    if (node->type != YAML_SEQUENCE_NODE)
        return KD_FAIL(KD_ERR_ARGUMENT, "%sexpected a value or a list of values", where);
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        const yaml_node_t *item = yaml_document_get_node(doc, *i);
        if (item->type != YAML_SCALAR_NODE || used + item->data.scalar.length + 2 > VALUE_SIZE)
            return KD_FAIL(KD_ERR_ARGUMENT, "%sexpected a short list of values", where);
        used +=
            (size_t)snprintf(text + used, VALUE_SIZE - used, "%s%s", used ? "," : "", (char *)item->data.scalar.value);
    }
    return KD_OK;
}

/* Every pair of a mapping; nested mappings give dotted names. */
static kd_status apply_mapping(loading *l, yaml_document_t *doc, const yaml_node_t *node, const char *path,
                               const char *prefix) {
    char name[256], where[512], text[VALUE_SIZE];
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(doc, p->key), *value = yaml_document_get_node(doc, p->value);
        kd_status status;
        snprintf(where, sizeof where, "%s:%zu: ", path, key->start_mark.line + 1);
        if (key->type != YAML_SCALAR_NODE) return KD_FAIL(KD_ERR_ARGUMENT, "%sexpected a key", where);
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "." : "", (char *)key->data.scalar.value);
        if (value->type == YAML_MAPPING_NODE && !prefix[0]) {
            status = apply_mapping(l, doc, value, path, name);
        } else {
            status = value_text(doc, value, where, text);
            if (status == KD_OK) status = set(l, name, text, where);
        }
        if (status != KD_OK) return status;
    }
    return KD_OK;
}

static kd_status load_yaml(loading *l, const char *path) {
    kd_status status = KD_OK;
    kd_mapped_file file = {0};
    yaml_parser_t parser;
    yaml_document_t doc;
    bool loaded = false;
    const yaml_node_t *root;
    if (kd_file_map(path, &file) != KD_OK) return KD_ERR_ARGUMENT; /* a wrong word on the command line, not bad data */
    if (!yaml_parser_initialize(&parser)) KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "%s: out of memory", path);
    yaml_parser_set_input_string(&parser, file.data, (size_t)file.bytes);
    loaded = yaml_parser_load(&parser, &doc);
    if (!loaded)
        status = KD_FAIL(KD_ERR_ARGUMENT, "%s:%zu: not YAML: %s", path, parser.problem_mark.line + 1,
                         parser.problem ? parser.problem : "it cannot be parsed");
    yaml_parser_delete(&parser);
    if (!loaded) goto cleanup;
    root = yaml_document_get_root_node(&doc);
    if (root && root->type != YAML_MAPPING_NODE)
        status = KD_FAIL(KD_ERR_ARGUMENT, "%s:1: expected `key: value` lines", path);
    else if (root)
        status = apply_mapping(l, &doc, root, path, "");
    yaml_document_delete(&doc);
cleanup:
    kd_file_unmap(&file);
    return status;
}

static kd_status apply_override(loading *l, const char *text) {
    char name[256];
    const char *equals = strchr(text, '=');
    if (!equals) return KD_FAIL(KD_ERR_ARGUMENT, "'%s': expected key=value", text);
    if (equals - text >= (int)sizeof name) return KD_FAIL(KD_ERR_ARGUMENT, "%.80s...: the key is too long", text);
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    return set(l, name, equals + 1, "");
}

/* What no single key can check. */
static kd_status check(const kd_config *c) {
    if (c->noise_min > c->noise_max) return KD_FAIL(KD_ERR_ARGUMENT, "noise_min: expected at most noise_max");
    if (c->sampling_steps > c->steps) return KD_FAIL(KD_ERR_ARGUMENT, "sampling_steps: expected at most steps");
    return KD_OK;
}

kd_status kd_config_load(const char *yaml_path, int64_t count, const char *const *overrides, kd_config *out) {
    loading l = {.config = out};
    kd_config_defaults(out);
    if (yaml_path) KD_OR_RETURN(load_yaml(&l, yaml_path));
    for (int64_t i = 0; i < count; i++) KD_OR_RETURN(apply_override(&l, overrides[i]));
    for (int64_t i = 0; i < kd_key_count; i++)
        if (out->semantics == KD_SEMANTICS_PAPER && kd_keys[i].paper && !l.given[i])
            KD_OR_RETURN(kd_key_set(&kd_keys[i], kd_keys[i].paper, "", out));
    return check(out);
}

/* Between double quotes any path or name is a plain YAML scalar; bytes below 32 only as an escape. */
static void write_quoted(FILE *f, const char *text) {
    fputc('"', f);
    for (; *text; text++) {
        if ((unsigned char)*text < 32)
            fprintf(f, "\\x%02x", (unsigned)*text);
        else
            fprintf(f, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    fputc('"', f);
}

kd_status kd_config_save(const kd_config *config, const char *path) {
    kd_atomic_file file;
    char text[VALUE_SIZE], group[64] = "";
    KD_OR_RETURN(kd_atomic_open(path, &file));
    for (int64_t i = 0; i < kd_key_count; i++) {
        const char *name = kd_keys[i].name, *dot = strchr(name, '.');
        size_t length = dot ? (size_t)(dot - name) : 0;
        if (dot && (strncmp(group, name, length) != 0 || group[length])) {
            snprintf(group, sizeof group, "%.*s", (int)length, name);
            fprintf(file.stream, "%s:\n", group);
        }
        if (!dot) group[0] = '\0';
        fprintf(file.stream, "%s%s: ", dot ? "  " : "", dot ? dot + 1 : name);
        kd_key_format(&kd_keys[i], config, text, sizeof text);
        if (kd_keys[i].type == KD_KEY_PATH || kd_keys[i].type == KD_KEY_CUTS || kd_keys[i].type == KD_KEY_FLAGS)
            write_quoted(file.stream, text);
        else
            fputs(text, file.stream);
        fputc('\n', file.stream);
    }
    if (config->guidance_weight_count > 0) fputs("guidance_weight:\n", file.stream);
    for (int64_t i = 0; i < config->guidance_weight_count; i++) {
        fputs("  ", file.stream);
        write_quoted(file.stream, config->guidance_weight[i].modality);
        fprintf(file.stream, ": %.17g\n", config->guidance_weight[i].weight);
    }
    return kd_atomic_commit(&file);
}

static bool makes_the_model(const char *key) {
    static const char *const FREE[] = {"epochs", "patience", "eval_every", "device", "threads", "shard"};
    for (size_t i = 0; i < sizeof FREE / sizeof FREE[0]; i++)
        if (strcmp(key, FREE[i]) == 0) return false;
    return true;
}

kd_status kd_config_identity(const kd_config *config, char **out) {
    char text[VALUE_SIZE];
    size_t size;
    FILE *f = open_memstream(out, &size);
    if (!f) return KD_FAIL(KD_ERR_MEMORY, "configuration: out of memory");
    for (int64_t i = 0; i < kd_key_count; i++) {
        if (!makes_the_model(kd_keys[i].name)) continue;
        kd_key_format(&kd_keys[i], config, text, sizeof text);
        fprintf(f, "%s=%s\n", kd_keys[i].name, text);
    }
    for (int64_t i = 0; i < config->guidance_weight_count; i++)
        fprintf(f, "%s%s=%.17g\n", WEIGHT_PREFIX, config->guidance_weight[i].modality,
                config->guidance_weight[i].weight);
    return fclose(f) == 0 ? KD_OK : KD_FAIL(KD_ERR_MEMORY, "configuration: out of memory");
}

double kd_config_guidance_weight(const kd_config *config, const char *modality) {
    for (int64_t i = 0; i < config->guidance_weight_count; i++)
        if (strcmp(config->guidance_weight[i].modality, modality) == 0) return config->guidance_weight[i].weight;
    return strcmp(modality, "text") == 0 ? 1.0 - config->e_loss : config->e_loss;
}
