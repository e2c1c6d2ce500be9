#include "host/eval/ranker.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

enum { MOST_TILE = 1024, SCORES_AT_ONCE = 1 << 24 };

kd_status kd_interactions_csr(kd_pool *pool, int64_t users, int64_t items, const kd_interactions *split,
                              const char *what, kd_csr *out) {
    kd_status status = KD_OK;
    int64_t *ptr = NULL;
    *out = (kd_csr){.rows = users, .cols = items};
    KD_TRY(kd_host_alloc(&ptr, users + 1, sizeof *ptr, what));
    for (int64_t k = 0; k < split->count; k++) ptr[split->user[k] + 1]++;
    for (int64_t u = 0; u < users; u++) ptr[u + 1] += ptr[u];
    KD_TRY(kd_pool_upload(pool, ptr, users + 1, sizeof *ptr, what, &out->row_ptr));
    KD_TRY(kd_pool_upload(pool, split->item, split->count, sizeof(int32_t), what, &out->col));
cleanup:
    free(ptr);
    return status;
}

static kd_status allocate_division(kd_pool *pool, int64_t width, kd_ranker *r) {
    static const char what[] = "ranking";
    kd_status status = KD_OK;
    int64_t ranks = kd_comm_ranks(r->layout->comm), lists;
    int32_t *first = NULL;
    KD_TRY(kd_host_alloc(&first, ranks, sizeof *first, what));
    for (int64_t rank = 0; rank < ranks; rank++)
        first[rank] = (int32_t)kd_share_begin(kd_share_columns(r->items), rank, ranks);
    if (__builtin_mul_overflow(ranks * r->tile, r->topk[r->topk_count - 1], &lists))
        KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "%s: does not fit in any memory", what);
    KD_TRY(kd_pool_upload(pool, first, ranks, sizeof *first, what, &r->first_item));
    KD_TRY(kd_pool_mat(pool, r->tile, width, what, &r->rows));
    KD_TRY(kd_pool_alloc(pool, lists, sizeof(int32_t), what, &r->ranks_list));
    KD_TRY(kd_pool_alloc(pool, lists, sizeof(float), what, &r->ranks_value));
cleanup:
    free(first);
    return status;
}

kd_status kd_ranker_allocate(kd_pool *pool, const kd_ranker_shape *s, kd_ranker *out) {
    static const char what[] = "ranking";
    int64_t tile = s->items > 0 ? SCORES_AT_ONCE / s->items : MOST_TILE, most = s->topk[s->topk_count - 1];
    int64_t local = s->layout ? kd_comm_share(s->layout->comm, kd_share_columns(s->items)).count : s->items;
    *out = (kd_ranker){.users = s->users, .items = s->items, .topk_count = s->topk_count, .layout = s->layout};
    memcpy(out->topk, s->topk, (size_t)s->topk_count * sizeof *s->topk);
    out->tile = tile < 1 ? 1 : tile > MOST_TILE ? MOST_TILE : tile;
    KD_OR_RETURN(kd_pool_alloc(pool, out->tile * local, sizeof(float), what, &out->score));
    KD_OR_RETURN(kd_pool_alloc(pool, out->tile * most, sizeof(int32_t), what, &out->list));
    KD_OR_RETURN(kd_pool_alloc(pool, out->tile * most, sizeof(float), what, &out->value));
    KD_OR_RETURN(kd_pool_alloc(pool, 2 * (3 * s->topk_count + 1), sizeof(double), what, &out->sums));
    if (s->layout) KD_OR_RETURN(allocate_division(pool, s->width, out));
    return KD_OK;
}

kd_status kd_ranker_lists(kd_ctx *ctx, const kd_ranker *r, kd_mat user_view, kd_mat item_view, kd_csr train) {
    kd_mat score = kd_mat_make(r->score, user_view.rows, item_view.rows);
    int64_t depth = r->naive_scores > 0 ? r->naive_scores : user_view.cols;
    for (int64_t c = 0; c < user_view.cols; c += depth) {
        KD_OR_RETURN(kd_gemm(ctx, &(kd_gemm_args){.transpose_b = true,
                                                  .alpha = 1.0f,
                                                  .a = kd_mat_cols(user_view, c, depth),
                                                  .b = kd_mat_cols(item_view, c, depth),
                                                  .beta = c > 0 ? 1.0f : 0.0f,
                                                  .c = score}));
    }
    return kd_topk_rows(ctx, score, train, r->topk[r->topk_count - 1], r->list, r->value);
}

