#include <math.h>

#include "host/base/error.h"
#include "kernels/cpu/cpu.h"

/* -log sigmoid(x) without overflow. */
static double softplus_of_minus(double x) { return x > 0.0 ? log1p(exp(-x)) : -x + log1p(exp(x)); }

static const float *row(kd_mat m, int64_t r) { return m.data + r * m.ld; }

static void gather_users(const kd_bpr_args *a, const float *slope) {
    int64_t w = a->user_view.cols;
#pragma omp parallel for schedule(dynamic, 32)
    for (int64_t g = 0; g < a->users.count[0]; g++) {
        float *to = a->duser.data + a->users.key[g] * a->duser.ld;
        for (int32_t i = a->users.ptr[g]; i < a->users.ptr[g + 1]; i++) {
            int32_t b = a->users.member[i];
            const float *p = row(a->item_view, a->positive[b]), *n = row(a->item_view, a->negative[b]);
            for (int64_t c = 0; c < w; c++) to[c] += slope[b] * (p[c] - n[c]);
        }
    }
}

static void gather_items(const kd_bpr_args *a, const float *slope) {
    int64_t w = a->user_view.cols;
#pragma omp parallel for schedule(dynamic, 32)
    for (int64_t g = 0; g < a->items.count[0]; g++) {
        float *to = a->ditem.data + a->items.key[g] * a->ditem.ld;
        for (int32_t i = a->items.ptr[g]; i < a->items.ptr[g + 1]; i++) {
            int64_t b = a->items.member[i];
            float scale = b < a->count ? slope[b] : -slope[b - a->count];
            const float *u = row(a->user_view, a->user[b % a->count]);
            for (int64_t c = 0; c < w; c++) to[c] += scale * u[c];
        }
    }
}

kd_status kd_cpu_bpr(kd_ctx *ctx, const kd_bpr_args *a) {
    float *margin = ctx->workspace; /* x_b, then d loss / d x_b */
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < a->count; b++) {
        const float *u = row(a->user_view, a->user[b]);
        const float *p = row(a->item_view, a->positive[b]), *n = row(a->item_view, a->negative[b]);
        float x = 0.0f;
#pragma omp simd reduction(+ : x)
        for (int64_t c = 0; c < a->user_view.cols; c++) x += u[c] * (p[c] - n[c]);
        margin[b] = x;
    }
    if (a->split) KD_OR_RETURN(kd_split_sum(a->split, ctx, a->count, margin));
    double loss = 0.0;
    for (int64_t b = 0; b < a->count; b++) {
        loss += softplus_of_minus(margin[b]);
        margin[b] = (float)(-1.0 / (1.0 + exp((double)margin[b])) / a->batch);
    }
    if (a->loss) a->loss[0] += loss / a->batch;
    gather_users(a, margin);
    gather_items(a, margin);
    return KD_OK;
}
