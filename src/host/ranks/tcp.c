#include "host/ranks/tcp.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/base/memory.h"
#include "host/ranks/rendezvous.h"
#include "host/ranks/socket.h"

enum {
    SLOW = 5, /* seconds that the rest of a frame may take */
    ECHO = 2  /* seconds from a death until all have heard of it */
};

/* What crosses a connection: a head and `bytes` more. */
typedef enum kind { DATA, ALIVE, LEAVING, ABORT } kind;
typedef struct head {
    int32_t kind;
    int32_t code; /* of ABORT: the job's exit code */
    int64_t bytes;
} head;

/* The other end of a connection: every other rank's, or rank 0's alone. */
typedef struct peer {
    kd_link link;
    bool left;
    double heard;  /* when something last came */
    char *data;    /* of the exchange under way, NULL: not here yet */
    int64_t bytes; /* of it */
} peer;

typedef struct tcp {
    kd_control control;
    int64_t timeout_s, first, last; /* peers are first .. last - 1 */
    peer *peer;
    pthread_t reader;
    pthread_mutex_t lock; /* of all below and of writing */
    pthread_cond_t came;
    bool closing;
} tcp;

/* In one piece: what begins to arrive arrives. */
static bool send_to(const peer *p, kind what, int code, const void *data, int64_t bytes) {
    head h = {what, code, bytes};
    char small[256], *frame = small;
    size_t size = sizeof h + (size_t)bytes;
    if (p->link.fd < 0 || (size > sizeof small && !(frame = malloc(size)))) return false;
    memcpy(frame, &h, sizeof h);
    if (bytes > 0) memcpy(frame + sizeof h, data, (size_t)bytes);
    bool sent = kd_write_all(p->link.fd, frame, size, kd_clock() + SLOW);
    if (frame != small) free(frame);
    return sent;
}

/* The process ends here, whatever its other threads are waiting for; the lock is held. Rank 0 takes all others with it,
 * and speaks for all: of several that fail at once one is heard. */
static _Noreturn void end_process(tcp *t, int code, const char *line) {
    if (line) dprintf(STDERR_FILENO, "kdiffe: %s\n", line);
    for (int64_t r = t->first; r < t->last; r++) send_to(&t->peer[r], ABORT, code, NULL, 0);
    _exit(code);
}

/* A rank is gone. kdiffe launch knows better what it died of; of rank 0's end rank 1 alone speaks. */
static _Noreturn void lost(tcp *t, int64_t r, bool died, const char *what) {
    char line[256];
    bool quiet = (died && getenv("KDIFFE_LAUNCHED")) || t->control.rank > 1;
    snprintf(line, sizeof line, "rank %lld of %lld on %s %s", (long long)r, (long long)t->control.ranks,
             t->peer[r].link.host, what);
    end_process(t, kd_exit_code(KD_ERR_MPI), quiet ? NULL : line);
}

static void take_frame(tcp *t, int64_t r) {
    peer *p = &t->peer[r];
    head h = {0};
    char *data = NULL;
    bool whole = kd_read_all(p->link.fd, &h, sizeof h, kd_clock() + SLOW) && h.bytes >= 0 && h.bytes < 1 << 30;
    if (whole && h.bytes > 0) {
        data = calloc((size_t)h.bytes + 1, 1);
        whole = data && kd_read_all(p->link.fd, data, (size_t)h.bytes, kd_clock() + SLOW);
    }
    pthread_mutex_lock(&t->lock);
    p->heard = kd_clock();
    if (!whole && !p->left && !t->closing) lost(t, r, true, "is gone: its connection has ended");
    if (whole && h.kind == ABORT) end_process(t, h.code, data);
    if (!whole || h.kind == LEAVING) p->left = true;
    if (whole && h.kind == DATA && !p->data) {
        p->data = data;
        p->bytes = h.bytes;
        data = NULL;
        pthread_cond_signal(&t->came);
    }
    pthread_mutex_unlock(&t->lock);
    free(data);
}

/* Signs of life, both ways. */
static void look_after(tcp *t, double *sent, double *looked) {
    double time = kd_clock();
    bool stopped = time - *looked > 2.0; /* this process was: it cannot blame the others */
    *looked = time;
    pthread_mutex_lock(&t->lock);
    for (int64_t r = t->first; r < t->last; r++) {
        peer *p = &t->peer[r];
        if (p->left) continue;
        if (stopped) p->heard = time;
        if (time - p->heard > (double)t->timeout_s) lost(t, r, false, "gives no sign of life (--comm-timeout)");
        if (time - *sent >= 1.0) send_to(p, ALIVE, 0, NULL, 0);
    }
    if (time - *sent >= 1.0) *sent = time;
    pthread_mutex_unlock(&t->lock);
}

static void *read_peers(void *context) {
    tcp *t = context;
    int64_t count = t->last - t->first;
    struct pollfd *ready = calloc((size_t)count, sizeof *ready);
    double sent = kd_clock(), looked = kd_clock();
    while (ready) {
        pthread_mutex_lock(&t->lock);
        bool closing = t->closing;
        for (int64_t i = 0; i < count; i++) /* poll passes over a negative one */
            ready[i] = (struct pollfd){t->peer[t->first + i].left ? -1 : t->peer[t->first + i].link.fd, POLLIN, 0};
        pthread_mutex_unlock(&t->lock);
        if (closing) break;
        if (poll(ready, (nfds_t)count, 100) > 0)
            for (int64_t i = 0; i < count; i++)
                if (ready[i].revents) take_frame(t, t->first + i);
        look_after(t, &sent, &looked);
    }
    free(ready);
    return NULL;
}

