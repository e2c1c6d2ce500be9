#include "host/data/pairs.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

/* One stable counting pass: order_out lists the entries of order_in by ascending key[entry]. place [keys + 1] is
 * scratch. */
static void counting_pass(int64_t keys, int64_t count, const int32_t *key, const int64_t *order_in, int64_t *order_out,
                          int64_t *place) {
    memset(place, 0, (size_t)(keys + 1) * sizeof *place);
    for (int64_t i = 0; i < count; i++) place[key[i] + 1]++;
    for (int64_t k = 0; k < keys; k++) place[k + 1] += place[k];
    for (int64_t i = 0; i < count; i++) {
        int64_t entry = order_in == NULL ? i : order_in[i];
        order_out[place[key[entry]]++] = entry;
    }
}

/* values[i] <- values[order[i]] for 32-bit elements, through scratch [count]. */
static void permute(int64_t count, const int64_t *order, void *values, uint32_t *scratch) {
    for (int64_t i = 0; i < count; i++) memcpy(&scratch[i], (const char *)values + order[i] * 4, 4);
    if (count > 0) memcpy(values, scratch, (size_t)count * 4);
}

kd_status kd_pairs_sort(int64_t rows, int64_t cols, int64_t count, int32_t *row, int32_t *col, float *value) {
    kd_status status = KD_OK;
    int64_t *place = NULL, *by_col = NULL, *order = NULL;
    uint32_t *scratch = NULL;

    KD_TRY(kd_host_alloc(&place, (rows > cols ? rows : cols) + 1, sizeof *place, "sorting pairs"));
    KD_TRY(kd_host_alloc(&by_col, count, sizeof *by_col, "sorting pairs"));
    KD_TRY(kd_host_alloc(&order, count, sizeof *order, "sorting pairs"));
    KD_TRY(kd_host_alloc(&scratch, count, sizeof *scratch, "sorting pairs"));
    counting_pass(cols, count, col, NULL, by_col, place);
    counting_pass(rows, count, row, by_col, order, place);
    permute(count, order, row, scratch);
    permute(count, order, col, scratch);
    if (value != NULL) permute(count, order, value, scratch);
cleanup:
    free(place);
    free(by_col);
    free(order);
    free(scratch);
    return status;
}

int64_t kd_pairs_unique(int64_t count, int32_t *row, int32_t *col) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        if (kept > 0 && row[kept - 1] == row[i] && col[kept - 1] == col[i]) continue;
        row[kept] = row[i];
        col[kept] = col[i];
        kept++;
    }
    return kept;
}
