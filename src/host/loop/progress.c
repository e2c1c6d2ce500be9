#include "host/loop/progress.h"

#include "host/base/signals.h"

const char *kd_stage_name(kd_stage stage) {
    static const char *const name[KD_STAGE_COUNT] = {"attention", "denoise_modalities", "denoise_kg", "sample", "steps",
                                                     "evaluate"};
    return name[stage];
}

const char *kd_loss_part_name(kd_loss_part part) {
    static const char *const name[KD_LOSS_PARTS] = {"bpr", "weight_decay", "contrastive"};
    return name[part];
}

/* Above every signal's number. */
enum { ASKED_BY_OBSERVER = 1 << 16 };

/* *caught = a signal that any rank has caught, or ASKED_BY_OBSERVER: neither need reach all of them between the same
 * two steps. */
static kd_status agree_to_stop(kd_progress *p, int *caught) {
    *caught = p->asked_to_stop ? ASKED_BY_OBSERVER : kd_signal_caught();
    KD_OR_RETURN(kd_comm_allreduce_max(p->comm, caught));
    if (*caught != ASKED_BY_OBSERVER) kd_signal_note(*caught);
    return KD_OK;
}

kd_status kd_progress_pause(kd_progress *p, kd_position at, int64_t done, int64_t total) {
    const kd_checkpointing *c = p->checkpoints;
    const kd_observer *o = p->observer;
    bool due = c && c->steps > 0 && p->steps >= c->steps;
    int caught = 0;
    if (o && o->progress && !o->progress(o->context, at.epoch, at.stage, done, total)) p->asked_to_stop = true;
    if (kd_comm_synchronizes_before(p->comm, p->pauses++)) KD_OR_RETURN(agree_to_stop(p, &caught));
    if (c && (due || caught)) KD_OR_RETURN(p->keep(p->keeper, at));
    p->steps++;
    if (caught == ASKED_BY_OBSERVER)
        return KD_FAIL(KD_ERR_INTERRUPTED, "stopped as asked in epoch %lld, stage %s", (long long)at.epoch,
                       kd_stage_name(at.stage));
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
