/* Lists of (row, column) pairs: sorting and dropping repeats, in linear time. */
#ifndef KD_DATA_PAIRS_H
#define KD_DATA_PAIRS_H

#include <stdint.h>

#include "host/base/error.h"

/* Sorts `count` pairs by row, then column, in place; equal pairs keep their order. value [count] moves along, NULL if
 * there is none. rows, cols: every row is in 0..rows-1 and every column in 0..cols-1. KD_ERR_MEMORY (the lists are
 * unchanged). */
kd_status kd_pairs_sort(int64_t rows, int64_t cols, int64_t count, int32_t *row, int32_t *col, float *value);

/* Keeps the first of each run of equal pairs, in place; returns how many are left. */
int64_t kd_pairs_unique(int64_t count, int32_t *row, int32_t *col);

#endif
