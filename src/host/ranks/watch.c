#include "host/ranks/watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "kernels/device.h"

struct kd_watch {
    kd_ctx *ctx;
    kd_ranks *ranks;
    kd_control *control;
    const char *who;
    int64_t timeout_s;
    pthread_mutex_t lock; /* of ranks */
    atomic_bool ending;
    pthread_t thread;
};

static _Noreturn void end_job(kd_watch *w, const char *why) {
    char line[1400];
    snprintf(line, sizeof line, "%s: %s", w->who, why);
    w->control->abort(w->control, kd_exit_code(KD_ERR_NCCL), line);
    abort();
}

static void *look(void *context) {
    enum { LOOKS = 10 /* a second */ };
    kd_watch *w = context;
    int64_t waits = 0, seen = 0; /* the same wait, in how many looks */
    while (!w->ending) {
        char text[96];
        usleep(1000000 / LOOKS);
        pthread_mutex_lock(&w->lock);
        if (w->ranks && w->ranks->health(w->ranks) != KD_OK) end_job(w, kd_last_error());
        pthread_mutex_unlock(&w->lock);
        int64_t waiting = kd_ctx_waiting(w->ctx);
        seen = waiting && waiting == waits ? seen + 1 : 0; /* counted in looks: a process that is stopped makes none */
        waits = waiting;
        snprintf(text, sizeof text, "no answer from the other ranks within %lld s (--comm-timeout)",
                 (long long)w->timeout_s);
        if (seen > w->timeout_s * LOOKS) end_job(w, text);
    }
    return NULL;
}

kd_status kd_watch_begin(kd_ctx *ctx, kd_ranks *ranks, kd_control *control, const char *who, int64_t timeout_s,
                         kd_watch **out) {
    kd_watch *w = NULL;
    KD_OR_RETURN(kd_host_alloc(&w, 1, sizeof *w, "communicator"));
    *w = (kd_watch){.ctx = ctx, .ranks = ranks, .control = control, .who = who, .timeout_s = timeout_s};
    pthread_mutex_init(&w->lock, NULL);
    if (pthread_create(&w->thread, NULL, look, w) != 0) {
        free(w);
        return KD_FAIL(KD_ERR_MEMORY, "communicator: no thread to be had");
    }
    *out = w;
    return KD_OK;
}

void kd_watch_forget(kd_watch *w) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->ranks = NULL;
    pthread_mutex_unlock(&w->lock);
}

void kd_watch_end(kd_watch *w) {
    if (!w) return;
    w->ending = true;
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
