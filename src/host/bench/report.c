/* The table, and the same as JSON. */
#include "host/bench/bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/base/file.h"
#include "kdiffe/version.h"

#ifndef KDIFFE_COMMIT
#define KDIFFE_COMMIT "unknown"
#endif

void kd_bench_print_header(const kd_bench_report *r) {
    printf("# kdiffe %s, commit %s\n", KDIFFE_VERSION, KDIFFE_COMMIT);
    printf("# device: %s\n# data: %s\n# flags:%s\n", r->device, r->data, r->flags);
    printf("# ceilings: copy %.2f GB/s, GEMM %.1f GFLOP/s\n", r->ceilings.copy * 1e-3, r->ceilings.gemm * 1e-3);
    printf("%-24s %-7s %5s %18s %9s %5s %11s %11s %11s %8s %9s %11s %8s %9s %7s\n", "op", "backend", "ranks", "shape",
           "nnz", "iters", "min_us", "med_us", "p99_us", "GB/s", "GFLOP/s", "floor_us", "ratio", "max_err", "n_wrong");
    fflush(stdout);
}

void kd_bench_print(const kd_bench_report *report, const kd_bench_result *r) {
    double floor = kd_bench_floor(&report->ceilings, r->bytes, r->flops);
    char ratio[32] = "-", error[32] = "-";
    if (floor > 0.0) snprintf(ratio, sizeof ratio, "%.2f", r->median / floor);
    if (!(r->max_err < 0.0)) snprintf(error, sizeof error, "%.1e", r->max_err);
    printf("%-24s %-7s %5d %18s %9lld %5lld %11.1f %11.1f %11.1f %8.2f %9.1f %11.1f %8s %9s %7lld\n", r->name,
           report->backend, 1, r->shape, (long long)r->nnz, (long long)r->iterations, r->min, r->median, r->p99,
           r->bytes / r->median * 1e-3, r->flops / r->median * 1e-3, floor, ratio, error, (long long)r->wrong);
    fflush(stdout);
}

kd_status kd_bench_verdict(const kd_bench_report *report) {
    for (int64_t i = 0; i < report->count; i++)
        if (report->result[i].wrong > 0)
            return KD_FAIL(KD_ERR_CHECK, "bench: %s: %lld wrong results, largest relative error %.3g",
                           report->result[i].name, (long long)report->result[i].wrong, report->result[i].max_err);
    return KD_OK;
}

/* JSON has no NaN: an error that is none is left out, as of a stage, which compares nothing. */
static cJSON *result_json(const kd_bench_report *report, const kd_bench_result *r) {
    double floor = kd_bench_floor(&report->ceilings, r->bytes, r->flops);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "op", r->name);
    cJSON_AddStringToObject(o, "backend", report->backend);
    cJSON_AddNumberToObject(o, "ranks", 1);
    cJSON_AddStringToObject(o, "shape", r->shape);
    cJSON_AddNumberToObject(o, "nnz", (double)r->nnz);
    cJSON_AddNumberToObject(o, "iters", (double)r->iterations);
    cJSON_AddNumberToObject(o, "min_us", r->min);
    cJSON_AddNumberToObject(o, "med_us", r->median);
    cJSON_AddNumberToObject(o, "p99_us", r->p99);
    cJSON_AddNumberToObject(o, "bytes", r->bytes);
    cJSON_AddNumberToObject(o, "flops", r->flops);
    cJSON_AddNumberToObject(o, "GB/s", r->bytes / r->median * 1e-3);
    cJSON_AddNumberToObject(o, "GFLOP/s", r->flops / r->median * 1e-3);
    cJSON_AddNumberToObject(o, "floor_us", floor);
    if (floor > 0.0) cJSON_AddNumberToObject(o, "ratio", r->median / floor);
    if (r->max_err >= 0.0 && isfinite(r->max_err)) cJSON_AddNumberToObject(o, "max_err", r->max_err);
    cJSON_AddNumberToObject(o, "n_wrong", (double)r->wrong);
    return o;
}

