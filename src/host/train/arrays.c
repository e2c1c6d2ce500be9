#include "host/train/arrays.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

static void add(kd_run_arrays *a, const char *prefix, const char *name, kd_dtype dtype, int64_t n, void *device) {
    kd_tensor *t = &a->tensor[a->count];
    *t = (kd_tensor){.rank = 1, .shape = {n, 1}, .dtype = dtype};
    snprintf(t->name, sizeof t->name, "%s%s%s", prefix, prefix[0] ? "." : "", name);
    a->device[a->count++] = device;
}

/* The model's tables and all else of one of the copies of its parameters. */
static void add_parameters(kd_run_arrays *a, const kd_model *m, const char *prefix, float *copy) {
    const kd_params *p = &m->params;
    const char *const name[] = {"users", "items", "entities"};
    const kd_mat table[] = {p->user, p->item, p->entity};
    int64_t rest = p->relation.data - p->value;
    for (int i = 0; i < 3; i++) {
        kd_mat here = table[i];
        here.data = copy + (table[i].data - p->value);
        add(a, prefix, name[i], KD_DTYPE_F32, here.rows * m->shape.whole_dim, here.data);
        if (kd_is_divided(&m->shape)) a->split[a->count - 1].columns = here;
    }
    add(a, prefix, "others", KD_DTYPE_F32, p->count - rest, copy + rest);
}

/* The rows of a denoiser's wide layer that are here. */
static void add_layer(kd_run_arrays *a, const char *prefix, const char *name, const kd_denoiser *d, kd_mat layer,
                      float *copy) {
    add(a, prefix, name, KD_DTYPE_F32, d->shape.width * layer.cols, copy + (layer.data - d->value));
    a->split[a->count - 1].rows = d->shape.width;
    a->split[a->count - 1].bytes = layer.cols * (int64_t)sizeof(float);
}

static void add_denoiser(kd_run_arrays *a, const char *of, kd_denoiser *d) {
    char prefix[80];
    const char *const what[] = {"value", "adam_m", "adam_v"};
    float *const copy[] = {d->value, d->m, d->v};
    int64_t whole = d->w1_time.data - d->value;
    for (int i = 0; i < 3; i++) {
        snprintf(prefix, sizeof prefix, "denoiser.%s.%s", of, what[i]);
        add_layer(a, prefix, "input", d, d->w1, copy[i]);
        add_layer(a, prefix, "output", d, d->output, copy[i]);
        add(a, prefix, "time", KD_DTYPE_F32, d->count - whole, copy[i] + whole);
    }
    snprintf(prefix, sizeof prefix, "denoiser.%s", of);
    add(a, prefix, "cursor", KD_DTYPE_I64, sizeof(kd_cursor) / sizeof(int64_t), d->cursor);
}

/* What the sample stage has rebuilt and the rest of the epoch reads. */
static void add_graphs(kd_run_arrays *a, kd_model *m) {
    for (int64_t i = 0; i < m->shape.modalities; i++) {
        const kd_modality_graph *g = &m->graphs.modality[i];
        int64_t entries = g->nodes + 2 * g->users * g->q;
        char prefix[80];
        snprintf(prefix, sizeof prefix, "graph.%s", m->shape.modality[i]);
        add(a, prefix, "row_ptr", KD_DTYPE_I64, g->nodes + 1, g->row_ptr);
        add(a, prefix, "col", KD_DTYPE_I32, entries, g->col);
        add(a, prefix, "val", KD_DTYPE_F32, entries, g->val);
        add(a, prefix, "val_transpose", KD_DTYPE_F32, entries, g->val_transpose);
    }
    if (!m->denoises_kg) return;
    const kd_kg *kg = &m->graphs.generated;
    add(a, "kg", "head_ptr", KD_DTYPE_I64, kg->entities + 1, kg->head_ptr);
    add(a, "kg", "tail", KD_DTYPE_I32, kg->capacity, kg->tail);
    add(a, "kg", "relation", KD_DTYPE_I32, kg->capacity, kg->relation);
    add(a, "kg", "tail_ptr", KD_DTYPE_I64, kg->entities + 1, kg->tail_ptr);
    add(a, "kg", "in_head", KD_DTYPE_I32, kg->capacity, kg->in_head);
    add(a, "kg", "in_edge", KD_DTYPE_I64, kg->capacity, kg->in_edge);
}

static bool is_wide(const kd_tensor *t) { return t->dtype == KD_DTYPE_F64 || t->dtype == KD_DTYPE_I64; }

/* Eight-byte elements first, so that they are aligned in the file. */
static void widest_first(kd_run_arrays *a) {
    kd_run_arrays from = *a;
    a->count = 0;
    for (int wide = 1; wide >= 0; wide--)
        for (int64_t i = 0; i < from.count; i++) {
            if (is_wide(&from.tensor[i]) != wide) continue;
            a->tensor[a->count] = from.tensor[i];
            a->split[a->count] = from.split[i];
            a->device[a->count++] = from.device[i];
        }
}

