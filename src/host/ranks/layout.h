/* Matrices that ranks divide: some columns of every row, or every column of some rows; and how one is turned into
 * the other. What a rank has of them is called local. */
#ifndef KD_RANKS_LAYOUT_H
#define KD_RANKS_LAYOUT_H

#include "host/ranks/collectives.h"
#include "kernels/pool.h"

/* Views side by side are turned together: a matrix of some columns has a block of this rank's for each, one of some
 * rows a block of whole rows. */
typedef struct kd_layout {
    kd_comm *comm;
    kd_range own;   /* this rank's columns of a block */
    int64_t width;  /* columns of a whole row, which ranks divide by kd_share_table */
    float *columns; /* [most, most_blocks * own.count] packed, on their way */
    float *rows;    /* [most_local, most_blocks * width]: each rank's columns of them */
    int64_t most, most_local, most_blocks;
    float *passing; /* [passing_rows, most columns of a rank] what one rank passes on to all */
    int64_t passing_rows;
} kd_layout;

/* For matrices of up to `most` rows, of which this rank has up to `most_local`, and up to `most_blocks` blocks. */
kd_status kd_layout_allocate(kd_pool *pool, kd_comm *comm, int64_t most, int64_t most_local, int64_t most_blocks,
                             int64_t width, kd_layout *out);

/* rows [this rank's by `share`, blocks * width] = those rows of columns [share.count, blocks * own.count]. */
kd_status kd_layout_to_rows(kd_ctx *ctx, const kd_layout *layout, kd_share share, kd_mat columns, kd_mat rows);

/* columns = the columns of rows + beta columns. */
kd_status kd_layout_to_columns(kd_ctx *ctx, const kd_layout *layout, kd_share share, kd_mat rows, float beta,
                               kd_mat columns);

/* whole [columns.rows, blocks * width] = all ranks' columns, on each of them; columns has `blocks` blocks of this
 * rank's. whole lies without gaps. */
kd_status kd_layout_allgather(kd_ctx *ctx, const kd_layout *layout, kd_mat columns, kd_mat whole);

/* host [rows, width], in host memory with rows `stride` apart, = all ranks' columns of rows first .. first + rows - 1;
 * NULL: this rank only hands over its own. */
kd_status kd_layout_download(kd_ctx *ctx, const kd_layout *layout, kd_mat columns, int64_t first, int64_t rows,
                             float *host, int64_t stride);

/* How ops that sum along rows see columns that are divided so: their partial sums pass through the communicator. */
kd_split kd_layout_split(const kd_layout *layout);

/* host [rows, cols] <- device and back: the local part. */
kd_status kd_mat_download(kd_ctx *ctx, kd_mat m, float *host);
kd_status kd_mat_upload(kd_ctx *ctx, const float *host, kd_mat m);

/* host [value.rows, whole columns] = a matrix of all ranks. layout NULL: it is whole. Else value has one or
 * several blocks of this rank's columns, all ranks call it, and host may be NULL on those that have no use for it. */
kd_status kd_layout_download_whole(kd_ctx *ctx, const kd_layout *layout, kd_mat value, float *host);

/* to = `bytes` bytes from byte `first` on of that matrix, row by row; called and given NULL as the download. */
kd_status kd_layout_read(kd_ctx *ctx, const kd_layout *layout, kd_mat value, int64_t first, int64_t bytes, void *to);

#endif
