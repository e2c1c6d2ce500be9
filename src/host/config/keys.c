#include "host/config/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const MODEL[] = {"kdiffe", "lightgcn", NULL}; /* in the order of kd_model_choice */
_Static_assert(sizeof MODEL / sizeof MODEL[0] == KD_MODEL_COUNT + 1, "each model has a word");
static const char *const SEMANTICS[] = {"published", "paper", NULL};
static const char *const METHODS[] = {"cumulative", "node", "power", NULL};
static const char *const TRAIN_VIEWS[] = {"full", "generated", NULL};
static const char *const ID_SPACES[] = {"shared", "separate", NULL};
static const char *const GUIDANCES[] = {"row_index", "linked_users", NULL};
static const char *const SPLITS[] = {"test", "valid", NULL};
static const char *const DEVICES[] = {"auto", "cpu", "cuda", NULL};
static const char *const PRECISIONS[] = {"fp32", "tf32", "bf16", NULL};
static const char *const NAIVE[] = {"chain", "output", "views", "rows", "features", "scores", NULL};

#define FIELD(field) offsetof(kd_config, field)
#define INT(name, field, low, high, fallback, help) \
    { name, KD_KEY_INT, FIELD(field), low, high, NULL, fallback, NULL, help }
#define REAL(name, field, low, high, fallback, help) \
    { name, KD_KEY_REAL, FIELD(field), low, high, NULL, fallback, NULL, help }
#define CHOICE(name, field, choices, fallback, paper, help) \
    { name, KD_KEY_CHOICE, FIELD(field), 0, 0, choices, fallback, paper, help }
#define SWITCH(name, field, help) \
    { name, KD_KEY_BOOL, FIELD(field), 0, 0, NULL, "true", NULL, help }

const kd_key kd_keys[] = {
    CHOICE("model", model, MODEL, "kdiffe", NULL, "what is trained: KDiffE, or LightGCN with its embeddings alone"),
    CHOICE("semantics", semantics, SEMANTICS, "published", NULL,
           "published code or paper, where they differ: sets the four keys marked *"),
    INT("epochs", epochs, 1, 1e9, "25", "epochs to train"),
    INT("batch", batch, 1, 1e7, "1024", "interactions, or rows of a denoiser, in a step"),
    INT("dim", dim, 1, 65536, "64", "embedding width d"),
    REAL("lr", lr, 0, 10, "0.001", "learning rate of Adam, for the model and every denoiser"),
    REAL("reg", reg, 0, 10, "1e-5", "weight decay of user and item embeddings"),
    {"seed", KD_KEY_SEED, FIELD(seed), 0, 0, NULL, "421", NULL, "seed of every random number"},
    INT("gnn_layers", gnn_layers, 0, 16, "1", "layers over the attention-aware graph"),
    INT("kg_hops", kg_hops, 1, 8, "1", "hops of relation-aware attention"),
    INT("triplet_num", triplet_num, -1, 1e9, "10", "edges of a head that message passing uses; -1: all"),
    REAL("mess_dropout", mess_dropout, 0, 0.999, "0.1", "dropout of the knowledge graph's messages"),
    INT("trans", trans, 0, 2, "0",
        "feature transform: 0 matrix, 1 linear, 2 matrix for image and linear for the others"),
    REAL("res_lambda", res_lambda, 0, 100, "0.5", "weight of residuals"),
    REAL("ris_adj_lambda", ris_adj_lambda, 0, 100, "0.2", "weight of the generated modality graphs"),
    INT("cl_method", cl_method, 0, 1, "0", "contrast 0: modalities with each other, 1: main view with each modality"),
    REAL("ssl_reg", ssl_reg, 0, 100, "0.01", "weight of the contrastive loss"),
    REAL("temp", temp, 0.025, 100, "0.5", "temperature of the contrastive loss"),
    INT("hidden", hidden, 1, 65536, "1000", "hidden width of the denoisers"),
    INT("time_dim", time_dim, 2, 4096, "10", "width of the time embedding"),
    INT("steps", steps, 1, 1000, "5", "diffusion steps T"),
    INT("sampling_steps", sampling_steps, 0, 1000, "0", "noise rows to this step before the reverse chain; 0: none"),
    REAL("noise_scale", noise_scale, 0, 100, "0.1", "scale of the noise schedule"),
    REAL("noise_min", noise_min, 0, 1, "0.0001", "lower end of the noise schedule"),
    REAL("noise_max", noise_max, 0, 1, "0.02", "upper end of the noise schedule"),
    REAL("e_loss", e_loss, 0, 1000, "0.1", "weight of the guidance losses (text: 1 - e_loss)"),
    INT("q", q, 1, 1e6, "1", "columns kept of each sampled row"),
    REAL("keep_rate", keep_rate, 1e-6, 1, "0.5", "share of generated edges kept each epoch"),
    REAL("epsilon", epsilon, 0, 100, "0.5", "weight of the attention-aware matrix"),
    CHOICE("attention.method", attention.method, METHODS, "cumulative", NULL, "how the attention-aware matrix is made"),
    INT("attention.walks", attention.walks, 1, 1e6, "6", "walks per edge end (cumulative) or node (node, power)"),
    INT("attention.walk_steps", attention.walk_steps, 1, 1e6, "130", "steps of a walk"),
    REAL("attention.restart", attention.restart, 0.001, 0.999, "0.2", "restart probability of node and power"),
    {"attention.file", KD_KEY_PATH, FIELD(attention.file), 0, 0, NULL, "", NULL,
     "a given matrix (.pkl or .tsv) instead of walks"},
    CHOICE("kg.train_view", kg.train_view, TRAIN_VIEWS, "full", "generated", "* graph of the main view in training"),
    CHOICE("kg.id_space", kg.id_space, ID_SPACES, "shared", "separate", "* tails of a graph without a link file"),
    CHOICE("guidance", guidance, GUIDANCES, "row_index", "linked_users", "* what guides an entity's row"),
    CHOICE("select_on", select_on, SPLITS, "test", "valid", "* split whose recall picks the best epoch"),
    SWITCH("use.attention", use.attention, "false: no attention-aware matrix"),
    SWITCH("use.kg", use.kg, "false: a knowledge graph without edges"),
    SWITCH("use.generated_kg", use.generated_kg, "false: the full knowledge graph everywhere, no KG denoiser"),
    SWITCH("use.multimodal", use.multimodal, "false: no multimodal view in score and BPR"),
    SWITCH("use.contrastive", use.contrastive, "false: no contrastive loss"),
    {"topk", KD_KEY_CUTS, FIELD(topk), 0, 0, NULL, "20", NULL, "cut-offs of the metrics, such as 10,20"},
    INT("eval_every", eval_every, 1, 1e9, "1", "epochs between evaluations"),
    INT("patience", patience, 0, 1e9, "0", "evaluations without a better one before stopping; 0: never"),
    CHOICE("device", device, DEVICES, "auto", NULL, "where to compute"),
    INT("threads", threads, 0, 4096, "0", "CPU threads; 0: every core"),
    CHOICE("precision", precision, PRECISIONS, "tf32", NULL,
           "least precision of dense products; CPUs take tf32 as fp32"),
    SWITCH("deterministic", deterministic, "false: a GPU's dense products may sum in any order"),
    {"shard", KD_KEY_BOOL, FIELD(shard), 0, 0, NULL, "false", NULL,
     "each of several ranks holds some columns of all tables, not whole ones"},
    {"naive", KD_KEY_FLAGS, FIELD(naive), 0, 0, NAIVE, "", NULL,
     "stages computed as their formulas stand, slowly, to check and to time the algebra"},
};
const int64_t kd_key_count = sizeof kd_keys / sizeof kd_keys[0];
_Static_assert(sizeof kd_keys / sizeof kd_keys[0] <= KD_KEY_MOST, "KD_KEY_MOST is too small");