static void average(const kd_ranker *r, const double *sums, kd_metrics *out) {
    double users = sums[3 * r->topk_count];
    *out = (kd_metrics){.users = (int64_t)users, .topk_count = r->topk_count};
    for (int64_t j = 0; j < r->topk_count; j++) {
        out->topk[j] = r->topk[j];
        if (users == 0.0) continue;
        out->recall[j] = sums[3 * j] / users;
        out->ndcg[j] = sums[3 * j + 1] / users;
        out->precision[j] = sums[3 * j + 2] / users;
    }
}

/* r->list of users first .. first + count - 1: the best of every rank's items. */
static kd_status divided_lists(kd_ctx *ctx, const kd_ranker *r, const kd_ranked *v, int64_t first, int64_t count) {
    const kd_layout *t = r->layout;
    int64_t most = r->topk[r->topk_count - 1], place = kd_comm_rank(t->comm) * count * most;
    kd_mat rows = kd_mat_rows(r->rows, 0, count);
    kd_ranker own = *r; /* with lists of this rank's items */
    own.list = r->ranks_list + place;
    own.value = r->ranks_value + place;
    KD_OR_RETURN(kd_layout_allgather(ctx, t, kd_mat_rows(v->user, first, count), rows));
    KD_OR_RETURN(kd_ranker_lists(ctx, &own, rows, v->item, kd_csr_rows(v->train, first, count)));
    return kd_comm_merge_top(t->comm, ctx,
                             &(kd_rank_lists){.rows = count,
                                              .k = most,
                                              .first = r->first_item,
                                              .list = r->ranks_list,
                                              .value = r->ranks_value,
                                              .top = r->list});
}

kd_status kd_ranker_metrics(kd_ctx *ctx, const kd_ranker *r, const kd_ranked *v, const kd_csr held_out[2],
                            kd_metrics out[2]) {
    int64_t width = 3 * r->topk_count + 1, most = r->topk[r->topk_count - 1];
    double sums[2 * (3 * KD_MAX_TOPK + 1)];
    int64_t tiles = (r->users + r->tile - 1) / r->tile, rank = kd_comm_rank(r->comm), ranks = kd_comm_ranks(r->comm);
    KD_OR_RETURN(kd_zero(ctx, r->sums, 2 * width * (int64_t)sizeof(double)));
    for (int64_t i = r->layout ? 0 : rank; i < tiles; i += r->layout ? 1 : ranks) {
        int64_t first = i * r->tile, count = r->users - first < r->tile ? r->users - first : r->tile;
        if (r->layout)
            KD_OR_RETURN(divided_lists(ctx, r, v, first, count));
        else
            KD_OR_RETURN(kd_ranker_lists(ctx, r, kd_mat_rows(v->user, first, count), v->item,
                                         kd_csr_rows(v->train, first, count)));
        for (int s = 0; s < 2; s++)
            if (held_out[s].row_ptr && i % ranks == rank)
                KD_OR_RETURN(
                    kd_rank_metrics(ctx, &(kd_rank_metrics_args){.rows = count,
                                                                 .k = most,
                                                                 .index = r->list,
                                                                 .held_out = kd_csr_rows(held_out[s], first, count),
                                                                 .topk_count = r->topk_count,
                                                                 .topk = r->topk,
                                                                 .sums = r->sums + s * width}));
    }
    KD_OR_RETURN(kd_comm_allreduce_f64(r->comm, ctx, 2 * width, r->sums));
    KD_OR_RETURN(kd_download(ctx, sums, r->sums, 2 * width * (int64_t)sizeof(double)));
    for (int s = 0; s < 2; s++) average(r, sums + s * width, &out[s]);
    return KD_OK;
}
