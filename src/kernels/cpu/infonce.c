/* InfoNCE over tiles of key rows. Anchors are taken in blocks whose exponentials fit a fixed room: made once, summed,
 * multiplied into the anchors' gradients, and, when the denominators are known, into the keys'. Where so many keys are
 * there that the room holds too few anchors, a range of keys has only a tile of exponentials at a time, of as many
 * anchors as its share of the room holds, and makes them twice. Keys are dealt out in a fixed number of ranges whose
 * partial sums are added in order. */
#include <math.h>
#include <string.h>

#include "host/base/error.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/outer.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/workspace.h"

enum {
    RANGES = KD_INFONCE_RANGES,
    TILE = KD_INFONCE_TILE,
    KEPT = KD_INFONCE_KEPT,
    PART = KEPT / (RANGES * TILE) / KD_OUTER_ROWS * KD_OUTER_ROWS, /* anchors whose tile fits a range's share */
    FEWEST_ANCHORS = 96 /* for fewer, filling a tile costs more than making exponentials twice */
};

_Static_assert((int)KD_OUTER_ROWS == (int)KD_INFONCE_ROWS && KD_INFONCE_COLUMNS % KD_OUTER_LANES == 0,
               "what anchors are padded to fits the workspace");
_Static_assert((RANGES + 1) * sizeof(double) <= KD_INFONCE_ANCHOR_BYTES, "so do their denominators");

/* Padded: anchors to whole blocks of rows, columns to whole vectors, with zeros. */
typedef struct scratch {
    int64_t rows, width; /* padded groups and columns */
    int64_t block;       /* anchors taken at a time, a multiple of KD_OUTER_ROWS */
    int64_t part;        /* of them at a time share a tile's exponentials, a multiple of KD_OUTER_ROWS */
    bool kept;           /* the block's exponentials all have a place of their own: part is block */
    double *sum;         /* [RANGES, rows] partial denominators */
    double *total;       /* [rows] denominators */
    float *anchor;       /* [rows, width] */
    float *scaled;       /* [rows, width] times the weight of the anchor's exponentials in the gradients */
    float *danchor;      /* [RANGES, rows, width] partial gradients before that weight */
    float *keys;         /* [RANGES, TILE, width] a tile of keys, */
    float *turned;       /* [RANGES, width, TILE] the same transposed, */
    float *dkeys;        /* [RANGES, TILE, width] and its gradient */
    float *exponential;  /* kept: [tiles of all ranges, part, TILE], else [RANGES, part, TILE]; at most KEPT */
} scratch;

/* Ranges are whole tiles, so that only the last tile of all is filled up with nothing. */
static int64_t tile_count(int64_t keys) { return (keys + TILE - 1) / TILE; }
static int64_t first_tile(int64_t keys, int64_t range) { return tile_count(keys) * range / RANGES; }
static int64_t tiles_of(int64_t keys, int64_t range) { return first_tile(keys, range + 1) - first_tile(keys, range); }

/* keys: the most that any rank has, so that all ranks take the same blocks. */
static scratch lay_out(void *workspace, int64_t groups, int64_t keys, int64_t width) {
    scratch s = {.rows = kd_round_up(groups, KD_OUTER_ROWS), .width = kd_round_up(width, KD_OUTER_LANES)};
    int64_t fit = KEPT / (TILE * tile_count(keys) + 1) / KD_OUTER_ROWS * KD_OUTER_ROWS;
    s.kept = fit >= FEWEST_ANCHORS;
    s.block = s.rows;
    if (s.kept && fit < s.rows) { /* blocks of one size */
        int64_t blocks = (s.rows + fit - 1) / fit;
        s.block = kd_round_up((s.rows + blocks - 1) / blocks, KD_OUTER_ROWS);
    }
    s.part = s.kept || s.block < PART ? s.block : PART;
    s.sum = workspace;
    s.total = s.sum + RANGES * s.rows;
    void *floats = s.total + s.rows;
    s.anchor = floats;
    s.scaled = s.anchor + s.rows * s.width;
    s.danchor = s.scaled + s.rows * s.width;
    s.keys = s.danchor + RANGES * s.rows * s.width;
    s.turned = s.keys + RANGES * TILE * s.width;
    s.dkeys = s.turned + RANGES * TILE * s.width;
    s.exponential = s.dkeys + RANGES * TILE * s.width;
    return s;
}

/* Anchors first .. first + count - 1 of the batch's groups; `padded` with rows of zeros. */
typedef struct anchors {
    int64_t first, count, padded;
} anchors;

