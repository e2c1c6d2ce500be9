/* kdiffe recommend: ranked items for users, in the users' own ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/cli/command.h"
#include "kdiffe/kdiffe.h"

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

/* Whom to recommend to. */
typedef struct users {
    char *text;          /* the file, each line ended by '\0' */
    const char **id;     /* [count] in it */
    int64_t *line;       /* [count] from 1 */
    int64_t count, *row; /* [count] of the data set */
    int32_t *index;      /* [count] the same */
} users;

static void free_users(users *u) {
    free(u->text);
    free(u->id);
    free(u->line);
    free(u->row);
    free(u->index);
}

/* One id a line; empty lines are none. */
static kd_status split_lines(const char *path, users *u) {
    kd_status status = KD_OK;
    kd_mapped_file file = {0};
    int64_t ids = 0, lines = 0, line = 0;
    KD_TRY(kd_file_map(path, &file));
    KD_TRY(kd_host_alloc(&u->text, file.bytes + 1, 1, "users"));
    memcpy(u->text, file.data, (size_t)file.bytes);
    for (char *at = u->text, *end = u->text + file.bytes; at < end;) {
        char *stop = memchr(at, '\n', (size_t)(end - at)), *last = stop ? stop : end;
        line++;
        if (memchr(at, '\0', (size_t)(last - at)))
            KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s:%lld: expected a user id, found a zero byte", path, (long long)line);
        if (last > at && last[-1] == '\r') last--;
        *last = '\0';
        if (last > at) {
            KD_TRY(kd_host_grow(&u->id, &ids, u->count + 1, sizeof *u->id, "users"));
            KD_TRY(kd_host_grow(&u->line, &lines, u->count + 1, sizeof *u->line, "users"));
            u->id[u->count] = at;
            u->line[u->count++] = line;
        }
        at = stop ? stop + 1 : end;
    }
    if (u->count == 0) KD_FAIL_TO_CLEANUP(KD_ERR_FORMAT, "%s: expected one user id a line", path);
cleanup:
    kd_file_unmap(&file);
    return status;
}

static kd_status read_users(const char *path, const kd_dataset *data, users *u) {
    KD_OR_RETURN(split_lines(path, u));
    KD_OR_RETURN(kd_host_alloc(&u->row, u->count, sizeof *u->row, "users"));
    KD_OR_RETURN(kd_host_alloc(&u->index, u->count, sizeof *u->index, "users"));
    KD_OR_RETURN(kd_dataset_find(data, KD_ID_USER, u->count, u->id, u->row));
    for (int64_t i = 0; i < u->count; i++) {
        if (u->row[i] < 0)
            return KD_FAIL(KD_ERR_FORMAT, "%s:%lld: '%.80s' is no user of the data set", path, (long long)u->line[i],
                           u->id[i]);
        u->index[i] = (int32_t)u->row[i];
    }
    return KD_OK;
}

static kd_status all_users(const kd_dataset *data, users *u) {
    u->count = kd_dataset_ids(data, KD_ID_USER);
    KD_OR_RETURN(kd_host_alloc(&u->index, u->count, sizeof *u->index, "users"));
    for (int64_t i = 0; i < u->count; i++) u->index[i] = (int32_t)i;
    return KD_OK;
}

/* Lists of a block of users at a time, so that memory does not grow with their number. */
static kd_status write_lists(kd_run *run, const users *u, int64_t k, FILE *out) {
    enum { BLOCK = 4096 };
    kd_status status = KD_OK;
    const kd_dataset *data = kd_run_dataset(run);
    int32_t *item = NULL;
    float *score = NULL;
    int64_t items = kd_dataset_ids(data, KD_ID_ITEM);
    if (k > items) k = items; /* nobody has more to be given */
    KD_TRY(kd_host_alloc(&item, BLOCK * k, sizeof *item, "lists"));
    KD_TRY(kd_host_alloc(&score, BLOCK * k, sizeof *score, "lists"));
    for (int64_t first = 0; first < u->count; first += BLOCK) {
        const int32_t *user = u->index + first;
        int64_t some = u->count - first < BLOCK ? u->count - first : BLOCK;
        KD_TRY(kd_run_recommend(run, some, user, k, item, score));
        for (int64_t i = 0; i < some * k; i++)
            if (item[i] >= 0)
                fprintf(out, "%s\t%s\t%lld\t%.9g\n", kd_dataset_id(data, KD_ID_USER, user[i / k]),
                        kd_dataset_id(data, KD_ID_ITEM, item[i]), (long long)(i % k + 1), score[i]);
    }
cleanup:
    free(item);
    free(score);
    return status;
}

static kd_status command(kd_args *args) {
    kd_status status = KD_OK;
    kd_run *run = NULL;
    kd_atomic_file file = {0};
    users u = {0};
    int64_t k = 20, threads = 0;
    const char *from = kd_args_take(args, "users"), *out = kd_args_take(args, "out"),
               *data = kd_args_take(args, "data");
    KD_TRY(kd_args_take_int(args, "k", 1, 1000000, &k));
    KD_TRY(kd_args_take_int(args, "threads", 0, 4096, &threads));
    KD_TRY(kd_args_finish(args, 1));
    if (!from || !from[0]) KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "expected --users=FILE or --users=all; see --help");
    if (!out || !out[0]) KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "expected --out=FILE; see --help");
    KD_TRY(kd_run_open(args->positional[0], data, &run));
    KD_TRY(strcmp(from, "all") == 0 ? all_users(kd_run_dataset(run), &u) : read_users(from, kd_run_dataset(run), &u));
    KD_TRY(kd_run_compute(run, "auto", threads));
    KD_TRY(kd_atomic_open(out, &file));
    fputs("user\titem\trank\tscore\n", file.stream);
    KD_TRY(write_lists(run, &u, k, file.stream));
    KD_TRY(kd_atomic_commit(&file));
cleanup:
    kd_atomic_abort(&file);
    kd_run_close(run);
    free_users(&u);
    return status;
}

const kd_command kd_command_recommend = {"recommend", "ranked items for users", HELP, command};
