/* One denoiser: h = tanh(W1 [drop(x_t) ; temb] + b1), out = W2 h + b2 (docs/model.md#denoiser), trained on rows of a
 * sparse 0/1 matrix, and its reverse chain.
 *
 * Over several ranks it is split by the columns of x: a rank keeps the rows of W1 and of [W2 b2] that belong to its
 * columns, with their Adam moments, and makes its columns of x_t and of the output. What is summed over the ranks is
 * as long as the batch, not as the weights: W1 x before tanh, what the guidance sees, and d loss / d h. All else is
 * whole on every rank. */
#ifndef KD_KDIFFE_DENOISER_H
#define KD_KDIFFE_DENOISER_H

#include "host/model/kdiffe/params.h"
#include "host/model/kdiffe/schedule.h"
#include "host/ranks/collectives.h"

typedef struct kd_denoiser_shape {
    int64_t width, hidden, time_dim, steps; /* width n: columns of the rows it denoises */
} kd_denoiser_shape;

/* Columns of [W2 b2] and of the hidden rows that it multiplies: hidden, one for the bias, and zeros up to a multiple of
 * four. */
static inline int64_t kd_denoiser_wide(int64_t hidden) { return (hidden + 1 + 3) / 4 * 4; }

/* Buffers that all denoisers of a run share: only one is at work at a time. Rows of x, out and of what has `wide`
 * columns are padded (kd_mat_padded). */
typedef struct kd_diffusion_scratch {
    int64_t batch, columns; /* columns: the most that any rank has of any denoiser */
    float *x, *out;         /* [batch, columns] */
    float *h, *dh, *xw; /* [batch, wide]; column `hidden` of h is 1, those after it 0; dh is also W1 x, before tanh */
    float *square;      /* [wide, wide] Gram matrices, or the chain's [W2 b2]^T W1 */
    float *guided;      /* [batch, guidance_width] */
    float *reach;       /* [wide, guidance_width] what the guidance sees of a hidden unit */
    float *dreach;      /* [guidance_width, wide] */
    float *row_loss[2]; /* [batch] reconstruction and guidance */
    int32_t *t, *row;   /* [batch] */
    int32_t *place;     /* [rows] where in the batch a row is, or -1 */
    int32_t *best;      /* [ranks, batch, q] of several ranks: the best of each one's columns, */
    float *best_value;  /* and their values */
} kd_diffusion_scratch;

/* How the gradients of the output layer are made: by its output, by its Gram matrix, or by what takes fewer operations.
 */
typedef enum kd_output_gradient { KD_OUTPUT_CHEAPEST, KD_OUTPUT_DIRECT, KD_OUTPUT_GRAM } kd_output_gradient;

typedef struct kd_denoiser {
    kd_denoiser_shape shape;
    kd_comm *comm;     /* NULL: one rank */
    kd_range columns;  /* of x, that are local */
    uint32_t instance; /* keys its random numbers */
    kd_output_gradient output_gradient;
    bool naive_chain; /* the reverse chain runs through the full width */
    const kd_diffusion_scratch *scratch;
    kd_schedule schedule;
    float *signal, *sigma, *weight; /* [steps] on the device */
    float *exact;                   /* [2] 1 and 0: signal and sigma of a row without noise */
    kd_mat time;                    /* [steps, time_dim] cos and sin of t f_k */
    int64_t count;                  /* floats of the local parameters, each of which begins as kd_tensor_floats says */
    int32_t *first_column;          /* [ranks] of several: where each one's columns begin */
    kd_cursor *cursor;              /* of its rows and its Adam steps */
    kd_recording *step[2];          /* a training step of a whole batch, and of the last, shorter one */
    float *value, *gradient, *m, *v;
    kd_mat w1;      /* [columns, hidden] padded, transposed, so that a sparse row times W1 is a sum of its rows */
    kd_mat output;  /* [columns, wide] padded, [W2 b2], then zeros */
    kd_mat w2, b2;  /* [columns, hidden], [columns, 1]: columns of output */
    kd_mat w1_time; /* [time_dim, hidden]; from here on whole on every rank */
    kd_mat b1;      /* [1, hidden] */
    kd_mat time_w, time_b;        /* [time_dim, time_dim], [1, time_dim]: temb = time time_w^T + time_b */
    kd_mat embedding, dembedding; /* [steps, time_dim] temb of every step */
    kd_mat table, dtable;         /* [steps, hidden] temb w1_time + b1 of every step */
    kd_mat input_sum;             /* [1, hidden] column sums of W1 */
} kd_denoiser;

