#include "kernels/cpu/cpu.h"
#include "kernels/cpu/walk.h"

kd_status kd_cpu_walk_node(kd_ctx *ctx, kd_csr graph, const kd_walk_config *config, const kd_rng *rng,
                           kd_visits *visits) {
    kd_walk_rule rule = {.walks = config->walks, .steps = config->steps};
    rule.below = (uint32_t)((double)config->restart * 0x1p32);
    rule.share = 1.0 / (0x1p32 - (double)rule.below);
    kd_walk_all(ctx, &graph, &rule, rng, visits);
    return KD_OK;
}
