/* kdiffe info: what a data set holds and what training on it takes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/cli/command.h"
#include "host/cli/shared.h"
#include "host/data/dataset.h"
#include "host/report/console.h"
#include "host/train/train.h"

static const char HELP[] =
    "usage: kdiffe info DATA [--config=FILE.yaml] [--key=value ...]\n\n"
    "Prints counts, degrees, density, modalities, hash, and the memory plan of training with the given\n"
    "configuration.\n\n"
    "example: kdiffe info data/tiktok --dim=128\n";

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* min, median, mean and max of how often each of n ids occurs. */
static kd_status print_degrees(const char *what, int64_t n, int64_t count, const int32_t *id) {
    int64_t *degree;
    KD_OR_RETURN(kd_host_alloc(&degree, n + 1, sizeof *degree, "degrees"));
    for (int64_t i = 0; i < count; i++) degree[id[i]]++;
    qsort(degree, (size_t)n, sizeof *degree, ascending);
    printf("%-22s min %" PRId64 "  median %" PRId64 "  mean %.2f  max %" PRId64 "\n", what, degree[0], degree[n / 2],
           (double)count / (double)n, degree[n - 1]);
    free(degree);
    return KD_OK;
}

static kd_status print_counts(const kd_dataset *d) {
    printf("%-22s %s\n%-22s %016" PRIx64 "\n", "name", d->name, "hash", d->hash);
    printf("%-22s %" PRId64 " users, %" PRId64 " items\n", "size", d->users, d->items);
    printf("%-22s %" PRId64 " train, %" PRId64 " valid, %" PRId64 " test\n", "interactions", d->train.count,
           d->valid.count, d->test.count);
    printf("%-22s %.4f%%\n", "density", 100.0 * (double)d->train.count / ((double)d->users * (double)d->items));
    KD_OR_RETURN(print_degrees("items of a user", d->users, d->train.count, d->train.user));
    KD_OR_RETURN(print_degrees("users of an item", d->items, d->train.count, d->train.item));
    printf("%-22s %" PRId64 " triples, %" PRId64 " entities, %" PRId64 " relations, %s\n", "knowledge graph",
           d->kg.count, d->entities, d->relations,
           d->kg.count == 0 ? "none"
           : d->kg_linked   ? "linked"
                            : "not linked");
    if (d->kg.count > 0) KD_OR_RETURN(print_degrees("triples of a head", d->entities, d->kg.count, d->kg.head));
    for (int64_t m = 0; m < d->modality_count; m++)
        printf("%-22s %s, width %" PRId64 "\n", "modality", d->modalities[m].name, d->modalities[m].width);
    return KD_OK;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_config *config = NULL;
    kd_dataset *data = NULL;
    kd_memory_plan plan;
    char text[32];
    KD_TRY(kd_cli_config(args, &config));
    KD_TRY(kd_args_finish(args, 1));
    KD_TRY(kd_dataset_open(args->positional[0], &data));
    KD_TRY(print_counts(data));
    KD_TRY(kd_train_plan(config, data, NULL, &plan));
    for (int64_t i = 0; i < plan.parts; i++)
        printf("%-22s %-28s %12s\n", i ? "" : "memory of training", plan.part[i].what,
               kd_console_bytes(plan.part[i].bytes, text));
    printf("%-22s %-28s %12s\n", "", "total", kd_console_bytes(plan.total, text));
cleanup:
    kd_dataset_close(data);
    kd_config_close(config);
    return status;
}

const kd_command kd_command_info = {"info", "counts, degrees and memory plan of a data set", HELP, command};
