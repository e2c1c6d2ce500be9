#include "host/api/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/api/subset.h"
#include "host/base/memory.h"
#include "host/config/keys.h"
#include "host/config/load.h"
#include "host/report/run_folder.h"

static kd_status take_views(const char *path, kd_run *r) {
    kd_array user = kd_run_find(r, "view.user"), item = kd_run_find(r, "view.item");
    if (!user.data || !item.data || user.rank != 2 || item.rank != 2 || user.shape[1] != item.shape[1])
        return KD_FAIL(KD_ERR_FORMAT, "%s: expected the arrays view.user and view.item of one width", path);
    r->views = (kd_views_host){user.shape[0], item.shape[0], user.shape[1], user.data, item.data};
    return KD_OK;
}

static kd_status new_run(kd_run **out) {
    *out = NULL;
    KD_OR_RETURN(kd_host_alloc(out, 1, sizeof **out, "run"));
    (*out)->device = KD_DEVICE_AUTO;
    return KD_OK;
}

kd_status kd_run_of_file(const char *model, kd_run **out) {
    kd_status status = KD_OK;
    KD_OR_RETURN(new_run(out));
    kd_run *r = *out;
    KD_TRY(kd_safetensors_open(model, false, &r->file));
    r->count = r->file.count;
    r->tensor = r->file.tensor;
    const char *epoch = kd_safetensors_metadata(&r->file, "epoch");
    r->epoch = epoch ? strtoll(epoch, NULL, 10) : -1;
    KD_TRY(take_views(model, r));
    return KD_OK;
cleanup:
    kd_run_close(r);
    *out = NULL;
    return status;
}

static int64_t elements(const kd_tensor *t) { return t->shape[0] * (t->rank > 1 ? t->shape[1] : 1); }

kd_status kd_run_of_snapshot(const kd_snapshot *s, int64_t epoch, bool keep, kd_run **run) {
    kd_status status = KD_OK;
    kd_run *r = NULL;
    int64_t total = 0;
    for (int64_t i = 0; i < s->count; i++) total += elements(&s->tensor[i]);
    KD_TRY(new_run(&r));
    KD_TRY(kd_host_alloc(&r->kept, s->count, sizeof *r->kept, "model"));
    if (keep) KD_TRY(kd_host_alloc(&r->room, total, sizeof *r->room, "model"));
    r->count = s->count;
    r->tensor = r->kept;
    r->epoch = epoch;
    float *to = r->room;
    for (int64_t i = 0; i < s->count; i++) {
        int64_t n = elements(&s->tensor[i]);
        r->kept[i] = s->tensor[i];
        r->kept[i].data = to;
        KD_TRY(s->source(s->context, i, 0, n * (int64_t)sizeof *to, to));
        if (keep) to += n;
    }
    if (s->confirm) KD_TRY(s->confirm(s->context));
    if (!keep) goto cleanup;
    KD_TRY(take_views("the model", r));
    kd_run_close(*run);
    *run = r;
    return KD_OK;
cleanup:
    kd_run_close(r);
    return status;
}

/* The data set that the run was trained on, or what is said to be the same. */
static kd_status open_data(const char *folder, const char *model, const char *data, kd_run *r) {
    char hash[32];
    const char *wanted = kd_safetensors_metadata(&r->file, "data_hash");
    if (!data) data = kd_safetensors_metadata(&r->file, "data_path");
    if (!data || !wanted) return KD_FAIL(KD_ERR_FORMAT, "%s: does not say which data it was trained on", model);
    KD_OR_RETURN(kd_dataset_open(data, &r->opened));
    r->data = r->opened;
    snprintf(hash, sizeof hash, "%016" PRIx64, r->data->hash);
    if (strcmp(hash, wanted) != 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s: is not the data that %s was trained on (hash %s, expected %s)", data, folder,
                       hash, wanted);
    return KD_OK;
}

kd_status kd_run_open(const char *folder, const char *data_folder, kd_run **out) {
    kd_status status = KD_OK;
    kd_run_folder files = {0};
    *out = NULL;
    KD_TRY(kd_run_folder_open(folder, &files));
    KD_TRY(kd_run_of_file(files.model, out));
    KD_TRY(open_data(folder, files.model, data_folder, *out));
cleanup:
    kd_run_folder_free(&files);
    if (status != KD_OK) {
        kd_run_close(*out);
        *out = NULL;
    }
    return status;
}

