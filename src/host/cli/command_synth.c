/* kdiffe synth: a data set with planted structure. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/cli/command.h"
#include "host/data/format.h"
#include "host/data/synth.h"

static const char HELP[] =
    "usage: kdiffe synth OUT [options]\n\n"
    "Makes a data set with planted structure: items and users have latent tastes that drive the interactions, the\n"
    "features and the informative triples; the other triples are noise. OUT/NAME.kg_truth.tsv says which triple is\n"
    "which, OUT/NAME.truth.json the parameters. The same options give the same bytes.\n\n"
    "  --users=N --items=N          sizes [1000, 500]\n"
    "  --tastes=N --user-tastes=N   latent tastes, and those of a user [20, 2]\n"
    "  --interactions=X             mean per user [10]\n"
    "  --stray=X                    share of interactions that ignore taste [0.1]\n"
    "  --popularity=X               exponent of the popularity skew [0.7]\n"
    "  --active-users=N             users who share all but 3 interactions of each, by rank to the power -activity; "
    "0:\n"
    "                               everybody is as active as chance would have it [0]\n"
    "  --activity=X                 exponent of the active users' skew [0]\n"
    "  --modalities=NAME:WIDTH,..   features; `none` for none [image:64,text:32]\n"
    "  --feature-noise=X            noise beside centres of variance 1 [1]\n"
    "  --relations=N --attributes=N relations, and attributes of each relation and taste [4, 2]\n"
    "  --kg-informative=X           mean informative triples of an item [3]\n"
    "  --kg-noise=X                 mean noise triples of an item [3]\n"
    "  --kg-hubs=N                  attributes that every item has a triple to [0]\n"
    "  --split=A,B,C                shares for train, valid and test [0.7,0.1,0.2]\n"
    "  --seed=N                     [421]\n"
    "  --force                      replace OUT if it is there\n\n"
    "example: kdiffe synth data/demo --users=2000 --items=800 --seed=1\n";

static kd_status take_modalities(const char *text, kd_synth_config *c) {
    if (!text) return KD_OK;
    c->modality_count = 0;
    if (strcmp(text, "none") == 0) return KD_OK;
    while (*text) {
        char name[64];
        long long width;
        int used = 0;
        if (c->modality_count == KD_SYNTH_MAX_MODALITIES ||
            sscanf(text, "%63[a-zA-Z0-9_]:%9lld%n", name, &width, &used) != 2 || width < 1 ||
            width > KD_SYNTH_MAX_WIDTH || (text[used] && text[used] != ','))
            return KD_FAIL(KD_ERR_ARGUMENT, "--modalities: expected NAME:WIDTH,... with up to %d of them, got '%s'",
                           (int)KD_SYNTH_MAX_MODALITIES, text);
        snprintf(c->modality[c->modality_count].name, sizeof name, "%s", name);
        c->modality[c->modality_count++].width = width;
        text += used + (text[used] == ',');
    }
    return KD_OK;
}

static kd_status take_options(kd_args *args, kd_synth_config *c) {
    int64_t seed = (int64_t)c->seed;
    char end;
    const char *split = kd_args_take(args, "split");
    KD_OR_RETURN(kd_args_take_int(args, "users", 1, 1000000000, &c->users));
    KD_OR_RETURN(kd_args_take_int(args, "items", 6, 1000000000, &c->items));
    KD_OR_RETURN(kd_args_take_int(args, "tastes", 1, 1000000, &c->tastes));
    KD_OR_RETURN(kd_args_take_int(args, "user-tastes", 1, 1000, &c->user_tastes));
    KD_OR_RETURN(kd_args_take_real(args, "interactions", 3, 1e6, &c->interactions));
    KD_OR_RETURN(kd_args_take_real(args, "stray", 0, 1, &c->stray));
    KD_OR_RETURN(kd_args_take_real(args, "popularity", 0, 10, &c->popularity));
    KD_OR_RETURN(kd_args_take_int(args, "active-users", 0, 1000000000, &c->active_users));
    KD_OR_RETURN(kd_args_take_real(args, "activity", 0, 10, &c->activity));
    KD_OR_RETURN(take_modalities(kd_args_take(args, "modalities"), c));
    KD_OR_RETURN(kd_args_take_real(args, "feature-noise", 0, 1000, &c->feature_noise));
    KD_OR_RETURN(kd_args_take_int(args, "relations", 1, 10000, &c->relations));
    KD_OR_RETURN(kd_args_take_int(args, "attributes", 1, 10000, &c->attributes));
    KD_OR_RETURN(kd_args_take_real(args, "kg-informative", 0, 1000, &c->kg_informative));
    KD_OR_RETURN(kd_args_take_real(args, "kg-noise", 0, 1000, &c->kg_noise));
    KD_OR_RETURN(kd_args_take_int(args, "kg-hubs", 0, 1000, &c->kg_hubs));
    KD_OR_RETURN(kd_args_take_int(args, "seed", 0, INT64_MAX, &seed));
    c->seed = (uint64_t)seed;
    if (split && (sscanf(split, "%lf,%lf,%lf%c", &c->split[0], &c->split[1], &c->split[2], &end) != 3 ||
                  !(c->split[0] > 0) || !(c->split[1] >= 0) || !(c->split[2] >= 0)))
        return KD_FAIL(KD_ERR_ARGUMENT, "--split: expected three shares such as 0.7,0.1,0.2, got '%s'", split);
    return KD_OK;
}

/* What the truth files are written from. */
typedef struct truth {
    const kd_synth_config *config;
    const kd_dataset *data;
    const uint8_t *informative;
} truth;

