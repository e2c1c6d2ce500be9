/* Asks a running command to stop at the next safe point instead of dying in the middle of a file. */
#ifndef KD_BASE_SIGNALS_H
#define KD_BASE_SIGNALS_H

/* Installs handlers for SIGINT, SIGTERM and SIGUSR1. A second SIGINT ends the process at once. */
void kd_signals_install(void);

/* As if `number` had been caught; 0 is none. */
void kd_signal_note(int number);

/* The signal that asked for a stop, 0 if none. Checked between steps. */
int kd_signal_caught(void);

#endif
