/* Runs that go on from a checkpoint: from every position of a run, to the same bits. On the CPU, or on the device that
 * KDIFFE_TEST_DEVICE=cuda names. */
#include "data_fixture.h"
#include "planted_fixture.h"

#include <glob.h>

#include "host/base/file.h"
#include "host/train/checkpoint.h"

enum { MOST_NUMBERS = 200 };

/* What a run came to: every number of its records, and a hash of the last best model. */
typedef struct report {
    int64_t count, first_epoch, best_epoch;
    double number[MOST_NUMBERS];
    uint64_t model;
} report;

static void note(report *o, double x) {
    assert_true(o->count < MOST_NUMBERS);
    o->number[o->count++] = x;
}

static kd_status note_epoch(void *context, const kd_epoch_record *r) {
    report *o = context;
    note(o, (double)r->epoch);
    note(o, r->loss);
    for (int i = 0; i < KD_LOSS_PARTS; i++) note(o, r->loss_part[i]);
    note(o, r->denoise_kg);
    for (int64_t m = 0; m < r->modality_count; m++) note(o, r->denoise_modality[m]);
    note(o, r->test.recall[0]);
    note(o, r->valid.ndcg[0]);
    note(o, r->best);
    return KD_OK;
}

/* In pieces that do not end with rows. */
static kd_status note_best(void *context, int64_t epoch, const kd_snapshot *s) {
    report *o = context;
    kd_status status = KD_OK;
    o->best_epoch = epoch;
    o->model = 14695981039346656037u; /* FNV-1a */
    for (int64_t i = 0; i < s->count; i++) {
        unsigned char piece[100];
        int64_t bytes = 4 * s->tensor[i].shape[0] * s->tensor[i].shape[1];
        for (int64_t at = 0; at < bytes && status == KD_OK; at += sizeof piece) {
            int64_t some = bytes - at < (int64_t)sizeof piece ? bytes - at : (int64_t)sizeof piece;
            status = s->source(s->context, i, at, some, piece);
            for (int64_t k = 0; k < some; k++) o->model = (o->model ^ piece[k]) * 1099511628211u;
        }
    }
    return status;
}

static kd_status note_resumed(void *context, int64_t epoch, int64_t best_epoch) {
    report *o = context;
    o->first_epoch = epoch;
    o->best_epoch = best_epoch;
    return KD_OK;
}

static kd_status train_with(const kd_config *c, const kd_dataset *d, const kd_checkpointing *checkpoints, report *o) {
    kd_ctx *ctx;
    kd_observer observer = {.context = o, .epoch = note_epoch, .best = note_best, .resumed = note_resumed};
    *o = (report){.best_epoch = -1};
    assert_ok(kd_ctx_open((kd_compute){.device = op_device(), .threads = 1, .precision = KD_PRECISION_FP32}, &ctx));
    kd_status status = kd_train(ctx, c, d, &observer, checkpoints, NULL);
    kd_ctx_close(ctx);
    return status;
}

static void copy_file(const char *from, const char *folder) {
    char command[2048];
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s' && cp '%s' '%s'", folder, folder, from, folder);
    assert_int_equal(system(command), 0);
}

/* A run that keeps a checkpoint before each step, then one run that goes on from each of them. */
static void go_on_from_everywhere(const kd_config *c, const kd_dataset *d) {
    char all[512], one[512], pattern[640];
    glob_t found;
    report whole, rest;
    snprintf(all, sizeof all, "%s", scratch("all"));
    snprintf(one, sizeof one, "%s", scratch("one"));
    snprintf(pattern, sizeof pattern, "%s/checkpoint-*", all);
    assert_ok(kd_folder_make(all));
    kd_checkpointing keep = {.folder = all, .data_path = "data", .steps = 1, .keep = 1000000};
    kd_checkpointing resume = {.folder = one, .data_path = "data", .keep = 1, .resume = true};
    assert_ok(train_with(c, d, &keep, &whole));
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc > 10);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        copy_file(found.gl_pathv[i], one);
        assert_ok(train_with(c, d, &resume, &rest));
        int64_t numbers = whole.count / c->epochs, skipped = rest.first_epoch * numbers;
        assert_int_equal(rest.count, whole.count - skipped);
        for (int64_t k = 0; k < rest.count; k++)
            if (!(rest.number[k] == whole.number[skipped + k]))
                fail_msg("%s: number %lld is %.17g, expected %.17g", found.gl_pathv[i], (long long)k, rest.number[k],
                         whole.number[skipped + k]);
        assert_int_equal(rest.best_epoch, whole.best_epoch);
        if (rest.model) assert_true(rest.model == whole.model); /* 0: the best epoch was before */
    }
    globfree(&found);
    copy_file("/dev/null", all);
}

static void set_small(kd_synth_config *s, kd_config *c) {
    s->users = 40;
    s->items = 30;
    c->dim = 8;
    c->hidden = 16;
    c->batch = 32;
    c->epochs = 2;
    c->steps = 3;
}

static void every_position_goes_on_to_the_same_bits(void **state) {
    (void)state;
    int least = op_device() == KD_DEVICE_CUDA ? 1 : 0; /* the stand-in takes its time */
    for (int64_t modalities = 2 * least; modalities <= 2; modalities++)
        for (int kg = least; kg < 2; kg++) {
            kd_synth_config s;
            kd_config c;
            vary(modalities, kg, &s, &c);
            set_small(&s, &c);
            kd_dataset d = make_data(&s);
            go_on_from_everywhere(&c, &d);
            kd_dataset_free(&d);
        }
}

