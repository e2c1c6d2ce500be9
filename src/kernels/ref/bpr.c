#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"

/* x_b = u_b . (p_b - n_b), over the columns of all ranks. */
static kd_status margins(kd_ctx *ctx, const kd_bpr_args *a, double *x) {
    float *passed;
    kd_status status = KD_OK;
    KD_OR_RETURN(kd_ref_zeros(a->count, sizeof *passed, &passed));
    for (int64_t b = 0; b < a->count; b++) {
        for (int64_t c = 0; c < a->user_view.cols; c++)
            x[b] += (double)*kd_ref_at(a->user_view, a->user[b], c) *
                    ((double)*kd_ref_at(a->item_view, a->positive[b], c) - *kd_ref_at(a->item_view, a->negative[b], c));
        passed[b] = (float)x[b];
    }
    if (a->split) {
        status = kd_split_sum(a->split, ctx, a->count, passed);
        for (int64_t b = 0; b < a->count; b++) x[b] = passed[b];
    }
    free(passed);
    return status;
}

kd_status kd_ref_bpr(kd_ctx *ctx, const kd_bpr_args *a) {
    double *x = NULL, *duser = NULL, *ditem = NULL;
    int64_t w = a->user_view.cols;
    kd_status status = KD_OK;
    KD_TRY(kd_ref_zeros(a->count, sizeof *x, &x));
    KD_TRY(kd_ref_widen(a->duser, &duser));
    KD_TRY(kd_ref_widen(a->ditem, &ditem));
    KD_TRY(margins(ctx, a, x));
    for (int64_t b = 0; b < a->count; b++) {
        double slope = -1.0 / (1.0 + exp(x[b])) / a->batch; /* d loss / d x_b */
        if (a->loss) a->loss[0] += log1p(exp(-x[b])) / a->batch;
        for (int64_t c = 0; c < w; c++) {
            double u = *kd_ref_at(a->user_view, a->user[b], c);
            double p = *kd_ref_at(a->item_view, a->positive[b], c), n = *kd_ref_at(a->item_view, a->negative[b], c);
            duser[a->user[b] * w + c] += slope * (p - n);
            ditem[a->positive[b] * w + c] += slope * u;
            ditem[a->negative[b] * w + c] -= slope * u;
        }
    }
    kd_ref_narrow(duser, a->duser);
    kd_ref_narrow(ditem, a->ditem);
cleanup:
    free(x);
    free(duser);
    free(ditem);
    return status;
}
