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
    float *passed = kd_ref_zeros(kg->capacity, sizeof *passed);
    for (int64_t k = 0; k < edges; k++) passed[k] = (float)x[k];
    kd_status status = kd_split_sum(split, ctx, kg->capacity, passed);
    for (int64_t k = 0; k < edges; k++) x[k] = passed[k];
    free(passed);
    return status;
}

kd_status kd_ref_rgat_forward(kd_ctx *ctx, const kd_split *split, const kd_kg *kg, float slope, kd_mat e, kd_mat rh,
                              kd_mat rt, float *logit, float *alpha, kd_mat agg) {
    double *score = kd_ref_zeros(kg->capacity, sizeof *score);
    for (int64_t h = 0; h < agg.rows; h++)
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++)
            score[k] = dot(e, h, rh, kg->relation[k]) + dot(e, kg->tail[k], rt, kg->relation[k]);
    kd_status status = over_ranks(ctx, split, kg, agg.rows, score);
    for (int64_t k = kg->head_ptr[agg.rows]; split && k < kg->capacity; k++) logit[k] = 0.0f;
    for (int64_t h = 0; h < agg.rows; h++) {
        int64_t begin = kg->head_ptr[h], end = kg->head_ptr[h + 1];
        double sum = 0.0;
        for (int64_t k = begin; k < end; k++) {
            if (score[k] <= 0.0) score[k] *= slope;
            logit[k] = (float)score[k];
            sum += exp(score[k]);
        }
        for (int64_t k = begin; k < end; k++) alpha[k] = (float)(exp(score[k]) / sum);
        for (int64_t c = 0; c < agg.cols; c++) {
            double value = *kd_ref_at(e, h, c);
            for (int64_t k = begin; k < end; k++) value += exp(score[k]) / sum * *kd_ref_at(e, kg->tail[k], c);
            *kd_ref_at(agg, h, c) = (float)value;
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

kd_status kd_ref_rgat_backward(kd_ctx *ctx, const kd_split *split, const kd_kg *kg, float slope, kd_mat e, kd_mat rh,
                               kd_mat rt, float *logit, const float *alpha, kd_mat dagg, kd_mat de, kd_mat drh,
                               kd_mat drt) {
    double *dalpha = kd_ref_zeros(kg->capacity, sizeof *dalpha), *dlogit = kd_ref_zeros(kg->capacity, sizeof *dlogit);
    double *to_e = kd_ref_widen(de), *to_rh = kd_ref_widen(drh), *to_rt = kd_ref_widen(drt);
    int64_t d = e.cols;
    for (int64_t h = 0; h < dagg.rows; h++)
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++) dalpha[k] = dot(dagg, h, e, kg->tail[k]);
    kd_status status = over_ranks(ctx, split, kg, dagg.rows, dalpha);
    logit_gradients(kg, dagg.rows, slope, logit, alpha, dalpha, dlogit);
    for (int64_t h = 0; h < dagg.rows; h++)
        for (int64_t c = 0; c < d; c++) {
            double up = *kd_ref_at(dagg, h, c);
            to_e[h * d + c] += up;
            for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++) {
                int64_t t = kg->tail[k], r = kg->relation[k];
                to_e[h * d + c] += dlogit[k] * *kd_ref_at(rh, r, c);
                to_e[t * d + c] += alpha[k] * up + dlogit[k] * *kd_ref_at(rt, r, c);
                to_rh[r * d + c] += dlogit[k] * *kd_ref_at(e, h, c);
                to_rt[r * d + c] += dlogit[k] * *kd_ref_at(e, t, c);
            }
        }
    for (int64_t k = 0; k < kg->head_ptr[dagg.rows]; k++) logit[k] = (float)dlogit[k];
    kd_ref_narrow(to_e, de);
    kd_ref_narrow(to_rh, drh);
    kd_ref_narrow(to_rt, drt);
    free(dalpha);
    free(dlogit);
    return status;
}
