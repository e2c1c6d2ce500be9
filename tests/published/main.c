/* golden [--device=cpu|cuda] DIR...: every array of every folder's manifest through the engine's own ops, with all of
 * its algebra and then without any; exit 1 on any FAIL. Under a launcher of several ranks what a run splits is split,
 * with whole tables and then with tables whose columns are divided. */
#include <stdio.h>
#include <string.h>

#include "kernels/device.h"
#include "published/golden.h"

static int64_t check_folder(const char *folder, bool naive, bool shard, kd_ctx *ctx, kd_comm *comm) {
    golden_case c;
    kd_kdiffe *model;
    golden_open(folder, ctx, comm, &c);
    c.config.naive = naive ? ~0u : 0;
    c.config.shard = shard;
    model = golden_model(&c, 0);
    golden_check_steps(&c, model);
    kd_trainer_close(&c.trainer);
    model = golden_model(&c, 1);
    golden_check_graphs(&c, model);
    golden_check_views(&c, model);
    golden_check_losses(&c, model);
    golden_check_steps(&c, model);
    golden_check_evaluation(&c, model);
    golden_check_training(&c, model);
    kd_trainer_close(&c.trainer);
    model = golden_model(&c, 1);
    golden_check_walks(&c);
    golden_check_diffusion(&c, model);
    kd_trainer_close(&c.trainer);
    golden_close(&c);
    return c.failed;
}

int main(int argc, char **argv) {
    kd_ctx *ctx;
    kd_comm *comm;
    int64_t failed = 0;
    bool cuda = argc > 1 && strcmp(argv[1], "--device=cuda") == 0;
    int first = cuda || (argc > 1 && strcmp(argv[1], "--device=cpu") == 0) ? 2 : 1;
    kd_compute compute = {.device = cuda ? KD_DEVICE_CUDA : KD_DEVICE_CPU, .precision = KD_PRECISION_FP32};
    if (argc <= first) {
        fprintf(stderr, "usage: golden [--device=cpu|cuda] DIR...\n");
        return 2;
    }
    golden_require(kd_comm_open(NULL, 60, &comm), "ranks");
    compute.sharing = comm ? kd_comm_sharing(comm) : 0;
    compute.local_rank = kd_comm_local_rank(comm);
    golden_require(kd_ctx_open(compute, &ctx), "context");
    golden_require(kd_comm_bind(comm, ctx), "ranks");
    if (kd_comm_rank(comm) > 0 && !freopen("/dev/null", "w", stdout)) return 1;
    for (int i = first; i < argc; i++)
        for (int way = 0; way < (comm ? 4 : 2); way++) failed += check_folder(argv[i], way % 2, way / 2, ctx, comm);
    kd_comm_close(comm, KD_OK);
    kd_ctx_close(ctx);
    return failed > 0;
}