/* Waits until r's part of the exchange is here, to *until, which moves on while this process is stopped; the lock is
 * held. */
static kd_status await(tcp *t, int64_t r, int64_t bytes, double *until) {
    peer *p = &t->peer[r];
    double looked = kd_clock();
    while (!p->data) {
        struct timespec next;
        double time = kd_clock();
        if (time - looked > 2.0) *until += time - looked; /* as in look_after */
        looked = time;
        if (time > *until)
            return KD_FAIL(KD_ERR_MPI, "no answer from rank %lld of %lld on %s within %lld s (--comm-timeout)",
                           (long long)r, (long long)t->control.ranks, p->link.host, (long long)t->timeout_s);
        clock_gettime(CLOCK_REALTIME, &next);
        next.tv_sec++;
        pthread_cond_timedwait(&t->came, &t->lock, &next);
    }
    return p->bytes == bytes ? KD_OK : KD_FAIL(KD_ERR_MPI, "rank %lld exchanges something else", (long long)r);
}

static kd_status gather(kd_control *control, const void *mine, void *all, int64_t bytes) {
    kd_status status = KD_OK;
    tcp *t = (tcp *)control;
    int64_t ranks = control->ranks;
    char *row = all;
    /* rank 0 knows whom all wait for: the others leave it time to say so */
    double until = kd_clock() + (control->rank > 0 ? 2.0 * (double)t->timeout_s + SLOW : (double)t->timeout_s);
    pthread_mutex_lock(&t->lock);
    if (control->rank > 0) {
        send_to(&t->peer[0], DATA, 0, mine, bytes);
        KD_TRY(await(t, 0, ranks * bytes, &until));
        memcpy(all, t->peer[0].data, (size_t)(ranks * bytes));
    } else {
        memcpy(row, mine, (size_t)bytes);
        for (int64_t r = 1; r < ranks; r++) {
            KD_TRY(await(t, r, bytes, &until));
            memcpy(row + r * bytes, t->peer[r].data, (size_t)bytes);
        }
    }
    for (int64_t r = t->first; r < t->last; r++) { /* before the answer: the next exchange may follow at once */
        free(t->peer[r].data);
        t->peer[r].data = NULL;
    }
    for (int64_t r = 1; r < ranks && control->rank == 0; r++) send_to(&t->peer[r], DATA, 0, all, ranks * bytes);
cleanup:
    pthread_mutex_unlock(&t->lock);
    return status;
}

static void tcp_free(tcp *t) {
    for (int64_t r = t->first; r < t->last && t->peer; r++) {
        if (t->peer[r].link.fd >= 0) close(t->peer[r].link.fd);
        free(t->peer[r].data);
    }
    free(t->peer);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->came);
    free(t);
}

static void leave(kd_control *control) {
    tcp *t = (tcp *)control;
    pthread_mutex_lock(&t->lock);
    for (int64_t r = t->first; r < t->last; r++) send_to(&t->peer[r], LEAVING, 0, NULL, 0);
    t->closing = true;
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->reader, NULL);
    tcp_free(t);
}

static void abort_job(kd_control *control, int code, const char *line) {
    enum { ANSWER = 3 /* seconds that rank 0 has to speak, and to end this process by the reader's hand */ };
    tcp *t = (tcp *)control;
    /* sums that fail may be the echo of a death: then the reader hears of it now, and names who died */
    if (code == kd_exit_code(KD_ERR_NCCL)) sleep(ECHO);
    pthread_mutex_lock(&t->lock);
    if (control->rank == 0) end_process(t, code, line);
    send_to(&t->peer[0], ABORT, code, line, (int64_t)strlen(line) + 1);
    pthread_mutex_unlock(&t->lock);
    sleep(ANSWER);
    pthread_mutex_lock(&t->lock);
    end_process(t, code, line);
}

kd_status kd_tcp_open(const kd_world *world, int64_t timeout_s, kd_control **out) {
    kd_status status = KD_OK;
    kd_link *link = NULL;
    tcp *t = NULL;
    int64_t others = world->rank == 0 ? world->ranks : 1;
    *out = NULL;
    KD_TRY(kd_host_alloc(&t, 1, sizeof *t, "communicator"));
    *t = (tcp){.control = {world->rank, world->ranks, gather, leave, abort_job}, .timeout_s = timeout_s};
    t->first = world->rank == 0 ? 1 : 0;
    t->last = others;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->came, NULL);
    KD_TRY(kd_host_alloc(&link, world->ranks, sizeof *link, "communicator"));
    KD_TRY(kd_host_alloc(&t->peer, others, sizeof *t->peer, "communicator"));
    for (int64_t r = 0; r < others; r++) t->peer[r].link.fd = -1;
    KD_TRY(kd_rendezvous(world, timeout_s, link));
    for (int64_t r = t->first; r < others; r++) t->peer[r] = (peer){.link = link[r], .heard = kd_clock()};
    if (pthread_create(&t->reader, NULL, read_peers, t) != 0)
        KD_FAIL_TO_CLEANUP(KD_ERR_MEMORY, "communicator: no thread to be had");
    *out = &t->control;
cleanup:
    free(link);
    if (status != KD_OK && t) tcp_free(t);
    return status;
}
