#include "kernels/cpu/cpu.h"
#include "kernels/cpu/walk.h"

kd_status kd_cpu_walk_cumulative(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                                 kd_visits *visits) {
    kd_walk_rule rule = {.walks = config->walks, .steps = config->steps, .cumulative = true};
    kd_walk_all(ctx, &graph, &rule, rng, visits);
    return KD_OK;
}
