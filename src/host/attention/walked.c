#include "host/attention/walked.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

enum { MARK = 4 }; /* what marking a visit and taking the mark away costs, in visits looked up: measured */

int64_t kd_walked_first(const int64_t *work, int64_t nodes, int64_t rank, int64_t ranks) {
    int64_t low = 0, high = nodes, first = kd_share_first(work[nodes], rank, ranks);
    while (rank < ranks && low < high) {
        int64_t middle = low + (high - low) / 2;
        if (work[middle] < first)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

/* Each rank's part of x goes to all: that of start u begins at place[u], or at u. */
static kd_status exchange(kd_ctx *ctx, kd_comm *comm, const kd_walked *w, const int64_t *place, int64_t size, void *x) {
    int64_t ranks = kd_comm_ranks(comm), *first;
    KD_OR_RETURN(kd_host_alloc(&first, ranks + 1, sizeof *first, "walks"));
    for (int64_t r = 0; r <= ranks; r++) first[r] = (place ? place[w->share[r]] : w->share[r]) * size;
    kd_status status = kd_comm_allgatherv(comm, ctx, first, x);
    free(first);
    return status;
}

/* length[u] of this rank's starts. The download waits for the walks: what follows waits for other ranks only. */
static kd_status own_lengths(kd_ctx *ctx, const kd_bipartite *g, const kd_walked *w, int64_t *length) {
    const int64_t *row = g->row_ptr + w->visits.first;
    int64_t begin = row[0], edges = row[w->visits.starts] - begin, *end;
    KD_OR_RETURN(kd_host_alloc(&end, edges, sizeof *end, "walks"));
    kd_status status = kd_download(ctx, end, w->visits.end + begin, edges * (int64_t)sizeof *end);
    for (int64_t i = 0; i < w->visits.starts && status == KD_OK; i++)
        if (row[i + 1] > row[i]) length[w->visits.first + i] = end[row[i + 1] - 1 - begin] - w->room[i];
    free(end);
    return status;
}

kd_status kd_walked_gather(kd_ctx *ctx, kd_comm *comm, const kd_bipartite *g, kd_walked *w) {
    int64_t bytes = (g->nodes + 1) * (int64_t)sizeof(int64_t), *place;
    kd_visits all = {.starts = g->nodes, .end = w->visits.end};
    if (!comm) return KD_OK;
    KD_OR_RETURN(kd_host_alloc(&w->place, g->nodes + 1, sizeof *place, "walks"));
    place = w->place;
    KD_OR_RETURN(own_lengths(ctx, g, w, place + 1));
    KD_OR_RETURN(kd_pool_upload(&w->pool, place, g->nodes + 1, sizeof *place, "walks", &all.ptr));
    KD_OR_RETURN(exchange(ctx, comm, w, NULL, sizeof *place, all.ptr + 1));
    KD_OR_RETURN(kd_download(ctx, place, all.ptr, bytes));
    for (int64_t u = 0; u < g->nodes; u++) place[u + 1] += place[u];
    KD_OR_RETURN(kd_upload(ctx, all.ptr, place, bytes));
    KD_OR_RETURN(kd_pool_alloc(&w->pool, place[g->nodes], sizeof *all.node, "walks", &all.node));
    KD_OR_RETURN(kd_visits_pack(ctx, w->graph, &w->visits, &all));
    KD_OR_RETURN(exchange(ctx, comm, w, place, sizeof *all.node, all.node));
    KD_OR_RETURN(exchange(ctx, comm, w, g->row_ptr, sizeof *all.end, all.end));
    kd_pool_free(&w->walking);
    w->visits = all;
    return KD_OK;
}

/* Visits that the comparisons of each row read, one row after the other. An edge is compared from its item v, whose
 * list is marked and looked up for what its user u had visited by then; u's row ascends as v does. */
static kd_status count_work(kd_ctx *ctx, const kd_bipartite *g, const kd_walked *w, int64_t *work) {
    kd_status status = KD_OK;
    int64_t *end = NULL, *next = NULL; /* of each node's edges */
    KD_TRY(kd_host_alloc(&end, w->edges, sizeof *end, "walks"));
    KD_TRY(kd_host_alloc(&next, g->nodes, sizeof *next, "walks"));
    KD_TRY(kd_download(ctx, end, w->visits.end, w->edges * (int64_t)sizeof *end));
    memcpy(next, g->row_ptr, (size_t)g->nodes * sizeof *next);
    for (int64_t v = 0; v < g->nodes; v++) {
        int64_t begin = g->row_ptr[v], k = begin, reads = 0;
        for (; k < g->row_ptr[v + 1] && g->col[k] < v; k++) reads += end[next[g->col[k]]++] - w->place[g->col[k]];
        work[v + 1] = work[v] + reads + (k > begin ? MARK * (w->place[v + 1] - w->place[v]) : 0);
    }
cleanup:
    free(end);
    free(next);
    return status;
}

/* The rows that this rank compares. */
static kd_status share_rows(kd_ctx *ctx, const kd_comm *comm, const kd_bipartite *g, const kd_walked *w, int64_t *first,
                            int64_t *count) {
    kd_status status = KD_OK;
    int64_t rank = kd_comm_rank(comm), ranks = kd_comm_ranks(comm), *work = NULL;
    *first = 0;
    *count = g->nodes;
    if (!comm) return KD_OK;
    KD_TRY(kd_host_alloc(&work, g->nodes + 1, sizeof *work, "walks"));
    KD_TRY(count_work(ctx, g, w, work));
    *first = kd_walked_first(work, g->nodes, rank, ranks);
    *count = kd_walked_first(work, g->nodes, rank + 1, ranks) - *first;
cleanup:
    free(work);
    return status;
}

/* What is left to other ranks is 0 on this one, so the sum has the bits of one rank. */
kd_status kd_walked_compare(kd_ctx *ctx, kd_comm *comm, const kd_bipartite *g, kd_walked *w) {
    int64_t first, count;
    KD_OR_RETURN(share_rows(ctx, comm, g, w, &first, &count));
    KD_OR_RETURN(kd_prefix_jaccard(ctx, w->graph, first, count, &w->visits, w->similarity));
    if (comm) KD_OR_RETURN(kd_synchronize(ctx)); /* a rank's own work has no deadline, waits for others have */
    KD_OR_RETURN(kd_comm_allreduce_f32(comm, ctx, w->edges, w->similarity));
    return KD_OK;
}
