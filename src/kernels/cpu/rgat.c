#include <math.h>
#include <string.h>

#include "host/base/error.h"
#include "kernels/cpu/cpu.h"
#include "kernels/workspace.h"

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

/* A head's logits before LeakyReLU, over the local columns. */
static void head_logits(const kd_rgat_forward_args *a, int64_t h) {
    const float *self = a->e.data + h * a->e.ld;
    for (int64_t k = a->kg->head_ptr[h]; k < a->kg->head_ptr[h + 1]; k++) {
        const float *tail = a->e.data + a->kg->tail[k] * a->e.ld;
        int64_t r = a->kg->relation[k];
        a->logit[k] = dot(self, a->rh.data + r * a->rh.ld, a->e.cols) + dot(tail, a->rt.data + r * a->rt.ld, a->e.cols);
    }
}

/* The rest of a head's work. */
static void attend(const kd_rgat_forward_args *a, int64_t h) {
    int64_t begin = a->kg->head_ptr[h], end = a->kg->head_ptr[h + 1], d = a->e.cols;
    float *out = a->agg.data + h * a->agg.ld, *logit = a->logit, *alpha = a->alpha, largest = -INFINITY;
    for (int64_t k = begin; k < end; k++) {
        logit[k] = logit[k] > 0.0f ? logit[k] : a->slope * logit[k];
        largest = fmaxf(largest, logit[k]);
    }
    double sum = 0.0;
    for (int64_t k = begin; k < end; k++) {
        alpha[k] = expf(logit[k] - largest);
        sum += alpha[k];
    }
    memcpy(out, a->e.data + h * a->e.ld, (size_t)d * sizeof(float));
    for (int64_t k = begin; k < end; k++) {
        alpha[k] = (float)(alpha[k] / sum);
        add(alpha[k], a->e.data + a->kg->tail[k] * a->e.ld, out, d);
    }
}

/* x [kg->capacity] = 0 beyond the edges of the first `heads` entities. */
static void clear_beyond(const kd_kg *kg, int64_t heads, float *x) {
    int64_t edges = kg->head_ptr[heads];
    memset(x + edges, 0, (size_t)(kg->capacity - edges) * sizeof *x);
}

kd_status kd_cpu_rgat_forward(kd_ctx *ctx, const kd_rgat_forward_args *a) {
    const kd_kg *kg = a->kg;
    if (a->split) {
        clear_beyond(kg, a->agg.rows, a->logit);
#pragma omp parallel for schedule(dynamic, 64)
        for (int64_t h = 0; h < a->agg.rows; h++) head_logits(a, h);
        KD_OR_RETURN(kd_split_sum(a->split, ctx, kg->capacity, a->logit));
    }
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t h = 0; h < a->agg.rows; h++) {
        if (!a->split) head_logits(a, h);
        attend(a, h);
    }
    return KD_OK;
}

typedef struct backward_hop {
    const kd_kg *kg;
    float slope;
    kd_mat e, rh, dagg, de;
    float *logit;
    const float *alpha;
    const float *dalpha; /* [edges] summed over ranks; NULL: all columns are local */
} backward_hop;

/* d loss / d alpha of edge k, over the local columns; up: the row of dagg of its head. */
static float dalpha_of(const backward_hop *b, const float *up, int64_t k) {
    return dot(up, b->e.data + b->kg->tail[k] * b->e.ld, b->e.cols);
}

/* Gradient of the logits of one head (before LeakyReLU, left in logit), and what the head itself gets. */
static void head_backward(const backward_hop *hop, int64_t h) {
    const backward_hop b = *hop; /* no store below changes it */
    const float *up = b.dagg.data + h * b.dagg.ld;
    int64_t begin = b.kg->head_ptr[h], end = b.kg->head_ptr[h + 1];
    float *self = b.de.data + h * b.de.ld;
    add(1.0f, up, self, b.e.cols);
    double mean = 0.0;
    for (int64_t k = begin; k < end; k++) mean += (double)b.alpha[k] * (b.dalpha ? b.dalpha[k] : dalpha_of(&b, up, k));
    for (int64_t k = begin; k < end; k++) {
        float dalpha = b.dalpha ? b.dalpha[k] : dalpha_of(&b, up, k);
        float dlogit = b.alpha[k] * (dalpha - (float)mean);
        b.logit[k] = b.logit[k] > 0.0f ? dlogit : b.slope * dlogit;
        add(b.logit[k], b.rh.data + b.kg->relation[k] * b.rh.ld, self, b.e.cols);
    }
}

/* dalpha [kg->capacity] = the sum over the ranks. */
static kd_status sum_dalpha(kd_ctx *ctx, const kd_split *split, const backward_hop *b, float *dalpha) {
    clear_beyond(b->kg, b->dagg.rows, dalpha);
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t h = 0; h < b->dagg.rows; h++)
        for (int64_t k = b->kg->head_ptr[h]; k < b->kg->head_ptr[h + 1]; k++)
            dalpha[k] = dalpha_of(b, b->dagg.data + h * b->dagg.ld, k);
    return kd_split_sum(split, ctx, b->kg->capacity, dalpha);
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

kd_status kd_cpu_rgat_backward(kd_ctx *ctx, const kd_rgat_backward_args *a) {
    const kd_kg *kg = a->kg;
    kd_mat e = a->e;
    float *part = ctx->workspace;
    int64_t size = 2 * kg->relations * e.cols, ranges = kd_rgat_ranges(kg->relations, e.cols);
    backward_hop b = {kg, a->slope, e, a->rh, a->dagg, a->de, a->logit, a->alpha, a->split ? ctx->workspace : NULL};
    if (a->split) KD_OR_RETURN(sum_dalpha(ctx, a->split, &b, ctx->workspace));
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t h = 0; h < a->dagg.rows; h++) head_backward(&b, h);
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t t = 0; t < kg->entities; t++)
        for (int64_t i = kg->tail_ptr[t]; i < kg->tail_ptr[t + 1] && kg->in_head[i] < a->dagg.rows; i++) {
            int64_t k = kg->in_edge[i];
            float *self = a->de.data + t * a->de.ld;
            add(a->alpha[k], a->dagg.data + kg->in_head[i] * a->dagg.ld, self, e.cols);
            add(a->logit[k], a->rt.data + kg->relation[k] * a->rt.ld, self, e.cols);
        }
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t range = 0; range < ranges; range++)
        relations_of_range(kg, a->dagg.rows, &e, a->logit, range, ranges, part + range * size);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < kg->relations; r++)
        for (int64_t range = 0; range < ranges; range++) {
            add(1.0f, part + range * size + r * e.cols, a->drh.data + r * a->drh.ld, e.cols);
            add(1.0f, part + range * size + (kg->relations + r) * e.cols, a->drt.data + r * a->drt.ld, e.cols);
        }
    return KD_OK;
}