const kd_key *kd_key_find(const char *name) {
    for (int64_t i = 0; i < kd_key_count; i++)
        if (strcmp(kd_keys[i].name, name) == 0) return &kd_keys[i];
    return NULL;
}

int64_t kd_edit_distance(const char *a, const char *b) {
    enum { MOST = 128 };
    int64_t row[MOST + 1], n = (int64_t)strlen(b);
    if (n > MOST) return MOST;
    for (int64_t j = 0; j <= n; j++) row[j] = j;
    for (int64_t i = 1; a[i - 1]; i++) {
        int64_t diagonal = row[0];
        row[0] = i;
        for (int64_t j = 1; j <= n; j++) {
            int64_t change = diagonal + (a[i - 1] != b[j - 1]), skip = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < skip ? change : skip;
        }
    }
    return row[n];
}

const char *kd_key_nearest(const char *name) {
    const char *best = kd_keys[0].name;
    for (int64_t i = 1; i < kd_key_count; i++)
        if (kd_edit_distance(name, kd_keys[i].name) < kd_edit_distance(name, best)) best = kd_keys[i].name;
    return best;
}

void kd_key_expects(const kd_key *key, char *text, size_t size) {
    size_t used = 0;
    switch (key->type) {
    case KD_KEY_INT: snprintf(text, size, "a whole number from %.0f to %.0f", key->low, key->high); break;
    case KD_KEY_SEED: snprintf(text, size, "a whole number from 0"); break;
    case KD_KEY_REAL: snprintf(text, size, "a number from %g to %g", key->low, key->high); break;
    case KD_KEY_BOOL: snprintf(text, size, "true or false"); break;
    case KD_KEY_PATH: snprintf(text, size, "a path"); break;
    case KD_KEY_CUTS: snprintf(text, size, "up to %d ascending whole numbers from 1", (int)KD_MAX_TOPK); break;
    case KD_KEY_CHOICE:
    case KD_KEY_FLAGS: {
        const char *first = key->type == KD_KEY_CHOICE ? "one of " : "any of ";
        for (int i = 0; key->choices[i] && used < size; i++)
            used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : first, key->choices[i]);
    } break;
    }
}

static bool take_int(const kd_key *key, const char *text, int64_t *out) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || (double)value < key->low || (double)value > key->high) return false;
    *out = value;
    return true;
}

