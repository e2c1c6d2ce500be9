/* kdiffe bench: how fast every hot op and every stage of an epoch is, beside what this machine could do. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/api/compute.h"
#include "host/bench/allreduce.h"
#include "host/bench/bench.h"
#include "host/cli/shared.h"

static const char HELP[] =
    "usage: kdiffe bench [DATA|--shape=NAME] [--ops=NAMES] [--iterations=N] [--json=FILE] [--compare=OLD.json] "
    "[--key=value ...]\n\n"
    "Checks hot ops against plain loops in double precision, then times them, and whole epochs, beside the floor that\n"
    "this machine's copy and GEMM rates set. DATA is a folder as of kdiffe train; without it a data set of a known\n"
    "shape is made. docs/bench.md says what every column is. What does not fit in memory is left out, with a line\n"
    "that says so. Exit code 1 if a result was wrong.\n\n"
    "  --shape=NAME      tiktok: 9,308 users, 6,710 items, 59,500 interactions; large: a million users and items,\n"
    "                    20 million interactions and triples [tiktok]\n"
    "  --ops=NAMES       names or families, separated by commas; `epoch`: whole epochs; `all` [all]\n"
    "      gemm (gemm_in gemm_weight gemm_chain gemm_features gemm_features_weight) gram linear\n"
    "      spmm (spmm_64 spmm_192 spmm_256 spmm_modality_64) rgat (rgat_forward rgat_backward)\n"
    "      unit_rows (unit_rows_forward unit_rows_backward) squared_norm column_sum adam\n"
    "      infonce (infonce_users infonce_items) bpr group sample_negatives permutation q_sample\n"
    "      hidden_forward denoise_loss topk_rows (topk_1 topk_20) modality_graph_build kg_generate\n"
    "      walk_cumulative prefix_jaccard epoch\n"
    "      allreduce: alone, and between the ranks of mpirun or kdiffe launch: sums of 8 bytes to --most [256 MiB]\n"
    "  --iterations=N    timings of each, at most 5 seconds of them [30; 3 epochs after the first]\n"
    "  --json=FILE       the same as one JSON object\n"
    "  --compare=FILE    an earlier --json beside this run, and what moved beyond noise\n"
    "  --key=value       configuration, as of kdiffe train: device, threads, precision, batch, hidden, ...\n\n"
    "example: kdiffe bench --ops=spmm,infonce --device=cpu --threads=2 --json=today.json\n";

enum { ITERATIONS = 30, EPOCHS = 3, MOST_ITERATIONS = 100000, MOST_BYTES = 256 << 20 };

/* What was asked for. */
typedef struct request {
    const char *ops, *json, *compare, *shape;
    int64_t iterations; /* 0: not given */
    kd_config *config;
} request;

/* Every word after the command, for the header. */
static void note_flags(const kd_args *args, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (int64_t i = 0; i < args->option_count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, " --%s", args->option[i]);
}

static kd_status take_request(kd_args *args, request *r) {
    r->json = kd_args_take(args, "json");
    r->compare = kd_args_take(args, "compare");
    r->shape = kd_args_take(args, "shape");
    if (r->shape && args->positional_count)
        return KD_FAIL(KD_ERR_ARGUMENT, "--shape: says which data to make, where no data set is given");
    if (!r->shape) r->shape = "tiktok";
    if (!r->ops) r->ops = "all";
    KD_OR_RETURN(kd_bench_words_check(r->ops));
    KD_OR_RETURN(kd_args_take_int(args, "iterations", 1, MOST_ITERATIONS, &r->iterations));
    if (kd_args_take(args, "epochs"))
        return KD_FAIL(KD_ERR_ARGUMENT, "--epochs: --iterations=N says how many epochs are timed");
    if ((r->json && !r->json[0]) || (r->compare && !r->compare[0]))
        return KD_FAIL(KD_ERR_ARGUMENT, "--json and --compare: expected =FILE; see --help");
    KD_OR_RETURN(kd_cli_config(args, &r->config));
    if (r->config->model != KD_MODEL_KDIFFE)
        return KD_FAIL(KD_ERR_ARGUMENT, "model: bench measures the ops and epochs of kdiffe only");
    return kd_args_finish(args, args->positional_count > 0 ? 1 : 0);
}

static void describe(kd_ctx *ctx, const kd_dataset *data, kd_bench_report *report) {
    snprintf(report->device, sizeof report->device, "%s", kd_ctx_describe(ctx));
    snprintf(report->backend, sizeof report->backend, "%.*s", (int)strcspn(report->device, ":"), report->device);
    snprintf(report->data, sizeof report->data,
             "%s %016" PRIx64 ": %lld users, %lld items, %lld interactions, %lld entities, %lld triples", data->name,
             data->hash, (long long)data->users, (long long)data->items, (long long)data->train.count,
             (long long)data->entities, (long long)data->kg.count);
}

static void add(kd_bench_report *report, const kd_bench_result *result) {
    kd_bench_print(report, result);
    report->result[report->count++] = *result;
}

