/* kdiffe eval: metrics of a finished run. */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "host/cli/shared.h"
#include "host/config/keys.h"
#include "host/config/load.h"
#include "host/report/console.h"
#include "host/report/metrics_log.h"
#include "kernels/device.h"

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

/* The few configuration keys that ranking depends on; the others were settled by the training. */
static kd_status take_key(kd_args *args, const char *name, kd_config *config) {
    const char *text = kd_args_take(args, name);
    return text ? kd_key_set(kd_key_find(name), text, "--", config) : KD_OK;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_cli_run run = {0};
    kd_ctx *ctx = NULL;
    kd_config config;
    kd_metrics valid = {0}, test = {0};
    const char *data = kd_args_take(args, "data");
    bool json;
    KD_TRY(kd_args_take_flag(args, "json", &json));
    kd_config_defaults(&config);
    KD_TRY(take_key(args, "topk", &config));
    KD_TRY(take_key(args, "device", &config));
    KD_TRY(take_key(args, "threads", &config));
    KD_TRY(kd_args_finish(args, 1));
    KD_TRY(kd_cli_run_open(args->positional[0], data, &run));
    KD_TRY(kd_ctx_open((kd_compute){.device = config.device, .threads = config.threads, .precision = KD_PRECISION_FP32},
                       &ctx));
    if (run.data.valid.count > 0)
        KD_TRY(kd_evaluate(ctx, &run.views, &run.data, &run.data.valid, config.topk_count, config.topk, &valid));
    if (run.data.test.count > 0)
        KD_TRY(kd_evaluate(ctx, &run.views, &run.data, &run.data.test, config.topk_count, config.topk, &test));
    if (json) {
        cJSON *object = cJSON_CreateObject();
        if (valid.users > 0) cJSON_AddItemToObject(object, "valid", kd_metrics_json(&valid));
        if (test.users > 0) cJSON_AddItemToObject(object, "test", kd_metrics_json(&test));
        char *text = cJSON_PrintUnformatted(object);
        cJSON_Delete(object);
        if (!text) KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "out of memory for the metrics");
        puts(text);
        cJSON_free(text);
    } else {
        kd_console_metrics(stdout, "valid", &valid);
        kd_console_metrics(stdout, "test", &test);
    }
cleanup:
    kd_ctx_close(ctx);
    kd_cli_run_close(&run);
    return status;
}

const kd_command kd_command_eval = {"eval", "metrics of a finished run", HELP, command};
