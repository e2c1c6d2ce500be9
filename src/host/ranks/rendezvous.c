#include "host/ranks/rendezvous.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/base/file.h"
#include "host/ranks/socket.h"

enum {
    CALLERS = 64, /* that have not said yet who they are */
    PATIENCE = 5  /* seconds that they have for it */
};

/* What a rank says when it arrives, */
typedef struct hello {
    char magic[8];
    uint64_t job, nonce; /* nonce: of the file that told the address; 0 without */
    int64_t rank, ranks;
    char host[KD_HOST_NAME];
} hello;

/* and what it is answered, at once and when all are there. */
typedef struct answer {
    char magic[8];
    char refusal[120];       /* empty: welcome */
    char host[KD_HOST_NAME]; /* of rank 0 */
} answer;

static const char HELLO[8] = "kdiffe>1", ANSWER[8] = "kdiffe<1";

/* Rank 0's side while ranks arrive. */
typedef struct reception {
    const kd_world *world;
    kd_link *link;
    uint64_t nonce;
    int listener;
    bool published;
    int64_t present;
    struct {
        int fd; /* -1: none */
        double until;
        size_t got;
        hello said;
    } caller[CALLERS];
} reception;

static bool send_answer(int fd, const char *refusal) {
    answer a = {.refusal = ""};
    memcpy(a.magic, ANSWER, sizeof ANSWER);
    snprintf(a.refusal, sizeof a.refusal, "%s", refusal);
    gethostname(a.host, sizeof a.host - 1);
    return kd_write_all(fd, &a, sizeof a, kd_clock() + 1.0);
}

/* A caller has said who it is. One that is no rank at all, such as a port scanner, is left alone. */
static void answer_caller(reception *r, int at) {
    const hello *h = &r->caller[at].said;
    int fd = r->caller[at].fd;
    char refusal[sizeof((answer *)0)->refusal] = "";
    bool rank = memcmp(h->magic, HELLO, sizeof HELLO) == 0;
    r->caller[at].fd = -1;
    if (rank && (h->job != r->world->job || h->ranks != r->world->ranks || h->nonce != r->nonce))
        snprintf(refusal, sizeof refusal, "this is another job");
    else if (rank && (h->rank < 1 || h->rank >= r->world->ranks || r->link[h->rank].fd >= 0))
        snprintf(refusal, sizeof refusal, "rank %" PRId64 " is there already", h->rank);
    if (!rank || !send_answer(fd, refusal) || refusal[0]) {
        close(fd);
        return;
    }
    r->link[h->rank].fd = fd;
    memcpy(r->link[h->rank].host, h->host, sizeof h->host);
    r->link[h->rank].host[sizeof h->host - 1] = '\0';
    r->present++;
}

/* What a caller has sent so far; none can keep the others waiting. */
static void hear_caller(reception *r, int at) {
    char *to = (char *)&r->caller[at].said + r->caller[at].got;
    ssize_t n = recv(r->caller[at].fd, to, sizeof(hello) - r->caller[at].got, MSG_DONTWAIT);
    if (n > 0) r->caller[at].got += (size_t)n;
    if (r->caller[at].got == sizeof(hello)) {
        answer_caller(r, at);
    } else if (n == 0) {
        close(r->caller[at].fd);
        r->caller[at].fd = -1;
    }
}

static void let_in(reception *r) {
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), at = 0;
    while (at < CALLERS && r->caller[at].fd >= 0) at++;
    if (fd >= 0 && at == CALLERS) close(fd); /* it will try again */
    if (fd < 0 || at == CALLERS) return;
    r->caller[at].fd = fd;
    r->caller[at].got = 0;
    r->caller[at].until = kd_clock() + PATIENCE;
}