/* The parameters as JSON; NULL if memory ran out. Free with cJSON_free(). */
static char *parameters_json(const kd_synth_config *c) {
    const struct {
        const char *name;
        double value;
    } parameter[] = {{"users", (double)c->users},           {"items", (double)c->items},
                     {"tastes", (double)c->tastes},         {"user_tastes", (double)c->user_tastes},
                     {"interactions", c->interactions},     {"stray", c->stray},
                     {"popularity", c->popularity},         {"feature_noise", c->feature_noise},
                     {"relations", (double)c->relations},   {"attributes", (double)c->attributes},
                     {"kg_informative", c->kg_informative}, {"kg_noise", c->kg_noise}};
    char seed[24];
    cJSON *object = cJSON_CreateObject(), *modalities = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof parameter / sizeof parameter[0]; i++)
        cJSON_AddNumberToObject(object, parameter[i].name, parameter[i].value);
    if (c->active_users > 0) { /* what is off is not named, so that older files of the same data are the same */
        cJSON_AddNumberToObject(object, "active_users", (double)c->active_users);
        cJSON_AddNumberToObject(object, "activity", c->activity);
    }
    if (c->kg_hubs > 0) cJSON_AddNumberToObject(object, "kg_hubs", (double)c->kg_hubs);
    for (int64_t m = 0; m < c->modality_count; m++)
        cJSON_AddNumberToObject(modalities, c->modality[m].name, (double)c->modality[m].width);
    cJSON_AddItemToObject(object, "modalities", modalities);
    cJSON_AddItemToObject(object, "split", cJSON_CreateDoubleArray(c->split, 3));
    snprintf(seed, sizeof seed, "%" PRIu64, c->seed); /* as a double it would lose digits beyond 2^53 */
    cJSON_AddRawToObject(object, "seed", seed);
    char *text = cJSON_Print(object);
    cJSON_Delete(object);
    return text;
}

static kd_status write_parameters(const kd_synth_config *c, const char *folder, const char *name) {
    kd_atomic_file f;
    char *text = parameters_json(c);
    if (!text) return KD_FAIL(KD_ERR_MEMORY, "%s.truth.json: out of memory", name);
    kd_status status = kd_atomic_open_in(folder, name, ".truth.json", &f);
    if (status == KD_OK) {
        fprintf(f.stream, "%s\n", text);
        status = kd_atomic_commit(&f);
    }
    cJSON_free(text);
    return status;
}

static kd_status write_truth(void *context, const char *folder, const char *name) {
    const truth *t = context;
    const kd_dataset *d = t->data;
    kd_atomic_file f;
    KD_OR_RETURN(write_parameters(t->config, folder, name));
    if (d->kg.count == 0) return KD_OK;
    KD_OR_RETURN(kd_atomic_open_in(folder, name, ".kg_truth.tsv", &f));
    fputs("head\trelation\ttail\tinformative\n", f.stream);
    for (int64_t i = 0; i < d->kg.count; i++)
        fprintf(f.stream, "%d\t%d\t%d\t%d\n", (int)d->kg.head[i], (int)d->kg.relation[i], (int)d->kg.tail[i],
                (int)t->informative[i]);
    return kd_atomic_commit(&f);
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_synth_config config;
    kd_dataset data = {0};
    uint8_t *informative = NULL;
    bool force;
    kd_synth_defaults(&config);
    KD_TRY(kd_args_take_flag(args, "force", &force));
    KD_TRY(take_options(args, &config));
    KD_TRY(kd_args_finish(args, 1));
    KD_TRY(kd_synth_generate(&config, &data, &informative));
    truth t = {&config, &data, informative};
    KD_TRY(kd_dataset_save_with(args->positional[0], force, &data, write_truth, &t));
    printf("%s: %" PRId64 " users, %" PRId64 " items, %" PRId64 "/%" PRId64 "/%" PRId64 " interactions, %" PRId64
           " triples\n",
           args->positional[0], data.users, data.items, data.train.count, data.valid.count, data.test.count,
           data.kg.count);
cleanup:
    free(informative);
    kd_dataset_free(&data);
    return status;
}

const kd_command kd_command_synth = {"synth", "make a data set with planted structure", HELP, command};
