/* A training run from its checks to its best model: what the library does, and the command of that name with it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <xxhash.h>

#include "host/api/compute.h"
#include "host/api/run.h"
#include "host/config/load.h"
#include "host/data/dataset_check.h"
#include "host/model/model.h"
#include "host/report/metrics_log.h"
#include "host/report/run_folder.h"
#include "host/train/checkpoint.h"
#include "kernels/trace.h"

typedef struct run {
    const kd_training *asked;
    const kd_dataset *data;
    kd_config config;
    kd_comm *comm; /* NULL: one rank */
    bool first;    /* the rank that alone writes and calls back */
    kd_ctx *ctx;
    kd_memory_plan plan;
    kd_run_folder folder; /* empty without one */
    kd_metrics_log log;
    kd_checkpointing checkpoints;
    kd_run_summary summary;
    kd_run *best; /* without a folder, the best model so far */
    bool enough;  /* the caller's callback said so */
} run;

static int64_t peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

static bool on_progress(void *context, int64_t epoch, kd_stage stage, int64_t done, int64_t total) {
    const run *r = context;
    return !r->first || !r->asked->progress || r->asked->progress(r->asked->context, epoch, stage, done, total);
}

static kd_status on_epoch(void *context, const kd_epoch_record *record) {
    run *r = context;
    if (!r->first) return KD_OK;
    if (r->folder.path) KD_OR_RETURN(kd_metrics_log_epoch(&r->log, record));
    if (r->asked->epoch) r->enough = !r->asked->epoch(r->asked->context, record);
    return KD_OK;
}

static bool on_end_of_epoch(void *context) { return ((const run *)context)->enough; }

static kd_status on_best(void *context, int64_t epoch, const kd_snapshot *s) {
    run *r = context;
    char number[32], hash[32];
    snprintf(number, sizeof number, "%" PRId64, epoch);
    snprintf(hash, sizeof hash, "%016" PRIx64, r->data->hash);
    const char *const metadata[] = {"format", "kdiffe",    "version", KDIFFE_VERSION, "epoch",
                                    number,   "data_hash", hash,      "data_path",    r->data->path};
    r->summary.best_epoch = epoch;
    if (!r->asked->folder) return kd_run_of_snapshot(s, epoch, r->first, &r->best);
    if (!r->first) return kd_safetensors_ask(s);
    return kd_safetensors_save(r->folder.model, s, r->data->path ? 5 : 4, metadata);
}

static kd_status on_resumed(void *context, int64_t epoch, int64_t best_epoch) {
    run *r = context;
    r->summary.best_epoch = best_epoch;
    if (!r->first) return KD_OK;
    KD_OR_RETURN(kd_config_save(&r->config, r->folder.config));
    if (r->asked->resumed) r->asked->resumed(r->asked->context, epoch);
    return kd_metrics_log_resume(r->folder.metrics, epoch, kd_ctx_describe(r->ctx), &r->log);
}

static kd_status check_request(const kd_training *asked) {
    if (asked->checkpoint_epochs < 0 || asked->checkpoint_steps < 0 || asked->checkpoint_keep < 0)
        return KD_FAIL(KD_ERR_ARGUMENT, "checkpoints: expected whole numbers from 0");
    if (asked->profile_first < 0 || asked->profile_end < asked->profile_first)
        return KD_FAIL(KD_ERR_ARGUMENT, "profiled steps: expected 0 <= first <= end");
    if (asked->folder) return KD_OK;
    if (asked->resume) return KD_FAIL(KD_ERR_ARGUMENT, "resume: expected the run's folder");
    if (asked->checkpoint_epochs || asked->checkpoint_steps)
        return KD_FAIL(KD_ERR_ARGUMENT, "checkpoints: expected a folder for the run");
    return KD_OK;
}

