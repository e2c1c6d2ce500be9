#include "kernels/pool.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

void kd_pool_init(kd_pool *pool, kd_ctx *ctx) { *pool = (kd_pool){.ctx = ctx}; }

void kd_pool_init_counting(kd_pool *pool, kd_memory_plan *plan) { *pool = (kd_pool){.plan = plan}; }

void kd_pool_free(kd_pool *pool) {
    for (int64_t i = 0; i < pool->count; i++) kd_release(pool->ctx, pool->block[i]);
    free(pool->block);
    *pool = (kd_pool){0};
}

static kd_status count_bytes(kd_memory_plan *plan, int64_t bytes, const char *what) {
    enum { MOST_PARTS = sizeof plan->part / sizeof plan->part[0] };
    int64_t i = 0;
    while (i < plan->parts && strcmp(plan->part[i].what, what) != 0) i++;
    if (i == MOST_PARTS) return KD_FAIL(KD_ERR_MEMORY, "memory plan: more than %d parts", (int)MOST_PARTS);
    if (i == plan->parts) {
        plan->part[i].what = what;
        plan->part[i].bytes = 0;
        plan->parts++;
    }
    if (__builtin_add_overflow(plan->part[i].bytes, bytes, &plan->part[i].bytes) ||
        __builtin_add_overflow(plan->total, bytes, &plan->total))
        return KD_FAIL(KD_ERR_MEMORY, "memory plan: %s does not fit in any memory", what);
    return KD_OK;
}

kd_status kd_pool_alloc(kd_pool *pool, int64_t count, int64_t size, const char *what, void *out) {
    int64_t bytes;
    void *block = NULL;
    memcpy(out, &block, sizeof block);
    if (__builtin_mul_overflow(count, size, &bytes))
        return KD_FAIL(KD_ERR_MEMORY, "%s: does not fit in any memory", what);
    if (!pool->ctx) return count_bytes(pool->plan, bytes, what);
    KD_OR_RETURN(kd_host_grow(&pool->block, &pool->capacity, pool->count + 1, sizeof(void *), what));
    KD_OR_RETURN(kd_alloc(pool->ctx, bytes, what, &block));
    pool->block[pool->count++] = block;
    memcpy(out, &block, sizeof block);
    return KD_OK;
}

static kd_status alloc_mat(kd_pool *pool, kd_mat m, const char *what, kd_mat *out) {
    int64_t count;
    *out = m;
    if (__builtin_mul_overflow(m.rows, m.ld, &count))
        return KD_FAIL(KD_ERR_MEMORY, "%s: does not fit in any memory", what);
    return kd_pool_alloc(pool, count, sizeof(float), what, &out->data);
}

kd_status kd_pool_mat(kd_pool *pool, int64_t rows, int64_t cols, const char *what, kd_mat *out) {
    return alloc_mat(pool, kd_mat_make(NULL, rows, cols), what, out);
}

kd_status kd_pool_padded(kd_pool *pool, int64_t rows, int64_t cols, const char *what, kd_mat *out) {
    return alloc_mat(pool, kd_mat_padded(NULL, rows, cols), what, out);
}

kd_status kd_pool_upload(kd_pool *pool, const void *host, int64_t count, int64_t size, const char *what, void *out) {
    kd_status status = kd_pool_alloc(pool, count, size, what, out);
    if (status != KD_OK || !pool->ctx) return status;
    void *device;
    memcpy(&device, out, sizeof device);
    return kd_upload(pool->ctx, device, host, count * size);
}
