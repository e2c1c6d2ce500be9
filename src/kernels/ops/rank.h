/* Top-k columns of rows and ranking metrics (docs/model.md#evaluation). */
#ifndef KD_OPS_RANK_H
#define KD_OPS_RANK_H

#include "kernels/ops/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* index [rows, k] = columns of the k largest entries of each row of X in descending order, the lower column first among
 * equals; columns stored in the same row of `mask` are left out (mask.row_ptr NULL: none); -1 where fewer are left.
 * value [rows, k] = their entries (NULL: not wanted; -inf beside -1). NaN entries are never chosen.
 * Workspace where value is NULL: kd_topk_rows_workspace. */
typedef kd_status kd_topk_rows_fn(kd_ctx *ctx, kd_mat x, kd_csr mask, int64_t k, int32_t *index, float *value);
int64_t kd_topk_rows_workspace(int64_t rows, int64_t k);

/* top [rows, k] = the k best of each row's `parts` lists, each as kd_topk_rows makes it of its own range of columns:
 * index and value [parts, rows, k], columns of part p counted from first[p], which ascend. -1 where fewer are left. */
typedef struct kd_merge_top_args {
    int64_t rows, k, parts;
    const int32_t *first; /* [parts] */
    const int32_t *index; /* [parts, rows, k] */
    const float *value;   /* [parts, rows, k] */
    int32_t *top;         /* [rows, k], overwritten */
} kd_merge_top_args;
typedef kd_status kd_merge_top_fn(kd_ctx *ctx, const kd_merge_top_args *args);

/* Hits of ranked lists against held-out items. For row i with held_out row not empty and each cut-off K = topk[j]:
 *   recall = hits/|held|, precision = hits/K, ndcg = sum 1/log2(rank+2) over hits / ideal of min(|held|, K).
 * sums [3 topk_count + 1] += (recall, ndcg, precision) for each j, then the number of such rows. index [rows, k], k the
 * largest cut-off. Summed in row order in double. */
typedef struct kd_rank_metrics_args {
    int64_t rows, k;
    const int32_t *index; /* [rows, k] */
    kd_csr held_out;      /* [rows, columns] */
    int64_t topk_count;
    const int64_t *topk; /* [topk_count], ascending, on the host */
    double *sums;        /* [3 topk_count + 1], added to */
} kd_rank_metrics_args;
typedef kd_status kd_rank_metrics_fn(kd_ctx *ctx, const kd_rank_metrics_args *args);

#ifdef __cplusplus
}
#endif
#endif
