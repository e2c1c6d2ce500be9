/* Stable least-significant-digit radix sort of (key, index) pairs: linear, and the same order everywhere. */
#ifndef KD_CPU_SORT_H
#define KD_CPU_SORT_H

#include <stdint.h>
#include <string.h>

typedef struct kd_sort_pair {
    uint64_t key;
    int64_t index;
} kd_sort_pair;

/* Sorts pair [n] by the lowest `bytes` bytes of key (an even number); scratch [n] is overwritten. */
static inline void kd_radix_sort(int64_t n, int bytes, kd_sort_pair *pair, kd_sort_pair *scratch) {
    for (int digit = 0; digit < bytes; digit++) {
        int64_t start[257] = {0};
        for (int64_t i = 0; i < n; i++) start[(pair[i].key >> (8 * digit) & 255) + 1]++;
        for (int b = 0; b < 256; b++) start[b + 1] += start[b];
        for (int64_t i = 0; i < n; i++) scratch[start[pair[i].key >> (8 * digit) & 255]++] = pair[i];
        kd_sort_pair *other = pair;
        pair = scratch;
        scratch = other;
    }
}

#endif
