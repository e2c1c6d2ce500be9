/* kdiffe recommend: ranked items for users, in the users' own ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/cli/shared.h"
#include "kernels/device.h"

static const char HELP[] =
    "usage: kdiffe recommend RUN --users=FILE|all --out=FILE.tsv [--k=20] [--data=DIR] [--threads=N]\n\n"
    "Writes the best items of each user that are not among its training items, one line each:\n"
    "user, item, rank (from 1), score, separated by tabs, in the data set's own ids.\n\n"
    "  --users=FILE  one user id a line; `all` for every user\n"
    "  --out=FILE    written whole or not at all\n"
    "  --k=N         items for each user [20]\n"
    "  --data=DIR    where the data set is now\n"
    "  --threads=N   CPU threads [0: every core]\n\n"
    "example: kdiffe recommend runs/tiktok --users=all --k=10 --out=top10.tsv\n";

typedef struct token {
    const char *name;
    int32_t index;
    UT_hash_handle hh;
} token;

/* The dense index of each line of the file. */
static kd_status read_users(const char *path, const kd_dataset *data, int32_t **out, int64_t *count) {
    kd_status status = KD_OK;
    kd_mapped_file file = {0};
    token *table = NULL, *tokens = NULL, *found;
    int64_t capacity = 0, line = 0;
    KD_TRY(kd_file_map(path, &file));
    KD_TRY(kd_host_alloc(&tokens, data->users, sizeof *tokens, "users"));
    for (int64_t i = 0; i < data->users; i++) {
        tokens[i] = (token){.name = kd_id_token(&data->user_ids, i), .index = (int32_t)i};
        HASH_ADD_KEYPTR(hh, table, tokens[i].name, strlen(tokens[i].name), &tokens[i]);
    }
    const char *at = (const char *)file.data, *end = at + file.bytes;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        line++;
        if (length > 0 && at[length - 1] == '\r') length--;
        HASH_FIND(hh, table, at, length, found);
        if (length > 0 && !found)
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s:%lld: '%.*s' is no user of the data set", path, (long long)line,
                               (int)(length < 80 ? length : 80), at);
        if (length > 0) {
            KD_TRY(kd_host_grow(out, &capacity, *count + 1, sizeof **out, "users"));
            (*out)[(*count)++] = found->index;
        }
        at = stop ? stop + 1 : end;
    }
    if (*count == 0) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: expected one user id a line", path);
cleanup:
    HASH_CLEAR(hh, table);
    free(tokens);
    kd_file_unmap(&file);
    return status;
}

static kd_status all_users(const kd_dataset *data, int32_t **out, int64_t *count) {
    KD_OR_RETURN(kd_host_alloc(out, data->users, sizeof **out, "users"));
    *count = data->users;
    for (int64_t i = 0; i < *count; i++) (*out)[i] = (int32_t)i;
    return KD_OK;
}

/* Lists of a block of users at a time, so that memory does not grow with their number. */
static kd_status write_lists(kd_ctx *ctx, const kd_cli_run *run, int64_t count, const int32_t *user, int64_t k,
                             FILE *out) {
    enum { BLOCK = 4096 };
    kd_status status = KD_OK;
    int32_t *item = NULL;
    float *score = NULL;
    if (k > run->data.items) k = run->data.items; /* nobody has more to be given */
    KD_TRY(kd_host_alloc(&item, BLOCK * k, sizeof *item, "lists"));
    KD_TRY(kd_host_alloc(&score, BLOCK * k, sizeof *score, "lists"));
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t some = count - first < BLOCK ? count - first : BLOCK;
        KD_TRY(kd_rank(ctx, &(kd_rank_args){.views = &run->views,
                                            .data = &run->data,
                                            .count = some,
                                            .user = user + first,
                                            .k = k,
                                            .item = item,
                                            .score = score}));
        for (int64_t i = 0; i < some * k; i++)
            if (item[i] >= 0)
                fprintf(out, "%s\t%s\t%lld\t%.9g\n", kd_id_token(&run->data.user_ids, user[first + i / k]),
                        kd_id_token(&run->data.item_ids, item[i]), (long long)(i % k + 1), score[i]);
    }
cleanup:
    free(item);
    free(score);
    return status;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_cli_run run = {0};
    kd_ctx *ctx = NULL;
    kd_atomic_file file = {0};
    int32_t *user = NULL;
    int64_t count = 0, k = 20, threads = 0;
    const char *users = kd_args_take(args, "users"), *out = kd_args_take(args, "out"),
               *data = kd_args_take(args, "data");
    KD_TRY(kd_args_take_int(args, "k", 1, 1000000, &k));
    KD_TRY(kd_args_take_int(args, "threads", 0, 4096, &threads));
    KD_TRY(kd_args_finish(args, 1));
    if (!users || !users[0]) KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "expected --users=FILE or --users=all; see --help");
    if (!out || !out[0]) KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "expected --out=FILE; see --help");
    KD_TRY(kd_cli_run_open(args->positional[0], data, &run));
    KD_TRY(strcmp(users, "all") == 0 ? all_users(&run.data, &user, &count)
                                     : read_users(users, &run.data, &user, &count));
    KD_TRY(
        kd_ctx_open((kd_compute){.device = KD_DEVICE_AUTO, .threads = threads, .precision = KD_PRECISION_FP32}, &ctx));
    KD_TRY(kd_atomic_open(out, &file));
    fputs("user\titem\trank\tscore\n", file.stream);
    KD_TRY(write_lists(ctx, &run, count, user, k, file.stream));
    KD_TRY(kd_atomic_commit(&file));
cleanup:
    kd_atomic_abort(&file);
    kd_ctx_close(ctx);
    kd_cli_run_close(&run);
    free(user);
    return status;
}

const kd_command kd_command_recommend = {"recommend", "ranked items for users", HELP, command};
