#define _POSIX_C_SOURCE 200809L
#include "host/base/signals.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t caught;

static void on_signal(int number) { caught = number; }

void kd_signals_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    /* The second signal takes the default action: the user insists. A rank of kdiffe launch may have one signal twice,
     * as a member of a group and from its launcher, whose own end is what ends it. */
    action.sa_flags = getenv("KDIFFE_JOB") && getenv("RANK") ? 0 : (int)SA_RESETHAND;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

void kd_signal_note(int number) {
    if (number) caught = number;
}

int kd_signal_caught(void) { return (int)caught; }
