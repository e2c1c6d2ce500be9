/* Ranking from view tables in host memory: what the eval and recommend commands use. */
#include "host/eval/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/eval/ranker.h"
#include "host/ranks/layout.h"

static kd_status check_views(const kd_views_host *v, const kd_dataset *data) {
    if (v->users == data->users && v->items == data->items && v->width > 0) return KD_OK;
    return KD_FAIL(KD_ERR_ARGUMENT, "views of %lld users and %lld items do not fit the data set's %lld and %lld",
                   (long long)v->users, (long long)v->items, (long long)data->users, (long long)data->items);
}

/* Uploads `count` user rows and every item row. */
static kd_status upload_views(kd_pool *pool, const kd_views_host *v, int64_t count, const float *user_rows,
                              kd_mat *user, kd_mat *item) {
    *user = kd_mat_make(NULL, count, v->width);
    *item = kd_mat_make(NULL, v->items, v->width);
    KD_OR_RETURN(kd_pool_upload(pool, user_rows, count * v->width, sizeof(float), "views", &user->data));
    return kd_pool_upload(pool, v->item, v->items * v->width, sizeof(float), "views", &item->data);
}

/* The listed users' view rows and training items, as if they were all the users there are. */
static kd_status gather_users(const kd_views_host *v, const kd_dataset *data, int64_t count, const int32_t *user,
                              float *rows, int64_t *ptr, int32_t **col) {
    kd_status status = KD_OK;
    int64_t capacity = 0, used = 0;
    int64_t *start = NULL;
    KD_TRY(kd_host_alloc(&start, data->users + 1, sizeof *start, "training rows"));
    for (int64_t k = 0; k < data->train.count; k++) start[data->train.user[k] + 1]++;
    for (int64_t u = 0; u < data->users; u++) start[u + 1] += start[u];
    KD_TRY(kd_host_grow(col, &capacity, 1, sizeof **col, "training rows"));
    for (int64_t i = 0; i < count; i++) {
        if (user[i] < 0 || user[i] >= data->users)
            KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "user %d: expected 0 to %lld", (int)user[i],
                               (long long)data->users - 1);
        int64_t degree = start[user[i] + 1] - start[user[i]];
        memcpy(rows + i * v->width, v->user + user[i] * v->width, (size_t)v->width * sizeof *rows);
        KD_TRY(kd_host_grow(col, &capacity, used + degree, sizeof **col, "training rows"));
        if (degree > 0) memcpy(*col + used, data->train.item + start[user[i]], (size_t)degree * sizeof **col);
        used += degree;
        ptr[i + 1] = used;
    }
cleanup:
    free(start);
    return status;
}

static kd_status download_lists(kd_ctx *ctx, const kd_ranker *r, int64_t first, int64_t count, int64_t k, int32_t *item,
                                float *score) {
    KD_OR_RETURN(kd_download(ctx, item + first * k, r->list, count * k * (int64_t)sizeof *item));
    return kd_download(ctx, score + first * k, r->value, count * k * (int64_t)sizeof *score);
}

kd_status kd_rank(kd_ctx *ctx, const kd_rank_args *args) {
    const kd_views_host *views = args->views;
    const kd_dataset *data = args->data;
    int64_t count = args->count, k = args->k;
    kd_status status = KD_OK;
    kd_pool pool;
    kd_ranker ranker;
    kd_mat user_view, item_view;
    kd_csr train = {.rows = count, .cols = data->items};
    float *rows = NULL;
    int64_t *ptr = NULL;
    int32_t *col = NULL;
    kd_pool_init(&pool, ctx);
    KD_TRY(check_views(views, data));
    if (k < 1) KD_FAIL_TO_CLEANUP(KD_ERR_ARGUMENT, "k: expected at least 1");
    KD_TRY(kd_host_alloc(&rows, count * views->width, sizeof *rows, "views"));
    KD_TRY(kd_host_alloc(&ptr, count + 1, sizeof *ptr, "training rows"));
    KD_TRY(gather_users(views, data, count, args->user, rows, ptr, &col));
    KD_TRY(upload_views(&pool, views, count, rows, &user_view, &item_view));
    KD_TRY(kd_pool_upload(&pool, ptr, count + 1, sizeof *ptr, "training rows", &train.row_ptr));
    KD_TRY(kd_pool_upload(&pool, col, ptr[count], sizeof *col, "training rows", &train.col));
    kd_ranker_shape shape = {.users = count, .items = data->items, .topk_count = 1, .topk = &k};
    KD_TRY(kd_ranker_allocate(&pool, &shape, &ranker));
    for (int64_t first = 0; first < count; first += ranker.tile) {
        int64_t some = count - first < ranker.tile ? count - first : ranker.tile;
        KD_TRY(kd_ranker_lists(ctx, &ranker, kd_mat_rows(user_view, first, some), item_view,
                               kd_csr_rows(train, first, some)));
        KD_TRY(download_lists(ctx, &ranker, first, some, k, args->item, args->score));
    }
cleanup:
    free(rows);
    free(ptr);
    free(col);
    kd_pool_free(&pool);
    return status;
}

kd_status kd_evaluate(kd_ctx *ctx, const kd_views_host *views, const kd_dataset *data, const kd_interactions *held_out,
                      int64_t topk_count, const int64_t *topk, kd_metrics *out) {
    kd_status status = KD_OK;
    kd_pool pool;
    kd_ranker ranker;
    kd_ranked ranked;
    kd_csr held[2] = {{0}};
    kd_metrics metrics[2];
    kd_pool_init(&pool, ctx);
    KD_TRY(check_views(views, data));
    KD_TRY(upload_views(&pool, views, views->users, views->user, &ranked.user, &ranked.item));
    KD_TRY(kd_interactions_csr(&pool, data->users, data->items, &data->train, "ranking", &ranked.train));
    KD_TRY(kd_interactions_csr(&pool, data->users, data->items, held_out, "ranking", &held[0]));
    kd_ranker_shape shape = {.users = data->users, .items = data->items, .topk_count = topk_count, .topk = topk};
    KD_TRY(kd_ranker_allocate(&pool, &shape, &ranker));
    KD_TRY(kd_ranker_metrics(ctx, &ranker, &ranked, held, metrics));
    *out = metrics[0];
cleanup:
    kd_pool_free(&pool);
    return status;
}
