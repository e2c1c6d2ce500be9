/* What a run shows: a progress bar on a terminal, plain lines elsewhere, the epoch table, the stage times. */
#ifndef KD_REPORT_CONSOLE_H
#define KD_REPORT_CONSOLE_H

#include <stdio.h>

#include "host/train/train.h"

typedef struct kd_console {
    FILE *table, *progress; /* stdout and stderr */
    bool bar;               /* progress is a terminal */
    int64_t epochs;
    bool headed;
    double seconds[KD_STAGE_COUNT], total; /* sums over the epochs shown */
} kd_console;

void kd_console_open(int64_t epochs, kd_console *out);

/* Redraws the bar: epoch, stage, done/total. Nothing where there is no terminal. */
void kd_console_progress(kd_console *console, int64_t epoch, kd_stage stage, int64_t done, int64_t total);

/* One row: epoch, loss, recall, NDCG and precision at the largest cut-off of each split, seconds, '*' for the best. */
void kd_console_epoch(kd_console *console, const kd_epoch_record *record);

/* Seconds of each stage, all epochs together. */
void kd_console_stages(const kd_console *console);

/* "recall@20 0.1234  ndcg@20 ..." for every cut-off, a line each. */
void kd_console_metrics(FILE *out, const char *split, const kd_metrics *metrics);

/* 1234567 bytes as "1.2 MB". */
const char *kd_console_bytes(int64_t bytes, char text[32]);

#endif
