/* What launchers say in the environment: ranks, places to meet, and what does not make sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "host/ranks/collectives.h"
#include "host/ranks/world.h"

static const char *const NAMES[] = {"OMPI_COMM_WORLD_SIZE",
                                    "PMI_SIZE",
                                    "MPI_LOCALNRANKS",
                                    "PMIX_RANK",
                                    "RANK",
                                    "WORLD_SIZE",
                                    "LOCAL_RANK",
                                    "MASTER_ADDR",
                                    "MASTER_PORT",
                                    "KDIFFE_JOB",
                                    "TORCHELASTIC_RUN_ID",
                                    "TORCHELASTIC_RESTART_COUNT",
                                    "TORCHELASTIC_USE_AGENT_STORE",
                                    "SLURM_JOB_ID",
                                    "SLURM_STEP_ID",
                                    "SLURM_NTASKS",
                                    "SLURM_PROCID",
                                    "SLURM_LOCALID",
                                    "SLURM_STEP_NODELIST",
                                    "SLURM_STEP_NUM_TASKS",
                                    "SLURM_RESTART_COUNT"};

static int clear(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) unsetenv(NAMES[i]);
    return 0;
}

/* "A=1 B=2": sets them. */
static void set(const char *pairs) {
    char text[512], *rest = NULL;
    clear(NULL);
    snprintf(text, sizeof text, "%s", pairs);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        setenv(word, equals + 1, 1);
    }
}

static kd_world world_of(const char *pairs, const char *rendezvous) {
    kd_world w;
    set(pairs);
    if (kd_world_of_environment(rendezvous, &w) != KD_OK) fail_msg("%s: %s", pairs, kd_last_error());
    return w;
}

static void refused(const char *pairs, const char *rendezvous, const char *words) {
    kd_world w;
    set(pairs);
    assert_int_equal(kd_world_of_environment(rendezvous, &w), KD_ERR_ARGUMENT);
    if (!strstr(kd_last_error(), words)) fail_msg("%s: expected '%s' in '%s'", pairs, words, kd_last_error());
}

static void one_rank_needs_nothing(void **state) {
    (void)state;
    assert_int_equal(world_of("", NULL).ranks, 1);
    assert_int_equal(world_of("WORLD_SIZE=1 RANK=0", NULL).ranks, 1);
    assert_int_equal(world_of("SLURM_JOB_ID=7 SLURM_NTASKS=8", NULL).ranks, 1); /* a batch script, not a step */
    assert_int_equal(world_of("OMPI_COMM_WORLD_SIZE=1", NULL).ranks, 1);
}

static void mpi_launchers_are_told_apart(void **state) {
    (void)state;
    kd_world w = world_of("OMPI_COMM_WORLD_SIZE=4", NULL);
    assert_true(w.mpi);
    assert_int_equal(w.ranks, 4);
    w = world_of("SLURM_NTASKS=3 SLURM_STEP_ID=0 PMIX_RANK=1 SLURM_PROCID=1 SLURM_LOCALID=0 SLURM_JOB_ID=1 "
                 "SLURM_STEP_NODELIST=a",
                 NULL);
    assert_int_equal(w.ranks, 3);
#ifdef KD_WITH_MPI
    assert_true(w.mpi);
#else
    assert_false(w.mpi); /* srun's own variables serve as well */
#endif
    assert_true(world_of("PMI_SIZE=2", NULL).mpi);
}

static void torchrun_says_rank_and_address(void **state) {
    (void)state;
    kd_world w = world_of("RANK=3 WORLD_SIZE=8 LOCAL_RANK=1 MASTER_ADDR=node07 MASTER_PORT=29500", NULL);
    assert_false(w.mpi);
    assert_int_equal(w.rank, 3);
    assert_int_equal(w.ranks, 8);
    assert_int_equal(w.local_rank, 1);
    assert_string_equal(w.host, "node07");
    assert_int_equal(w.port, 29500);
    w = world_of("RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=5 TORCHELASTIC_USE_AGENT_STORE=True", NULL);
    assert_int_equal(w.port, 6); /* torchrun listens at 5 itself */
    assert_int_equal(w.local_rank, -1);
    uint64_t first = world_of("RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=5 TORCHELASTIC_RUN_ID=x", NULL).job;
    uint64_t other = world_of("RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=5 TORCHELASTIC_RUN_ID=y", NULL).job;
    assert_true(first != 0 && first != other);
}

