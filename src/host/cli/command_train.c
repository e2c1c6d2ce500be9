/* kdiffe train: data and configuration in, a run folder out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <xxhash.h>

#include "host/base/safetensors.h"
#include "host/cli/command.h"
#include "host/cli/shared.h"
#include "host/config/load.h"
#include "host/ranks/collectives.h"
#include "host/report/console.h"
#include "host/report/metrics_log.h"
#include "host/report/run_folder.h"
#include "host/train/checkpoint.h"
#include "kdiffe/version.h"
#include "kernels/device.h"
#include "kernels/trace.h"

static const char HELP[] =
    "usage: kdiffe train DATA --out=RUN [--config=FILE.yaml] [--key=value ...]\n"
    "       kdiffe train [DATA] --resume=RUN [--key=value ...]\n\n"
    "Trains on the data set in folder DATA (kdiffe convert and kdiffe synth make such folders) and writes RUN:\n"
    "config.yaml (the resolved configuration), metrics.jsonl (one object an epoch), model.safetensors (best epoch).\n\n"
    "  --out=RUN         the run's folder; must not hold anything yet\n"
    "  --overwrite       replace the run that is there\n"
    "  --checkpoint-every=N  keep a checkpoint every N epochs, or with Nsteps every N steps of any kind, and at the "
    "end\n"
    "  --checkpoint-keep=K   how many of them stay, the newest [2]\n"
    "  --comm-timeout=S  of several ranks: seconds that one waits for the others before the job ends [30]\n"
    "  --rendezvous=HOST:PORT or file:PATH   where ranks meet that MPI did not start [MASTER_ADDR:MASTER_PORT]\n"
    "  --resume=RUN      go on from RUN's newest checkpoint to the result of a run that was never stopped; epochs,\n"
    "                    patience, eval_every, device, threads and shard may be given anew\n"
    "  --config=FILE     configuration keys as YAML; --key=value comes after it and wins\n"
    "  --dry-run         print the memory plan and stop\n"
    "  --trace=FILE      write every stage and op as a Chrome trace (chrome://tracing, ui.perfetto.dev); slower\n"
    "  --profile-steps=A:B   trace, and profile for Nsight, only training steps A to B - 1\n\n"
    "A signal (Ctrl-C, TERM, USR1) stops the run at the next step and keeps a checkpoint; a second one does not "
    "wait.\n\n"
    "example: kdiffe train data/tiktok --out=runs/tiktok --trans=1 --cl_method=1 --temp=0.7 --epochs=30\n";

/* What the observer of a run keeps. */
typedef struct training {
    kd_config config;
    kd_dataset data;
    kd_run_folder run;
    kd_console console;
    kd_metrics_log log;
    kd_ctx *ctx;
    kd_comm *comm; /* rank 0 alone writes and prints */
    kd_checkpointing checkpoints;
    char *data_path;
    int64_t best_epoch;
} training;

static void on_progress(void *context, int64_t epoch, kd_stage stage, int64_t done, int64_t total) {
    training *t = context;
    if (kd_comm_rank(t->comm) > 0) return;
    kd_console_progress(&t->console, epoch, stage, done, total);
}

static kd_status on_epoch(void *context, const kd_epoch_record *record) {
    training *t = context;
    if (kd_comm_rank(t->comm) > 0) return KD_OK;
    kd_console_epoch(&t->console, record);
    return kd_metrics_log_epoch(&t->log, record);
}

static kd_status on_best(void *context, int64_t epoch, const kd_snapshot *s) {
    training *t = context;
    char number[32], hash[32];
    snprintf(number, sizeof number, "%" PRId64, epoch);
    snprintf(hash, sizeof hash, "%016" PRIx64, t->data.hash);
    const char *const metadata[] = {"format", "kdiffe",    "version", KDIFFE_VERSION, "epoch",
                                    number,   "data_hash", hash,      "data_path",    t->data_path};
    t->best_epoch = epoch;
    if (kd_comm_rank(t->comm) > 0) return kd_safetensors_ask(s->count, s->tensor, s->source, s->context);
    return kd_safetensors_save(t->run.model, s->count, s->tensor, 5, metadata, s->source, s->context);
}

