#include "host/train/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

enum { MOST = KD_MAX_PARAMS + 2 };

/* Where each array lies. Linear transforms are [F, dim] here and [dim, F] under the published names. */
typedef struct source {
    const kd_model *m;
    struct {
        kd_mat value;
        bool divided, turned;
    } part[MOST];
} source;

static void add(source *s, int64_t i, kd_mat value, bool divided, const char *name, kd_tensor *out) {
    const char *suffix = strstr(name, "_trans.weight");
    bool turned = suffix && suffix[strlen("_trans.weight")] == '\0';
    int64_t cols = divided ? value.cols / s->m->shape.dim * s->m->shape.whole_dim : value.cols;
    s->part[i].value = value;
    s->part[i].divided = divided;
    s->part[i].turned = turned;
    *out = (kd_tensor){.rank = 2, .shape = {turned ? cols : value.rows, turned ? value.rows : cols}};
    snprintf(out->name, sizeof out->name, "%s", name);
}

/* A piece of a matrix that is turned: small, and taken whole. */
static kd_status read_turned(const kd_model *m, kd_mat value, int64_t first, int64_t bytes, void *to) {
    kd_status status = KD_OK;
    float *room = NULL, *turned = NULL;
    if (!to) return KD_OK;
    KD_TRY(kd_host_alloc(&room, value.rows * value.cols, sizeof *room, "snapshot"));
    KD_TRY(kd_host_alloc(&turned, value.rows * value.cols, sizeof *turned, "snapshot"));
    KD_TRY(kd_mat_download(m->ctx, value, room));
    for (int64_t i = 0; i < value.rows * value.cols; i++)
        turned[i % value.cols * value.rows + i / value.cols] = room[i];
    memcpy(to, (const char *)turned + first, (size_t)bytes);
cleanup:
    free(room);
    free(turned);
    return status;
}

/* A kd_tensor_source. */
static kd_status read_piece(void *context, int64_t i, int64_t first, int64_t bytes, void *to) {
    const source *s = context;
    if (s->part[i].turned) return read_turned(s->m, s->part[i].value, first, bytes, to);
    return kd_model_read(s->m, s->part[i].value, s->part[i].divided, first, bytes, to);
}

kd_status kd_snapshot_hand_over(kd_model *m, int64_t epoch, const kd_observer *observer) {
    source s = {.m = m};
    kd_tensor tensor[MOST];
    int64_t count = m->params.entries;
    bool divided = kd_is_divided(&m->shape);
    if (!observer->best) return KD_OK;
    for (int64_t i = 0; i < count; i++)
        add(&s, i, m->params.entry[i].value, m->params.entry[i].divided, m->params.entry[i].name, &tensor[i]);
    add(&s, count, kd_model_user_view(m), divided, "view.user", &tensor[count]);
    add(&s, count + 1, kd_model_item_view(m), divided, "view.item", &tensor[count + 1]);
    kd_snapshot snapshot = {count + 2, tensor, read_piece, &s};
    return observer->best(observer->context, epoch, &snapshot);
}