void kd_run_close(kd_run *run) {
    if (!run) return;
    kd_ctx_close(run->ctx);
    kd_safetensors_close(&run->file);
    kd_dataset_close(run->opened);
    free(run->kept);
    free(run->room);
    free(run);
}

const kd_dataset *kd_run_dataset(const kd_run *run) { return run->data; }

int64_t kd_run_epoch(const kd_run *run) { return run->epoch; }

kd_status kd_run_compute(kd_run *run, const char *device, int64_t threads) {
    kd_config config;
    char number[32];
    kd_config_defaults(&config);
    snprintf(number, sizeof number, "%" PRId64, threads);
    KD_OR_RETURN(kd_key_set(kd_key_find("device"), device, "", &config));
    KD_OR_RETURN(kd_key_set(kd_key_find("threads"), number, "", &config));
    kd_ctx_close(run->ctx);
    run->ctx = NULL;
    run->device = config.device;
    run->threads = config.threads;
    return KD_OK;
}

enum { MOST_K = 1000000 }; /* as of the key topk */

/* Opens the context that the run has not needed so far, and gives it its threads. */
static kd_status need_context(kd_run *run) {
    const kd_compute compute = {.device = run->device, .threads = run->threads, .precision = KD_PRECISION_FP32};
    if (!run->ctx) return kd_ctx_open(compute, &run->ctx);
    kd_ctx_use_threads(run->ctx);
    return KD_OK;
}

kd_status kd_run_evaluate(kd_run *run, kd_subset subset, int64_t topk_count, const int64_t *topk, kd_metrics *out) {
    *out = (kd_metrics){.topk_count = 0};
    if (subset != KD_SUBSET_VALID && subset != KD_SUBSET_TEST)
        return KD_FAIL(KD_ERR_ARGUMENT, "evaluation: expected the validation or the test split");
    if (topk_count < 1 || topk_count > KD_MAX_TOPK)
        return KD_FAIL(KD_ERR_ARGUMENT, "topk: expected 1 to %d cut-offs", (int)KD_MAX_TOPK);
    for (int64_t k = 0; k < topk_count; k++)
        if (topk[k] <= (k ? topk[k - 1] : 0) || topk[k] > MOST_K)
            return KD_FAIL(KD_ERR_ARGUMENT, "topk: expected ascending whole numbers from 1 to %d", (int)MOST_K);
    if (kd_dataset_split(run->data, subset)->count == 0) return KD_OK;
    kd_threads before = kd_threads_now();
    KD_OR_RETURN(need_context(run));
    kd_status status =
        kd_evaluate(run->ctx, &run->views, run->data, kd_dataset_split(run->data, subset), topk_count, topk, out);
    kd_threads_set(before);
    return status;
}

kd_status kd_run_recommend(kd_run *run, int64_t count, const int32_t *user, int64_t k, int32_t *item, float *score) {
    if (k < 1 || k > MOST_K) return KD_FAIL(KD_ERR_ARGUMENT, "k: expected 1 to %d", (int)MOST_K);
    kd_threads before = kd_threads_now();
    KD_OR_RETURN(need_context(run));
    kd_status status = kd_rank(run->ctx, &(kd_rank_args){.views = &run->views,
                                                         .data = run->data,
                                                         .count = count,
                                                         .user = user,
                                                         .k = k,
                                                         .item = item,
                                                         .score = score});
    kd_threads_set(before);
    return status;
}

int64_t kd_run_array_count(const kd_run *run) { return run->count; }

kd_array kd_run_array(const kd_run *run, int64_t i) {
    if (i < 0 || i >= run->count) return (kd_array){.name = NULL};
    const kd_tensor *t = &run->tensor[i];
    return (kd_array){.name = t->name, .rank = t->rank, .shape = {t->shape[0], t->shape[1]}, .data = t->data};
}

kd_array kd_run_find(const kd_run *run, const char *name) {
    int64_t i = 0;
    while (i < run->count && strcmp(run->tensor[i].name, name) != 0) i++;
    return kd_run_array(run, i);
}
