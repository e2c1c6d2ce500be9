/* What a run reports: metrics.jsonl, the epoch table, the progress bar, the run folder. */
#include "data_fixture.h"

#include <cjson/cJSON.h>
#include <math.h>

#include "host/base/file.h"
#include "host/config/load.h"
#include "host/report/console.h"
#include "host/report/metrics_log.h"
#include "host/report/run_folder.h"

/* The file's text, valid until the next call. */
static const char *text_of(FILE *stream) {
    static char text[16384];
    rewind(stream);
    size_t got = fread(text, 1, sizeof text - 1, stream);
    text[got] = '\0';
    return text;
}

static const char *text_at(const char *path) {
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    const char *text = text_of(stream);
    fclose(stream);
    return text;
}

static void assert_says(const char *text, const char *words) {
    if (!strstr(text, words)) fail_msg("expected '%s' in: %s", words, text);
}

static kd_metrics metrics(double recall) {
    return (kd_metrics){.users = 7,
                        .topk_count = 2,
                        .topk = {5, 20},
                        .recall = {recall / 2, recall},
                        .ndcg = {0.0625, 0.125},
                        .precision = {0.5, 0.25}};
}

static kd_epoch_record record_of(int64_t epoch) {
    kd_epoch_record r = {
        .epoch = epoch,
        .loss = 1.0 / 3.0,
        .loss_part = {[KD_LOSS_BPR] = 0.25, [KD_LOSS_WEIGHT_DECAY] = 1e-5, [KD_LOSS_CONTRASTIVE] = 0.0625},
        .denoise_modality = {1.5, 2.5},
        .denoise_kg = 3.5,
        .modality_count = 2,
        .modality = {"image", "audio"},
        .evaluated = true,
        .best = true,
        .valid = metrics(0.75),
        .test = metrics(0.5),
        .total_seconds = 6.0};
    for (int i = 0; i < KD_STAGE_COUNT; i++) r.seconds[i] = i + 0.5;
    return r;
}

static double number(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsNumber(item)) fail_msg("no number %s", name);
    return item->valuedouble;
}

static const char *word(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsString(item)) fail_msg("no text %s", name);
    return item->valuestring;
}

static void assert_number(const cJSON *object, const char *name, double expected) {
    double actual = number(object, name);
    if (!(fabs(actual - expected) <= 1e-9 * fabs(expected)))
        fail_msg("%s is %.9g, expected %.9g", name, actual, expected);
}

/* Line `index` of metrics.jsonl, parsed; the caller deletes it. */
static cJSON *line_of(const char *path, int index) {
    const char *text = text_at(path), *end = NULL;
    for (; index > 0; index--) {
        text = strchr(text, '\n');
        assert_non_null(text);
        text++;
    }
    cJSON *line = cJSON_ParseWithOpts(text, &end, 0);
    assert_non_null(line);
    assert_int_equal(*end, '\n'); /* one object a line, and the line ends */
    return line;
}

static void start_record(void **state) {
    (void)state;
    kd_config config;
    kd_dataset data = {.name = "a \"name\"", .users = 3, .items = 4, .hash = 0xab, .train.count = 9, .test.count = 2};
    kd_metrics_log log;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch("start.jsonl"));
    kd_config_defaults(&config);
    assert_int_equal(kd_metrics_log_open(path, &log), KD_OK);
    assert_int_equal(kd_metrics_log_start(&log, &config, &data, "cpu: 1 core"), KD_OK);
    cJSON *line = line_of(path, 0); /* before it is closed: every record is flushed */
    kd_metrics_log_close(&log);
    const cJSON *about = cJSON_GetObjectItemCaseSensitive(line, "data");
    const cJSON *protocol = cJSON_GetObjectItemCaseSensitive(line, "protocol");
    assert_string_equal(word(line, "event"), "start");
    assert_string_equal(word(line, "device"), "cpu: 1 core");
    assert_true(strlen(word(line, "version")) > 0);
    assert_string_equal(word(about, "name"), "a \"name\"");
    assert_string_equal(word(about, "hash"), "00000000000000ab");
    assert_number(about, "users", 3);
    assert_number(about, "items", 4);
    assert_number(about, "train", 9);
    assert_number(about, "valid", 0);
    assert_number(about, "test", 2);
    assert_string_equal(word(protocol, "ranking"), "full");
    assert_string_equal(word(protocol, "mask"), "train");
    assert_string_equal(word(protocol, "select_on"), "test");
    const cJSON *cuts = cJSON_GetObjectItemCaseSensitive(protocol, "topk");
    assert_int_equal(cJSON_GetArraySize(cuts), 1);
    assert_true(cJSON_GetArrayItem(cuts, 0)->valuedouble == 20);
    cJSON_Delete(line);
}