void kd_run_arrays_list(kd_model *m, kd_position at, kd_run_arrays *a) {
    /* between steps a denoiser's output is not read; what all ranks have room for */
    *a = (kd_run_arrays){.ctx = m->ctx, .comm = m->comm, .model = m, .passing = m->diffusion.out};
    a->passing_bytes = m->diffusion.batch * m->diffusion.columns * (int64_t)sizeof(float);
    add_parameters(a, m, "value", m->params.value);
    add_parameters(a, m, "adam_m", m->params.m);
    add_parameters(a, m, "adam_v", m->params.v);
    add(a, "", "cursor", KD_DTYPE_I64, sizeof(kd_cursor) / sizeof(int64_t), m->cursor);
    for (int64_t i = 0; i < m->shape.modalities; i++) add_denoiser(a, m->shape.modality[i], &m->modality_denoiser[i]);
    if (m->denoises_kg) {
        add_denoiser(a, "/kg", &m->kg_denoiser); /* no modality is called so */
        add(a, "", "entity_mean", KD_DTYPE_F32, m->shape.entities, m->guidance.entity_mean);
    }
    if (at.batch > 0) add(a, "", "losses", KD_DTYPE_F64, m->loss_steps * KD_LOSS_PARTS, m->loss);
    if (at.stage > KD_STAGE_SAMPLE) add_graphs(a, m);
    widest_first(a);
}

/* The bytes of a split array that are rank r's. */
static int64_t first_byte(const kd_run_arrays *a, int64_t i, int64_t r) {
    return kd_share_begin(kd_share_columns(a->split[i].rows), r, kd_comm_ranks(a->comm)) * a->split[i].bytes;
}

/* Bytes first .. end - 1 of array i, all of them rank r's, through all ranks' memories into the first one's `to`. */
static kd_status pass_on(const kd_run_arrays *a, int64_t i, int64_t r, int64_t first, int64_t end, char *to) {
    kd_status status = KD_OK;
    for (int64_t at = first; at < end; at += a->passing_bytes) {
        int64_t bytes = end - at < a->passing_bytes ? end - at : a->passing_bytes, n = bytes / (int64_t)sizeof(float);
        const char *mine = (const char *)a->device[i] + (at - first_byte(a, i, r));
        if (r == kd_comm_rank(a->comm))
            KD_TRY(kd_add_scaled(a->ctx, 1.0f, kd_mat_make((float *)(uintptr_t)mine, 1, n), 0.0f,
                                 kd_mat_make(a->passing, 1, n)));
        KD_TRY(kd_comm_broadcast(a->comm, a->ctx, r, bytes, a->passing));
        if (to) KD_TRY(kd_download(a->ctx, to + (at - first), a->passing, bytes));
    }
cleanup:
    return status;
}

kd_status kd_run_arrays_read(void *context, int64_t i, int64_t first, int64_t bytes, void *to) {
    kd_status status = KD_OK;
    const kd_run_arrays *a = context;
    if (a->split[i].columns.data) return kd_model_read(a->model, a->split[i].columns, true, first, bytes, to);
    if (!a->comm || a->split[i].rows == 0)
        return to ? kd_download(a->ctx, to, (const char *)a->device[i] + first, bytes) : KD_OK;
    for (int64_t r = 0; r < kd_comm_ranks(a->comm); r++) {
        int64_t begin = first_byte(a, i, r), end = first_byte(a, i, r + 1);
        begin = begin > first ? begin : first;
        end = end < first + bytes ? end : first + bytes;
        if (begin < end) KD_TRY(pass_on(a, i, r, begin, end, to ? (char *)to + (begin - first) : NULL));
    }
cleanup:
    return status;
}

/* The columns that are here, of whole rows in the file. */
static kd_status take_columns(const kd_run_arrays *a, int64_t i, const float *whole) {
    kd_status status = KD_OK;
    const kd_layout *t = &a->model->views.layout;
    kd_mat here = a->split[i].columns;
    float *packed;
    KD_TRY(kd_host_alloc(&packed, here.rows * here.cols, sizeof *packed, "columns of a checkpoint"));
    for (int64_t r = 0; r < here.rows; r++)
        memcpy(packed + r * here.cols, whole + r * t->width + t->own.first, (size_t)here.cols * sizeof *packed);
    status = kd_mat_upload(a->ctx, packed, here);
    if (status == KD_OK) status = kd_synchronize(a->ctx); /* before it is freed */
cleanup:
    free(packed);
    return status;
}

kd_status kd_run_arrays_take(const kd_run_arrays *a, int64_t i, const void *whole) {
    const kd_tensor *t = &a->tensor[i];
    int64_t rank = kd_comm_rank(a->comm), first = 0, end = t->shape[0] * (is_wide(t) ? 8 : 4);
    if (a->split[i].columns.data) return take_columns(a, i, whole);
    if (a->split[i].rows > 0) {
        first = first_byte(a, i, rank);
        end = first_byte(a, i, rank + 1);
    }
    return kd_upload(a->ctx, a->device[i], (const char *)whole + first, end - first);
}
