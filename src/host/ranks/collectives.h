/* The ranks of one job. A communicator is NULL for a run of one rank, which every function here takes and which costs
 * nothing. Functions that exchange are called by all ranks in the same order; every wait has a deadline, after which
 * the job ends with KD_ERR_MPI or KD_ERR_NCCL. NCCL sums between GPUs, MPI between CPUs; docs/multi-gpu.md tells which
 * launchers are understood. */
#ifndef KD_RANKS_COLLECTIVES_H
#define KD_RANKS_COLLECTIVES_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"
#include "kdiffe/ranks.h"

typedef struct kd_ctx kd_ctx;

/* From now on ctx's memory is what is summed and exchanged. KD_ERR_ARGUMENT: its device has no way to do it;
 * KD_ERR_NCCL. */
kd_status kd_comm_bind(kd_comm *comm, kd_ctx *ctx);

/* Undoes it where all ranks come, so that ctx can be closed; status: what they have come to. False after a failure that
 * not all of them know: others may wait for this rank still, ctx stays bound, and kd_comm_close ends the job. */
bool kd_comm_unbind(kd_comm *comm, kd_status status);

/* Ranks of the job on this machine, and which of them this one is. */
int64_t kd_comm_local_ranks(const kd_comm *comm);
int64_t kd_comm_local_rank(const kd_comm *comm);
/* Of them those that may use the same cores, this one too. */
int64_t kd_comm_sharing(const kd_comm *comm);
/* What sums, and its version; "" without. */
const char *kd_comm_library(const kd_comm *comm);

/* The part of 0 .. n - 1 that is rank r's: parts are contiguous, ascending, and differ by at most one in length. */
static inline int64_t kd_share_first(int64_t n, int64_t rank, int64_t ranks) {
    return n / ranks * rank + (n % ranks < rank ? n % ranks : rank);
}

/* How ranks divide `count` rows or columns in whole units: these alone, or, over > 0, as the first of `over`. */
typedef struct kd_share {
    int64_t count, unit, over;
} kd_share;

static inline kd_share kd_share_rows(int64_t rows) { return (kd_share){.count = rows, .unit = 1}; }
/* Columns go by fours, since random draws do. */
static inline kd_share kd_share_columns(int64_t columns) { return (kd_share){.count = columns, .unit = 4}; }
/* Those of a table as well, so that rows stay aligned, as long as every rank gets some; else they go one by one. */
static inline kd_share kd_share_table(int64_t columns, int64_t ranks) {
    return (kd_share){.count = columns, .unit = ranks <= (columns + 3) / 4 ? 4 : 1};
}

/* Where rank r's begin, out of `ranks`. */
static inline int64_t kd_share_begin(kd_share s, int64_t r, int64_t ranks) {
    int64_t first = s.unit * kd_share_first(((s.over > 0 ? s.over : s.count) + s.unit - 1) / s.unit, r, ranks);
    return first < s.count ? first : s.count;
}

/* The most that any rank has where `count` or fewer are divided in units. */
static inline int64_t kd_share_most(int64_t count, int64_t unit, int64_t ranks) {
    int64_t most = ((count + unit - 1) / unit + ranks - 1) / ranks * unit;
    return most < count ? most : count;
}

/* This rank's: first .. first + count - 1. */
typedef struct kd_range {
    int64_t first, count;
} kd_range;
static inline kd_range kd_comm_share(const kd_comm *comm, kd_share s) {
    int64_t rank = kd_comm_rank(comm), ranks = kd_comm_ranks(comm), first = kd_share_begin(s, rank, ranks);
    return (kd_range){first, kd_share_begin(s, rank + 1, ranks) - first};
}

/* KD_ERR_MPI unless `hash` is the same on all ranks; the message names the first rank whose `what` differs from
 * rank 0's. */
kd_status kd_comm_require_same(kd_comm *comm, const char *what, uint64_t hash);

/* *value = the largest of all ranks', after what they have enqueued is done. */
kd_status kd_comm_allreduce_max(kd_comm *comm, int *value);