/* The part of a block that begins with its anchor `begin`. */
static anchors part_of(const scratch *s, const anchors *block, int64_t begin) {
    int64_t left = block->count - begin, count = left < s->part ? left : s->part;
    return (anchors){block->first + begin, count, kd_round_up(count, KD_OUTER_ROWS)};
}

/* A tile of keys and where a part's exponentials with it lie. */
typedef struct tile {
    int64_t range, first, count;
    float *exponential;
} tile;

static tile tile_at(const kd_infonce_args *a, const scratch *s, int64_t range, int64_t index) {
    int64_t number = first_tile(a->b.rows, range) + index;
    tile t = {.range = range, .first = number * TILE};
    t.count = a->b.rows - t.first < TILE ? a->b.rows - t.first : TILE;
    t.exponential = s->exponential + (s->kept ? number : range) * s->part * TILE;
    return t;
}

/* The tile's keys, as they are and transposed. */
static void load_keys(const kd_infonce_args *a, const scratch *s, const tile *t) {
    int64_t d = a->b.cols;
    float *keys = s->keys + t->range * TILE * s->width, *turned = s->turned + t->range * TILE * s->width;
    for (int64_t j = 0; j < TILE; j++) {
        float *to = keys + j * s->width;
        memset(to, 0, (size_t)s->width * sizeof(float));
        if (j < t->count) memcpy(to, a->b.data + (t->first + j) * a->b.ld, (size_t)d * sizeof(float));
    }
    for (int64_t c = 0; c < d; c++)
        for (int64_t j = 0; j < TILE; j++) turned[c * TILE + j] = keys[j * s->width + c];
}

/* exponential [part, TILE] = exp((a_g . b_j - 1) / temp): unit rows, so no exponent is above 0. `sum`, unless NULL,
 * takes each anchor's. */
static void exponentials(const kd_infonce_args *a, const scratch *s, const anchors *part, const tile *t, double *sum) {
    const float *turned = s->turned + t->range * TILE * s->width, inverse = 1.0f / a->temp;
    for (int64_t g = 0; g < part->padded; g += KD_OUTER_ROWS) {
        float *e = t->exponential + g * TILE;
        kd_outer(a->b.cols, s->anchor + (part->first + g) * s->width, s->width, 1, turned, TILE, 0.0f, e, TILE, TILE);
#pragma omp simd
        for (int64_t j = 0; j < KD_OUTER_ROWS * TILE; j++) e[j] = kd_expf(e[j] * inverse - inverse);
        for (int64_t i = 0; sum && i < KD_OUTER_ROWS && g + i < part->count; i++)
            sum[g + i] += kd_sum(e + i * TILE, t->count);
    }
}

/* Denominators and, but for their weights, the anchors' gradients over one range of keys. */
static void anchors_of_range(const kd_infonce_args *a, const scratch *s, const anchors *block, int64_t range) {
    float *danchor = s->danchor + (range * s->rows + block->first) * s->width;
    const float *keys = s->keys + range * TILE * s->width;
    double *sum = s->sum + range * s->rows + block->first;
    memset(sum, 0, (size_t)block->count * sizeof(double));
    memset(danchor, 0, (size_t)(block->padded * s->width) * sizeof(float));
    for (int64_t i = 0; i < tiles_of(a->b.rows, range); i++) {
        tile t = tile_at(a, s, range, i);
        load_keys(a, s, &t);
        for (int64_t begin = 0; begin < block->count; begin += s->part) {
            anchors part = part_of(s, block, begin);
            exponentials(a, s, &part, &t, sum + begin);
            for (int64_t g = 0; g < part.padded; g += KD_OUTER_ROWS)
                kd_outer(t.count, t.exponential + g * TILE, TILE, 1, keys, s->width, 1.0f,
                         danchor + (begin + g) * s->width, s->width, s->width);
        }
    }
}

/* The gradients of one range of keys. */
static void keys_of_range(const kd_infonce_args *a, const scratch *s, const anchors *block, int64_t range) {
    float *dkeys = s->dkeys + range * TILE * s->width;
    for (int64_t i = tiles_of(a->b.rows, range) - 1; i >= 0; i--) { /* the last made may still be near */
        tile t = tile_at(a, s, range, i);
        if (!s->kept) load_keys(a, s, &t);
        for (int64_t begin = 0; begin < block->count; begin += s->part) {
            anchors part = part_of(s, block, begin);
            if (!s->kept) exponentials(a, s, &part, &t, NULL);
            for (int64_t j = 0; j < t.count; j += KD_OUTER_ROWS)
                kd_outer(part.count, t.exponential + j, 1, TILE, s->scaled + part.first * s->width, s->width,
                         begin > 0 ? 1.0f : 0.0f, dkeys + j * s->width, s->width, s->width);
        }
        for (int64_t j = 0; j < t.count; j++) {
            float *to = a->db.data + (t.first + j) * a->db.ld;
            for (int64_t c = 0; c < a->db.cols; c++) to[c] += dkeys[j * s->width + c];
        }
    }
}

