/* InfoNCE in two passes over tiles of key rows: exponentials are summed, then made again and turned into gradients, so
 * that logits never exist beyond one tile. Keys are dealt out in a fixed number of ranges whose partial sums are added
 * in order. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_math.h"

enum { RANGES = 16, TILE = 128 };

typedef struct scratch {
    float *anchor;  /* [groups, d] anchor rows, packed */
    float *scale;   /* [groups] weight of exp(logit) in the gradient */
    float *danchor; /* [RANGES, groups, d] partial gradients */
    float *tile;    /* [RANGES, groups, TILE] */
    double *sum;    /* [RANGES, groups] partial denominators */
} scratch;

int64_t kd_infonce_workspace(int64_t count, int64_t width) {
    return count * (int64_t)sizeof(double) * RANGES +
           count * (int64_t)sizeof(float) * (width + 1 + RANGES * width + RANGES * TILE);
}

static scratch lay_out(void *workspace, int64_t count, int64_t d) {
    scratch s;
    s.sum = workspace;
    s.tile = (void *)((char *)workspace + RANGES * count * (int64_t)sizeof(double));
    s.danchor = s.tile + RANGES * count * TILE;
    s.anchor = s.danchor + RANGES * count * d;
    s.scale = s.anchor + count * d;
    return s;
}

/* tile [groups, keys] = exp((a_g . b_j - 1) / temp) for `keys` rows of b from `first`. */
static void exponentials(const kd_infonce_args *a, const scratch *s, int64_t groups, int64_t first, int64_t keys,
                         float *tile) {
    float inverse = 1.0f / a->temp;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)groups, (blasint)keys, (blasint)a->b.cols, inverse,
                s->anchor, (blasint)a->b.cols, a->b.data + first * a->b.ld, (blasint)a->b.ld, 0.0f, tile, TILE);
    for (int64_t g = 0; g < groups; g++) {
#pragma omp simd
        for (int64_t j = 0; j < keys; j++) tile[g * TILE + j] = expf(tile[g * TILE + j] - inverse);
    }
}

static void sum_range(const kd_infonce_args *a, const scratch *s, int64_t groups, int64_t range) {
    float *tile = s->tile + range * groups * TILE;
    double *sum = s->sum + range * groups;
    int64_t last = a->b.rows * (range + 1) / RANGES;
    memset(sum, 0, (size_t)groups * sizeof *sum);
    for (int64_t first = a->b.rows * range / RANGES; first < last; first += TILE) {
        int64_t keys = last - first < TILE ? last - first : TILE;
        exponentials(a, s, groups, first, keys, tile);
        for (int64_t g = 0; g < groups; g++) {
            float row = 0.0f;
#pragma omp simd reduction(+ : row)
            for (int64_t j = 0; j < keys; j++) row += tile[g * TILE + j];
            sum[g] += row;
        }
    }
}

static void gradient_range(const kd_infonce_args *a, const scratch *s, int64_t groups, int64_t range) {
    blasint d = (blasint)a->b.cols;
    float *tile = s->tile + range * groups * TILE, *danchor = s->danchor + range * groups * a->b.cols;
    int64_t last = a->b.rows * (range + 1) / RANGES;
    memset(danchor, 0, (size_t)(groups * a->b.cols) * sizeof *danchor);
    for (int64_t first = a->b.rows * range / RANGES; first < last; first += TILE) {
        int64_t keys = last - first < TILE ? last - first : TILE;
        exponentials(a, s, groups, first, keys, tile);
        for (int64_t g = 0; g < groups; g++)
            for (int64_t j = 0; j < keys; j++) tile[g * TILE + j] *= s->scale[g];
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)groups, d, (blasint)keys, 1.0f, tile, TILE,
                    a->b.data + first * a->b.ld, (blasint)a->b.ld, 1.0f, danchor, d);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)keys, d, (blasint)groups, 1.0f, tile, TILE,
                    s->anchor, d, 1.0f, a->db.data + first * a->db.ld, (blasint)a->db.ld);
    }
}

/* Adds the loss and turns denominators into gradient scales. */
static void close_denominators(const kd_infonce_args *a, const scratch *s, int64_t groups) {
    double share = (double)a->weight / (double)a->count, loss = 0.0;
    for (int64_t g = 0; g < groups; g++) {
        double sum = 0.0, positive = 0.0, members = a->nodes.ptr[g + 1] - a->nodes.ptr[g];
        const float *b = a->b.data + a->nodes.key[g] * a->b.ld, *anchor = s->anchor + g * a->b.cols;
        for (int range = 0; range < RANGES; range++) sum += s->sum[range * groups + g];
        for (int64_t c = 0; c < a->b.cols; c++) positive += (double)anchor[c] * b[c];
        loss += share * members * (log(sum) + (1.0 - positive) / a->temp);
        s->scale[g] = (float)(share * members / (sum * a->temp));
    }
    a->loss[0] += loss;
}

/* Partial anchor gradients into da, and the positive pair's share into both tables. */
static void scatter_anchors(const kd_infonce_args *a, const scratch *s, int64_t groups) {
    int64_t d = a->b.cols;
#pragma omp parallel for schedule(static)
    for (int64_t g = 0; g < groups; g++) {
        int64_t node = a->nodes.key[g], members = a->nodes.ptr[g + 1] - a->nodes.ptr[g];
        float pull = (float)((double)a->weight * (double)members / ((double)a->count * a->temp));
        float *da = a->da.data + node * a->da.ld, *db = a->db.data + node * a->db.ld;
        const float *b = a->b.data + node * a->b.ld;
        for (int range = 0; range < RANGES; range++)
            for (int64_t c = 0; c < d; c++) da[c] += s->danchor[(range * groups + g) * d + c];
        for (int64_t c = 0; c < d; c++) {
            da[c] -= pull * b[c];
            db[c] -= pull * s->anchor[g * d + c];
        }
    }
}

kd_status kd_cpu_infonce(kd_ctx *ctx, const kd_infonce_args *a) {
    int64_t groups = a->nodes.count[0], d = a->b.cols;
    scratch s = lay_out(ctx->workspace, a->count, d);
#pragma omp parallel for schedule(static)
    for (int64_t g = 0; g < groups; g++)
        memcpy(s.anchor + g * d, a->a.data + a->nodes.key[g] * a->a.ld, (size_t)d * sizeof(float));
#pragma omp parallel for schedule(dynamic, 1)
    for (int range = 0; range < RANGES; range++) sum_range(a, &s, groups, range);
    close_denominators(a, &s, groups);
#pragma omp parallel for schedule(dynamic, 1)
    for (int range = 0; range < RANGES; range++) gradient_range(a, &s, groups, range);
    scatter_anchors(a, &s, groups);
    return KD_OK;
}
