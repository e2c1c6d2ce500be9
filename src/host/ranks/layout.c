#include "host/ranks/layout.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

enum { PASSING = 4096 /* rows */ };

kd_status kd_layout_allocate(kd_pool *pool, kd_comm *comm, int64_t most, int64_t most_local, int64_t most_blocks,
                             int64_t width, kd_layout *out) {
    static const char what[] = "turns between ranks";
    int64_t ranks = kd_comm_ranks(comm);
    kd_mat columns, rows, passing;
    *out =
        (kd_layout){.comm = comm, .width = width, .most = most, .most_local = most_local, .most_blocks = most_blocks};
    kd_share table = kd_share_table(width, ranks);
    out->own = kd_comm_share(comm, table);
    out->passing_rows = most < PASSING ? most : PASSING;
    KD_OR_RETURN(kd_pool_mat(pool, most, most_blocks * out->own.count, what, &columns));
    KD_OR_RETURN(kd_pool_mat(pool, most_local, most_blocks * width, what, &rows));
    KD_OR_RETURN(kd_pool_mat(pool, out->passing_rows, kd_share_most(width, table.unit, ranks), what, &passing));
    out->columns = columns.data;
    out->rows = rows.data;
    out->passing = passing.data;
    return KD_OK;
}

static int64_t column_of(const kd_layout *t, int64_t rank) {
    int64_t ranks = kd_comm_ranks(t->comm);
    return kd_share_begin(kd_share_table(t->width, ranks), rank, ranks);
}

/* Both packed forms exchanged: forward from t->columns to t->rows, else the other way. */
static kd_status exchange(kd_ctx *ctx, const kd_layout *t, kd_share share, int64_t blocks, bool forward) {
    kd_status status = KD_OK;
    int64_t ranks = kd_comm_ranks(t->comm), local = kd_comm_share(t->comm, share).count, *first = NULL;
    int64_t number = blocks * (int64_t)sizeof(float);
    KD_TRY(kd_host_alloc(&first, 2 * (ranks + 1), sizeof *first, "turns between ranks"));
    for (int64_t r = 0; r <= ranks; r++) {
        first[r] = kd_share_begin(share, r, ranks) * t->own.count * number;
        first[ranks + 1 + r] = local * column_of(t, r) * number;
    }
    status = forward ? kd_comm_alltoallv(t->comm, ctx, first, t->columns, first + ranks + 1, t->rows)
                     : kd_comm_alltoallv(t->comm, ctx, first + ranks + 1, t->rows, first, t->columns);
cleanup:
    free(first);
    return status;
}

/* Between rows and t->rows, where each rank's columns of all blocks are packed, one rank's after the other's. */
static kd_status copy_rows(kd_ctx *ctx, const kd_layout *t, kd_mat rows, bool pack) {
    int64_t blocks = rows.cols / t->width;
    for (int64_t r = 0; r < kd_comm_ranks(t->comm); r++) {
        int64_t column = column_of(t, r), count = column_of(t, r + 1) - column;
        kd_mat packed = kd_mat_make(t->rows + rows.rows * blocks * column, rows.rows, blocks * count);
        for (int64_t i = 0; i < blocks; i++) {
            kd_mat there = kd_mat_cols(packed, i * count, count),
                   local = kd_mat_cols(rows, i * t->width + column, count);
            KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, pack ? local : there, 0.0f, pack ? there : local));
        }
    }
    return KD_OK;
}

static kd_status check(const kd_layout *t, kd_share share, kd_mat columns, kd_mat rows) {
    int64_t local = kd_comm_share(t->comm, share).count, blocks = rows.cols / t->width;
    if (columns.rows == share.count && columns.rows <= t->most && rows.rows == local && local <= t->most_local &&
        blocks >= 1 && blocks <= t->most_blocks && rows.cols == blocks * t->width &&
        columns.cols == blocks * t->own.count)
        return KD_OK;
    return KD_FAIL(KD_ERR_ARGUMENT, "turns between ranks: shapes do not fit");
}

kd_status kd_layout_to_rows(kd_ctx *ctx, const kd_layout *t, kd_share share, kd_mat columns, kd_mat rows) {
    KD_OR_RETURN(check(t, share, columns, rows));
    KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, columns, 0.0f, kd_mat_make(t->columns, columns.rows, columns.cols)));
    KD_OR_RETURN(exchange(ctx, t, share, rows.cols / t->width, true));
    return copy_rows(ctx, t, rows, false);
}

kd_status kd_layout_to_columns(kd_ctx *ctx, const kd_layout *t, kd_share share, kd_mat rows, float beta,
                               kd_mat columns) {
    KD_OR_RETURN(check(t, share, columns, rows));
    KD_OR_RETURN(copy_rows(ctx, t, rows, true));
    KD_OR_RETURN(exchange(ctx, t, share, rows.cols / t->width, false));
    return kd_add_scaled(ctx, 1.0f, kd_mat_make(t->columns, columns.rows, columns.cols), beta, columns);
}

