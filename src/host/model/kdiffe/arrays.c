/* What a checkpoint keeps of the model. */
#include <stdio.h>

#include "host/model/kdiffe/kdiffe.h"

/* The model's tables and all else of one of the copies of its parameters. */
static void add_parameters(kd_run_arrays *a, const kd_kdiffe *m, const char *prefix, float *copy) {
    const kd_params *p = &m->params;
    const char *const name[] = {"users", "items", "entities"};
    const kd_mat table[] = {p->user, p->item, p->entity};
    kd_mat other[KD_MAX_PARAMS];
    int64_t others = 0;
    for (int i = 0; i < 3; i++) {
        kd_mat local = table[i];
        local.data = copy + (table[i].data - p->value);
        kd_run_arrays_add_columns(a, prefix, name[i], local);
    }
    for (int64_t i = 0; i < p->entries; i++) {
        if (p->entry[i].value.data < p->relation.data) continue;
        other[others] = p->entry[i].value;
        other[others].data = copy + (p->entry[i].value.data - p->value);
        others++;
    }
    kd_run_arrays_add_matrices(a, prefix, "others", others, other);
}

/* A parameter's place in one of the copies. */
static kd_mat in_copy(const kd_denoiser *d, float *copy, kd_mat value) {
    value.data = copy + (value.data - d->value);
    return value;
}

static void add_denoiser(kd_run_arrays *a, const char *of, kd_denoiser *d) {
    char prefix[80];
    const char *const what[] = {"value", "adam_m", "adam_v"};
    float *const copy[] = {d->value, d->m, d->v};
    for (int i = 0; i < 3; i++) {
        snprintf(prefix, sizeof prefix, "denoiser.%s.%s", of, what[i]);
        const kd_mat time[] = {in_copy(d, copy[i], d->w1_time), in_copy(d, copy[i], d->b1),
                               in_copy(d, copy[i], d->time_w), in_copy(d, copy[i], d->time_b)};
        kd_run_arrays_add_rows(a, prefix, "input", d->shape.width, in_copy(d, copy[i], d->w1));
        kd_run_arrays_add_rows(a, prefix, "output", d->shape.width, in_copy(d, copy[i], d->output));
        kd_run_arrays_add_matrices(a, prefix, "time", sizeof time / sizeof time[0], time);
    }
    snprintf(prefix, sizeof prefix, "denoiser.%s", of);
    kd_run_arrays_add(a, prefix, "cursor", KD_DTYPE_I64, sizeof(kd_cursor) / sizeof(int64_t), d->cursor);
}

/* What the sample stage has rebuilt and the rest of the epoch reads. */
static void add_graphs(kd_run_arrays *a, kd_kdiffe *m) {
    for (int64_t i = 0; i < m->plan->shape.modalities; i++) {
        const kd_modality_graph *g = &m->graphs.modality[i];
        int64_t entries = g->nodes + 2 * g->users * g->q;
        char prefix[80];
        snprintf(prefix, sizeof prefix, "graph.%s", m->plan->shape.modality[i]);
        kd_run_arrays_add(a, prefix, "row_ptr", KD_DTYPE_I64, g->nodes + 1, g->row_ptr);
        kd_run_arrays_add(a, prefix, "col", KD_DTYPE_I32, entries, g->col);
        kd_run_arrays_add(a, prefix, "val", KD_DTYPE_F32, entries, g->val);
        kd_run_arrays_add(a, prefix, "val_transpose", KD_DTYPE_F32, entries, g->val_transpose);
    }
    if (!m->plan->denoises_kg) return;
    const kd_kg *kg = &m->graphs.generated;
    kd_run_arrays_add(a, "kg", "head_ptr", KD_DTYPE_I64, kg->entities + 1, kg->head_ptr);
    kd_run_arrays_add(a, "kg", "tail", KD_DTYPE_I32, kg->capacity, kg->tail);
    kd_run_arrays_add(a, "kg", "relation", KD_DTYPE_I32, kg->capacity, kg->relation);
    kd_run_arrays_add(a, "kg", "tail_ptr", KD_DTYPE_I64, kg->entities + 1, kg->tail_ptr);
    kd_run_arrays_add(a, "kg", "in_head", KD_DTYPE_I32, kg->capacity, kg->in_head);
    kd_run_arrays_add(a, "kg", "in_edge", KD_DTYPE_I64, kg->capacity, kg->in_edge);
}

void kd_kdiffe_arrays(kd_model *model, kd_position at, kd_run_arrays *a) {
    kd_kdiffe *m = kd_kdiffe_of(model);
    /* between steps a denoiser's output is not read; what all ranks have room for */
    a->passing = m->diffusion.out;
    a->passing_bytes = m->diffusion.batch * m->diffusion.columns * (int64_t)sizeof(float);
    add_parameters(a, m, "value", m->params.value);
    add_parameters(a, m, "adam_m", m->params.m);
    add_parameters(a, m, "adam_v", m->params.v);
    for (int64_t i = 0; i < m->plan->shape.modalities; i++)
        add_denoiser(a, m->plan->shape.modality[i], &m->modality_denoiser[i]);
    if (m->plan->denoises_kg) {
        add_denoiser(a, "/kg", &m->kg_denoiser); /* no modality is called so */
        kd_run_arrays_add(a, "", "entity_mean", KD_DTYPE_F32, m->plan->shape.entities, m->guidance.entity_mean);
    }
    if (at.stage > KD_STAGE_SAMPLE) add_graphs(a, m);
}
