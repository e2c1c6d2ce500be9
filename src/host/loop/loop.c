#include "host/loop/loop.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/memory.h"
#include "kernels/trace.h"

kd_status kd_loop_allocate(kd_pool *pool, int64_t rows, int64_t batch, kd_loop *out) {
    out->batch = batch;
    out->steps = kd_loop_steps(out, rows);
    KD_OR_RETURN(kd_pool_alloc(pool, rows, sizeof(int32_t), "interactions", &out->order));
    KD_OR_RETURN(kd_pool_alloc(pool, KD_LOSS_PARTS, sizeof(double), "interactions", &out->step_loss));
    return kd_pool_alloc(pool, out->steps * KD_LOSS_PARTS, sizeof(double), "interactions", &out->loss);
}

int64_t kd_loop_workspace(int64_t rows) { return kd_permutation_workspace(rows); }

/* What is recorded. */
typedef struct one_step {
    const kd_loop *loop;
    const kd_pass *pass;
    int64_t count;
} one_step;

static kd_status run_step(kd_ctx *ctx, void *arg) {
    const one_step *s = arg;
    KD_OR_RETURN(s->pass->step(ctx, s->pass->context, s->count, s->loop));
    return kd_cursor_advance(ctx, s->count, s->pass->parts, s->loop->step_loss, s->loop->loss, s->pass->cursor);
}

/* Downloads the losses of a pass; sums [parts] = their sums over steps and ranks. */
static kd_status sum_losses(const kd_loop *l, const kd_pass *p, int64_t epoch, int64_t steps, double *sums) {
    kd_status status = KD_OK;
    double *loss = NULL;
    int64_t count = steps * p->parts;
    KD_TRY(kd_host_alloc(&loss, count, sizeof *loss, "step losses"));
    KD_TRY(kd_comm_allreduce_f64(l->comm, l->ctx, count, l->loss));
    KD_TRY(kd_download(l->ctx, loss, l->loss, count * (int64_t)sizeof *loss));
    for (int64_t part = 0; part < p->parts; part++) sums[part] = 0.0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(loss[i]))
            KD_FAIL_TO_CLEANUP(KD_ERR_NUMERIC,
                               "epoch %lld, stage %s, step %lld: the loss is not finite; lower lr, or look at the data",
                               (long long)epoch, kd_stage_name(p->stage), (long long)(i / p->parts));
        sums[i % p->parts] += loss[i];
    }
cleanup:
    free(loss);
    return status;
}

kd_status kd_loop_run(kd_loop *l, int64_t epoch, kd_pass *p, double *sums, bool *done) {
    int64_t steps = kd_loop_steps(l, p->rows), first = kd_progress_first_batch(l->progress, p->stage, p->part);
    kd_rng order = {l->seed, KD_RNG_SHUFFLE, p->instance, (uint32_t)epoch, NULL};
    *done = first < 0;
    p->done += first < 0 ? steps : first;
    if (*done) return KD_OK;
    KD_OR_RETURN(kd_permutation(l->ctx, p->rows, &order, l->order));
    if (first == 0) KD_OR_RETURN(kd_cursor_begin(l->ctx, epoch, p->cursor));
    for (int64_t i = first; i < steps; i++) {
        int64_t left = p->rows - i * l->batch;
        one_step step = {l, p, left < l->batch ? left : l->batch};
        KD_OR_RETURN(kd_progress_pause(l->progress, (kd_position){epoch, p->stage, p->part, i}, p->done++, p->total));
        if (p->stage == KD_STAGE_STEPS) kd_profile_step(l->ctx, epoch * steps + i);
        KD_OR_RETURN(kd_replay(l->ctx, run_step, &step, &p->recording[step.count < l->batch]));
    }
    return sum_losses(l, p, epoch, steps, sums);
}
