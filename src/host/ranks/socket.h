/* TCP as the ranks of a job use it: every call has a deadline. */
#ifndef KD_RANKS_SOCKET_H
#define KD_RANKS_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/error.h"

/* Seconds of a clock that nobody sets. */
double kd_clock(void);

/* Reads or writes all of it before `until`; false when the other side is gone or too slow. */
bool kd_read_all(int fd, void *to, size_t bytes, double until);
bool kd_write_all(int fd, const void *from, size_t bytes, double until);

/* *out = a socket that listens at `port` of all addresses of this machine; 0 takes a free one. KD_ERR_MPI. */
kd_status kd_listen(int port, int *out);

/* One try at host:port, until `until` at the latest. Never a connection of the process to itself, which a port that
 * nobody listens at can yield. */
bool kd_connect(const char *host, const char *port, double until, int *out);

/* This machine's addresses as others see them, with blanks between. */
void kd_list_addresses(char *out, size_t size);

int kd_port_of(int listener);

#endif
