/* The op table: every computation of the model goes through one of these entries, and each backend fills them all.
 * Contracts stand beside the function types in kernels/ops/. Model code calls kd_<op>(ctx, ...), which checks the
 * shapes (kernels/checks.c) and forwards to the backend's entry; it never asks which backend that is. */
#ifndef KD_KERNELS_OPS_H
#define KD_KERNELS_OPS_H

#include "kernels/ops/dense.h"
#include "kernels/ops/diffusion.h"
#include "kernels/ops/graph.h"
#include "kernels/ops/loss.h"
#include "kernels/ops/memory.h"
#include "kernels/ops/rank.h"
#include "kernels/ops/walk.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kd_ops {
    const char *name; /* "cpu" or "cuda" */
    /* memory */
    kd_alloc_fn *alloc;
    kd_release_fn *release;
    kd_upload_fn *upload;
    kd_download_fn *download;
    kd_zero_fn *zero;
    kd_synchronize_fn *synchronize;
    kd_workspace_reserve_fn *workspace_reserve;
    kd_available_fn *available;
    kd_cursor_begin_fn *cursor_begin;
    kd_cursor_advance_fn *cursor_advance;
    kd_range_push_fn *range_push;
    kd_range_pop_fn *range_pop;
    kd_profiler_fn *profiler;
    kd_replay_fn *replay;
    kd_recording_free_fn *recording_free;
    /* dense */
    kd_gemm_fn *gemm;
    kd_gram_fn *gram;
    kd_linear_fn *linear;
    kd_column_sum_fn *column_sum;
    kd_add_scaled_fn *add_scaled;
    kd_add_weighted_fn *add_weighted;
    kd_matrix_dot_fn *matrix_dot;
    kd_row_mean_fn *row_mean;
    kd_squared_norm_fn *squared_norm;
    kd_unit_rows_forward_fn *unit_rows_forward;
    kd_unit_rows_backward_fn *unit_rows_backward;
    kd_take_rows_fn *take_rows;
    kd_give_rows_fn *give_rows;
    kd_leaky_relu_forward_fn *leaky_relu_forward;
    kd_leaky_relu_backward_fn *leaky_relu_backward;
    kd_softmax_forward_fn *softmax_forward;
    kd_softmax_backward_fn *softmax_backward;
    kd_adam_fn *adam;
    /* graph */
    kd_spmm_fn *spmm;
    kd_spmm_rows_fn *spmm_rows;
    kd_place_rows_fn *place_rows;
    kd_spmm_batch_fn *spmm_batch;
    kd_rgat_forward_fn *rgat_forward;
    kd_rgat_backward_fn *rgat_backward;
    kd_modality_graph_build_fn *modality_graph_build;
    kd_kg_generate_fn *kg_generate;
    kd_kg_filter_fn *kg_filter;
    /* loss */
    kd_permutation_fn *permutation;
    kd_sample_negatives_fn *sample_negatives;
    kd_gather_fn *gather;
    kd_group_fn *group;
    kd_bpr_fn *bpr;
    kd_infonce_fn *infonce;
    /* diffusion */
    kd_diffusion_steps_fn *diffusion_steps;
    kd_q_sample_fn *q_sample;
    kd_hidden_forward_fn *hidden_forward;
    kd_hidden_backward_fn *hidden_backward;
    kd_denoise_loss_fn *denoise_loss;
    kd_gram_loss_fn *gram_loss;
    kd_guidance_loss_fn *guidance_loss;
    /* rank */
    kd_topk_rows_fn *topk_rows;
    kd_merge_top_fn *merge_top;
    kd_rank_metrics_fn *rank_metrics;
    /* walk */
    kd_walk_workspace_fn *walk_workspace;
    kd_walk_cumulative_fn *walk_cumulative;
    kd_walk_node_fn *walk_node;
    kd_visits_above_fn *visits_above;
    kd_visits_pack_fn *visits_pack;
    kd_prefix_jaccard_fn *prefix_jaccard;
    int64_t bf16_room; /* bytes of ctx->bf16_room that a CPU column's products in bf16 pack into; 0: it has none */
} kd_ops;

/* Checked entry points. */
kd_alloc_fn kd_alloc;
kd_release_fn kd_release;
kd_upload_fn kd_upload;
kd_download_fn kd_download;
kd_zero_fn kd_zero;
kd_synchronize_fn kd_synchronize;
kd_workspace_reserve_fn kd_workspace_reserve;
kd_available_fn kd_available;
kd_cursor_begin_fn kd_cursor_begin;
kd_cursor_advance_fn kd_cursor_advance;
kd_range_push_fn kd_range_push;
kd_range_pop_fn kd_range_pop;
kd_replay_fn kd_replay;
kd_recording_free_fn kd_recording_free;
kd_gemm_fn kd_gemm;
kd_gram_fn kd_gram;
kd_linear_fn kd_linear;
kd_column_sum_fn kd_column_sum;
kd_add_scaled_fn kd_add_scaled;
kd_add_weighted_fn kd_add_weighted;
kd_matrix_dot_fn kd_matrix_dot;
kd_row_mean_fn kd_row_mean;
kd_squared_norm_fn kd_squared_norm;
kd_unit_rows_forward_fn kd_unit_rows_forward;
kd_unit_rows_backward_fn kd_unit_rows_backward;
kd_take_rows_fn kd_take_rows;
kd_give_rows_fn kd_give_rows;
kd_leaky_relu_forward_fn kd_leaky_relu_forward;
kd_leaky_relu_backward_fn kd_leaky_relu_backward;
kd_softmax_forward_fn kd_softmax_forward;
kd_softmax_backward_fn kd_softmax_backward;
kd_adam_fn kd_adam;
kd_spmm_fn kd_spmm;
kd_spmm_rows_fn kd_spmm_rows;
kd_place_rows_fn kd_place_rows;
kd_spmm_batch_fn kd_spmm_batch;
kd_rgat_forward_fn kd_rgat_forward;
kd_rgat_backward_fn kd_rgat_backward;
kd_modality_graph_build_fn kd_modality_graph_build;
kd_kg_generate_fn kd_kg_generate;
kd_kg_filter_fn kd_kg_filter;
kd_permutation_fn kd_permutation;
kd_sample_negatives_fn kd_sample_negatives;
kd_gather_fn kd_gather;
kd_group_fn kd_group;
kd_bpr_fn kd_bpr;
kd_infonce_fn kd_infonce;
kd_diffusion_steps_fn kd_diffusion_steps;
kd_q_sample_fn kd_q_sample;
kd_hidden_forward_fn kd_hidden_forward;
kd_hidden_backward_fn kd_hidden_backward;
kd_denoise_loss_fn kd_denoise_loss;
kd_gram_loss_fn kd_gram_loss;
kd_guidance_loss_fn kd_guidance_loss;
kd_topk_rows_fn kd_topk_rows;
kd_merge_top_fn kd_merge_top;
kd_rank_metrics_fn kd_rank_metrics;
kd_walk_workspace_fn kd_walk_workspace;
kd_walk_cumulative_fn kd_walk_cumulative;
kd_walk_node_fn kd_walk_node;
kd_visits_above_fn kd_visits_above;
kd_visits_pack_fn kd_visits_pack;
kd_prefix_jaccard_fn kd_prefix_jaccard;

#ifdef __cplusplus
}
#endif
#endif