/* Selects on the split that there is. */
static kd_status check_selection(run *r) {
    KD_OR_RETURN(kd_dataset_check_held_out(r->data));
    if (r->data->valid.count == 0) r->config.select_on = KD_SELECT_ON_TEST;
    if (r->data->test.count == 0) r->config.select_on = KD_SELECT_ON_VALID;
    return KD_OK;
}

/* Everything that can be wrong before the run, on each rank. */
static kd_status prepare(run *r) {
    KD_OR_RETURN(check_request(r->asked));
    if (r->asked->resume) KD_OR_RETURN(kd_run_folder_resume(r->asked->folder, &r->folder));
    KD_OR_RETURN(kd_ctx_open(kd_compute_on(r->comm, &r->config), &r->ctx));
    KD_OR_RETURN(check_selection(r));
    return kd_train_plan(&r->config, r->data, r->comm, &r->plan);
}

/* Whether all ranks are about to train the same. */
static kd_status compare_ranks(const run *r) {
    kd_status status = KD_OK;
    const kd_config *c = &r->config;
    const kd_training *t = r->asked;
    const int64_t length[] = {c->epochs,
                              c->patience,
                              c->eval_every,
                              c->shard,
                              t->checkpoint_epochs,
                              t->checkpoint_steps,
                              t->trace != NULL,
                              t->profile_first,
                              t->profile_end,
                              t->folder != NULL,
                              t->resume};
    char *identity = NULL;
    KD_TRY(kd_config_identity(c, &identity));
    KD_TRY(kd_comm_require_same(r->comm, "version of kdiffe", XXH3_64bits(KDIFFE_VERSION, strlen(KDIFFE_VERSION))));
    KD_TRY(kd_comm_require_same(r->comm, "configuration",
                                XXH3_64bits(identity, strlen(identity)) ^ XXH3_64bits(length, sizeof length)));
    KD_TRY(kd_comm_require_same(r->comm, "data set", r->data->hash));
cleanup:
    free(identity);
    return status;
}

/* Tells the caller what is to be; *declined: it wants no more. Then, as memory goes first, whether it fits. */
static kd_status show_plan(const run *r, bool selects_on_test, bool *declined) {
    char unread[1024];
    kd_model_unread_keys(&r->config, unread, sizeof unread);
    const kd_run_plan plan = {.device = kd_ctx_describe(r->ctx),
                              .ranks = kd_comm_ranks(r->comm),
                              .model = &r->plan,
                              .available = kd_available(r->ctx),
                              .unread_keys = unread,
                              .selects_on_test = selects_on_test};
    int no = r->first && r->asked->planned && !r->asked->planned(r->asked->context, &plan);
    KD_OR_RETURN(kd_comm_agree(r->comm, kd_check_memory(r->ctx, r->plan.total)));
    KD_OR_RETURN(kd_comm_allreduce_max(r->comm, &no));
    *declined = no > 0;
    return KD_OK;
}

/* The folder, its files and the trace, on the first rank. */
static kd_status open_outputs(run *r) {
    if (r->asked->trace) {
        if (!r->first)
            kd_trace_elsewhere(r->ctx);
        else
            KD_OR_RETURN(kd_trace_open(r->ctx, r->asked->trace));
    }
    if (!r->first || !r->asked->folder || r->asked->resume) return KD_OK;
    KD_OR_RETURN(kd_run_folder_create(r->asked->folder, r->asked->overwrite, &r->folder));
    if (r->asked->overwrite) kd_checkpoint_prune(r->folder.path, 0);
    return KD_OK;
}

