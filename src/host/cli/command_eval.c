/* kdiffe eval: metrics of a finished run. */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "host/cli/shared.h"
#include "host/report/console.h"
#include "host/report/metrics_log.h"

static const char HELP[] =
    "usage: kdiffe eval RUN [--data=DIR] [--topk=10,20] [--json] [--device=D] [--threads=N]\n\n"
    "Ranks all items for every user with the run's best model and prints recall, NDCG and precision of the\n"
    "validation and test splits; training items are left out of the lists.\n\n"
    "  --data=DIR    where the data set is now; its contents must be those of the training\n"
    "  --topk=LIST   cut-offs [20]\n"
    "  --json        one JSON object instead of the table\n"
    "  --device=D    auto, cpu or cuda [auto]\n"
    "  --threads=N   CPU threads [0: every core]\n\n"
    "example: kdiffe eval runs/tiktok --topk=5,10,20\n";

/* The few configuration keys that ranking depends on, as words; the others were settled by the training. */
static kd_status take_keys(kd_args *args, kd_config **config) {
    static const char *const NAMES[] = {"topk", "device", "threads"};
    char word[3][256];
    const char *given[3], *text;
    int64_t count = 0;
    for (int64_t i = 0; i < 3; i++) {
        if (!(text = kd_args_take(args, NAMES[i]))) continue;
        if (snprintf(word[count], sizeof word[count], "%s=%s", NAMES[i], text) >= (int)sizeof word[count])
            return KD_FAIL(KD_ERR_ARGUMENT, "--%s: the value is too long", NAMES[i]);
        given[count] = word[count];
        count++;
    }
    return kd_config_open(NULL, count, given, config);
}

static kd_status print_json(const kd_metrics *valid, const kd_metrics *test) {
    cJSON *object = cJSON_CreateObject();
    if (valid->users > 0) cJSON_AddItemToObject(object, "valid", kd_metrics_json(valid));
    if (test->users > 0) cJSON_AddItemToObject(object, "test", kd_metrics_json(test));
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (!text) return KD_FAIL(KD_ERR_MEMORY, "out of memory for the metrics");
    puts(text);
    cJSON_free(text);
    return KD_OK;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_run *run = NULL;
    kd_config *config = NULL;
    kd_metrics valid, test;
    const char *data = kd_args_take(args, "data");
    char device[16];
    bool json;
    KD_TRY(kd_args_take_flag(args, "json", &json));
    KD_TRY(take_keys(args, &config));
    KD_TRY(kd_args_finish(args, 1));
    KD_TRY(kd_run_open(args->positional[0], data, &run));
    KD_TRY(kd_config_value(config, "device", device, sizeof device));
    KD_TRY(kd_run_compute(run, device, config->threads));
    KD_TRY(kd_run_evaluate(run, KD_SUBSET_VALID, config->topk_count, config->topk, &valid));
    KD_TRY(kd_run_evaluate(run, KD_SUBSET_TEST, config->topk_count, config->topk, &test));
    if (json) KD_TRY(print_json(&valid, &test));
    if (!json) {
        kd_console_metrics(stdout, "valid", &valid);
        kd_console_metrics(stdout, "test", &test);
    }
cleanup:
    kd_config_close(config);
    kd_run_close(run);
    return status;
}

const kd_command kd_command_eval = {"eval", "metrics of a finished run", HELP, command};