/* What does not fit in memory is said, and left out. */
static kd_status or_leave_out(kd_status status, const char *name) {
    if (status != KD_ERR_MEMORY) return status;
    printf("# %s: left out: %s\n", name, kd_last_error());
    fflush(stdout);
    return KD_OK;
}

static kd_status run_cases(kd_ctx *ctx, const request *r, const kd_dataset *data, kd_bench_report *report) {
    kd_status status = KD_OK;
    kd_bench_setting setting = {0};
    const kd_bench_case *c;
    for (int64_t i = 0; (c = kd_bench_case_at(i)) != NULL; i++) {
        kd_bench_result result;
        if (!kd_bench_selects(r->ops, c)) continue;
        if (!setting.ctx) KD_TRY(kd_bench_setting_open(ctx, r->config, data, &setting));
        if (c->needs_kg && setting.plan->capped.count == 0) {
            printf("# %s: left out, there is no knowledge graph\n", c->name);
            continue;
        }
        status = kd_bench_measure(&setting, c, r->iterations ? r->iterations : ITERATIONS, &result);
        if (status == KD_OK) add(report, &result);
        KD_TRY(or_leave_out(status, c->name));
    }
cleanup:
    kd_bench_setting_close(&setting);
    return status;
}

static kd_status run_epochs(kd_ctx *ctx, const request *r, const kd_dataset *data, kd_bench_report *report) {
    kd_memory_plan plan;
    kd_bench_result stage[KD_BENCH_STAGES];
    int64_t count = 0;
    if (!kd_bench_listed(r->ops, "epoch")) return KD_OK;
    KD_OR_RETURN(kd_train_plan(r->config, data, NULL, &plan));
    kd_status status = kd_check_memory(ctx, plan.total);
    if (status != KD_OK) return or_leave_out(status, "epoch");
    KD_OR_RETURN(kd_bench_epochs(ctx, r->config, data, r->iterations ? r->iterations : EPOCHS, &count, stage));
    for (int64_t i = 0; i < count; i++) add(report, &stage[i]);
    return KD_OK;
}

/* Between ranks, without data. */
static kd_status allreduce(kd_args *args) {
    kd_status status = KD_OK;
    kd_comm *comm = NULL;
    kd_ctx *ctx = NULL;
    kd_config *config = NULL;
    int64_t iterations = ITERATIONS, most = MOST_BYTES;
    KD_TRY(kd_cli_comm(args, &comm));
    status = kd_args_take_int(args, "iterations", 1, MOST_ITERATIONS, &iterations);
    if (status == KD_OK) status = kd_args_take_int(args, "most", 8, (int64_t)1 << 40, &most);
    if (status == KD_OK) status = kd_cli_config(args, &config);
    if (status == KD_OK) status = kd_args_finish(args, 0);
    if (status == KD_OK) status = kd_ctx_open(kd_compute_on(comm, config), &ctx);
    KD_TRY(kd_comm_agree(comm, status));
    KD_TRY(kd_comm_bind(comm, ctx));
    if (kd_comm_rank(comm) > 0 && !freopen("/dev/null", "w", stdout))
        KD_FAIL_TO_CLEANUP(KD_ERR_IO, "/dev/null: cannot be written");
    status = kd_bench_allreduce(comm, ctx, most, iterations);
    if (status == KD_OK || status == KD_ERR_CHECK) status = kd_comm_agree(comm, status);
cleanup:
    kd_comm_close(comm, status);
    kd_ctx_close(ctx);
    kd_config_close(config);
    return status;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    request r = {0};
    kd_dataset *opened = NULL, made = {0};
    kd_ctx *ctx = NULL;
    kd_bench_report old, report = {0};
    note_flags(args, report.flags, sizeof report.flags);
    r.ops = kd_args_take(args, "ops");
    if (r.ops && strcmp(r.ops, "allreduce") == 0) return allreduce(args);
    KD_TRY(take_request(args, &r));
    if (r.compare) KD_TRY(kd_bench_load(r.compare, &old));
    KD_TRY(kd_ctx_open(kd_compute_of(r.config), &ctx));
    KD_TRY(args->positional_count ? kd_dataset_open(args->positional[0], &opened) : kd_bench_data(r.shape, &made));
    const kd_dataset *data = opened ? opened : &made;
    describe(ctx, data, &report);
    KD_TRY(kd_bench_ceilings_measure(ctx, &report.ceilings));
    kd_bench_print_header(&report);
    KD_TRY(run_cases(ctx, &r, data, &report));
    KD_TRY(run_epochs(ctx, &r, data, &report));
    if (report.count == 0) KD_FAIL_TO_CLEANUP(KD_ERR_CHECK, "bench: nothing was measured");
    if (r.json) KD_TRY(kd_bench_save(&report, r.json));
    if (r.compare) kd_bench_compare(&old, &report);
    KD_TRY(kd_bench_verdict(&report));
cleanup:
    kd_ctx_close(ctx);
    kd_dataset_close(opened);
    kd_dataset_free(&made);
    kd_config_close(r.config);
    return status;
}

const kd_command kd_command_bench = {"bench", "check and time ops and epochs", HELP, command};
