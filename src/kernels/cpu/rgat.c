#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

static float dot(const float *x, const float *y, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static void add(float scale, const float *x, float *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += scale * x[i];
}

kd_status kd_cpu_rgat_forward(kd_ctx *ctx, const kd_kg *kg, float slope, kd_mat e, kd_mat rh, kd_mat rt, float *logit,
                              float *alpha, kd_mat agg) {
    (void)ctx;
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t h = 0; h < agg.rows; h++) {
        int64_t begin = kg->head_ptr[h], end = kg->head_ptr[h + 1];
        const float *self = e.data + h * e.ld;
        float *out = agg.data + h * agg.ld;
        float largest = -INFINITY;
        for (int64_t k = begin; k < end; k++) {
            const float *tail = e.data + kg->tail[k] * e.ld;
            int64_t r = kg->relation[k];
            float x = dot(self, rh.data + r * rh.ld, e.cols) + dot(tail, rt.data + r * rt.ld, e.cols);
            logit[k] = x > 0.0f ? x : slope * x;
            largest = fmaxf(largest, logit[k]);
        }
        double sum = 0.0;
        for (int64_t k = begin; k < end; k++) {
            alpha[k] = expf(logit[k] - largest);
            sum += alpha[k];
        }
        memcpy(out, self, (size_t)e.cols * sizeof(float));
        for (int64_t k = begin; k < end; k++) {
            alpha[k] = (float)(alpha[k] / sum);
            add(alpha[k], e.data + kg->tail[k] * e.ld, out, e.cols);
        }
    }
    return KD_OK;
}

int64_t kd_rgat_backward_workspace(int64_t relations, int64_t width) {
    return kd_rgat_ranges(relations, width) * 2 * relations * width * (int64_t)sizeof(float);
}

/* Gradient of the logits of one head (before LeakyReLU, left in logit), and what the head itself gets. */
static void head_backward(const kd_kg *kg, float slope, const kd_mat *e, const kd_mat *rh, float *logit,
                          const float *alpha, const kd_mat *dagg, const kd_mat *de, int64_t h) {
    int64_t begin = kg->head_ptr[h], end = kg->head_ptr[h + 1];
    const float *up = dagg->data + h * dagg->ld;
    float *self = de->data + h * de->ld;
    add(1.0f, up, self, e->cols);
    double mean = 0.0;
    for (int64_t k = begin; k < end; k++) mean += (double)alpha[k] * dot(up, e->data + kg->tail[k] * e->ld, e->cols);
    for (int64_t k = begin; k < end; k++) {
        float dalpha = dot(up, e->data + kg->tail[k] * e->ld, e->cols);
        float dlogit = alpha[k] * (dalpha - (float)mean);
        logit[k] = logit[k] > 0.0f ? dlogit : slope * dlogit;
        add(logit[k], rh->data + kg->relation[k] * rh->ld, self, e->cols);
    }
}

/* Partial relation gradients of one range of heads: part = [drh ; drt]. */
static void relations_of_range(const kd_kg *kg, int64_t heads, const kd_mat *e, const float *dlogit, int64_t range,
                               int64_t ranges, float *part) {
    int64_t d = e->cols, first = heads * range / ranges, last = heads * (range + 1) / ranges;
    float *head_part = part, *tail_part = part + kg->relations * d;
    memset(part, 0, (size_t)(2 * kg->relations * d) * sizeof(float));
    for (int64_t h = first; h < last; h++)
        for (int64_t k = kg->head_ptr[h]; k < kg->head_ptr[h + 1]; k++) {
            add(dlogit[k], e->data + h * e->ld, head_part + kg->relation[k] * d, d);
            add(dlogit[k], e->data + kg->tail[k] * e->ld, tail_part + kg->relation[k] * d, d);
        }
}

kd_status kd_cpu_rgat_backward(kd_ctx *ctx, const kd_kg *kg, float slope, kd_mat e, kd_mat rh, kd_mat rt, float *logit,
                               const float *alpha, kd_mat dagg, kd_mat de, kd_mat drh, kd_mat drt) {
    float *part = ctx->workspace;
    int64_t size = 2 * kg->relations * e.cols, ranges = kd_rgat_ranges(kg->relations, e.cols);
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t h = 0; h < dagg.rows; h++) head_backward(kg, slope, &e, &rh, logit, alpha, &dagg, &de, h);
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t t = 0; t < kg->entities; t++)
        for (int64_t i = kg->tail_ptr[t]; i < kg->tail_ptr[t + 1] && kg->in_head[i] < dagg.rows; i++) {
            int64_t k = kg->in_edge[i];
            float *self = de.data + t * de.ld;
            add(alpha[k], dagg.data + kg->in_head[i] * dagg.ld, self, e.cols);
            add(logit[k], rt.data + kg->relation[k] * rt.ld, self, e.cols);
        }
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t range = 0; range < ranges; range++)
        relations_of_range(kg, dagg.rows, &e, logit, range, ranges, part + range * size);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < kg->relations; r++)
        for (int64_t range = 0; range < ranges; range++) {
            add(1.0f, part + range * size + r * e.cols, drh.data + r * drh.ld, e.cols);
            add(1.0f, part + range * size + (kg->relations + r) * e.cols, drt.data + r * drt.ld, e.cols);
        }
    return KD_OK;
}
