/* Where an entry of one of several descending lists stands in the list that they make together. */
#ifndef KD_COMMON_MERGE_H
#define KD_COMMON_MERGE_H

#include "kernels/common/philox.h"

/* value [parts, stride], of each part k entries from `at` on: the place of entry j of part p, counted no further than
 * k. Of equals the one in the lower part comes first. */
static inline KD_HOST_DEVICE int64_t kd_merged_place(const float *value, int64_t parts, int64_t stride, int64_t at,
                                                     int64_t k, int64_t p, int64_t j) {
    float x = value[p * stride + at + j];
    int64_t place = j;
    for (int64_t other = 0; other < parts && place < k; other++) {
        const float *list = value + other * stride + at;
        int64_t low = 0, high = k;
        if (other == p) continue;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (list[middle] > x || (list[middle] == x && other < p))
                low = middle + 1;
            else
                high = middle;
        }
        place += low;
    }
    return place;
}

#endif