static void epoch_and_end_records(void **state) {
    (void)state;
    kd_metrics_log log;
    kd_epoch_record r = record_of(4);
    char path[512];
    snprintf(path, sizeof path, "%s", scratch("epochs.jsonl"));
    assert_int_equal(kd_metrics_log_open(path, &log), KD_OK);
    assert_int_equal(kd_metrics_log_epoch(&log, &r), KD_OK);
    assert_int_equal(kd_metrics_log_end(&log, 4, 123456789012), KD_OK);
    kd_metrics_log_close(&log);
    cJSON *line = line_of(path, 0), *end = line_of(path, 1);
    assert_string_equal(word(line, "event"), "epoch");
    assert_number(line, "epoch", 4);
    assert_number(line, "loss", 0.333333333);
    assert_number(line, "bpr", 0.25);
    assert_number(line, "weight_decay", 1e-5);
    assert_number(line, "contrastive", 0.0625);
    const cJSON *denoise = cJSON_GetObjectItemCaseSensitive(line, "denoise");
    assert_number(denoise, "image", 1.5);
    assert_number(denoise, "audio", 2.5);
    assert_number(denoise, "kg", 3.5);
    const cJSON *valid = cJSON_GetObjectItemCaseSensitive(line, "valid");
    assert_number(valid, "recall@5", 0.375);
    assert_number(valid, "recall@20", 0.75);
    assert_number(valid, "ndcg@20", 0.125);
    assert_number(valid, "precision@5", 0.5);
    assert_number(cJSON_GetObjectItemCaseSensitive(line, "test"), "recall@20", 0.5);
    const cJSON *seconds = cJSON_GetObjectItemCaseSensitive(line, "seconds");
    for (int i = 0; i < KD_STAGE_COUNT; i++) assert_number(seconds, kd_stage_name((kd_stage)i), i + 0.5);
    assert_number(seconds, "total", 6.0);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "best")));
    assert_string_equal(word(end, "event"), "end");
    assert_number(end, "best_epoch", 4);
    assert_number(end, "peak_memory_bytes", 123456789012.0);
    cJSON_Delete(line);
    cJSON_Delete(end);
}

static void splits_without_metrics_are_left_out(void **state) {
    (void)state;
    kd_metrics_log log;
    kd_epoch_record r = record_of(0), skipped = record_of(1);
    char path[512];
    snprintf(path, sizeof path, "%s", scratch("partial.jsonl"));
    r.valid = (kd_metrics){0};
    r.denoise_kg = NAN;
    skipped.evaluated = skipped.best = false;
    assert_int_equal(kd_metrics_log_open(path, &log), KD_OK);
    assert_int_equal(kd_metrics_log_epoch(&log, &r), KD_OK);
    assert_int_equal(kd_metrics_log_epoch(&log, &skipped), KD_OK);
    kd_metrics_log_close(&log);
    cJSON *line = line_of(path, 0);
    assert_null(cJSON_GetObjectItemCaseSensitive(line, "valid"));
    assert_non_null(cJSON_GetObjectItemCaseSensitive(line, "test"));
    const cJSON *denoise = cJSON_GetObjectItemCaseSensitive(line, "denoise");
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(denoise, "kg"))); /* JSON has no NaN */
    cJSON_Delete(line);
    line = line_of(path, 1);
    assert_null(cJSON_GetObjectItemCaseSensitive(line, "valid"));
    assert_null(cJSON_GetObjectItemCaseSensitive(line, "test"));
    assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(line, "best")));
    cJSON_Delete(line);
}

static void a_log_that_cannot_be_written(void **state) {
    (void)state;
    kd_metrics_log log;
    kd_epoch_record r = record_of(0);
    assert_failed(kd_metrics_log_open(scratch("no folder/metrics.jsonl"), &log), KD_ERR_IO, "metrics.jsonl");
    kd_metrics_log_close(&log);
    if (kd_metrics_log_open("/dev/full", &log) != KD_OK) skip(); /* a device that some systems lack */
    assert_failed(kd_metrics_log_epoch(&log, &r), KD_ERR_IO, "/dev/full");
    kd_metrics_log_close(&log);
}

static void open_console(bool bar, kd_console *c) {
    kd_console_open(30, c);
    c->table = tmpfile();
    c->progress = tmpfile();
    c->bar = bar;
    assert_non_null(c->table);
    assert_non_null(c->progress);
}

static void close_console(kd_console *c) {
    fclose(c->table);
    fclose(c->progress);
}

static void epoch_table(void **state) {
    (void)state;
    kd_console c;
    kd_epoch_record first = record_of(0), second = record_of(1);
    open_console(false, &c);
    second.best = false;
    second.valid = (kd_metrics){0};
    kd_console_epoch(&c, &first);
    kd_console_epoch(&c, &second);
    const char *text = text_of(c.table);
    assert_says(text, "Rec@20");
    assert_says(text, "NDCG@20");
    assert_says(text, "Prec@20");
    assert_says(text, "    0    0.33333    0.7500   0.1250   0.2500    0.5000   0.1250   0.2500     6.00 *\n");
    assert_says(text, "    1    0.33333         -        -        -    0.5000   0.1250   0.2500     6.00\n");
    assert_true(strstr(text, "Rec@20") < strstr(text, "0.33333"));
    kd_console_stages(&c);
    text = text_of(c.table);
    assert_says(text, "denoise_kg                 5.00  41.7%\n"); /* 2.5 s twice, of twice 6 s */
    assert_says(text, "total                     12.00\n");
    close_console(&c);
}

