#include "host/api/compute.h"

#include "host/report/console.h"
#include "kernels/ops.h"

kd_compute kd_compute_on(const kd_comm *comm, const kd_config *config) {
    kd_compute compute = kd_compute_of(config);
    if (!comm) return compute;
    compute.sharing = kd_comm_sharing(comm);
    compute.local_rank = kd_comm_local_rank(comm);
    return compute;
}

kd_status kd_check_memory(kd_ctx *ctx, int64_t bytes) {
    char need[32], have[32];
    int64_t available = kd_available(ctx);
    if (bytes <= available) return KD_OK;
    return KD_FAIL(KD_ERR_MEMORY, "the run needs %s and %s are available; lower dim, hidden or batch",
                   kd_console_bytes(bytes, need), kd_console_bytes(available, have));
}