static void another_model_goes_on_as_well(void **state) {
    (void)state;
    kd_synth_config s;
    kd_config c;
    vary(0, false, &s, &c);
    set_small(&s, &c);
    c.model = KD_MODEL_LIGHTGCN;
    c.gnn_layers = 2;
    c.batch = 16;
    c.epochs = 3;
    kd_dataset d = make_data(&s);
    go_on_from_everywhere(&c, &d);
    kd_dataset_free(&d);
}

/* Between evaluations, with early stopping, longer than it was meant to be. */
static void counts_of_epochs_go_on(void **state) {
    (void)state;
    kd_synth_config s;
    kd_config c;
    report whole, part, rest;
    vary(1, true, &s, &c);
    set_small(&s, &c);
    kd_dataset d = make_data(&s);
    c.epochs = 7;
    c.eval_every = 2;
    c.patience = 2;
    assert_ok(train_with(&c, &d, NULL, &whole));
    kd_checkpointing checkpoints = {.folder = scratch_folder, .data_path = "data", .epochs = 2, .keep = 1};
    c.epochs = 4;
    assert_ok(train_with(&c, &d, &checkpoints, &part));
    checkpoints.resume = true;
    c.epochs = 7;
    assert_ok(train_with(&c, &d, &checkpoints, &rest));
    assert_int_equal(rest.first_epoch, 4);
    assert_int_equal(part.count + rest.count, whole.count);
    assert_true(rest.number[rest.count - 8] == whole.number[whole.count - 8]);
    assert_int_equal(rest.best_epoch, whole.best_epoch);
    kd_dataset_free(&d);
}

static void keep_one(kd_config *c, kd_dataset *d, kd_checkpointing *checkpoints) {
    kd_synth_config s;
    report whole;
    char command[600];
    snprintf(command, sizeof command, "rm -f '%s'/checkpoint-*", scratch_folder);
    assert_int_equal(system(command), 0);
    vary(1, true, &s, c);
    set_small(&s, c);
    *d = make_data(&s);
    *checkpoints = (kd_checkpointing){.folder = scratch_folder, .data_path = "data", .epochs = 1, .keep = 1};
    assert_ok(train_with(c, d, checkpoints, &whole));
    checkpoints->resume = true;
}

static void expect(const kd_config *c, const kd_dataset *d, const kd_checkpointing *checkpoints, kd_status status,
                   const char *words) {
    report rest;
    assert_int_equal(train_with(c, d, checkpoints, &rest), status);
    if (!strstr(kd_last_error(), words)) fail_msg("expected '%s' in: %s", words, kd_last_error());
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    kd_config c, other;
    kd_dataset d, elsewhere;
    kd_checkpointing checkpoints, empty;
    kd_synth_config s = small_data();
    keep_one(&c, &d, &checkpoints);
    other = c;
    other.temp = 0.3;
    expect(&other, &d, &checkpoints, KD_ERR_ARGUMENT, "temp=0.5, not with temp=0.3");
    elsewhere = make_data(&s);
    expect(&c, &elsewhere, &checkpoints, KD_ERR_FORMAT, "other data");
    empty = checkpoints;
    empty.folder = "/nonexistent";
    expect(&c, &d, &empty, KD_ERR_FORMAT, "/nonexistent: holds no checkpoint");
    kd_dataset_free(&d);
    kd_dataset_free(&elsewhere);
}

/* Cut anywhere: one line, and nothing is taken from it. */
static void a_damaged_checkpoint_is_refused(void **state) {
    (void)state;
    kd_config c;
    kd_dataset d;
    kd_checkpointing checkpoints;
    kd_mapped_file file;
    char *path;
    keep_one(&c, &d, &checkpoints);
    assert_ok(kd_checkpoint_newest(scratch_folder, &path));
    assert_ok(kd_file_map(path, &file));
    int64_t bytes = file.bytes;
    kd_file_unmap(&file);
    for (int64_t left = bytes - 1; left > 0; left = left * 2 / 3) {
        assert_int_equal(truncate(path, (off_t)left), 0);
        expect(&c, &d, &checkpoints, KD_ERR_FORMAT, "checkpoint-");
    }
    free(path);
    kd_dataset_free(&d);
}

static void only_the_newest_stay(void **state) {
    (void)state;
    kd_config c;
    kd_dataset d;
    kd_checkpointing checkpoints;
    report whole;
    glob_t found;
    char pattern[600], half[600];
    keep_one(&c, &d, &checkpoints);
    snprintf(half, sizeof half, "%s/checkpoint-0000000000-4-00-0000000001.safetensors.tmp.abcdef", scratch_folder);
    FILE *f = fopen(half, "w");
    assert_non_null(f);
    fclose(f);
    checkpoints.resume = false;
    checkpoints.epochs = 0;
    checkpoints.steps = 3;
    checkpoints.keep = 3;
    assert_ok(train_with(&c, &d, &checkpoints, &whole));
    snprintf(pattern, sizeof pattern, "%s/checkpoint-*", scratch_folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 3);
    assert_non_null(strstr(found.gl_pathv[2], "checkpoint-0000000002-1-00-0000000000.safetensors")); /* the end */
    globfree(&found);
    kd_dataset_free(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_position_goes_on_to_the_same_bits),
        cmocka_unit_test(another_model_goes_on_as_well),
        cmocka_unit_test(counts_of_epochs_go_on),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_damaged_checkpoint_is_refused),
        cmocka_unit_test(only_the_newest_stay),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
