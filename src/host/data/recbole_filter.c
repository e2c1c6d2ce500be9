/* The k-core filter and the split by shares. */
#include <stdlib.h>

#include "host/base/memory.h"
#include "host/data/recbole_inner.h"
#include "kernels/common/philox.h"

kd_status kd_recbole_core(int64_t k, int64_t users, int64_t items, kd_recbole_rows *rows) {
    kd_status status = KD_OK;
    int64_t *user = NULL, *item = NULL, before;
    KD_TRY(kd_host_alloc(&user, users, sizeof *user, "k-core"));
    KD_TRY(kd_host_alloc(&item, items, sizeof *item, "k-core"));
    for (int64_t i = 0; i < rows->count; i++) {
        user[rows->row[i].user]++;
        item[rows->row[i].item]++;
    }
    do {
        before = rows->count;
        rows->count = 0;
        for (int64_t i = 0; i < before; i++) {
            struct kd_recbole_row row = rows->row[i];
            if (user[row.user] >= k && item[row.item] >= k) {
                rows->row[rows->count++] = row;
                continue;
            }
            user[row.user]--;
            item[row.item]--;
        }
    } while (rows->count < before);
cleanup:
    free(user);
    free(item);
    return status;
}

typedef struct drawn {
    uint64_t draw;
    int64_t row;
    int32_t user;
} drawn;

static int by_user_then_draw(const void *x, const void *y) {
    const drawn *a = x, *b = y;
    if (a->user != b->user) return a->user < b->user ? -1 : 1;
    if (a->draw != b->draw) return a->draw < b->draw ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* A share of n, rounded down; 10 * 0.3 / 1.0 is to be 3 whatever the last bit says. */
static int64_t part(int64_t n, double share) { return (int64_t)((double)n * share + 1e-9); }

kd_status kd_recbole_split(const double share[3], uint64_t seed, kd_recbole_rows *rows) {
    kd_rng rng = {seed, KD_RNG_SPLIT, 0, 0, NULL};
    double sum = share[0] + share[1] + share[2];
    drawn *order;
    KD_OR_RETURN(kd_host_alloc(&order, rows->count, sizeof *order, "split"));
    for (int64_t i = 0; i < rows->count; i++) {
        uint32_t draw[4];
        kd_rng_draw4(&rng, (uint32_t)rows->row[i].user, (uint32_t)rows->row[i].item, draw);
        order[i] = (drawn){(uint64_t)draw[0] << 32 | draw[1], i, rows->row[i].user};
    }
    qsort(order, (size_t)rows->count, sizeof *order, by_user_then_draw);
    for (int64_t begin = 0, end; begin < rows->count; begin = end) {
        for (end = begin; end < rows->count && order[end].user == order[begin].user;) end++;
        int64_t n = end - begin, train, valid = part(n, share[1] / sum), test = part(n, share[2] / sum);
        train = n - valid - test;
        if (test == 0 && share[2] > 0 && train > 1) {
            test = 1;
            train--;
        }
        if (valid == 0 && share[1] > 0 && train > 1) {
            valid = 1;
            train--;
        }
        if (train == 0) test > 0 ? test-- : valid--;
        for (int64_t i = begin; i < end; i++)
            rows->row[order[i].row].split = i - begin < valid ? 1 : i - begin < valid + test ? 2 : 0;
    }
    free(order);
    return KD_OK;
}
