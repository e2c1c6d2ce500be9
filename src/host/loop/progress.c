#include "host/loop/progress.h"

#include "host/base/signals.h"

const char *kd_stage_name(kd_stage stage) {
    static const char *const name[KD_STAGE_COUNT] = {"attention", "denoise_modalities", "denoise_kg", "sample", "steps",
                                                     "evaluate"};
    return name[stage];
}

/* *caught = a signal that any rank has caught: it need not reach all of them between the same two steps. */
static kd_status agree_on_signal(kd_comm *comm, int *caught) {
    *caught = kd_signal_caught();
    kd_status status = kd_comm_allreduce_max(comm, caught);
    if (status == KD_OK) kd_signal_note(*caught);
    return status;
}

kd_status kd_progress_pause(kd_progress *p, kd_position at, int64_t done, int64_t total) {
    const kd_checkpointing *c = p->checkpoints;
    bool due = c && c->steps > 0 && p->steps >= c->steps;
    int caught = 0;
    if (kd_comm_synchronizes_before(p->comm, p->pauses++)) KD_OR_RETURN(agree_on_signal(p->comm, &caught));
    if (c && (due || caught)) KD_OR_RETURN(p->keep(p->keeper, at));
    p->steps++;
    if (p->observer && p->observer->progress)
        p->observer->progress(p->observer->context, at.epoch, at.stage, done, total);
    if (caught)
        return KD_FAIL(KD_ERR_INTERRUPTED, "stopped by signal %d in epoch %lld, stage %s", caught, (long long)at.epoch,
                       kd_stage_name(at.stage));
    return KD_OK;
}

int64_t kd_progress_first_batch(const kd_progress *p, kd_stage stage, int64_t part) {
    const kd_position *start = &p->start;
    if (!p->resuming || stage != start->stage || part > start->part) return 0;
    return part < start->part ? -1 : start->batch;
}