/* The whole report; NULL if memory ran out. Free with cJSON_free. */
static char *report_text(const kd_bench_report *r) {
    cJSON *root = cJSON_CreateObject(), *ceilings = cJSON_AddObjectToObject(root, "ceilings"), *ops;
    cJSON_AddStringToObject(root, "version", KDIFFE_VERSION);
    cJSON_AddStringToObject(root, "commit", KDIFFE_COMMIT);
    cJSON_AddStringToObject(root, "device", r->device);
    cJSON_AddStringToObject(root, "data", r->data);
    cJSON_AddStringToObject(root, "flags", r->flags);
    cJSON_AddNumberToObject(ceilings, "copy_GB/s", r->ceilings.copy * 1e-3);
    cJSON_AddNumberToObject(ceilings, "gemm_GFLOP/s", r->ceilings.gemm * 1e-3);
    ops = cJSON_AddArrayToObject(root, "ops");
    for (int64_t i = 0; i < r->count; i++) cJSON_AddItemToArray(ops, result_json(r, &r->result[i]));
    char *text = ops ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    return text;
}

kd_status kd_bench_save(const kd_bench_report *report, const char *path) {
    kd_status status = KD_OK;
    kd_atomic_file file = {0};
    char *text = report_text(report);
    if (!text) KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "%s: out of memory", path);
    KD_TRY(kd_atomic_open(path, &file));
    fprintf(file.stream, "%s\n", text);
    KD_TRY(kd_atomic_commit(&file));
cleanup:
    cJSON_free(text);
    kd_atomic_abort(&file);
    return status;
}

static bool take_text(const cJSON *o, const char *key, char *out, size_t size) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));
    if (text) snprintf(out, size, "%s", text);
    return text != NULL;
}

static bool take_number(const cJSON *o, const char *key, double *out) {
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(o, key);
    if (!cJSON_IsNumber(number) || !(number->valuedouble >= 0.0)) return false;
    *out = number->valuedouble;
    return true;
}

/* What a comparison needs. */
static bool take_result(const cJSON *o, kd_bench_result *out) {
    *out = (kd_bench_result){0};
    return take_text(o, "op", out->name, sizeof out->name) && take_text(o, "shape", out->shape, sizeof out->shape) &&
           take_number(o, "min_us", &out->min) && take_number(o, "med_us", &out->median) &&
           take_number(o, "p99_us", &out->p99) && out->median > 0.0;
}

kd_status kd_bench_load(const char *path, kd_bench_report *out) {
    kd_status status = KD_OK;
    kd_mapped_file file = {0};
    const cJSON *ops, *op;
    cJSON *root = NULL;
    *out = (kd_bench_report){0};
    KD_TRY(kd_file_map(path, &file));
    root = cJSON_ParseWithLength((const char *)file.data, (size_t)file.bytes);
    ops = cJSON_GetObjectItemCaseSensitive(root, "ops");
    if (!cJSON_IsArray(ops) || !take_text(root, "device", out->device, sizeof out->device) ||
        !take_text(root, "data", out->data, sizeof out->data))
        KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: expected what kdiffe bench --json wrote", path);
    cJSON_ArrayForEach(op, ops) {
        if (out->count == KD_BENCH_MOST || !take_result(op, &out->result[out->count]))
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: op %lld: expected its name, shape and times", path,
                               (long long)out->count);
        out->count++;
    }
cleanup:
    cJSON_Delete(root);
    kd_file_unmap(&file);
    return status;
}

double kd_bench_noise(const kd_bench_result *old, const kd_bench_result *now) {
    return fmax(old->p99 - old->min, now->p99 - now->min);
}

static const kd_bench_result *find(const kd_bench_report *report, const char *name) {
    for (int64_t i = 0; i < report->count; i++)
        if (strcmp(report->result[i].name, name) == 0) return &report->result[i];
    return NULL;
}

void kd_bench_compare(const kd_bench_report *old, const kd_bench_report *now) {
    if (strcmp(old->device, now->device) != 0) printf("# compared with another device: %s\n", old->device);
    if (strcmp(old->data, now->data) != 0) printf("# compared with other data: %s\n", old->data);
    printf("%-24s %11s %11s %8s %11s\n", "op", "old_us", "new_us", "new/old", "noise_us");
    for (int64_t i = 0; i < now->count; i++) {
        const kd_bench_result *to = &now->result[i], *from = find(old, to->name);
        if (!from) continue;
        double noise = kd_bench_noise(from, to), moved = to->median - from->median;
        printf("%-24s %11.1f %11.1f %8.3f %11.1f%s\n", to->name, from->median, to->median, to->median / from->median,
               noise,
               strcmp(from->shape, to->shape) != 0 ? "  other shape"
               : moved > noise                     ? "  slower"
               : -moved > noise                    ? "  faster"
                                                   : "");
    }
}