static void the_bar_is_for_terminals(void **state) {
    (void)state;
    kd_console c;
    kd_epoch_record r = record_of(0);
    open_console(false, &c);
    kd_console_progress(&c, 2, KD_STAGE_STEPS, 1, 2);
    kd_console_epoch(&c, &r);
    assert_string_equal(text_of(c.progress), "");
    close_console(&c);
    open_console(true, &c);
    kd_console_progress(&c, 2, KD_STAGE_STEPS, 1, 2);
    assert_string_equal(text_of(c.progress), "\r\033[Kepoch 3/30 steps              [############............] 1/2");
    kd_console_progress(&c, 2, KD_STAGE_STEPS, 0, 0);
    assert_says(text_of(c.progress), "[........................] 0/0");
    kd_console_epoch(&c, &r);
    const char *text = text_of(c.progress);
    assert_string_equal(text + strlen(text) - 4, "\r\033[K"); /* the row is not written over the bar */
    close_console(&c);
}

static void metrics_of_every_cut_off(void **state) {
    (void)state;
    kd_metrics m = metrics(0.5);
    FILE *out = tmpfile();
    assert_non_null(out);
    kd_console_metrics(out, "test", &m);
    assert_string_equal(text_of(out), "test   recall@5 0.2500  ndcg@5 0.0625  precision@5 0.5000  (7 users)\n"
                                      "test   recall@20 0.5000  ndcg@20 0.1250  precision@20 0.2500  (7 users)\n");
    fclose(out);
}

static void bytes_for_people(void **state) {
    (void)state;
    char text[32];
    assert_string_equal(kd_console_bytes(0, text), "0 B");
    assert_string_equal(kd_console_bytes(999, text), "999 B");
    assert_string_equal(kd_console_bytes(1234567, text), "1.2 MB");
    assert_string_equal(kd_console_bytes(INT64_C(5500000000000000), text), "5500.0 TB");
}

static void run_folders(void **state) {
    (void)state;
    kd_run_folder run;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch("run"));
    assert_int_equal(kd_run_folder_create(path, false, &run), KD_OK);
    kd_run_folder_free(&run);
    assert_int_equal(kd_run_folder_create(path, false, &run), KD_OK); /* there, but empty */
    kd_run_folder_free(&run);
    assert_failed(kd_run_folder_open(path, &run), KD_ERR_FORMAT, "model.safetensors");
    write_text("run/model.safetensors", "model");
    write_text("run/notes.txt", "mine");
    assert_int_equal(kd_run_folder_open(path, &run), KD_OK);
    assert_string_equal(run.path, path);
    assert_string_equal(run.model + strlen(path), "/model.safetensors");
    kd_run_folder_free(&run);
    assert_failed(kd_run_folder_create(path, false, &run), KD_ERR_ARGUMENT, "--overwrite");
    assert_string_equal(text_at(scratch("run/model.safetensors")), "model"); /* a refusal touches nothing */
    assert_int_equal(kd_run_folder_create(path, true, &run), KD_OK);
    assert_false(kd_file_exists(run.model));
    assert_string_equal(text_at(scratch("run/notes.txt")), "mine"); /* nor is anything but the run replaced */
    kd_run_folder_free(&run);
}

static void folders_that_cannot_be_runs(void **state) {
    (void)state;
    kd_run_folder run;
    const char *file = write_text("file", "text");
    assert_failed(kd_run_folder_create(file, false, &run), KD_ERR_IO, "Not a directory");
    assert_failed(kd_run_folder_create(file, true, &run), KD_ERR_IO, "Not a directory");
    assert_string_equal(text_at(scratch("file")), "text");
    assert_failed(kd_run_folder_create(scratch("file/run"), false, &run), KD_ERR_IO, "file/run");
    assert_failed(kd_run_folder_open(scratch("absent"), &run), KD_ERR_FORMAT, "absent");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_record),
        cmocka_unit_test(epoch_and_end_records),
        cmocka_unit_test(splits_without_metrics_are_left_out),
        cmocka_unit_test(a_log_that_cannot_be_written),
        cmocka_unit_test(epoch_table),
        cmocka_unit_test(the_bar_is_for_terminals),
        cmocka_unit_test(metrics_of_every_cut_off),
        cmocka_unit_test(bytes_for_people),
        cmocka_unit_test(run_folders),
        cmocka_unit_test(folders_that_cannot_be_runs),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
