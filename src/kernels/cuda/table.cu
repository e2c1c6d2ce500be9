/* The CUDA column. */
#include "kernels/cuda/cuda.h"

extern "C" {
kd_alloc_fn kd_cuda_alloc;
kd_release_fn kd_cuda_release;
kd_upload_fn kd_cuda_upload;
kd_download_fn kd_cuda_download;
kd_zero_fn kd_cuda_zero;
kd_synchronize_fn kd_cuda_synchronize;
kd_workspace_reserve_fn kd_cuda_workspace_reserve;
kd_available_fn kd_cuda_available;
kd_cursor_begin_fn kd_cuda_cursor_begin;
kd_cursor_advance_fn kd_cuda_cursor_advance;
kd_range_push_fn kd_cuda_range_push;
kd_range_pop_fn kd_cuda_range_pop;
kd_profiler_fn kd_cuda_profiler;
kd_replay_fn kd_cuda_replay;
kd_recording_free_fn kd_cuda_recording_free;
kd_gemm_fn kd_cuda_gemm;
kd_gram_fn kd_cuda_gram;
kd_linear_fn kd_cuda_linear;
kd_column_sum_fn kd_cuda_column_sum;
kd_add_scaled_fn kd_cuda_add_scaled;
kd_add_weighted_fn kd_cuda_add_weighted;
kd_matrix_dot_fn kd_cuda_matrix_dot;
kd_row_mean_fn kd_cuda_row_mean;
kd_squared_norm_fn kd_cuda_squared_norm;
kd_unit_rows_forward_fn kd_cuda_unit_rows_forward;
kd_unit_rows_backward_fn kd_cuda_unit_rows_backward;
kd_take_rows_fn kd_cuda_take_rows;
kd_give_rows_fn kd_cuda_give_rows;
kd_leaky_relu_forward_fn kd_cuda_leaky_relu_forward;
kd_leaky_relu_backward_fn kd_cuda_leaky_relu_backward;
kd_softmax_forward_fn kd_cuda_softmax_forward;
kd_softmax_backward_fn kd_cuda_softmax_backward;
kd_adam_fn kd_cuda_adam;
kd_spmm_fn kd_cuda_spmm;
kd_spmm_rows_fn kd_cuda_spmm_rows;
kd_place_rows_fn kd_cuda_place_rows;
kd_spmm_batch_fn kd_cuda_spmm_batch;
kd_rgat_forward_fn kd_cuda_rgat_forward;
kd_rgat_backward_fn kd_cuda_rgat_backward;
kd_modality_graph_build_fn kd_cuda_modality_graph_build;
kd_kg_generate_fn kd_cuda_kg_generate;
kd_kg_filter_fn kd_cuda_kg_filter;
kd_permutation_fn kd_cuda_permutation;
kd_sample_negatives_fn kd_cuda_sample_negatives;
kd_gather_fn kd_cuda_gather;
kd_group_fn kd_cuda_group;
kd_bpr_fn kd_cuda_bpr;
kd_infonce_fn kd_cuda_infonce;
kd_diffusion_steps_fn kd_cuda_diffusion_steps;
kd_q_sample_fn kd_cuda_q_sample;
kd_hidden_forward_fn kd_cuda_hidden_forward;
kd_hidden_backward_fn kd_cuda_hidden_backward;
kd_denoise_loss_fn kd_cuda_denoise_loss;
kd_gram_loss_fn kd_cuda_gram_loss;
kd_guidance_loss_fn kd_cuda_guidance_loss;
kd_topk_rows_fn kd_cuda_topk_rows;
kd_merge_top_fn kd_cuda_merge_top;
kd_rank_metrics_fn kd_cuda_rank_metrics;
kd_walk_workspace_fn kd_cuda_walk_workspace;
kd_walk_cumulative_fn kd_cuda_walk_cumulative;
kd_walk_node_fn kd_cuda_walk_node;
kd_visits_above_fn kd_cuda_visits_above;
kd_visits_pack_fn kd_cuda_visits_pack;
kd_prefix_jaccard_fn kd_cuda_prefix_jaccard;
}