static bool take_seed(const char *text, uint64_t *out) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || errno || strchr(text, '-')) return false; /* strtoull wraps what is negative */
    *out = value;
    return true;
}

static bool take_real(const kd_key *key, const char *text, double *out) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= key->low && value <= key->high)) return false;
    *out = value;
    return true;
}

static bool take_choice(const kd_key *key, const char *text, int *out) {
    for (int i = 0; key->choices[i]; i++) {
        if (strcmp(key->choices[i], text) != 0) continue;
        *out = i;
        return true;
    }
    return false;
}

static bool take_flags(const kd_key *key, const char *text, uint32_t *out) {
    *out = 0;
    while (*text) {
        size_t length = strcspn(text, ",");
        int i = 0;
        while (key->choices[i] && (strlen(key->choices[i]) != length || strncmp(key->choices[i], text, length) != 0))
            i++;
        if (!key->choices[i]) return false;
        *out |= 1u << i;
        text += length;
        if (*text == ',' && !*++text) return false;
    }
    return true;
}

static bool take_bool(const char *text, bool *out) {
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0;
}

static bool take_path(const char *text, kd_config *config) {
    if (strlen(text) >= sizeof config->attention.file) return false;
    strcpy(config->attention.file, text);
    return true;
}

static bool take_cuts(const char *text, kd_config *config) {
    int64_t count = 0, cuts[KD_MAX_TOPK] = {0};
    for (const char *at = text;; at++) {
        char *end;
        long long value = strtoll(at, &end, 10);
        if (end == at || value < 1 || value > 1000000 || count == KD_MAX_TOPK || (count && value <= cuts[count - 1]))
            return false;
        cuts[count++] = value;
        at = end;
        if (*at == ',') continue;
        if (*at) return false;
        config->topk_count = count;
        memcpy(config->topk, cuts, sizeof cuts);
        return true;
    }
}

kd_status kd_key_set(const kd_key *key, const char *text, const char *where, kd_config *config) {
    void *field = (char *)config + key->offset;
    char expected[128];
    bool taken = false;
    switch (key->type) {
    case KD_KEY_INT: taken = take_int(key, text, field); break;
    case KD_KEY_SEED: taken = take_seed(text, field); break;
    case KD_KEY_REAL: taken = take_real(key, text, field); break;
    case KD_KEY_CHOICE: taken = take_choice(key, text, field); break;
    case KD_KEY_FLAGS: taken = take_flags(key, text, field); break;
    case KD_KEY_BOOL: taken = take_bool(text, field); break;
    case KD_KEY_PATH: taken = take_path(text, config); break;
    case KD_KEY_CUTS: taken = take_cuts(text, config); break;
    }
    if (taken) return KD_OK;
    kd_key_expects(key, expected, sizeof expected);
    return KD_FAIL(KD_ERR_ARGUMENT, "%s%s: expected %s, got '%s'", where, key->name, expected, text);
}

/* The shortest of the usual precisions that reads back to the same bits. */
static void format_real(double value, char *text, size_t size) {
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) == value) return;
    }
}

void kd_key_format(const kd_key *key, const kd_config *config, char *text, size_t size) {
    const void *field = (const char *)config + key->offset;
    size_t used = 0;
    switch (key->type) {
    case KD_KEY_INT: snprintf(text, size, "%" PRId64, *(const int64_t *)field); break;
    case KD_KEY_SEED: snprintf(text, size, "%" PRIu64, *(const uint64_t *)field); break;
    case KD_KEY_REAL: format_real(*(const double *)field, text, size); break;
    case KD_KEY_BOOL: snprintf(text, size, "%s", *(const bool *)field ? "true" : "false"); break;
    case KD_KEY_CHOICE: snprintf(text, size, "%s", key->choices[*(const int *)field]); break;
    case KD_KEY_PATH: snprintf(text, size, "%s", (const char *)field); break;
    case KD_KEY_FLAGS:
        text[0] = '\0';
        for (int i = 0; key->choices[i] && used < size; i++)
            if (*(const uint32_t *)field >> i & 1)
                used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "," : "", key->choices[i]);
        break;
    case KD_KEY_CUTS:
        for (int64_t i = 0; i < config->topk_count && used < size; i++)
            used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i ? "," : "", config->topk[i]);
        break;
    }
}

const char *kd_keys_help(void) {
    static char text[16384];
    char expected[128];
    size_t used = 0;
    if (text[0]) return text;
    for (int64_t i = 0; i < kd_key_count; i++) {
        const kd_key *key = &kd_keys[i];
        kd_key_expects(key, expected, sizeof expected);
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "  --%-22s %s\n%27s%s [%s]%s%s\n", key->name, key->help,
                             "", expected, key->fallback, key->paper ? "; paper: " : "", key->paper ? key->paper : "");
    }
    snprintf(text + used, sizeof text - used, "  --%-22s %s\n", "guidance_weight.MODALITY",
             "weight of one modality's guidance loss instead of e_loss; a number from 0 to 1000");
    return text;
}
