#include "host/ranks/socket.h"

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

double kd_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool wait_for(int fd, short events, double until) {
    struct pollfd ready = {.fd = fd, .events = events};
    double left = until - kd_clock();
    return left > 0.0 && poll(&ready, 1, (int)(1e3 * left) + 1) > 0;
}

bool kd_read_all(int fd, void *to, size_t bytes, double until) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = recv(fd, (char *)to + at, bytes - at, MSG_DONTWAIT);
        if (n > 0)
            at += (size_t)n;
        else if (n == 0 || (errno != EINTR && errno != EAGAIN) || !wait_for(fd, POLLIN, until))
            return false;
    }
    return true;
}

bool kd_write_all(int fd, const void *from, size_t bytes, double until) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = send(fd, (const char *)from + at, bytes - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            at += (size_t)n;
        else if (n == 0 || (errno != EINTR && errno != EAGAIN) || !wait_for(fd, POLLOUT, until))
            return false;
    }
    return true;
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

kd_status kd_listen(int port, int *out) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    static const int FAMILIES[] = {AF_INET6, AF_INET};
    char text[16];
    *out = -1;
    snprintf(text, sizeof text, "%d", port);
    if (getaddrinfo(NULL, text, &hints, &list) != 0) return KD_FAIL(KD_ERR_MPI, "there is no address to listen at");
    for (int family = 0; family < 2; family++)
        for (struct addrinfo *a = list; a && *out < 0; a = a->ai_next)
            if (a->ai_family == FAMILIES[family]) *out = listen_in(a);
    int error = errno;
    freeaddrinfo(list);
    return *out >= 0 ? KD_OK : KD_FAIL(KD_ERR_MPI, "port %d: rank 0 cannot listen there: %s", port, strerror(error));
}

static bool is_itself(int fd) {
    struct sockaddr_storage own, other;
    socklen_t own_length = sizeof own, other_length = sizeof other;
    memset(&own, 0, sizeof own);
    memset(&other, 0, sizeof other);
    if (getsockname(fd, (struct sockaddr *)&own, &own_length) ||
        getpeername(fd, (struct sockaddr *)&other, &other_length))
        return true;
    return own_length == other_length && memcmp(&own, &other, own_length) == 0;
}

static int connect_in(const struct addrinfo *a, double until) {
    int on = 1, error = 0, fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    socklen_t length = sizeof error;
    double patience = kd_clock() + 2.0; /* an address may be a dead end, and the next one right */
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bool made = connect(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (!made && errno == EINPROGRESS && wait_for(fd, POLLOUT, until < patience ? until : patience))
        made = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
    if (made && !is_itself(fd)) return fd;
    close(fd);
    return -1;
}

bool kd_connect(const char *host, const char *port, double until, int *out) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    *out = -1;
    if (getaddrinfo(host, port, &hints, &list) != 0) return false;
    for (struct addrinfo *a = list; a && *out < 0; a = a->ai_next) *out = connect_in(a, until);
    freeaddrinfo(list);
    return *out >= 0;
}

/* Loopback and link-local addresses mean another machine elsewhere. */
static bool is_reachable(const struct ifaddrs *i) {
    if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK)) return false;
    if (i->ifa_addr->sa_family == AF_INET) return true;
    return i->ifa_addr->sa_family == AF_INET6 &&
           !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr);
}

void kd_list_addresses(char *out, size_t size) {
    struct ifaddrs *list = NULL;
    char host[NI_MAXHOST];
    if (getifaddrs(&list) != 0) list = NULL;
    out[0] = '\0';
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        size_t used = strlen(out);
        if (!is_reachable(i)) continue;
        bool six = i->ifa_addr->sa_family == AF_INET6;
        socklen_t length = six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        if (getnameinfo(i->ifa_addr, length, host, sizeof host, NULL, 0, NI_NUMERICHOST)) continue;
        snprintf(out + used, size - used, "%s%s", used ? " " : "", host);
    }
    freeifaddrs(list);
}

int kd_port_of(int listener) {
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char port[NI_MAXSERV] = "0";
    getsockname(listener, (struct sockaddr *)&bound, &length);
    getnameinfo((struct sockaddr *)&bound, length, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    return atoi(port);
}
