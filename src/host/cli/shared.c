#include "host/cli/shared.h"
#include "host/config/load.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/data/dataset_check.h"
#include "host/report/console.h"
#include "host/report/run_folder.h"
#include "kernels/ops.h"

kd_status kd_cli_config(kd_args *args, kd_config *out) {
    return kd_cli_config_over(args, kd_args_take(args, "config"), out);
}

kd_status kd_cli_config_over(kd_args *args, const char *file, kd_config *out) {
    const char **overrides;
    int64_t count = 0;
    KD_OR_RETURN(kd_host_alloc(&overrides, args->option_count, sizeof *overrides, "options"));
    for (int64_t i = 0; i < args->option_count; i++) {
        if (args->option[i]) overrides[count++] = args->option[i];
        args->option[i] = NULL;
    }
    kd_status status = kd_config_load(file, count, overrides, out);
    free(overrides);
    return status;
}

kd_status kd_cli_comm(kd_args *args, kd_comm **out) {
    int64_t timeout_s = 30;
    const char *rendezvous = kd_args_take(args, "rendezvous");
    kd_status status = kd_args_take_int(args, "comm-timeout", 1, 1000000, &timeout_s), opened;
    char message[256];
    snprintf(message, sizeof message, "%s", kd_last_error());
    opened = kd_comm_open(rendezvous, timeout_s, out);
    if (status == KD_OK || opened != KD_OK) return opened;
    return kd_comm_agree(*out, KD_FAIL(status, "%s", message)); /* wrong on all ranks alike: one says so */
}

kd_compute kd_cli_compute(const kd_comm *comm, const kd_config *config) {
    kd_compute compute = kd_compute_of(config);
    if (!comm) return compute;
    compute.sharing = kd_comm_sharing(comm);
    compute.local_rank = kd_comm_local_rank(comm);
    return compute;
}

kd_status kd_cli_data(const char *folder, kd_dataset *out, char **path) {
    kd_status status = kd_dataset_load(folder, out);
    if (status != KD_OK) return status;
    KD_TRY(kd_dataset_check(out, NULL));
    if (path) {
        *path = realpath(folder, NULL);
        if (!*path) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: cannot be resolved", folder);
    }
cleanup:
    if (status != KD_OK) kd_dataset_free(out);
    return status;
}

kd_status kd_cli_check_memory(kd_ctx *ctx, int64_t bytes) {
    char need[32], have[32];
    int64_t available = kd_available(ctx);
    if (bytes <= available) return KD_OK;
    return KD_FAIL(KD_ERR_MEMORY, "the run needs %s and %s are available; lower dim, hidden or batch",
                   kd_console_bytes(bytes, need), kd_console_bytes(available, have));
}

static kd_status take_views(const char *path, kd_cli_run *r) {
    const kd_tensor *user = kd_safetensors_find(&r->model, "view.user"),
                    *item = kd_safetensors_find(&r->model, "view.item");
    if (!user || !item || user->rank != 2 || item->rank != 2 || user->shape[1] != item->shape[1])
        return KD_FAIL(KD_ERR_FORMAT, "%s: expected the arrays view.user and view.item of one width", path);
    r->views = (kd_views_host){user->shape[0], item->shape[0], user->shape[1], user->data, item->data};
    return KD_OK;
}

kd_status kd_cli_run_open(const char *folder, const char *data, kd_cli_run *r) {
    kd_status status = KD_OK;
    kd_run_folder run = {0};
    char hash[32];
    *r = (kd_cli_run){0};
    KD_TRY(kd_run_folder_open(folder, &run));
    KD_TRY(kd_safetensors_open(run.model, false, &r->model));
    KD_TRY(take_views(run.model, r));
    const char *wanted = kd_safetensors_metadata(&r->model, "data_hash");
    if (!data) data = kd_safetensors_metadata(&r->model, "data_path");
    if (!data || !wanted) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: does not say which data it was trained on", run.model);
    KD_TRY(kd_cli_data(data, &r->data, NULL));
    snprintf(hash, sizeof hash, "%016" PRIx64, r->data.hash);
    if (strcmp(hash, wanted) != 0)
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: is not the data that %s was trained on (hash %s, expected %s)", data,
                           folder, hash, wanted);
cleanup:
    kd_run_folder_free(&run);
    if (status != KD_OK) kd_cli_run_close(r);
    return status;
}

void kd_cli_run_close(kd_cli_run *r) {
    kd_safetensors_close(&r->model);
    kd_dataset_free(&r->data);
    *r = (kd_cli_run){0};
}
