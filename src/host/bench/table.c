/* All cases, and the words that --ops takes. */
#include <stdlib.h>
#include <string.h>

#include "host/bench/cases.h"
#include "host/config/keys.h"

static const kd_bench_case *const FAMILIES[] = {
    kd_bench_product_cases, kd_bench_spmm_cases,    kd_bench_rgat_cases,  kd_bench_row_cases,
    kd_bench_infonce_cases, kd_bench_bpr_cases,     kd_bench_batch_cases, kd_bench_diffusion_cases,
    kd_bench_rank_cases,    kd_bench_rebuild_cases, kd_bench_walk_cases,
};

const kd_bench_case *kd_bench_case_at(int64_t i) {
    for (size_t f = 0; f < sizeof FAMILIES / sizeof FAMILIES[0]; f++)
        for (const kd_bench_case *c = FAMILIES[f]; c->name; c++)
            if (i-- == 0) return c;
    return NULL;
}

bool kd_bench_selects(const char *list, const kd_bench_case *c) {
    return kd_bench_listed(list, c->name) || kd_bench_listed(list, c->family);
}

/* The word at *list, and *list at the next one. */
static size_t next_word(const char **list, const char **word) {
    size_t length = strcspn(*list, ",");
    *word = *list;
    *list += length + ((*list)[length] == ',');
    return length;
}

static bool equal(const char *word, size_t length, const char *name) {
    return strlen(name) == length && strncmp(word, name, length) == 0;
}

bool kd_bench_listed(const char *list, const char *name) {
    const char *word;
    while (*list) {
        size_t length = next_word(&list, &word);
        if (equal(word, length, name) || equal(word, length, "all")) return true;
    }
    return false;
}

static void nearer(const char *wanted, const char *name, const char **best) {
    if (kd_edit_distance(wanted, name) < kd_edit_distance(wanted, *best)) *best = name;
}

static kd_status check_word(const char *word) {
    const char *best = "all";
    nearer(word, "epoch", &best);
    for (int64_t i = 0; kd_bench_case_at(i); i++) {
        nearer(word, kd_bench_case_at(i)->name, &best);
        nearer(word, kd_bench_case_at(i)->family, &best);
    }
    if (strcmp(word, best) == 0) return KD_OK;
    return KD_FAIL(KD_ERR_ARGUMENT, "--ops: unknown op '%s'; the nearest is '%s', --help lists all", word, best);
}

kd_status kd_bench_words_check(const char *list) {
    kd_status status = KD_OK;
    const char *word;
    if (!list[0]) return KD_FAIL(KD_ERR_ARGUMENT, "--ops: expected names, such as --ops=spmm,infonce");
    while (*list && status == KD_OK) {
        size_t length = next_word(&list, &word);
        char *copy = strndup(word, length);
        status = copy ? check_word(copy) : KD_FAIL(KD_ERR_MEMORY, "--ops: out of memory");
        free(copy);
    }
    return status;
}
