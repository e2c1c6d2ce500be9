#include "host/report/metrics_log.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "host/base/file.h"
#include "kdiffe/version.h"

kd_status kd_metrics_log_open(const char *path, kd_metrics_log *out) {
    *out = (kd_metrics_log){fopen(path, "w"), path};
    if (out->stream) return KD_OK;
    return KD_FAIL(KD_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
}

void kd_metrics_log_close(kd_metrics_log *log) {
    if (log->stream) fclose(log->stream);
    log->stream = NULL;
}

/* Writes the object as a line, flushed so that a reader sees whole epochs only; frees it. */
static kd_status write_line(kd_metrics_log *log, cJSON *line) {
    char *text = cJSON_PrintUnformatted(line);
    cJSON_Delete(line);
    if (!text) return KD_FAIL(KD_ERR_MEMORY, "%s: out of memory", log->path);
    int written = fprintf(log->stream, "%s\n", text);
    cJSON_free(text);
    if (written < 0 || fflush(log->stream) != 0)
        return KD_FAIL(KD_ERR_IO, "%s: cannot be written: %s", log->path, strerror(errno));
    return KD_OK;
}

/* Nine significant digits: enough to tell float32 results apart, and short. JSON has no NaN: null stands for it. */
static void add_number(cJSON *object, const char *name, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.9g", value);
    cJSON_AddRawToObject(object, name, isfinite(value) ? text : "null");
}

/* Whether a run that goes on in `epoch` leaves the line as it is. */
static bool stays(const char *line, size_t length, int64_t epoch) {
    cJSON *object = cJSON_ParseWithLength(line, length);
    const char *event = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "event"));
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(object, "epoch");
    bool past = cJSON_IsNumber(number) && number->valuedouble < (double)epoch;
    bool kept = event && (strcmp(event, "start") == 0 || past);
    cJSON_Delete(object);
    return kept;
}

static kd_status keep_earlier(const char *path, int64_t epoch) {
    kd_status status = KD_OK;
    kd_mapped_file old = {0};
    kd_atomic_file file = {0};
    KD_TRY(kd_file_map(path, &old));
    KD_TRY(kd_atomic_open(path, &file));
    for (const char *at = (const char *)old.data, *end = at + old.bytes, *next; at < end; at = next) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        next = newline ? newline + 1 : end;
        if (newline && stays(at, (size_t)(newline - at), epoch)) fwrite(at, 1, (size_t)(next - at), file.stream);
    }
    KD_TRY(kd_atomic_commit(&file));
cleanup:
    kd_atomic_abort(&file);
    kd_file_unmap(&old);
    return status;
}

kd_status kd_metrics_log_resume(const char *path, int64_t epoch, const char *device, kd_metrics_log *out) {
    *out = (kd_metrics_log){NULL, path};
    KD_OR_RETURN(keep_earlier(path, epoch));
    out->stream = fopen(path, "a");
    if (!out->stream) return KD_FAIL(KD_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "event", "resume");
    add_number(line, "epoch", (double)epoch);
    cJSON_AddStringToObject(line, "device", device);
    return write_line(out, line);
}

cJSON *kd_metrics_json(const kd_metrics *m) {
    cJSON *object = cJSON_CreateObject();
    for (int64_t j = 0; j < m->topk_count; j++) {
        const char *const name[3] = {"recall", "ndcg", "precision"};
        const double value[3] = {m->recall[j], m->ndcg[j], m->precision[j]};
        for (int i = 0; i < 3; i++) {
            char key[48];
            snprintf(key, sizeof key, "%s@%" PRId64, name[i], m->topk[j]);
            add_number(object, key, value[i]);
        }
    }
    add_number(object, "users", (double)m->users);
    return object;
}

kd_status kd_metrics_log_start(kd_metrics_log *log, const kd_config *config, const kd_dataset *data,
                               const char *device) {
    cJSON *line = cJSON_CreateObject(), *about, *protocol, *cuts;
    char hash[32];
    snprintf(hash, sizeof hash, "%016" PRIx64, data->hash);
    cJSON_AddStringToObject(line, "event", "start");
    cJSON_AddStringToObject(line, "version", KDIFFE_VERSION);
    cJSON_AddStringToObject(line, "device", device);
    about = cJSON_AddObjectToObject(line, "data");
    cJSON_AddStringToObject(about, "name", data->name);
    cJSON_AddStringToObject(about, "hash", hash);
    add_number(about, "users", (double)data->users);
    add_number(about, "items", (double)data->items);
    add_number(about, "train", (double)data->train.count);
    add_number(about, "valid", (double)data->valid.count);
    add_number(about, "test", (double)data->test.count);
    protocol = cJSON_AddObjectToObject(line, "protocol");
    cJSON_AddStringToObject(protocol, "ranking", "full");
    cJSON_AddStringToObject(protocol, "mask", "train");
    cJSON_AddStringToObject(protocol, "average", "users with held-out items");
    cuts = cJSON_AddArrayToObject(protocol, "topk");
    for (int64_t j = 0; j < config->topk_count; j++)
        cJSON_AddItemToArray(cuts, cJSON_CreateNumber((double)config->topk[j]));
    cJSON_AddStringToObject(protocol, "select_on", config->select_on == KD_SELECT_ON_VALID ? "valid" : "test");
    return write_line(log, line);
}

kd_status kd_metrics_log_epoch(kd_metrics_log *log, const kd_epoch_record *r) {
    cJSON *line = cJSON_CreateObject(), *part;
    cJSON_AddStringToObject(line, "event", "epoch");
    add_number(line, "epoch", (double)r->epoch);
    add_number(line, "loss", r->loss);
    for (int i = 0; i < KD_LOSS_PARTS; i++) add_number(line, kd_loss_part_name(i), r->loss_part[i]);
    part = cJSON_AddObjectToObject(line, "denoise");
    for (int64_t i = 0; i < r->modality_count; i++) add_number(part, r->modality[i], r->denoise_modality[i]);
    add_number(part, "kg", r->denoise_kg);
    if (r->evaluated && r->valid.users > 0) cJSON_AddItemToObject(line, "valid", kd_metrics_json(&r->valid));
    if (r->evaluated && r->test.users > 0) cJSON_AddItemToObject(line, "test", kd_metrics_json(&r->test));
    part = cJSON_AddObjectToObject(line, "seconds");
    for (int i = 0; i < KD_STAGE_COUNT; i++) add_number(part, kd_stage_name((kd_stage)i), r->seconds[i]);
    add_number(part, "total", r->total_seconds);
    cJSON_AddBoolToObject(line, "best", r->best);
    return write_line(log, line);
}

kd_status kd_metrics_log_end(kd_metrics_log *log, int64_t best_epoch, int64_t peak_bytes) {
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "event", "end");
    add_number(line, "best_epoch", (double)best_epoch);
    add_number(line, "peak_memory_bytes", (double)peak_bytes);
    return write_line(log, line);
}
