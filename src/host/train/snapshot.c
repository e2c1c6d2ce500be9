#include "host/train/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

/* Where each array lies. */
typedef struct source {
    const kd_model *model;
    kd_named_matrices matrices;
} source;

static kd_tensor tensor_of(const source *s, int64_t i) {
    kd_mat value = s->matrices.entry[i].value;
    const kd_layout *layout = s->matrices.entry[i].divided ? s->model->layout : NULL;
    int64_t cols = layout ? value.cols / layout->own.count * layout->width : value.cols;
    bool transposed = s->matrices.entry[i].transposed;
    kd_tensor out = {.rank = 2, .shape = {transposed ? cols : value.rows, transposed ? value.rows : cols}};
    snprintf(out.name, sizeof out.name, "%s", s->matrices.entry[i].name);
    return out;
}

/* A piece of a matrix that is transposed: small, and taken whole. */
static kd_status read_transposed(kd_ctx *ctx, kd_mat value, int64_t first, int64_t bytes, void *to) {
    kd_status status = KD_OK;
    float *room = NULL, *turned = NULL;
    if (!to) return KD_OK;
    KD_TRY(kd_host_alloc(&room, value.rows * value.cols, sizeof *room, "snapshot"));
    KD_TRY(kd_host_alloc(&turned, value.rows * value.cols, sizeof *turned, "snapshot"));
    KD_TRY(kd_mat_download(ctx, value, room));
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
    kd_mat value = s->matrices.entry[i].value;
    if (s->matrices.entry[i].transposed) return read_transposed(s->model->ctx, value, first, bytes, to);
    return kd_layout_read(s->model->ctx, s->matrices.entry[i].divided ? s->model->layout : NULL, value, first, bytes,
                          to);
}

static kd_status confirm(void *context) { return kd_comm_confirm(((const source *)context)->model->plan->comm); }

kd_status kd_snapshot_hand_over(const kd_model *model, int64_t epoch, const kd_observer *observer) {
    source s = {.model = model};
    kd_tensor tensor[KD_MAX_NAMED];
    if (!observer->best) return KD_OK;
    model->plan->kind->matrices(model, &s.matrices);
    for (int64_t i = 0; i < s.matrices.count; i++) tensor[i] = tensor_of(&s, i);
    kd_snapshot snapshot = {s.matrices.count, tensor, read_piece, confirm, &s};
    return observer->best(observer->context, epoch, &snapshot);
}