static void srun_says_where_its_first_machine_is(void **state) {
    (void)state;
    static const char COMMON[] = "SLURM_JOB_ID=12345678 SLURM_STEP_ID=1 SLURM_NTASKS=4 SLURM_PROCID=2 SLURM_LOCALID=0 ";
    char text[256];
    static const char *const LISTS[][2] = {
        {"node[07-09,12],x1", "node07"}, {"node12", "node12"}, {"a,b", "a"}, {"rack3-[001]", "rack3-001"}};
    for (size_t i = 0; i < sizeof LISTS / sizeof LISTS[0]; i++) {
        snprintf(text, sizeof text, "%sSLURM_STEP_NODELIST=%s", COMMON, LISTS[i][0]);
        kd_world w = world_of(text, NULL);
        assert_string_equal(w.host, LISTS[i][1]);
        assert_int_equal(w.rank, 2);
        assert_int_equal(w.local_rank, 0);
        assert_in_range(w.port, 1024, 65535);
    }
    snprintf(text, sizeof text, "%sMASTER_ADDR=h MASTER_PORT=77", COMMON);
    assert_int_equal(world_of(text, NULL).port, 77);
    refused(COMMON, NULL, "SLURM_STEP_NODELIST");
}

static void a_place_to_meet_can_be_given(void **state) {
    (void)state;
    kd_world w = world_of("RANK=1 WORLD_SIZE=2", "fe80::1:29500");
    assert_string_equal(w.host, "fe80::1");
    assert_int_equal(w.port, 29500);
    assert_string_equal(world_of("RANK=1 WORLD_SIZE=2", "[fe80::1]:29500").host, "fe80::1");
    assert_string_equal(world_of("RANK=1 WORLD_SIZE=2", "file:/shared/meet").file, "/shared/meet");
    static const char *const WRONG[] = {"host", "host:", ":5", "host:0", "host:70000", "file:"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) refused("RANK=1 WORLD_SIZE=2", WRONG[i], "HOST:PORT");
}

static void what_makes_no_sense_is_named(void **state) {
    (void)state;
    refused("RANK=2 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=5", NULL, "RANK=2: expected a number from 0 to 1");
    refused("RANK=x WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=5", NULL, "RANK=x");
    refused("RANK=0 WORLD_SIZE=2x MASTER_ADDR=a MASTER_PORT=5", NULL, "WORLD_SIZE=2x");
    refused("RANK=0 WORLD_SIZE=2", NULL, "MASTER_ADDR");
    refused("RANK=0 WORLD_SIZE=2 MASTER_ADDR=a", NULL, "MASTER_PORT=: expected a number");
    refused("RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=99999", NULL, "MASTER_PORT=99999");
}

static void the_inner_launcher_counts(void **state) {
    (void)state;
    kd_world w = world_of("RANK=9 WORLD_SIZE=16 MASTER_ADDR=a MASTER_PORT=5 TORCHELASTIC_RUN_ID=x SLURM_NTASKS=2 "
                          "SLURM_STEP_ID=0 SLURM_PROCID=1 PMIX_RANK=1 OMPI_COMM_WORLD_SIZE=2",
                          NULL);
    assert_false(w.mpi);
    assert_int_equal(w.rank, 9);
    assert_int_equal(w.ranks, 16);
    w = world_of("RANK=0 WORLD_SIZE=1 KDIFFE_JOB=x SLURM_NTASKS=2 SLURM_STEP_ID=0 SLURM_PROCID=1", NULL);
    assert_int_equal(w.ranks, 1);
    w = world_of("SLURM_NTASKS=16 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_LOCALID=1 SLURM_JOB_ID=1 "
                 "SLURM_STEP_NODELIST=a",
                 NULL);
    assert_int_equal(w.ranks, 2); /* of this step, not of the job */
}

static void shares_cover_everything_once(void **state) {
    (void)state;
    for (int64_t n = 0; n < 40; n++)
        for (int64_t ranks = 1; ranks < 9; ranks++) {
            assert_int_equal(kd_share_first(n, 0, ranks), 0);
            assert_int_equal(kd_share_first(n, ranks, ranks), n);
            for (int64_t r = 0; r < ranks; r++) {
                int64_t length = kd_share_first(n, r + 1, ranks) - kd_share_first(n, r, ranks);
                assert_true(length == n / ranks || length == n / ranks + 1);
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(one_rank_needs_nothing, clear),
        cmocka_unit_test_teardown(mpi_launchers_are_told_apart, clear),
        cmocka_unit_test_teardown(torchrun_says_rank_and_address, clear),
        cmocka_unit_test_teardown(srun_says_where_its_first_machine_is, clear),
        cmocka_unit_test_teardown(a_place_to_meet_can_be_given, clear),
        cmocka_unit_test_teardown(what_makes_no_sense_is_named, clear),
        cmocka_unit_test_teardown(the_inner_launcher_counts, clear),
        cmocka_unit_test(shares_cover_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