typedef struct kd_diffusion_scratch_shape {
    int64_t batch, rows; /* rows: the most that any denoiser trains on */
    kd_denoiser_shape widest;
    int64_t guidance_width;
    int64_t q; /* columns to be chosen */
} kd_diffusion_scratch_shape;
kd_status kd_diffusion_scratch_allocate(kd_pool *pool, const kd_comm *comm, const kd_diffusion_scratch_shape *shape,
                                        kd_diffusion_scratch *out);
/* The column of ones. */
kd_status kd_diffusion_scratch_fill(kd_ctx *ctx, int64_t hidden, const kd_diffusion_scratch *scratch);
/* KD_ERR_ARGUMENT where there are more ranks than fours of columns. */
kd_status kd_denoiser_allocate(kd_pool *pool, kd_comm *comm, const kd_denoiser_shape *shape, kd_denoiser *out);

/* Schedule, time features and initial weights: normal(0, sqrt(2 / (fan_in + fan_out))), biases normal(0, 0.001), keyed
 * (seed, instance). */
kd_status kd_denoiser_init(kd_ctx *ctx, const kd_config *config, uint32_t instance, const kd_diffusion_scratch *scratch,
                           kd_denoiser *denoiser);

/* Guidance of a training step: loss += weight * mean over rows and columns of (sum over ranks of out[:,
 * :projection.rows] projection - target[row])^2. */
typedef struct kd_denoiser_guidance {
    kd_mat projection; /* [guided ones of the local columns, the first of them; d] */
    kd_mat target;     /* [rows of x0, d], or columns of it where ranks divide them, */
    int64_t column;    /* from this one on */
    double weight;
} kd_denoiser_guidance;

/* One batch of training rows. t, noise: given (golden arrays) or NULL to draw them, keyed (seed, instance, epoch, row).
 */
typedef struct kd_denoiser_batch {
    kd_csr x0, x0_transpose; /* [rows, columns] and its transpose: the local columns, counted from the first */
    int64_t count;
    const int32_t *row; /* [count] distinct */
    const float *g;     /* [x0.rows] added to x_t; NULL for none */
    const int32_t *t;
    const float *noise; /* [count, columns] */
    double dropout;     /* on x_t */
    uint64_t seed;
    int64_t epoch;
    const int64_t *clock; /* on the device, added to epoch in the keys; or NULL */
} kd_denoiser_batch;

/* Gradients = those of the batch's loss; loss[0] += this rank's share of it; scratch->row_loss hold the rows' parts: a
 * rank's share of the reconstruction and, of a divided target, of the guidance, else the whole of it. Sums over the
 * ranks are under way beside what does not need them. */
kd_status kd_denoiser_gradient(kd_ctx *ctx, const kd_denoiser_batch *batch, const kd_denoiser_guidance *guidance,
                               kd_denoiser *denoiser, double *loss);

/* table = temb w1_time + b1 of every step. */
kd_status kd_denoiser_time_table(kd_ctx *ctx, const kd_denoiser *denoiser);

kd_status kd_denoiser_adam(kd_ctx *ctx, double lr, kd_denoiser *denoiser);

/* Once before kd_reverse_chain, after the weights changed: the products that carry the chain in hidden space, summed
 * over the ranks. */
kd_status kd_reverse_prepare(kd_ctx *ctx, kd_denoiser *denoiser);

/* Rows of a reverse chain: rows first .. first + count - 1 of x0, guided by g, started from x0 (sampling_steps 0) or
 * from x0 noised to step sampling_steps - 1 with `noise` [count, columns] or, NULL, drawn noise. row: 0, 1, 2, ... on
 * the device. */
typedef struct kd_reverse_rows {
    kd_csr x0; /* as of kd_denoiser_batch */
    int64_t first, count;
    const int32_t *row;
    const float *g; /* [x0.rows] */
    int64_t sampling_steps;
    const float *noise;
    uint64_t seed;
    int64_t epoch;
} kd_reverse_rows;

/* *out [count, columns] (scratch) = the end of the chain: T steps x <- c1 out(x, i) + c2 x, no noise, no dropout.
 * Nothing nonlinear stands between W2 and the next step's W1, so the chain runs on p = W1 x alone: p <- c1 W1 (W2 h +
 * b2) + c2 p, and one output product ends it, since c1(0) = 1 and c2(0) = 0. Over several ranks each takes some of the
 * rows through the chain, and all rows' h is what they exchange. */
kd_status kd_reverse_chain(kd_ctx *ctx, const kd_reverse_rows *rows, const kd_denoiser *denoiser, kd_mat *out);

/* top [out.rows, q] = the q largest columns of every row of what kd_reverse_chain has left in every rank's `out`. */
kd_status kd_reverse_best(kd_ctx *ctx, const kd_denoiser *denoiser, kd_mat out, int64_t q, int32_t *top);

#endif
