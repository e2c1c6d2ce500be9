/* kdiffe attention: the attention-aware matrix as text. */
#include <stdlib.h>

#include "host/attention/attention.h"
#include "host/base/memory.h"
#include "host/cli/shared.h"
#include "host/data/dataset.h"
#include "host/data/similarity.h"
#include "kernels/device.h"

static const char HELP[] =
    "usage: kdiffe attention DATA --out=FILE.tsv [--config=FILE.yaml] [--key=value ...]\n\n"
    "Writes the attention-aware matrix S of the training interactions, a line an edge and direction: row,\n"
    "column, value, separated by tabs. Rows and columns are nodes: users 0 .. users-1, then items. epsilon is\n"
    "not multiplied in. --attention.file=FILE.tsv of a later training reads it back.\n\n"
    "example: kdiffe attention data/tiktok --out=S.tsv --attention.walks=6 --attention.walk_steps=130\n";

static kd_status make_matrix(kd_ctx *ctx, const kd_config *config, const kd_dataset *data, kd_similarity *out) {
    kd_status status = KD_OK;
    kd_bipartite graph = {0};
    KD_TRY(kd_bipartite_build(data->users, data->items, &data->train, &graph));
    out->count = graph.row_ptr[graph.nodes];
    KD_TRY(kd_host_alloc(&out->row, out->count, sizeof *out->row, "matrix"));
    KD_TRY(kd_host_alloc(&out->value, out->count, sizeof *out->value, "matrix"));
    KD_TRY(kd_attention_matrix(ctx, NULL, config, data, &graph, out->value));
    for (int64_t r = 0; r < graph.nodes; r++)
        for (int64_t k = graph.row_ptr[r]; k < graph.row_ptr[r + 1]; k++) out->row[k] = (int32_t)r;
    out->col = graph.col;
    graph.col = NULL;
cleanup:
    kd_bipartite_free(&graph);
    return status;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_config *config = NULL;
    kd_dataset *data = NULL;
    kd_similarity matrix = {0};
    kd_ctx *ctx = NULL;
    const char *out = kd_args_take(args, "out");
    KD_TRY(kd_cli_config(args, &config));
    KD_TRY(kd_args_finish(args, 1));
    if (!out || !out[0]) KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "expected --out=FILE.tsv; see --help");
    KD_TRY(kd_dataset_open(args->positional[0], &data));
    KD_TRY(kd_ctx_open(kd_compute_of(config), &ctx));
    KD_TRY(make_matrix(ctx, config, data, &matrix));
    KD_TRY(kd_similarity_save(out, &matrix));
cleanup:
    kd_ctx_close(ctx);
    kd_similarity_free(&matrix);
    kd_dataset_close(data);
    kd_config_close(config);
    return status;
}

const kd_command kd_command_attention = {"attention", "write the attention-aware matrix", HELP, command};