static void receive(reception *r, double until) {
    while (r->present < r->world->ranks && kd_clock() < until) {
        struct pollfd ready[CALLERS + 1];
        for (int i = 0; i < CALLERS; i++) ready[i] = (struct pollfd){r->caller[i].fd, POLLIN, 0};
        ready[CALLERS] = (struct pollfd){r->listener, POLLIN, 0};
        poll(ready, CALLERS + 1, 100);
        for (int i = 0; i < CALLERS; i++) {
            if (r->caller[i].fd >= 0 && ready[i].revents) hear_caller(r, i);
            if (r->caller[i].fd < 0 || kd_clock() < r->caller[i].until) continue;
            close(r->caller[i].fd);
            r->caller[i].fd = -1;
        }
        if (ready[CALLERS].revents) let_in(r);
    }
}

/* The file is whole or not there at all; what another job left is replaced. */
static kd_status publish(reception *r) {
    kd_atomic_file file;
    char addresses[2048], host[KD_HOST_NAME] = "";
    kd_list_addresses(addresses, sizeof addresses);
    gethostname(host, sizeof host - 1);
    if (getrandom(&r->nonce, sizeof r->nonce, 0) != sizeof r->nonce) r->nonce = (uint64_t)getpid();
    KD_OR_RETURN(kd_atomic_open(r->world->file, &file));
    fprintf(file.stream,
            "kdiffe rendezvous 1\njob %016" PRIx64 "\nranks %" PRId64 "\nnonce %016" PRIx64
            "\nhost %s\nport %d\nat %s\n",
            r->world->job, r->world->ranks, r->nonce, host, kd_port_of(r->listener), addresses);
    KD_OR_RETURN(kd_atomic_commit(&file));
    r->published = true;
    return KD_OK;
}

/* A connection each, and some more. */
static void allow_files(int64_t ranks) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)ranks + 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* A connection that ends before all are there. kdiffe launch knows what the rank died of, and says it. */
static kd_status gone(int64_t rank, const char *host) {
    if (getenv("KDIFFE_LAUNCHED")) return KD_FAIL(KD_ERR_MPI, "%s", "");
    return KD_FAIL(KD_ERR_MPI, "rank %" PRId64 "%s%s has gone before all were there", rank, host[0] ? " on " : "",
                   host);
}

/* Tells all who have come that all have, or that they wait in vain. */
static kd_status dismiss(const reception *r, int64_t timeout_s) {
    int64_t ranks = r->world->ranks, missing = 1;
    while (missing < ranks && r->link[missing].fd >= 0) missing++;
    for (int64_t i = 1; i < ranks; i++) {
        if (r->link[i].fd < 0 || send_answer(r->link[i].fd, missing < ranks ? "in vain" : "") || missing < ranks)
            continue;
        return gone(i, r->link[i].host);
    }
    if (missing == ranks) return KD_OK;
    return KD_FAIL(KD_ERR_MPI,
                   "%" PRId64 " of %" PRId64 " ranks are there after %" PRId64 " s (--comm-timeout): rank %" PRId64
                   " has not come",
                   r->present, ranks, timeout_s, missing);
}

static kd_status gather_ranks(const kd_world *w, int64_t timeout_s, kd_link *link) {
    kd_status status = KD_OK;
    const char *inherited = getenv("KDIFFE_LISTEN_FD"); /* kdiffe launch holds the port before any rank is there */
    reception r = {.world = w, .link = link, .listener = inherited && !w->file ? atoi(inherited) : -1, .present = 1};
    for (int i = 0; i < CALLERS; i++) r.caller[i].fd = -1;
    allow_files(w->ranks);
    if (r.listener < 0) KD_TRY(kd_listen(w->file ? 0 : w->port, &r.listener));
    if (w->file) KD_TRY(publish(&r));
    receive(&r, kd_clock() + (double)timeout_s);
    status = dismiss(&r, timeout_s);
cleanup:
    for (int i = 0; i < CALLERS; i++)
        if (r.caller[i].fd >= 0) close(r.caller[i].fd);
    if (r.listener >= 0) close(r.listener);
    if (r.published) unlink(w->file);
    return status;
}

