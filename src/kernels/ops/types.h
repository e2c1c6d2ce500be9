/* What ops take: matrices, sparse graphs, the context. Pointers are device pointers (host pointers on the CPU backend).
 *
 * Rules that hold for every op:
 *  - it is enqueued on the context's stream and may return before it is done; kd_synchronize waits;
 *  - it allocates nothing; scratch memory comes from the context's workspace, sized by kd_workspace_reserve;
 *  - shapes are checked once, in kernels/checks.c, for every backend; KD_ERR_ARGUMENT names the op;
 *  - results do not depend on the number of threads (dense products: up to the library's own summation order);
 *  - outputs may not overlap inputs unless the op says so. "+=" means accumulated, "=" means overwritten. */
#ifndef KD_OPS_TYPES_H
#define KD_OPS_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kdiffe/status.h"
#include "kernels/common/philox.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kd_ctx kd_ctx;

/* Where a training loop stands, in device memory: what changes from step to step is read there, so that a recorded step
 * (kd_replay) can be replayed as it is. */
typedef struct kd_cursor {
    int64_t epoch;
    int64_t batch; /* batches done in this epoch */
    int64_t first; /* their entries: where the next batch begins */
    int64_t step;  /* batches done in all epochs */
} kd_cursor;

/* Dense float32 matrix, row-major; row r starts at data + r * ld, ld >= cols. A vector is a matrix with one row. */
typedef struct kd_mat {
    float *data;
    int64_t rows, cols, ld;
} kd_mat;

/* Sparse matrix in CSR; columns ascend within a row. val NULL: every stored entry is 1. row_ptr[0] need not be 0, so a
 * range of rows is a CSR too (kd_csr_rows). */
typedef struct kd_csr {
    int64_t rows, cols;
    const int64_t *row_ptr; /* [rows + 1] */
    const int32_t *col;
    const float *val;
    int64_t entries; /* it has no more than these; 0: nobody knows */
} kd_csr;

/* Knowledge graph with entries by head and, for gradients, by tail. Entries of a head are in the order of
 * docs/model.md#knowledge-graph. */
typedef struct kd_kg {
    int64_t entities, relations; /* relations counts the inverse ones */
    int64_t capacity;            /* most edges it can hold */
    int64_t *head_ptr;           /* [entities + 1] */
    int32_t *tail, *relation;    /* [capacity] */
    int64_t *tail_ptr;           /* [entities + 1] */
    int32_t *in_head;            /* [capacity] heads of each tail, ascending */
    int64_t *in_edge;            /* [capacity] position of that edge in the by-head arrays */
} kd_kg;

/* A modality's graph A_m: symmetric structure, two value arrays since thinning breaks the symmetry of values. */
typedef struct kd_modality_graph {
    int64_t nodes, users, q; /* capacity of col and val: nodes + 2 * users * q */
    int64_t *row_ptr;        /* [nodes + 1] */
    int32_t *col;
    float *val;           /* A_m */
    float *val_transpose; /* A_m transposed, on the same structure */
} kd_modality_graph;

/* Batch entries grouped by key, keys ascending, members of a group ascending: what a scatter without atomics needs. */
typedef struct kd_groups {
    int64_t capacity; /* most entries */
    int64_t *count;   /* [1] number of groups, on the device */
    int32_t *key;     /* [capacity] */
    int32_t *ptr;     /* [capacity + 1] */
    int32_t *member;  /* [capacity] positions in the batch */
} kd_groups;

/* Nodes that walks from starts first .. first + starts - 1 visited, in the order of the first walk rank that reached
 * them; the nodes reached up to and including rank k of start u are node[ptr[u - first] .. end[row_ptr[u] + k]).
 * row_ptr is that of the walked graph. */
typedef struct kd_visits {
    int64_t first, starts;
    int64_t *ptr;  /* [starts + 1], set by the caller: ptr[i + 1] - ptr[i] is the room for start first + i */
    int32_t *node; /* [ptr[starts]] */
    int64_t *end;  /* [edges]; those of nodes that are no local starts are left alone */
} kd_visits;

/* Adds x [n], on the device, up over the ranks of a job, in the order of the context's stream. */
typedef kd_status kd_rank_sum_f32_fn(void *context, kd_ctx *ctx, int64_t n, float *x);

/* Where rows are divided among the ranks of a job by columns, matrices hold this rank's, which may be none: `first` is
 * the first of them in the whole row. What an op sums along a row it sums over these columns in float32 and passes
 * through `sum`, with the same n on all ranks, none where n is 0. An op that
 * takes a split takes NULL for whole rows. */
typedef struct kd_split {
    int64_t first;
    kd_rank_sum_f32_fn *sum;
    void *context;
} kd_split;

static inline kd_status kd_split_sum(const kd_split *split, kd_ctx *ctx, int64_t n, float *x) {
    return n > 0 ? split->sum(split->context, ctx, n, x) : KD_OK;
}

static inline kd_mat kd_mat_make(float *data, int64_t rows, int64_t cols) {
    kd_mat m = {data, rows, cols, cols};
    return m;
}
static inline kd_mat kd_mat_rows(kd_mat m, int64_t first, int64_t count) {
    m.data += first * m.ld;
    m.rows = count;
    return m;
}
static inline kd_mat kd_mat_cols(kd_mat m, int64_t first, int64_t count) {
    m.data += first;
    m.cols = count;
    return m;
}
static inline kd_csr kd_csr_rows(kd_csr a, int64_t first, int64_t count) {
    a.row_ptr += first;
    a.entries = 0;
    a.rows = count;
    return a;
}

#ifdef __cplusplus
}
#endif
#endif