static kd_status on_resumed(void *context, int64_t epoch, int64_t best_epoch) {
    training *t = context;
    t->best_epoch = best_epoch;
    if (kd_comm_rank(t->comm) > 0) return KD_OK;
    KD_OR_RETURN(kd_config_save(&t->config, t->run.config));
    printf("resumed in epoch %" PRId64 "\n", epoch);
    return kd_metrics_log_resume(t->run.metrics, epoch, kd_ctx_describe(t->ctx), &t->log);
}

static void print_plan(const kd_memory_plan *plan, bool parts) {
    char text[32];
    for (int64_t i = 0; parts && i < plan->parts; i++)
        printf("  %-28s %12s\n", plan->part[i].what, kd_console_bytes(plan->part[i].bytes, text));
    printf("memory: %s for the model\n", kd_console_bytes(plan->total, text));
}

/* "A:B" with 0 <= A < B. */
static kd_status parse_window(const char *text, int64_t *first, int64_t *last) {
    char rest;
    if (sscanf(text, "%" SCNd64 ":%" SCNd64 "%c", first, last, &rest) == 2 && *first >= 0 && *first < *last)
        return KD_OK;
    return KD_FAIL(KD_ERR_ARGUMENT, "--profile-steps=%s: expected A:B with 0 <= A < B", text);
}

static int64_t peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

static void say_what_is_kept(const training *t, kd_status status) {
    char *newest = NULL;
    if (kd_comm_rank(t->comm) > 0) return;
    if (t->best_epoch >= 0)
        printf("the best model so far, of epoch %" PRId64 ", is kept in %s\n", t->best_epoch, t->run.path);
    if (status == KD_ERR_INTERRUPTED && kd_checkpoint_newest(t->run.path, &newest) == KD_OK && newest)
        printf("go on with: kdiffe train --resume=%s\n", t->run.path);
    free(newest);
}

/* Between CPUs; what GPUs replay is not counted. */
static void say_what_was_sent(const training *t) {
    char text[32];
    int64_t exchanges, bytes;
    kd_comm_traffic(t->comm, &exchanges, &bytes);
    if (t->comm && !kd_ctx_is_gpu(t->ctx))
        printf("exchanged: %s in %" PRId64 " exchanges\n", kd_console_bytes(bytes, text), exchanges);
}

/* The run itself, once everything that can be wrong beforehand has been checked. */
static kd_status run(training *t) {
    kd_status status = KD_OK;
    kd_observer observer = {t, on_progress, on_epoch, on_best, on_resumed};
    char text[32];
    bool first = kd_comm_rank(t->comm) == 0;
    if (!t->checkpoints.resume && first) {
        KD_TRY(kd_config_save(&t->config, t->run.config));
        KD_TRY(kd_metrics_log_open(t->run.metrics, &t->log));
        KD_TRY(kd_metrics_log_start(&t->log, &t->config, &t->data, kd_ctx_describe(t->ctx)));
    }
    kd_console_open(t->config.epochs, &t->console);
    status = kd_train(t->ctx, &t->config, &t->data, &observer, &t->checkpoints, t->comm);
    kd_profile_step(t->ctx, INT64_MAX);
    if (t->console.bar) fputs("\r\033[K", t->console.progress);
    if (status != KD_OK) {
        say_what_is_kept(t, status);
        goto cleanup;
    }
    if (!first) goto cleanup;
    KD_TRY(kd_metrics_log_end(&t->log, t->best_epoch, peak_bytes()));
    kd_console_stages(&t->console);
    say_what_was_sent(t);
    printf("best epoch %" PRId64 ", peak memory %s\nrun folder: %s\n", t->best_epoch,
           kd_console_bytes(peak_bytes(), text), t->run.path);
cleanup:
    kd_metrics_log_close(&t->log);
    return status;
}

