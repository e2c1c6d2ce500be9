#include <math.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"

static double dot(kd_mat x, int64_t i, kd_mat y, int64_t j) {
    double sum = 0.0;
    for (int64_t c = 0; c < x.cols; c++) sum += (double)*kd_ref_at(x, i, c) * *kd_ref_at(y, j, c);
    return sum;
}

/* x [edges of the first `heads` entities] over the columns of all ranks; [kg->capacity] floats pass. */
static kd_status over_ranks(kd_ctx *ctx, const kd_split *split, const kd_kg *kg, int64_t heads, double *x) {
    if (!split) return KD_OK;
    int64_t edges = kg->head_ptr[heads];
    float *passed;
    KD_OR_RETURN(kd_ref_zeros(kg->capacity, sizeof *passed, &passed));
    for (int64_t k = 0; k < edges; k++) passed[k] = (float)x[k];
    kd_status status = kd_split_sum(split, ctx, kg->capacity, passed);
    for (int64_t k = 0; k < edges; k++) x[k] = passed[k];
    free(passed);
    return status;
}

kd_status kd_ref_rgat_forward(kd_ctx *ctx, const kd_rgat_forward_args *a) {
    const kd_kg *kg = a->kg;
    double *score;
    KD_OR_RETURN(kd_ref_zeros(kg->capacity, sizeof *score, &score));
    for (int64_t h = 0; h < a->agg.rows; h++)
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++)
            score[k] = dot(a->e, h, a->rh, kg->relation[k]) + dot(a->e, kg->tail[k], a->rt, kg->relation[k]);
    kd_status status = over_ranks(ctx, a->split, kg, a->agg.rows, score);
    for (int64_t k = kg->head_ptr[a->agg.rows]; a->split && k < kg->capacity; k++) a->logit[k] = 0.0f;
    for (int64_t h = 0; h < a->agg.rows; h++) {
        int64_t begin = kg->head_ptr[h], end = kg->head_ptr[h + 1];
        double sum = 0.0;
        for (int64_t k = begin; k < end; k++) {
            if (score[k] <= 0.0) score[k] *= a->slope;
            a->logit[k] = (float)score[k];
            sum += exp(score[k]);
        }
        for (int64_t k = begin; k < end; k++) a->alpha[k] = (float)(score[k] = exp(score[k]) / sum);
        for (int64_t c = 0; c < a->agg.cols; c++) {
            double value = *kd_ref_at(a->e, h, c);
            for (int64_t k = begin; k < end; k++) value += score[k] * *kd_ref_at(a->e, kg->tail[k], c);
            *kd_ref_at(a->agg, h, c) = (float)value;
        }
    }
    free(score);
    return status;
}

/* dlogit [edges] = the gradient of the sums of products that the logits are made of, from d loss / d alpha. */
static void logit_gradients(const kd_kg *kg, int64_t heads, double slope, const float *logit, const float *alpha,
                            const double *dalpha, double *dlogit) {
    for (int64_t h = 0; h < heads; h++) {
        double mean = 0.0;
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++) mean += alpha[k] * dalpha[k];
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++)
            dlogit[k] = alpha[k] * (dalpha[k] - mean) * (logit[k] > 0.0f ? 1.0 : slope);
    }
}

kd_status kd_ref_rgat_backward(kd_ctx *ctx, const kd_rgat_backward_args *a) {
    const kd_kg *kg = a->kg;
    double *dalpha = NULL, *dlogit = NULL, *to_e = NULL, *to_rh = NULL, *to_rt = NULL;
    int64_t d = a->e.cols;
    kd_status status = KD_OK;
    KD_TRY(kd_ref_zeros(kg->capacity, sizeof *dalpha, &dalpha));
    KD_TRY(kd_ref_zeros(kg->capacity, sizeof *dlogit, &dlogit));
    KD_TRY(kd_ref_widen(a->de, &to_e));
    KD_TRY(kd_ref_widen(a->drh, &to_rh));
    KD_TRY(kd_ref_widen(a->drt, &to_rt));
    for (int64_t h = 0; h < a->dagg.rows; h++)
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++) dalpha[k] = dot(a->dagg, h, a->e, kg->tail[k]);
    KD_TRY(over_ranks(ctx, a->split, kg, a->dagg.rows, dalpha));
    logit_gradients(kg, a->dagg.rows, a->slope, a->logit, a->alpha, dalpha, dlogit);
    for (int64_t h = 0; h < a->dagg.rows; h++)
        for (int64_t c = 0; c < d; c++) {
            double up = *kd_ref_at(a->dagg, h, c);
            to_e[h * d + c] += up;
            for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++) {
                int64_t t = kg->tail[k], r = kg->relation[k];
                to_e[h * d + c] += dlogit[k] * *kd_ref_at(a->rh, r, c);
                to_e[t * d + c] += a->alpha[k] * up + dlogit[k] * *kd_ref_at(a->rt, r, c);
                to_rh[r * d + c] += dlogit[k] * *kd_ref_at(a->e, h, c);
                to_rt[r * d + c] += dlogit[k] * *kd_ref_at(a->e, t, c);
            }
        }
    for (int64_t k = 0; k < kg->head_ptr[a->dagg.rows]; k++) a->logit[k] = (float)dlogit[k];
    kd_ref_narrow(to_e, a->de);
    kd_ref_narrow(to_rh, a->drh);
    kd_ref_narrow(to_rt, a->drt);
cleanup:
    free(dalpha);
    free(dlogit);
    free(to_e);
    free(to_rh);
    free(to_rt);
    return status;
}