/* KD_OK once all ranks have come here with all their sums done: those were whole then. Where a rank is lost, the
 * others' sums end without its part, which by itself is no error; nothing made of them may be kept before it is
 * confirmed. */
kd_status kd_comm_confirm(kd_comm *comm);

/* Whether ranks agree on what to do next (kd_comm_allreduce_max) before step `step` of a run: before every one on CPUs;
 * where GPUs are given work ahead of time, before every sixteenth, and what was given is waited for first. */
bool kd_comm_synchronizes_before(const kd_comm *comm, int64_t step);

/* x [n], device memory, = its sum over the ranks, the same bits on all of them; in the order of ctx's stream, and part
 * of a step that is recorded. */
kd_status kd_comm_allreduce_f32(kd_comm *comm, kd_ctx *ctx, int64_t n, float *x);
kd_status kd_comm_allreduce_f64(kd_comm *comm, kd_ctx *ctx, int64_t n, double *x);

/* The same beside what is enqueued until kd_comm_end_allreduce, which comes before anything that touches x. */
kd_status kd_comm_begin_allreduce(kd_comm *comm, kd_ctx *ctx, int64_t n, float *x);
kd_status kd_comm_end_allreduce(kd_comm *comm, kd_ctx *ctx);

/* Sums and other exchanges so far, and the bytes of what was summed or exchanged, a rank's copy, or turned, what left
 * this rank. A step that was recorded counts once. */
void kd_comm_traffic(const kd_comm *comm, int64_t *exchanges, int64_t *bytes);

/* Bytes first[r] .. first[r + 1] - 1 of x, device memory, are rank r's and are sent to all others; first [ranks + 1] is
 * the same on all of them. */
kd_status kd_comm_allgatherv(kd_comm *comm, kd_ctx *ctx, const int64_t *first, void *x);

/* x [bytes], device memory, = that of rank `from`. */
kd_status kd_comm_broadcast(kd_comm *comm, kd_ctx *ctx, int64_t from, int64_t bytes, void *x);

/* Bytes send_first[r] .. send_first[r + 1] - 1 of send go to rank r, and bytes take_first[r] .. take_first[r + 1] - 1
 * of take, which is overwritten, come from rank r; a rank's own block is copied. Device memory that does not overlap;
 * both arrays [ranks + 1], read before it returns. A block may be empty; its size is the same where it is sent and
 * where it is taken. In the order of ctx's stream, and part of a step that is recorded, as ranks are connected by
 * its first run at the latest. comm is not NULL. KD_ERR_MPI, KD_ERR_NCCL. */
kd_status kd_comm_alltoallv(kd_comm *comm, kd_ctx *ctx, const int64_t *send_first, const void *send,
                            const int64_t *take_first, void *take);

/* Connects every two ranks and waits: once, before the first turn, so that no step pays for it. NCCL's connections take
 * device memory and time, of which a job without turns has no use. KD_ERR_MEMORY, KD_ERR_MPI, KD_ERR_NCCL. */
kd_status kd_comm_connect(kd_comm *comm, kd_ctx *ctx);

/* top = the k best of all ranks' lists (kd_merge_top). Device memory. */
typedef struct kd_rank_lists {
    int64_t rows, k;
    const int32_t *first; /* [ranks] where each rank's columns begin */
    int32_t *list; /* [ranks, rows, k], this rank's made by kd_topk_rows in its place; the others are filled in */
    float *value;  /* [ranks, rows, k], likewise */
    int32_t *top;  /* [rows, k], overwritten */
} kd_rank_lists;
kd_status kd_comm_merge_top(kd_comm *comm, kd_ctx *ctx, const kd_rank_lists *lists);

/* x [n * bytes], device memory: each rank's part of 0 .. n - 1 (kd_share_first) is sent to all others. */
kd_status kd_comm_allgather(kd_comm *comm, kd_ctx *ctx, int64_t n, int64_t bytes, void *x);

#endif
