#include "host/dist/rendezvous.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host/util/file.h"

static const char MAGIC[8] = "kdiffe 1";

/* Rank 0's answer. */
typedef struct answer {
    char magic[8];
    char refusal[120]; /* empty: welcome */
} answer;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool kd_read_all(int fd, void *to, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = recv(fd, (char *)to + at, bytes - at, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

bool kd_write_all(int fd, const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = send(fd, (const char *)from + at, bytes - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

static void set_up_socket(int fd, int64_t timeout_s) {
    struct timeval wait = {.tv_sec = timeout_s};
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static kd_hello hello_of(const kd_world *w) {
    kd_hello hello = {.job = w->job, .rank = w->rank, .ranks = w->ranks};
    memcpy(hello.magic, MAGIC, sizeof MAGIC);
    gethostname(hello.host, sizeof hello.host - 1);
    return hello;
}

static int listen_in(const struct addrinfo *a) {
    int on = 1, off = 0, fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* IPv4 comes here too */
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1024) == 0) return fd;
    close(fd);
    return -1;
}

/* A listening socket: at the world's address where it is a loopback address, else at all of this machine's; port 0
 * takes a free one. */
static kd_status listen_at(const kd_world *w, int *out) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    static const int FAMILIES[] = {AF_INET6, AF_INET};
    const char *inherited = getenv("KDIFFE_LISTEN_FD"); /* kdiffe launch holds the port before any rank is there */
    bool loopback = strncmp(w->host, "127.", 4) == 0 || strcmp(w->host, "localhost") == 0 || !strcmp(w->host, "::1");
    char port[16];
    *out = -1;
    if (inherited && !w->file) {
        *out = atoi(inherited);
        return KD_OK;
    }
    snprintf(port, sizeof port, "%d", w->file ? 0 : w->port);
    if (getaddrinfo(loopback ? w->host : NULL, port, &hints, &list) != 0)
        return KD_FAIL(KD_ERR_MPI, "%s: is no address to listen at", w->host);
    for (int family = 0; family < 2; family++)
        for (struct addrinfo *a = list; a && *out < 0; a = a->ai_next)
            if (a->ai_family == FAMILIES[family]) *out = listen_in(a);
    int error = errno;
    freeaddrinfo(list);
    return *out >= 0 ? KD_OK : KD_FAIL(KD_ERR_MPI, "port %s: rank 0 cannot listen there: %s", port, strerror(error));
}

/* "HOST:PORT HOST:PORT ...": where others may reach the socket, loopback last. */
static void list_addresses(int fd, char *out, size_t size) {
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    struct ifaddrs *list = NULL;
    char host[NI_MAXHOST];
    getsockname(fd, (struct sockaddr *)&bound, &length);
    int port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                 : ((struct sockaddr_in *)&bound)->sin_port);
    if (getifaddrs(&list) != 0) list = NULL;
    out[0] = '\0';
    for (int loopback = 0; loopback < 2; loopback++)
        for (struct ifaddrs *i = list; i; i = i->ifa_next) {
            size_t used = strlen(out);
            bool is_loopback = i->ifa_flags & IFF_LOOPBACK;
            if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP)) continue;
            if (is_loopback != loopback) continue;
            if (getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in), host, sizeof host, NULL, 0, NI_NUMERICHOST))
                continue;
            snprintf(out + used, size - used, "%s%s:%d", used ? " " : "", host, port);
        }
    freeifaddrs(list);
}

/* The file is whole or not there at all; what another job left is replaced. */
static kd_status publish(const kd_world *w, int fd) {
    kd_status status = KD_OK;
    kd_atomic_file file;
    char addresses[2048];
    list_addresses(fd, addresses, sizeof addresses);
    KD_TRY(kd_atomic_open(w->file, &file));
    fprintf(file.stream, "kdiffe rendezvous 1\njob %016llx\nranks %lld\nat %s\n", (unsigned long long)w->job,
            (long long)w->ranks, addresses);
    KD_TRY(kd_atomic_commit(&file));
cleanup:
    return status;
}

static bool try_connect(const char *host, const char *port, double until, int *out) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &list) != 0) return false;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        double left = until - now();
        struct timeval wait = {.tv_sec = left > 2.0 ? 2 : 1}; /* of the connection too: an address may be a dead end */
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0) continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) break;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    *out = fd;
    return fd >= 0;
}

/* One try to reach rank 0 through the file. A file of another job, or a listener that is gone, is passed over: rank 0
 * may not have written its own yet. */