kd_status kd_layout_allgather(kd_ctx *ctx, const kd_layout *t, kd_mat columns, kd_mat whole) {
    int64_t blocks = columns.cols / t->own.count;
    KD_OR_RETURN(kd_zero(ctx, whole.data, whole.rows * whole.cols * (int64_t)sizeof(float)));
    for (int64_t i = 0; i < blocks; i++)
        KD_OR_RETURN(kd_add_scaled(ctx, 1.0f, kd_mat_cols(columns, i * t->own.count, t->own.count), 0.0f,
                                   kd_mat_cols(whole, i * t->width + t->own.first, t->own.count)));
    return kd_comm_allreduce_f32(t->comm, ctx, whole.rows * whole.cols, whole.data);
}

/* The passing rows of rank r from the device to their columns of host. */
static kd_status unpack(kd_ctx *ctx, const kd_layout *t, int64_t r, int64_t rows, float *room, float *host,
                        int64_t stride) {
    int64_t column = column_of(t, r), count = column_of(t, r + 1) - column;
    kd_status status = kd_download(ctx, room, t->passing, rows * count * (int64_t)sizeof *room);
    for (int64_t i = 0; i < rows && status == KD_OK; i++)
        memcpy(host + i * stride + column, room + i * count, (size_t)count * sizeof *room);
    return status;
}

kd_status kd_layout_download(kd_ctx *ctx, const kd_layout *t, kd_mat columns, int64_t first, int64_t rows, float *host,
                             int64_t stride) {
    kd_status status = KD_OK;
    float *room = NULL;
    if (host) KD_TRY(kd_host_alloc(&room, t->passing_rows * t->width, sizeof *room, "rows of all ranks"));
    for (int64_t at = 0; at < rows; at += t->passing_rows)
        for (int64_t r = 0; r < kd_comm_ranks(t->comm); r++) {
            int64_t some = rows - at < t->passing_rows ? rows - at : t->passing_rows,
                    count = column_of(t, r + 1) - column_of(t, r);
            if (r == kd_comm_rank(t->comm))
                KD_TRY(kd_add_scaled(ctx, 1.0f, kd_mat_rows(columns, first + at, some), 0.0f,
                                     kd_mat_make(t->passing, some, count)));
            KD_TRY(kd_comm_broadcast(t->comm, ctx, r, some * count * (int64_t)sizeof(float), t->passing));
            if (host) KD_TRY(unpack(ctx, t, r, some, room, host + at * stride, stride));
        }
cleanup:
    free(room);
    return status;
}

static kd_status sum_over_ranks(void *comm, kd_ctx *ctx, int64_t n, float *x) {
    return kd_comm_allreduce_f32(comm, ctx, n, x);
}

kd_split kd_layout_split(const kd_layout *layout) {
    return (kd_split){.first = layout->own.first, .sum = sum_over_ranks, .context = layout->comm};
}

kd_status kd_mat_download(kd_ctx *ctx, kd_mat m, float *host) {
    kd_status status = KD_OK;
    for (int64_t r = 0; r < m.rows && status == KD_OK; r += m.ld == m.cols ? m.rows : 1) {
        int64_t rows = m.ld == m.cols ? m.rows : 1;
        status = kd_download(ctx, host + r * m.cols, m.data + r * m.ld, rows * m.cols * (int64_t)sizeof(float));
    }
    return status;
}

kd_status kd_mat_upload(kd_ctx *ctx, const float *host, kd_mat m) {
    kd_status status = KD_OK;
    for (int64_t r = 0; r < m.rows && status == KD_OK; r += m.ld == m.cols ? m.rows : 1) {
        int64_t rows = m.ld == m.cols ? m.rows : 1;
        status = kd_upload(ctx, m.data + r * m.ld, host + r * m.cols, rows * m.cols * (int64_t)sizeof(float));
    }
    return status;
}

kd_status kd_layout_download_whole(kd_ctx *ctx, const kd_layout *layout, kd_mat value, float *host) {
    kd_status status = KD_OK;
    if (!layout) return host ? kd_mat_download(ctx, value, host) : KD_OK;
    int64_t local = layout->own.count, whole = layout->width, blocks = value.cols / local;
    for (int64_t i = 0; i < blocks && status == KD_OK; i++)
        status = kd_layout_download(ctx, layout, kd_mat_cols(value, i * local, local), 0, value.rows,
                                    host ? host + i * whole : NULL, blocks * whole);
    return status;
}

kd_status kd_layout_read(kd_ctx *ctx, const kd_layout *layout, kd_mat value, int64_t first, int64_t bytes, void *to) {
    kd_status status = KD_OK;
    int64_t cols = layout ? value.cols / layout->own.count * layout->width : value.cols;
    int64_t row = cols * (int64_t)sizeof(float), begin = first / row, end = (first + bytes + row - 1) / row;
    float *room = NULL;
    if (to) KD_TRY(kd_host_alloc(&room, (end - begin) * cols, sizeof *room, "rows of all ranks"));
    KD_TRY(kd_layout_download_whole(ctx, layout, kd_mat_rows(value, begin, end - begin), room));
    if (to) memcpy(to, (const char *)room + (first - begin * row), (size_t)bytes);
cleanup:
    free(room);
    return status;
}
