/* What ranks send each other: run by several of them (mpirun), on CPUs or on the device that KDIFFE_TEST_DEVICE=cuda
 * names. Every test is run by all of them; rank 0 prints. */
#include "op_fixture.h"

#include "host/ranks/collectives.h"

enum {
    MOST = 16,
    BEFORE = 3,
    AFTER = 5 /* bytes beside the blocks, which stay as they are */,
    BLANK = 0xEE,
    SUMMED = 999
};

static kd_comm *comm;
static op_fixture fixture;

/* A rank's blocks: those that it sends, or those that it takes. */
typedef struct blocks {
    int64_t first[MOST + 1], bytes;
    unsigned char *host;
    void *device;
} blocks;

/* Of all sizes, some of them empty, a rank's own ones too. */
static int64_t block_of(int64_t from, int64_t to) {
    static const int64_t SIZES[] = {300007, 0, 65536, 1, 4000, 17, 0};
    return SIZES[(from * 3 + to) % 7];
}

static void fill(blocks *b, bool sends, int64_t round) {
    int64_t rank = kd_comm_rank(comm);
    memset(b->host, BLANK, (size_t)b->bytes);
    for (int64_t r = 0; r < kd_comm_ranks(comm); r++) {
        int64_t from = sends ? rank : r, to = sends ? r : rank;
        for (int64_t i = 0; i < b->first[r + 1] - b->first[r]; i++)
            b->host[b->first[r] + i] = (unsigned char)(31 * from + 17 * to + 5 * round + i + i / 251);
    }
}

static blocks make_blocks(bool sends) {
    blocks b = {.first = {BEFORE}};
    int64_t rank = kd_comm_rank(comm), ranks = kd_comm_ranks(comm);
    for (int64_t r = 0; r < ranks; r++) b.first[r + 1] = b.first[r] + (sends ? block_of(rank, r) : block_of(r, rank));
    b.bytes = b.first[ranks] + AFTER;
    b.host = malloc((size_t)b.bytes);
    memset(b.host, BLANK, (size_t)b.bytes);
    b.device = op_copy(&fixture, b.host, b.bytes, 1);
    return b;
}

static void upload(blocks *b, int64_t round) {
    fill(b, true, round);
    assert_ok(kd_upload(fixture.ctx, b->device, b->host, b->bytes));
}

static void assert_taken(blocks *b, int64_t round) {
    unsigned char *got = malloc((size_t)b->bytes);
    fill(b, false, round);
    assert_ok(kd_download(fixture.ctx, got, b->device, b->bytes));
    assert_memory_equal(got, b->host, (size_t)b->bytes);
    free(got);
}

static kd_status turn(blocks *send, blocks *take) {
    return kd_comm_alltoallv(comm, fixture.ctx, send->first, send->device, take->first, take->device);
}

typedef struct both {
    blocks send, take;
} both;

static kd_status turn_step(kd_ctx *ctx, void *arg) {
    both *b = arg;
    (void)ctx;
    return turn(&b->send, &b->take);
}

static void free_both(both *b) {
    free(b->send.host);
    free(b->take.host);
}

/* The first run of a step is no recording, so that it may connect GPUs. */
static void a_turn_is_recorded_without_having_been_connected(void **state) {
    (void)state;
    both b = {make_blocks(true), make_blocks(false)};
    kd_recording *recording = NULL;
    for (int64_t round = 0; round < 2; round++) {
        upload(&b.send, round);
        assert_ok(kd_replay(fixture.ctx, turn_step, &b, &recording));
        assert_taken(&b.take, round);
    }
    kd_recording_free(fixture.ctx, &recording);
    free_both(&b);
    assert_ok(kd_comm_connect(comm, fixture.ctx));
}

static void every_block_comes_from_its_rank(void **state) {
    (void)state;
    both b = {make_blocks(true), make_blocks(false)};
    for (int64_t round = 0; round < 2; round++) {
        upload(&b.send, round);
        assert_ok(turn(&b.send, &b.take));
        assert_taken(&b.take, round);
    }
    free_both(&b);
}

static void nothing_at_all_is_turned(void **state) {
    (void)state;
    const int64_t none[MOST + 1] = {0};
    void *send = op_zeros(&fixture, 1, 1), *take = op_zeros(&fixture, 1, 1);
    assert_ok(kd_comm_alltoallv(comm, fixture.ctx, none, send, none, take));
    assert_ok(kd_synchronize(fixture.ctx));
}

