/* How a rank of a job computes, and whether what it is to hold fits. */
#ifndef KD_API_COMPUTE_H
#define KD_API_COMPUTE_H

#include "host/config/config.h"
#include "host/ranks/collectives.h"
#include "kernels/device.h"

/* As the configuration says, sharing its machine with the job's other ranks; comm may be NULL. */
kd_compute kd_compute_on(const kd_comm *comm, const kd_config *config);

/* KD_ERR_MEMORY with what to lower, when `bytes` are more than ctx's device has available. */
kd_status kd_check_memory(kd_ctx *ctx, int64_t bytes);

#endif
