/* kdiffe train: data and configuration in, a run folder out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/command.h"
#include "host/cli/shared.h"
#include "host/report/console.h"
#include "host/report/run_folder.h"
#include "host/train/checkpoint.h"
#include "kdiffe/kdiffe.h"

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

/* What the callbacks of a run keep. */
typedef struct show {
    kd_console console;
    int64_t ranks;
    bool dry;
} show;

static bool on_planned(void *context, const kd_run_plan *run) {
    show *s = context;
    char text[32];
    if (run->selects_on_test) printf("note: no validation split, the best epoch is selected on the test split\n");
    if (run->unread_keys[0]) printf("note: the model does not read %s\n", run->unread_keys);
    printf("device: %s\n", run->device);
    for (int64_t i = 0; s->dry && i < run->model->parts; i++)
        printf("  %-28s %12s\n", run->model->part[i].what, kd_console_bytes(run->model->part[i].bytes, text));
    printf("memory: %s for the model\n", kd_console_bytes(run->model->total, text));
    s->ranks = run->ranks;
    return !s->dry;
}

static void on_connected(void *context, const char *library) {
    const show *s = context;
    printf("ranks: %" PRId64 ", %s\n", s->ranks, library);
}

static void on_resumed(void *context, int64_t epoch) {
    (void)context;
    printf("resumed in epoch %" PRId64 "\n", epoch);
}

static bool on_progress(void *context, int64_t epoch, kd_stage stage, int64_t done, int64_t total) {
    show *s = context;
    kd_console_progress(&s->console, epoch, stage, done, total);
    return true;
}

static bool on_epoch(void *context, const kd_epoch_record *record) {
    show *s = context;
    kd_console_epoch(&s->console, record);
    return true;
}

/* "A:B" with 0 <= A < B. */
static kd_status parse_window(const char *text, int64_t *first, int64_t *last) {
    char rest;
    if (sscanf(text, "%" SCNd64 ":%" SCNd64 "%c", first, last, &rest) == 2 && *first >= 0 && *first < *last)
        return KD_OK;
    return KD_FAIL(KD_ERR_ARGUMENT, "--profile-steps=%s: expected A:B with 0 <= A < B", text);
}

/* What a run leaves that was stopped. */
static void say_what_is_kept(const kd_training *t, kd_status status, const kd_run_summary *summary) {
    char *newest = NULL;
    if (summary->best_epoch >= 0)
        printf("the best model so far, of epoch %" PRId64 ", is kept in %s\n", summary->best_epoch, t->folder);
    if (status == KD_ERR_INTERRUPTED && kd_checkpoint_newest(t->folder, &newest) == KD_OK && newest)
        printf("go on with: kdiffe train --resume=%s\n", t->folder);
    free(newest);
}

static void say_what_was_done(const kd_training *t, const kd_console *console, const kd_run_summary *summary) {
    char text[32];
    kd_console_stages(console);
    if (summary->exchanges > 0)
        printf("exchanged: %s in %" PRId64 " exchanges\n", kd_console_bytes(summary->exchanged_bytes, text),
               summary->exchanges);
    printf("best epoch %" PRId64 ", peak memory %s\nrun folder: %s\n", summary->best_epoch,
           kd_console_bytes(summary->peak_bytes, text), t->folder);
}

/* "N" epochs or "Nsteps". */
static kd_status take_checkpoints(kd_args *args, kd_training *t) {
    const char *every = kd_args_take(args, "checkpoint-every"), *unit = "";
    char *end = NULL;
    t->checkpoint_keep = 2;
    if (every) {
        long long n = strtoll(every, &end, 10);
        if (end != every) unit = end;
        if (n < 1 || (unit[0] && strcmp(unit, "steps") != 0) || end == every)
            return KD_FAIL(KD_ERR_ARGUMENT,
                           "--checkpoint-every=%s: expected a number of epochs, or of steps as in 200steps", every);
        *(unit[0] ? &t->checkpoint_steps : &t->checkpoint_epochs) = n;
    }
    return kd_args_take_int(args, "checkpoint-keep", 1, 1000000, &t->checkpoint_keep);
}

