/* The families of cases, one file each; every list ends with a case without a name. */
#ifndef KD_BENCH_CASES_H
#define KD_BENCH_CASES_H

#include "host/bench/inputs.h"

extern const kd_bench_case kd_bench_product_cases[], kd_bench_spmm_cases[], kd_bench_rgat_cases[], kd_bench_row_cases[],
    kd_bench_diffusion_cases[], kd_bench_rank_cases[], kd_bench_infonce_cases[], kd_bench_bpr_cases[],
    kd_bench_batch_cases[], kd_bench_rebuild_cases[], kd_bench_walk_cases[];

/* A batch of training interactions, as kd_step_load leaves it on the device: users, positives and negatives. */
typedef struct kd_bench_entries {
    int64_t count;
    int32_t *user, *item; /* [count]; [2 count]: positives, then negatives */
    kd_groups users, positives, items;
} kd_bench_entries;
kd_status kd_bench_entries_make(kd_bench *b, kd_bench_entries *out);

/* How many groups there are. */
kd_status kd_bench_groups_count(kd_bench *b, const kd_groups *groups, int64_t *out);

/* A modality's graph, not built yet, and the q items of each user that it is built from, top [users, q] on the device:
 * as denoisers draw them, most users name the same item. Reserves the workspace of the op that builds it. */
kd_status kd_bench_modality_graph_make(kd_bench *b, int64_t q, int32_t **top, kd_modality_graph *out);

#endif
