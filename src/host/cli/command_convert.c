/* kdiffe convert: other people's files into the engine's format. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/command.h"
#include "host/data/dataset_check.h"
#include "host/data/format.h"
#include "host/data/published.h"
#include "host/data/recbole.h"

static const char HELP[] =
    "usage: kdiffe convert --from=published|recbole DIR OUT [options]\n\n"
    "Reads DIR and writes the data set OUT in the engine's format (docs/formats.md), whole or not at all.\n\n"
    "  --from=published       trnMat.pkl, valMat.pkl, tstMat.pkl, kg.txt, MODALITY_feat.npy; pickles are read by an\n"
    "                         allow-list reader that runs nothing\n"
    "  --from=recbole         NAME.inter (or NAME.train.inter, .valid.inter, .test.inter), NAME.kg, NAME.link,\n"
    "                         MODALITY_feat.npy\n"
    "  --force                replace OUT if it is there\n"
    "for recbole:\n"
    "  --threshold=X          keep rows whose rating is at least X\n"
    "  --rating-column=NAME   [rating, weight or label, whichever is there]\n"
    "  --k-core=N             drop users and items with fewer than N interactions until none is left [0]\n"
    "  --split=A,B,C          shares of each user's interactions for train, valid and test [0.8,0.1,0.1],\n"
    "                         or x_label for that column (0 train, 1 valid, 2 test)\n"
    "  --seed=N               of the split by shares [421]\n"
    "  --feature-ids=FILE     item ids of the feature rows, one a line [NAME.item]\n\n"
    "example: kdiffe convert --from=recbole downloads/lastfm data/lastfm --split=0.8,0.1,0.1\n";

static kd_status take_split(const char *text, kd_recbole_options *o) {
    char end;
    if (!text) return KD_OK;
    o->split_by_label = strcmp(text, "x_label") == 0;
    if (o->split_by_label) return KD_OK;
    if (sscanf(text, "%lf,%lf,%lf%c", &o->split[0], &o->split[1], &o->split[2], &end) != 3 || !(o->split[0] > 0) ||
        !(o->split[1] >= 0) || !(o->split[2] >= 0) || !(o->split[0] + o->split[1] + o->split[2] <= 1e6))
        return KD_FAIL(KD_ERR_ARGUMENT, "--split: expected three shares such as 0.8,0.1,0.1, or x_label; got '%s'",
                       text);
    return KD_OK;
}

/* A value that may not be empty, as in a bare --feature-ids; *out is NULL when it is not given. */
static kd_status take_text(kd_args *args, const char *key, const char **out) {
    *out = kd_args_take(args, key);
    if (*out && !**out) return KD_FAIL(KD_ERR_ARGUMENT, "--%s: expected --%s=VALUE", key, key);
    return KD_OK;
}

static kd_status take_recbole(kd_args *args, kd_recbole_options *o) {
    const double not_given = -1e300;
    const char *split;
    kd_recbole_defaults(o);
    int64_t seed = (int64_t)o->seed;
    o->threshold = not_given;
    KD_OR_RETURN(kd_args_take_real(args, "threshold", -1e299, 1e299, &o->threshold));
    o->has_threshold = o->threshold != not_given;
    KD_OR_RETURN(kd_args_take_int(args, "k-core", 0, 1000000, &o->k_core));
    KD_OR_RETURN(kd_args_take_int(args, "seed", 0, INT64_MAX, &seed));
    o->seed = (uint64_t)seed;
    KD_OR_RETURN(take_text(args, "rating-column", &o->rating_column));
    KD_OR_RETURN(take_text(args, "feature-ids", &o->feature_ids));
    KD_OR_RETURN(take_text(args, "split", &split));
    return take_split(split, o);
}

static kd_status load_published(kd_args *args, const char *folder, kd_dataset *out) {
    KD_OR_RETURN(kd_args_finish(args, 2));
    return kd_published_load(folder, out);
}

static kd_status load_recbole(kd_args *args, const char *folder, kd_dataset *out) {
    kd_recbole_options options;
    KD_OR_RETURN(take_recbole(args, &options));
    KD_OR_RETURN(kd_args_finish(args, 2));
    return kd_recbole_load(folder, &options, out);
}

/* The words that --from takes. */
static const struct source {
    const char *name;
    /* Takes its options from args, of which none may be left, and reads the folder. */
    kd_status (*load)(kd_args *args, const char *folder, kd_dataset *out);
} SOURCES[] = {{"published", load_published}, {"recbole", load_recbole}};

static const struct source *find_source(const char *name) {
    for (size_t i = 0; name && i < sizeof SOURCES / sizeof SOURCES[0]; i++)
        if (strcmp(SOURCES[i].name, name) == 0) return &SOURCES[i];
    return NULL;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_dataset data = {0};
    const struct source *source = find_source(kd_args_take(args, "from"));
    bool force;
    KD_TRY(kd_args_take_flag(args, "force", &force));
    if (!source) KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "expected --from=FORMAT, one of those in --help");
    KD_TRY(source->load(args, args->positional_count > 0 ? args->positional[0] : "", &data));
    KD_TRY(kd_dataset_check(&data, NULL));
    KD_TRY(kd_dataset_save(args->positional[1], force, &data));
    printf("%s: %lld users, %lld items, %lld/%lld/%lld interactions, %lld triples, %lld modalities\n",
           args->positional[1], (long long)data.users, (long long)data.items, (long long)data.train.count,
           (long long)data.valid.count, (long long)data.test.count, (long long)data.kg.count,
           (long long)data.modality_count);
cleanup:
    kd_dataset_free(&data);
    return status;
}

const kd_command kd_command_convert = {"convert", "make a data set of other files", HELP, command};
