/* What a context is asked to compute with. */
#ifndef KD_KERNELS_COMPUTE_H
#define KD_KERNELS_COMPUTE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum kd_device { KD_DEVICE_AUTO, KD_DEVICE_CPU, KD_DEVICE_CUDA } kd_device;
typedef enum kd_precision { KD_PRECISION_FP32, KD_PRECISION_TF32, KD_PRECISION_BF16 } kd_precision;

/* How to compute; a run takes it from its configuration (kd_compute_of). */
typedef struct kd_compute {
    kd_device device;
    int64_t threads; /* of the host; 0: every core */
    kd_precision precision;
    bool any_order;     /* GPU sums may take algorithms whose order depends on timing */
    int64_t sharing;    /* ranks of the job that share the cores which this process may use; 0: it is no rank */
    int64_t local_rank; /* of the machine's ranks: it takes the GPU of that number, round again beyond the last */
} kd_compute;

#endif