static bool try_file(const kd_world *w, double until, int *out, const char **why) {
    char text[4096], *at, *rest = NULL;
    unsigned long long job;
    long long ranks;
    FILE *file = fopen(w->file, "r");
    *why = "is not there";
    if (!file) return false;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    *why = "is not a rendezvous file";
    if (sscanf(text, "kdiffe rendezvous 1\njob %llx\nranks %lld\n", &job, &ranks) != 2) return false;
    *why = "is of another job";
    if (job != w->job || ranks != w->ranks || !(at = strstr(text, "\nat "))) return false;
    *why = "is stale: nobody listens where it says";
    for (char *word = strtok_r(at + 4, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        char *colon = strrchr(word, ':');
        if (!colon) continue;
        *colon = '\0';
        if (try_connect(word, colon + 1, until, out)) return true;
    }
    return false;
}

/* Tries until rank 0 is there. */
static kd_status connect_to_first(const kd_world *w, int64_t timeout_s, int *out) {
    double until = now() + (double)timeout_s;
    char port[16];
    const char *why = "";
    snprintf(port, sizeof port, "%d", w->port);
    while (now() < until) {
        if (w->file ? try_file(w, until, out, &why) : try_connect(w->host, port, until, out)) return KD_OK;
        usleep(50000);
    }
    if (w->file) return KD_FAIL(KD_ERR_MPI, "%s: %s, for %lld s (--comm-timeout)", w->file, why, (long long)timeout_s);
    return KD_FAIL(KD_ERR_MPI, "%s:%d: rank 0 is not there, for %lld s (--comm-timeout)", w->host, w->port,
                   (long long)timeout_s);
}

/* A connection that ends before all are there. kdiffe launch knows what the rank died of, and says it. */
static kd_status gone(int64_t rank, const char *host) {
    if (getenv("KDIFFE_LAUNCHED")) return KD_FAIL(KD_ERR_MPI, "%s", "");
    return KD_FAIL(KD_ERR_MPI, "rank %lld%s%s has gone before all were there", (long long)rank, host[0] ? " on " : "",
                   host);
}

static kd_status join(const kd_world *w, int64_t timeout_s, kd_link *link) {
    kd_hello hello = hello_of(w), first = {0};
    answer said;
    kd_status status = connect_to_first(w, timeout_s, &link->fd);
    if (status != KD_OK) return status;
    set_up_socket(link->fd, timeout_s + 2); /* rank 0 gives up first, and says who is missing */
    if (!kd_write_all(link->fd, &hello, sizeof hello) || !kd_read_all(link->fd, &said, sizeof said)) return gone(0, "");
    if (memcmp(said.magic, MAGIC, sizeof MAGIC) != 0)
        return KD_FAIL(KD_ERR_MPI, "what listens at rank 0's address is not rank 0");
    said.refusal[sizeof said.refusal - 1] = '\0';
    if (said.refusal[0]) return KD_FAIL(KD_ERR_MPI, "rank 0 refuses: %s", said.refusal);
    if (!kd_read_all(link->fd, &first, sizeof first)) return gone(0, "");
    memcpy(link->host, first.host, sizeof link->host);
    link->host[sizeof link->host - 1] = '\0';
    return KD_OK;
}

/* Lets one caller in, or tells it why not. A caller that is no rank at all, such as a port scanner, is left alone. */
static void answer_caller(const kd_world *w, int fd, kd_link *link, int64_t *here) {
    kd_hello hello;
    answer said = {.refusal = ""};
    memcpy(said.magic, MAGIC, sizeof MAGIC);
    set_up_socket(fd, 2);
    bool rank = kd_read_all(fd, &hello, sizeof hello) && memcmp(hello.magic, MAGIC, sizeof MAGIC) == 0;
    if (rank && (hello.job != w->job || hello.ranks != w->ranks))
        snprintf(said.refusal, sizeof said.refusal, "this is another job");
    else if (rank && (hello.rank < 1 || hello.rank >= w->ranks || link[hello.rank].fd >= 0))
        snprintf(said.refusal, sizeof said.refusal, "rank %lld is there already", (long long)hello.rank);
    if (!rank || !kd_write_all(fd, &said, sizeof said) || said.refusal[0]) {
        close(fd);
        return;
    }
    link[hello.rank].fd = fd;
    memcpy(link[hello.rank].host, hello.host, sizeof hello.host);
    link[hello.rank].host[sizeof hello.host - 1] = '\0';
    (*here)++;
}

static kd_status missing(const kd_world *w, const kd_link *link, int64_t here, int64_t timeout_s) {
    int64_t r = 1;
    while (link[r].fd >= 0) r++;
    return KD_FAIL(KD_ERR_MPI, "%lld of %lld ranks are there after %lld s (--comm-timeout): rank %lld has not come",
                   (long long)here, (long long)w->ranks, (long long)timeout_s, (long long)r);
}

static kd_status gather_ranks(const kd_world *w, int64_t timeout_s, kd_link *link) {
    kd_status status = KD_OK;
    kd_hello hello = hello_of(w);
    int listener = -1;
    int64_t here = 1;
    double until = now() + (double)timeout_s;
    KD_TRY(listen_at(w, &listener));
    if (w->file) KD_TRY(publish(w, listener));
    while (here < w->ranks) {
        struct pollfd ready = {.fd = listener, .events = POLLIN};
        if (now() >= until) {
            status = missing(w, link, here, timeout_s);
            goto cleanup;
        }
        if (poll(&ready, 1, 100) < 1) continue;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) answer_caller(w, fd, link, &here);
    }
    for (int64_t r = 1; r < w->ranks; r++) {
        set_up_socket(link[r].fd, timeout_s);
        if (!kd_write_all(link[r].fd, &hello, sizeof hello)) KD_TRY(gone(r, link[r].host));
    }
cleanup:
    if (listener >= 0) close(listener);
    if (w->file) unlink(w->file);
    return status;
}

kd_status kd_rendezvous(const kd_world *w, int64_t timeout_s, kd_link *link) {
    for (int64_t r = 0; r < w->ranks; r++) link[r] = (kd_link){.fd = -1};
    kd_status status = w->rank == 0 ? gather_ranks(w, timeout_s, link) : join(w, timeout_s, &link[0]);
    for (int64_t r = 0; r < w->ranks && status != KD_OK; r++)
        if (link[r].fd >= 0) close(link[r].fd);
    return status;
}