static double members_of(const kd_infonce_args *a, int64_t g) { return a->nodes.ptr[g + 1] - a->nodes.ptr[g]; }

/* The row of b that is the group's positive; NULL if it is another rank's. */
static float *positive_of(const kd_infonce_args *a, int64_t g, kd_mat table) {
    int64_t row = a->nodes.key[g] - a->first_key;
    return row >= 0 && row < table.rows ? table.data + row * table.ld : NULL;
}

/* Writes an anchor's gradient and its scaled row once its denominator is whole; returns its loss. */
static double close_anchor(const kd_infonce_args *a, const scratch *s, int64_t g) {
    double share = (double)a->weight * members_of(a, g) / (double)a->count, sum = s->total[g], positive = 0.0;
    int64_t d = a->b.cols;
    const float *b = positive_of(a, g, a->b), *anchor = s->anchor + g * s->width;
    float *da = a->da.data + g * a->da.ld, *scaled = s->scaled + g * s->width;
    float push = (float)(share / (sum * a->temp)), pull = (float)(share / a->temp);
    for (int64_t c = 0; c < d; c++) {
        float weighted = 0.0f;
        for (int64_t range = 0; range < RANGES; range++) weighted += s->danchor[(range * s->rows + g) * s->width + c];
        da[c] += push * weighted;
        scaled[c] = push * anchor[c];
    }
    for (int64_t c = d; c < s->width; c++) scaled[c] = 0.0f;
    if (!b) return 0.0;
    for (int64_t c = 0; c < d; c++) {
        positive += (double)anchor[c] * b[c];
        da[c] -= pull * b[c];
    }
    return share * (log(sum) + (1.0 - positive) / a->temp);
}

static void load_anchors(const kd_infonce_args *a, const scratch *s, int64_t groups) {
    memset(s->anchor, 0, (size_t)(s->rows * s->width) * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t g = 0; g < groups; g++)
        memcpy(s->anchor + g * s->width, a->a.data + g * a->a.ld, (size_t)a->a.cols * sizeof(float));
}

/* The positive pairs' share in the keys' gradients. */
static void pull_keys(const kd_infonce_args *a, const scratch *s, int64_t groups) {
    for (int64_t g = 0; g < groups; g++) {
        float pull = (float)((double)a->weight * members_of(a, g) / ((double)a->count * a->temp));
        float *db = positive_of(a, g, a->db);
        for (int64_t c = 0; db && c < a->db.cols; c++) db[c] -= pull * s->anchor[g * s->width + c];
    }
}

kd_status kd_cpu_infonce(kd_ctx *ctx, const kd_infonce_args *a) {
    int64_t groups = a->nodes.count[0];
    scratch s = lay_out(ctx->workspace, groups, a->most_keys > 0 ? a->most_keys : a->b.rows, a->b.cols);
    double *row_loss = s.sum; /* an anchor's loss takes the place of its first partial sum */
    load_anchors(a, &s, groups);
    for (int64_t first = 0; first < groups; first += s.block) {
        int64_t count = groups - first < s.block ? groups - first : s.block;
        anchors block = {first, count, kd_round_up(count, KD_OUTER_ROWS)};
#pragma omp parallel for schedule(dynamic, 1)
        for (int64_t range = 0; range < RANGES; range++) anchors_of_range(a, &s, &block, range);
        for (int64_t g = first; g < first + count; g++) {
            s.total[g] = 0.0;
            for (int64_t range = 0; range < RANGES; range++) s.total[g] += s.sum[range * s.rows + g];
        }
        if (a->sum) KD_OR_RETURN(a->sum(a->sum_context, ctx, count, s.total + first));
#pragma omp parallel for schedule(static)
        for (int64_t g = first; g < first + count; g++) row_loss[g] = close_anchor(a, &s, g);
#pragma omp parallel for schedule(dynamic, 1)
        for (int64_t range = RANGES - 1; range >= 0; range--) keys_of_range(a, &s, &block, range);
    }
    for (int64_t g = 0; g < groups; g++) a->loss[0] += row_loss[g];
    pull_keys(a, &s, groups);
    return KD_OK;
}
