/* Whole trainings on the CPU and the CUDA column: the same losses, denoiser losses and metrics to 1e-4 and the same
 * bits twice. Runs where a CUDA device is to be had: a GPU, or the stand-in of tests/emu. */
#include "planted_fixture.h"

enum { MOST_EPOCHS = 4, MOST_NUMBERS = 16 };

/* Every number that an epoch reports. */
typedef struct report {
    int64_t epochs, numbers;
    double number[MOST_EPOCHS][MOST_NUMBERS];
} report;

static kd_status note_epoch(void *context, const kd_epoch_record *r) {
    report *o = context;
    double *to = o->number[o->epochs++];
    o->numbers = 0;
    to[o->numbers++] = r->loss;
    for (int i = 0; i < KD_LOSS_PARTS; i++) to[o->numbers++] = r->loss_part[i];
    to[o->numbers++] = r->denoise_kg;
    for (int64_t m = 0; m < r->modality_count; m++) to[o->numbers++] = r->denoise_modality[m];
    to[o->numbers++] = r->test.recall[0];
    to[o->numbers++] = r->valid.ndcg[0];
    return KD_OK;
}

static report train_on(kd_device device, const kd_config *c, const kd_dataset *d) {
    report o = {0};
    kd_ctx *ctx;
    kd_observer observer = {.context = &o, .epoch = note_epoch};
    assert_ok(kd_ctx_open((kd_compute){.device = device, .threads = 2, .precision = KD_PRECISION_FP32}, &ctx));
    assert_ok(kd_train(ctx, c, d, &observer, NULL, NULL));
    kd_ctx_close(ctx);
    return o;
}

static void assert_same_training(const kd_config *c, const kd_dataset *d) {
    report cpu = train_on(KD_DEVICE_CPU, c, d), cuda = train_on(KD_DEVICE_CUDA, c, d);
    assert_int_equal(cpu.epochs, c->epochs);
    assert_int_equal(cuda.epochs, c->epochs);
    for (int64_t e = 0; e < cpu.epochs; e++)
        for (int64_t i = 0; i < cpu.numbers; i++) assert_near(cuda.number[e][i], cpu.number[e][i], 1e-4);
}

/* Small enough for instrumented kernels. */
static void a_few_users_agree(void **state) {
    (void)state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    s.users = 30;
    s.items = 24;
    s.tastes = 4;
    s.interactions = 4;
    kd_dataset d = make_data(&s);
    c.epochs = 2;
    c.batch = 64;
    c.dim = 8;
    c.hidden = 16;
    c.steps = 3;
    c.attention.walk_steps = 8;
    assert_same_training(&c, &d);
    kd_dataset_free(&d);
}

static void two_epochs_agree(void **state) {
    (void)state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    kd_dataset d = make_data(&s);
    c.epochs = 2;
    assert_same_training(&c, &d);
    kd_dataset_free(&d);
}

/* 0 to 3 modalities with and without a knowledge graph, other layers, hops, transforms, q and attention methods. */
static void shapes_agree(void **state) {
    (void)state;
    for (int64_t modalities = 0; modalities <= 3; modalities++)
        for (int kg = 0; kg < 2; kg++) {
            kd_synth_config s;
            kd_config c;
            vary(modalities, kg, &s, &c);
            c.batch = 100; /* the last batches are short */
            c.dim = 20;
            c.attention.method = (kd_attention_method)(modalities % 3);
            kd_dataset d = make_data(&s);
            assert_same_training(&c, &d);
            kd_dataset_free(&d);
        }
}

static void another_model_agrees(void **state) {
    (void)state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    kd_dataset d = make_data(&s);
    c.model = KD_MODEL_LIGHTGCN;
    c.gnn_layers = 3;
    c.epochs = 2;
    c.batch = 100;
    assert_same_training(&c, &d);
    kd_dataset_free(&d);
}

static void the_same_bits_twice(void **state) {
    (void)state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    s.users = 90;
    s.items = 70;
    kd_dataset d = make_data(&s);
    c.epochs = 2;
    report first = train_on(KD_DEVICE_CUDA, &c, &d), second = train_on(KD_DEVICE_CUDA, &c, &d);
    assert_memory_equal(&first, &second, sizeof first);
    kd_dataset_free(&d);
}

static void needs_a_device(void **state) {
    (void)state;
    print_message("skipped: trainings on CPU and CUDA: %s\n", kd_last_error());
    skip();
}

int main(void) {
    const struct CMUnitTest none[] = {cmocka_unit_test(needs_a_device)};
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_few_users_agree), cmocka_unit_test(two_epochs_agree),
                                       cmocka_unit_test(shapes_agree), cmocka_unit_test(another_model_agrees),
                                       cmocka_unit_test(the_same_bits_twice)};
    kd_ctx *ctx;
    cmocka_set_test_filter(getenv("KDIFFE_TEST_FILTER")); /* instrumented stand-ins are slow: CI picks */
    if (kd_ctx_open((kd_compute){.device = KD_DEVICE_CUDA, .threads = 1, .precision = KD_PRECISION_FP32}, &ctx) !=
        KD_OK)
        return cmocka_run_group_tests_name("training columns", none, NULL, NULL);
    kd_ctx_close(ctx);
    return cmocka_run_group_tests_name("training columns", tests, NULL, NULL);
}
