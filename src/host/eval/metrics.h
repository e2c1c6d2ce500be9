/* What a ranking is worth. */
#ifndef KD_EVAL_METRICS_H
#define KD_EVAL_METRICS_H

#include "host/config/config.h"

/* Averages over users that have held-out items; entry k belongs to topk[k]. */
typedef struct kd_metrics {
    int64_t users; /* users with held-out items */
    int64_t topk_count, topk[KD_MAX_TOPK];
    double recall[KD_MAX_TOPK], ndcg[KD_MAX_TOPK], precision[KD_MAX_TOPK];
} kd_metrics;

#endif
