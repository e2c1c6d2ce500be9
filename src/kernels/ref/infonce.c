#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"

/* a_g . b_j / temp, less 1 / temp. */
static double logit(const kd_infonce_args *a, int64_t g, int64_t j) {
    double dot = 0.0;
    for (int64_t c = 0; c < a->a.cols; c++) dot += (double)*kd_ref_at(a->a, g, c) * *kd_ref_at(a->b, j, c);
    return (dot - 1.0) / a->temp;
}

/* A group's loss and gradients, e [keys] = the exponentials of its logits, `total` their sum over all ranks. */
static double close_group(const kd_infonce_args *a, int64_t g, const double *e, double total, double *da, double *db) {
    double members = a->nodes.ptr[g + 1] - a->nodes.ptr[g], share = a->weight * members / (double)a->count, loss = 0.0;
    int64_t positive = a->nodes.key[g] - a->first_key, d = a->a.cols;
    if (positive >= 0 && positive < a->b.rows) loss = share * (log(total) - logit(a, g, positive));
    for (int64_t j = 0; j < a->b.rows; j++) {
        double up = share / a->temp * (e[j] / total - (j == positive));
        for (int64_t c = 0; c < d; c++) {
            da[g * d + c] += up * *kd_ref_at(a->b, j, c);
            db[j * d + c] += up * *kd_ref_at(a->a, g, c);
        }
    }
    return loss;
}

kd_status kd_ref_infonce(kd_ctx *ctx, const kd_infonce_args *a) {
    int64_t groups = a->nodes.count[0], keys = a->b.rows;
    double *e = NULL, *total = NULL, *da = NULL, *db = NULL;
    kd_status status = KD_OK;
    KD_TRY(kd_ref_zeros(groups * keys, sizeof *e, &e));
    KD_TRY(kd_ref_zeros(groups, sizeof *total, &total));
    KD_TRY(kd_ref_widen(a->da, &da));
    KD_TRY(kd_ref_widen(a->db, &db));
    for (int64_t g = 0; g < groups; g++)
        for (int64_t j = 0; j < keys; j++) total[g] += e[g * keys + j] = exp(logit(a, g, j));
    if (a->sum) KD_TRY(a->sum(a->sum_context, ctx, groups, total));
    for (int64_t g = 0; g < groups; g++) a->loss[0] += close_group(a, g, e + g * keys, total[g], da, db);
    kd_ref_narrow(da, a->da);
    kd_ref_narrow(db, a->db);
cleanup:
    free(e);
    free(total);
    free(da);
    free(db);
    return status;
}