static kd_status check_selection(training *t) {
    if (t->data.test.count == 0 && t->data.valid.count == 0)
        return KD_FAIL(KD_ERR_FORMAT, "%s: neither a validation nor a test split: nothing to select the best epoch by",
                       t->data_path);
    if (t->config.select_on == KD_SELECT_ON_VALID && t->data.valid.count == 0) {
        printf("note: no validation split, the best epoch is selected on the test split\n");
        t->config.select_on = KD_SELECT_ON_TEST;
    }
    if (t->config.select_on == KD_SELECT_ON_TEST && t->data.test.count == 0) t->config.select_on = KD_SELECT_ON_VALID;
    return KD_OK;
}

/* "N" epochs or "Nsteps". */
static kd_status take_checkpoints(kd_args *args, kd_checkpointing *c) {
    const char *every = kd_args_take(args, "checkpoint-every"), *unit = "";
    char *end = NULL;
    c->keep = 2;
    if (every) {
        long long n = strtoll(every, &end, 10);
        if (end != every) unit = end;
        if (n < 1 || (unit[0] && strcmp(unit, "steps") != 0) || end == every)
            return KD_FAIL(KD_ERR_ARGUMENT,
                           "--checkpoint-every=%s: expected a number of epochs, or of steps as in 200steps", every);
        *(unit[0] ? &c->steps : &c->epochs) = n;
    }
    return kd_args_take_int(args, "checkpoint-keep", 1, 1000000, &c->keep);
}

/* What the command line asks of a run. */
typedef struct request {
    const char *out, *resume, *trace;
    int64_t first, last; /* profiled steps */
    bool overwrite, dry, window;
} request;

static kd_status take_request(kd_args *args, request *r, training *t) {
    const char *window;
    r->out = kd_args_take(args, "out");
    r->resume = kd_args_take(args, "resume");
    r->trace = kd_args_take(args, "trace");
    window = kd_args_take(args, "profile-steps");
    r->window = window != NULL;
    KD_OR_RETURN(kd_args_take_flag(args, "overwrite", &r->overwrite));
    KD_OR_RETURN(kd_args_take_flag(args, "dry-run", &r->dry));
    KD_OR_RETURN(take_checkpoints(args, &t->checkpoints));
    if (r->trace && !r->trace[0]) return KD_FAIL(KD_ERR_ARGUMENT, "--trace: expected a file; see --help");
    if (window) KD_OR_RETURN(parse_window(window, &r->first, &r->last));
    if (!r->resume) {
        KD_OR_RETURN(kd_cli_config(args, &t->config));
        KD_OR_RETURN(kd_args_finish(args, 1));
        if ((!r->out || !r->out[0]) && !r->dry) return KD_FAIL(KD_ERR_ARGUMENT, "expected --out=RUN; see --help");
        return KD_OK;
    }
    if (r->out || r->overwrite || kd_args_take(args, "config"))
        return KD_FAIL(KD_ERR_ARGUMENT, "--resume: takes folder and configuration from the run; leave out --out, "
                                        "--overwrite and --config");
    KD_OR_RETURN(kd_run_folder_resume(r->resume, &t->run));
    KD_OR_RETURN(kd_cli_config_over(args, t->run.config, &t->config));
    KD_OR_RETURN(kd_args_finish(args, args->positional_count > 0 ? 1 : 0));
    t->checkpoints.resume = true;
    return KD_OK;
}

/* The data that was named, or those of the checkpoint. */
static kd_status load_data(const kd_args *args, training *t) {
    kd_status status = KD_OK;
    char *newest = NULL, *data = NULL;
    const char *named = args->positional_count > 0 ? args->positional[0] : NULL;
    if (!named) {
        KD_TRY(kd_checkpoint_newest(t->run.path, &newest));
        if (!newest) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: holds no checkpoint to go on from", t->run.path);
        KD_TRY(kd_checkpoint_data_path(newest, &data));
        named = data;
    }
    KD_TRY(kd_cli_data(named, &t->data, &t->data_path));
cleanup:
    free(newest);
    free(data);
    return status;
}