/* The run itself, once everything that can be wrong beforehand has been checked. */
static kd_status train(run *r) {
    kd_status status = KD_OK;
    const kd_training *t = r->asked;
    const kd_observer observer = {r, on_progress, on_epoch, on_end_of_epoch, on_best, on_resumed};
    bool writes = r->first && t->folder;
    if (writes && !t->resume) {
        KD_TRY(kd_config_save(&r->config, r->folder.config));
        KD_TRY(kd_metrics_log_open(r->folder.metrics, &r->log));
        KD_TRY(kd_metrics_log_start(&r->log, &r->config, r->data, kd_ctx_describe(r->ctx)));
    }
    status = kd_train(r->ctx, &r->config, r->data, &observer, t->folder ? &r->checkpoints : NULL, r->comm);
    kd_profile_step(r->ctx, INT64_MAX);
    if (status == KD_OK && writes) status = kd_metrics_log_end(&r->log, r->summary.best_epoch, peak_bytes());
cleanup:
    kd_metrics_log_close(&r->log);
    return status;
}

static kd_status run_whole(run *r) {
    bool selects_on_test = r->config.select_on == KD_SELECT_ON_VALID && r->data->valid.count == 0, declined = false;
    KD_OR_RETURN(kd_comm_agree(r->comm, prepare(r)));
    KD_OR_RETURN(kd_comm_agree(r->comm, compare_ranks(r)));
    KD_OR_RETURN(show_plan(r, selects_on_test, &declined));
    if (declined) return KD_OK;
    const kd_training *t = r->asked;
    KD_OR_RETURN(kd_comm_bind(r->comm, r->ctx));
    if (r->comm && r->first && t->connected) t->connected(t->context, kd_comm_library(r->comm));
    KD_OR_RETURN(kd_comm_agree(r->comm, open_outputs(r)));
    r->checkpoints = (kd_checkpointing){.folder = t->folder,
                                        .data_path = r->data->path,
                                        .epochs = t->checkpoint_epochs,
                                        .steps = t->checkpoint_steps,
                                        .keep = t->checkpoint_keep ? t->checkpoint_keep : 2,
                                        .resume = t->resume};
    if (t->profile_end > t->profile_first) kd_profile_window(r->ctx, t->profile_first, t->profile_end);
    kd_status status = train(r), closed = kd_trace_close(r->ctx); /* also of a run that was stopped */
    if (!kd_ctx_is_gpu(r->ctx)) kd_comm_traffic(r->comm, &r->summary.exchanges, &r->summary.exchanged_bytes);
    if (status == KD_OK) status = closed;
    /* what ends all ranks at the same place */
    if (status == KD_OK || status == KD_ERR_INTERRUPTED || status == KD_ERR_NUMERIC)
        status = kd_comm_agree(r->comm, status);
    return status;
}

/* The best model so far: read back from the folder, or as it was kept. */
static kd_status hand_over(run *r, kd_run **out) {
    if (!r->first || r->summary.best_epoch < 0) return KD_OK;
    if (r->asked->folder) KD_OR_RETURN(kd_run_of_file(r->folder.model, &r->best));
    r->best->data = r->data;
    r->best->device = r->config.device;
    r->best->threads = r->config.threads;
    *out = r->best;
    r->best = NULL;
    return KD_OK;
}

kd_status kd_run_train(const kd_dataset *data, const kd_config *config, const kd_training *training,
                       kd_run_summary *summary, kd_run **out) {
    run r = {.asked = training, .data = data, .config = *config, .comm = training->comm};
    r.summary.best_epoch = -1;
    r.first = kd_comm_rank(r.comm) == 0;
    if (out) *out = NULL;
    kd_threads before = kd_threads_now();
    kd_status status = run_whole(&r);
    if (out && (status == KD_OK || status == KD_ERR_INTERRUPTED || status == KD_ERR_NUMERIC)) {
        char message[1024];
        snprintf(message, sizeof message, "%s", kd_last_error());
        kd_status handed = hand_over(&r, out);
        status = status == KD_OK ? handed : kd_repeat_error(status, message); /* what stopped the run goes first */
    }
    r.summary.peak_bytes = peak_bytes();
    if (summary) *summary = r.summary;
    kd_run_close(r.best);
    kd_run_folder_free(&r.folder);
    if (kd_comm_unbind(r.comm, status)) kd_ctx_close(r.ctx);
    kd_threads_set(before);
    return status;
}