/* A run that goes on: its own configuration, and the keys given beside it. */
static kd_status take_resumed(kd_args *args, const char *folder, kd_training *t, kd_config **config) {
    kd_status status = KD_OK;
    kd_run_folder run = {0};
    if (t->folder || t->overwrite || kd_args_take(args, "config"))
        return KD_FAIL(KD_ERR_ARGUMENT, "--resume: takes folder and configuration from the run; leave out --out, "
                                        "--overwrite and --config");
    t->folder = folder;
    t->resume = true;
    KD_TRY(kd_run_folder_resume(t->folder, &run));
    KD_TRY(kd_cli_config_over(args, run.config, config));
cleanup:
    kd_run_folder_free(&run);
    return status;
}

static kd_status take_request(kd_args *args, kd_training *t, kd_config **config, bool *dry) {
    const char *window = kd_args_take(args, "profile-steps"), *resume = kd_args_take(args, "resume");
    t->folder = kd_args_take(args, "out");
    t->trace = kd_args_take(args, "trace");
    KD_OR_RETURN(kd_args_take_flag(args, "overwrite", &t->overwrite));
    KD_OR_RETURN(kd_args_take_flag(args, "dry-run", dry));
    KD_OR_RETURN(take_checkpoints(args, t));
    if (t->trace && !t->trace[0]) return KD_FAIL(KD_ERR_ARGUMENT, "--trace: expected a file; see --help");
    if (window) KD_OR_RETURN(parse_window(window, &t->profile_first, &t->profile_end));
    if (resume) {
        KD_OR_RETURN(take_resumed(args, resume, t, config));
        return kd_args_finish(args, args->positional_count > 0 ? 1 : 0);
    }
    KD_OR_RETURN(kd_cli_config(args, config));
    KD_OR_RETURN(kd_args_finish(args, 1));
    if ((!t->folder || !t->folder[0]) && !*dry) return KD_FAIL(KD_ERR_ARGUMENT, "expected --out=RUN; see --help");
    if (!t->folder) t->checkpoint_epochs = t->checkpoint_steps = 0; /* a dry run keeps none */
    return KD_OK;
}

/* The data that was named, or those of the checkpoint. */
static kd_status open_data(const kd_args *args, const kd_training *t, kd_dataset **out) {
    kd_status status = KD_OK;
    char *newest = NULL, *data = NULL;
    if (args->positional_count > 0) return kd_dataset_open(args->positional[0], out);
    KD_TRY(kd_checkpoint_newest(t->folder, &newest));
    if (!newest) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: holds no checkpoint to go on from", t->folder);
    KD_TRY(kd_checkpoint_data_path(newest, &data));
    KD_TRY(kd_dataset_open(data, out));
cleanup:
    free(newest);
    free(data);
    return status;
}

static kd_status prepare(kd_args *args, kd_training *t, kd_config **config, kd_dataset **data, bool *dry) {
    KD_OR_RETURN(take_request(args, t, config, dry));
    return open_data(args, t, data);
}

static kd_status train(kd_args *args, kd_comm *comm) {
    kd_status status = KD_OK;
    show s = {.dry = false};
    kd_training t = {.comm = comm,
                     .context = &s,
                     .planned = on_planned,
                     .connected = on_connected,
                     .resumed = on_resumed,
                     .progress = on_progress,
                     .epoch = on_epoch};
    kd_config *config = NULL;
    kd_dataset *data = NULL;
    kd_run_summary summary;
    KD_TRY(kd_comm_agree(comm, prepare(args, &t, &config, &data, &s.dry)));
    kd_console_open(config->epochs, &s.console);
    status = kd_run_train(data, config, &t, &summary, NULL);
    if (s.console.bar) fputs("\r\033[K", s.console.progress);
    if (kd_comm_rank(comm) > 0 || s.dry) goto cleanup;
    if (status == KD_OK)
        say_what_was_done(&t, &s.console, &summary);
    else
        say_what_is_kept(&t, status, &summary);
cleanup:
    kd_dataset_close(data);
    kd_config_close(config);
    return status;
}

static kd_status command(kd_args *args) {
    kd_comm *comm = NULL;
    kd_status status = kd_cli_comm(args, &comm);
    if (status == KD_OK) status = train(args, comm);
    kd_comm_close(comm, status);
    return status;
}

const kd_command kd_command_train = {"train", "train a model on a data set", HELP, command};