/* Everything that can be wrong before the run, on each rank. */
static kd_status prepare(kd_args *args, request *r, training *t) {
    kd_memory_plan plan;
    KD_OR_RETURN(take_request(args, r, t));
    KD_OR_RETURN(kd_ctx_open(kd_cli_compute(t->comm, &t->config), &t->ctx));
    KD_OR_RETURN(load_data(args, t));
    KD_OR_RETURN(check_selection(t));
    KD_OR_RETURN(kd_train_plan(&t->config, &t->data, t->comm, &plan));
    printf("device: %s\n", kd_ctx_describe(t->ctx));
    print_plan(&plan, r->dry);
    return kd_cli_check_memory(t->ctx, plan.total);
}

/* Whether all ranks are about to train the same. */
static kd_status compare_ranks(const request *r, training *t) {
    kd_status status = KD_OK;
    const kd_config *c = &t->config;
    const int64_t length[] = {
        c->epochs,        c->patience, c->eval_every, c->shard, t->checkpoints.epochs, t->checkpoints.steps,
        r->trace != NULL, r->window,   r->first,      r->last};
    char *identity = NULL;
    KD_TRY(kd_config_identity(c, &identity));
    KD_TRY(kd_comm_require_same(t->comm, "version of kdiffe", XXH3_64bits(KDIFFE_VERSION, strlen(KDIFFE_VERSION))));
    KD_TRY(kd_comm_require_same(t->comm, "configuration",
                                XXH3_64bits(identity, strlen(identity)) ^ XXH3_64bits(length, sizeof length)));
    KD_TRY(kd_comm_require_same(t->comm, "data set", t->data.hash));
cleanup:
    free(identity);
    return status;
}

static kd_status train(kd_args *args, training *t) {
    kd_status status = KD_OK;
    request r = {0};
    bool first = kd_comm_rank(t->comm) == 0;
    if (!first && !freopen("/dev/null", "w", stdout)) return KD_FAIL(KD_ERR_IO, "/dev/null: cannot be written");
    KD_OR_RETURN(kd_comm_agree(t->comm, prepare(args, &r, t)));
    KD_OR_RETURN(kd_comm_agree(t->comm, compare_ranks(&r, t)));
    if (r.dry) return KD_OK;
    KD_OR_RETURN(kd_comm_bind(t->comm, t->ctx));
    if (t->comm) printf("ranks: %" PRId64 ", %s\n", kd_comm_ranks(t->comm), kd_comm_library(t->comm));
    if (r.trace && first) status = kd_trace_open(t->ctx, r.trace);
    if (r.trace && !first) kd_trace_elsewhere(t->ctx);
    if (status == KD_OK && !r.resume && first) status = kd_run_folder_create(r.out, r.overwrite, &t->run);
    KD_OR_RETURN(kd_comm_agree(t->comm, status));
    t->checkpoints.folder = t->run.path;
    t->checkpoints.data_path = t->data_path;
    if (r.overwrite && first) kd_checkpoint_prune(t->run.path, 0);
    if (r.window) kd_profile_window(t->ctx, r.first, r.last);
    status = run(t);
    kd_status closed = kd_trace_close(t->ctx); /* also of a run that was stopped */
    if (status == KD_OK) status = closed;
    /* what ends all ranks at the same place */
    if (status == KD_OK || status == KD_ERR_INTERRUPTED || status == KD_ERR_NUMERIC)
        status = kd_comm_agree(t->comm, status);
    return status;
}

static kd_status command(kd_args *args) {
    training t = {.best_epoch = -1};
    kd_status status = kd_cli_comm(args, &t.comm);
    if (status == KD_OK) status = train(args, &t);
    kd_comm_close(t.comm, status);
    kd_ctx_close(t.ctx);
    kd_dataset_free(&t.data);
    kd_run_folder_free(&t.run);
    free(t.data_path);
    return status;
}

const kd_command kd_command_train = {"train", "train a model on a data set", HELP, command};