/* Says hello; true if that was rank 0 of this job. *why: what else it was. */
static bool greet(const kd_world *w, uint64_t nonce, kd_link *link, char *why, size_t size) {
    hello h = {.job = w->job, .nonce = nonce, .rank = w->rank, .ranks = w->ranks};
    answer a;
    double soon = kd_clock() + PATIENCE + 1.0;
    memcpy(h.magic, HELLO, sizeof HELLO);
    gethostname(h.host, sizeof h.host - 1);
    bool answered = kd_write_all(link->fd, &h, sizeof h, soon) && kd_read_all(link->fd, &a, sizeof a, soon);
    bool first = answered && memcmp(a.magic, ANSWER, sizeof ANSWER) == 0;
    if (first) a.refusal[sizeof a.refusal - 1] = '\0';
    if (first && !a.refusal[0]) return true;
    snprintf(why, size, first ? "rank 0 refuses: %s" : "what listens there is not rank 0%s", first ? a.refusal : "");
    close(link->fd);
    link->fd = -1;
    return false;
}

/* One try through the file. What it says may be of another job, or out of date: rank 0 may not have written its own
 * yet. */
static bool try_file(const kd_world *w, double until, kd_link *link, char *why, size_t size) {
    char text[4096], host[KD_HOST_NAME] = "", own[KD_HOST_NAME] = "", port[8] = "", *at, *rest = NULL;
    uint64_t job, nonce;
    int64_t ranks;
    FILE *file = fopen(w->file, "r");
    snprintf(why, size, "is not there");
    if (!file) return false;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    gethostname(own, sizeof own - 1);
    snprintf(why, size, "is not a rendezvous file");
    if (sscanf(text,
               "kdiffe rendezvous 1\njob %" SCNx64 "\nranks %" SCNd64 "\nnonce %" SCNx64 "\nhost %63s\nport %7s\n",
               &job, &ranks, &nonce, host, port) != 5 ||
        !(at = strstr(text, "\nat ")))
        return false;
    snprintf(why, size, "is of another job");
    if (job != w->job || ranks != w->ranks) return false;
    snprintf(why, size, "is stale: nobody listens where it says");
    /* on one machine loopback is the surest way, and may be the only one */
    if (strcmp(host, own) == 0 && kd_connect("127.0.0.1", port, until, &link->fd) && greet(w, nonce, link, why, size))
        return true;
    for (char *word = strtok_r(at + 4, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
        if (kd_connect(word, port, until, &link->fd) && greet(w, nonce, link, why, size)) return true;
    return false;
}

static kd_status join(const kd_world *w, int64_t timeout_s, kd_link *link) {
    double until = kd_clock() + (double)timeout_s;
    char port[16], why[160] = "rank 0 is not there";
    answer all;
    bool met = false;
    snprintf(port, sizeof port, "%d", w->port);
    while (!met && kd_clock() < until) {
        if (w->file)
            met = try_file(w, until, link, why, sizeof why);
        else if (kd_connect(w->host, port, until, &link->fd))
            met = greet(w, 0, link, why, sizeof why);
        if (!met) usleep(100000);
    }
    if (!met && w->file)
        return KD_FAIL(KD_ERR_MPI, "%s: %s, for %" PRId64 " s (--comm-timeout)", w->file, why, timeout_s);
    if (!met)
        return KD_FAIL(KD_ERR_MPI, "%s:%d: %s, for %" PRId64 " s (--comm-timeout)", w->host, w->port, why, timeout_s);
    if (!kd_read_all(link->fd, &all, sizeof all, kd_clock() + (double)timeout_s + 2.0)) return gone(0, "");
    if (all.refusal[0]) return KD_FAIL(KD_ERR_MPI, "%s", ""); /* rank 0 says who is missing */
    memcpy(link->host, all.host, sizeof link->host);
    link->host[sizeof link->host - 1] = '\0';
    return KD_OK;
}

kd_status kd_rendezvous(const kd_world *w, int64_t timeout_s, kd_link *link) {
    for (int64_t r = 0; r < w->ranks; r++) link[r] = (kd_link){.fd = -1};
    kd_status status = w->rank == 0 ? gather_ranks(w, timeout_s, link) : join(w, timeout_s, &link[0]);
    for (int64_t r = 0; r < w->ranks && status != KD_OK; r++)
        if (link[r].fd >= 0) close(link[r].fd);
    return status;
}