static void bytes_that_leave_the_rank_are_counted(void **state) {
    (void)state;
    both b = {make_blocks(true), make_blocks(false)};
    int64_t sums, before, after, expected = 0;
    kd_comm_traffic(comm, &sums, &before);
    assert_ok(turn(&b.send, &b.take));
    assert_ok(kd_synchronize(fixture.ctx));
    kd_comm_traffic(comm, &sums, &after);
    for (int64_t r = 0; r < kd_comm_ranks(comm); r++)
        if (r != kd_comm_rank(comm)) expected += block_of(kd_comm_rank(comm), r);
    assert_int_equal(after - before, expected);
    free_both(&b);
}

static void a_recorded_turn_takes_what_is_there_at_its_replay(void **state) {
    (void)state;
    both b = {make_blocks(true), make_blocks(false)};
    kd_recording *recording = NULL;
    for (int64_t round = 0; round < 3; round++) {
        upload(&b.send, round);
        assert_ok(kd_replay(fixture.ctx, turn_step, &b, &recording));
        assert_taken(&b.take, round);
    }
    kd_recording_free(fixture.ctx, &recording);
    free_both(&b);
}

static void a_turn_and_sums_keep_out_of_each_others_way(void **state) {
    (void)state;
    both b = {make_blocks(true), make_blocks(false)};
    int64_t ranks = kd_comm_ranks(comm);
    float x[SUMMED];
    for (int64_t i = 0; i < SUMMED; i++) x[i] = (float)(i + kd_comm_rank(comm));
    float *beside = op_copy(&fixture, x, SUMMED, sizeof *x), *after = op_copy(&fixture, x, SUMMED, sizeof *x);
    upload(&b.send, 7);
    assert_ok(kd_comm_begin_allreduce(comm, fixture.ctx, SUMMED, beside));
    assert_ok(turn(&b.send, &b.take));
    assert_ok(kd_comm_allreduce_f32(comm, fixture.ctx, SUMMED, after));
    assert_ok(kd_comm_end_allreduce(comm, fixture.ctx));
    assert_taken(&b.take, 7);
    for (int which = 0; which < 2; which++) {
        assert_ok(kd_download(fixture.ctx, x, which ? after : beside, sizeof x));
        for (int64_t i = 0; i < SUMMED; i++) assert_true(x[i] == (float)(ranks * i + ranks * (ranks - 1) / 2));
    }
    free_both(&b);
}

static int set_up(void **state) {
    (void)state;
    const char *device = getenv("KDIFFE_TEST_DEVICE");
    kd_compute compute = {.device = device && strcmp(device, "cuda") == 0 ? KD_DEVICE_CUDA : KD_DEVICE_CPU,
                          .threads = 1,
                          .precision = KD_PRECISION_FP32,
                          .sharing = kd_comm_sharing(comm),
                          .local_rank = kd_comm_local_rank(comm)};
    if (kd_ctx_open(compute, &fixture.ctx) != KD_OK || kd_comm_bind(comm, fixture.ctx) != KD_OK) return -1;
    kd_pool_init(&fixture.pool, fixture.ctx);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    kd_pool_free(&fixture.pool);
    kd_comm_close(comm, KD_OK);
    kd_ctx_close(fixture.ctx);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_is_recorded_without_having_been_connected),
        cmocka_unit_test(every_block_comes_from_its_rank),
        cmocka_unit_test(nothing_at_all_is_turned),
        cmocka_unit_test(bytes_that_leave_the_rank_are_counted),
        cmocka_unit_test(a_recorded_turn_takes_what_is_there_at_its_replay),
        cmocka_unit_test(a_turn_and_sums_keep_out_of_each_others_way),
    };
    if (kd_comm_open(NULL, 60, &comm) != KD_OK || kd_comm_ranks(comm) < 2 || kd_comm_ranks(comm) > MOST) {
        fprintf(stderr, "test_ranks: is for 2 to %d ranks, started with mpirun: %s\n", MOST, kd_last_error());
        return 2;
    }
    if (kd_comm_rank(comm) > 0 && !freopen("/dev/null", "w", stdout)) return 2;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