/* In the order of kd_ops: nvcc's C++ has no designators. */
extern const kd_ops kd_cuda_ops = {
    /* name */ "cuda",
    /* alloc */ kd_cuda_alloc,
    /* release */ kd_cuda_release,
    /* upload */ kd_cuda_upload,
    /* download */ kd_cuda_download,
    /* zero */ kd_cuda_zero,
    /* synchronize */ kd_cuda_synchronize,
    /* workspace_reserve */ kd_cuda_workspace_reserve,
    /* available */ kd_cuda_available,
    /* cursor_begin */ kd_cuda_cursor_begin,
    /* cursor_advance */ kd_cuda_cursor_advance,
    /* range_push */ kd_cuda_range_push,
    /* range_pop */ kd_cuda_range_pop,
    /* profiler */ kd_cuda_profiler,
    /* replay */ kd_cuda_replay,
    /* recording_free */ kd_cuda_recording_free,
    /* gemm */ kd_cuda_gemm,
    /* gram */ kd_cuda_gram,
    /* linear */ kd_cuda_linear,
    /* column_sum */ kd_cuda_column_sum,
    /* add_scaled */ kd_cuda_add_scaled,
    /* add_weighted */ kd_cuda_add_weighted,
    /* matrix_dot */ kd_cuda_matrix_dot,
    /* row_mean */ kd_cuda_row_mean,
    /* squared_norm */ kd_cuda_squared_norm,
    /* unit_rows_forward */ kd_cuda_unit_rows_forward,
    /* unit_rows_backward */ kd_cuda_unit_rows_backward,
    /* take_rows */ kd_cuda_take_rows,
    /* give_rows */ kd_cuda_give_rows,
    /* leaky_relu_forward */ kd_cuda_leaky_relu_forward,
    /* leaky_relu_backward */ kd_cuda_leaky_relu_backward,
    /* softmax_forward */ kd_cuda_softmax_forward,
    /* softmax_backward */ kd_cuda_softmax_backward,
    /* adam */ kd_cuda_adam,
    /* spmm */ kd_cuda_spmm,
    /* spmm_rows */ kd_cuda_spmm_rows,
    /* place_rows */ kd_cuda_place_rows,
    /* spmm_batch */ kd_cuda_spmm_batch,
    /* rgat_forward */ kd_cuda_rgat_forward,
    /* rgat_backward */ kd_cuda_rgat_backward,
    /* modality_graph_build */ kd_cuda_modality_graph_build,
    /* kg_generate */ kd_cuda_kg_generate,
    /* kg_filter */ kd_cuda_kg_filter,
    /* permutation */ kd_cuda_permutation,
    /* sample_negatives */ kd_cuda_sample_negatives,
    /* gather */ kd_cuda_gather,
    /* group */ kd_cuda_group,
    /* bpr */ kd_cuda_bpr,
    /* infonce */ kd_cuda_infonce,
    /* diffusion_steps */ kd_cuda_diffusion_steps,
    /* q_sample */ kd_cuda_q_sample,
    /* hidden_forward */ kd_cuda_hidden_forward,
    /* hidden_backward */ kd_cuda_hidden_backward,
    /* denoise_loss */ kd_cuda_denoise_loss,
    /* gram_loss */ kd_cuda_gram_loss,
    /* guidance_loss */ kd_cuda_guidance_loss,
    /* topk_rows */ kd_cuda_topk_rows,
    /* merge_top */ kd_cuda_merge_top,
    /* rank_metrics */ kd_cuda_rank_metrics,
    /* walk_workspace */ kd_cuda_walk_workspace,
    /* walk_cumulative */ kd_cuda_walk_cumulative,
    /* walk_node */ kd_cuda_walk_node,
    /* visits_above */ kd_cuda_visits_above,
    /* visits_pack */ kd_cuda_visits_pack,
    /* prefix_jaccard */ kd_cuda_prefix_jaccard,
    /* bf16_room */ 0, /* cuBLASLt's products need none */
};
