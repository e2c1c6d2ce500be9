/* The public library through its own headers: runs in memory and in folders, what callbacks may ask for, what is
 * refused. Started with mpirun: one communicator for several trainings; with the word `abandon`, a failure of one rank
 * after one that all knew of, which has to end the job (cli_ranks.sh). */
#include "data_fixture.h"

#include <math.h>
#include <omp.h>

#include "host/data/format.h"
#include "host/data/synth.h"
#include "kdiffe/kdiffe.h"

static kd_comm *comm; /* NULL: one rank */

static void assert_ok(kd_status status) {
    if (status != KD_OK) fail_msg("%s", kd_last_error());
}

static int make_data(void **state) {
    kd_synth_config c;
    kd_dataset made = {0};
    uint8_t *informative;
    if (make_scratch(state)) return 1;
    kd_synth_defaults(&c);
    c.users = 90;
    c.items = 50;
    c.tastes = 5;
    c.interactions = 6;
    c.modality_count = 1;
    c.modality[0].width = 6;
    assert_ok(kd_synth_generate(&c, &made, &informative));
    assert_ok(kd_dataset_save(scratch("data"), false, &made));
    kd_dataset_free(&made);
    free(informative);
    return 0;
}

static kd_dataset *open_data(void) {
    kd_dataset *data;
    assert_ok(kd_dataset_open(scratch("data"), &data));
    return data;
}

static kd_config *small(const char *key) {
    const char *const keys[] = {"epochs=3", "dim=8", "hidden=16", "batch=64", "threads=1", "device=cpu", key};
    kd_config *config;
    assert_ok(kd_config_open(NULL, key ? 7 : 6, keys, &config));
    return config;
}

/* What callbacks were told, and what they are to answer. */
typedef struct watch {
    int64_t epochs, steps, stop_before, resumed; /* stop_before: a step, 0: none */
    int64_t enough;                              /* epochs after which it is; 0: never */
    bool decline, planned;
    char unread[64]; /* what the plan said of keys */
} watch;

static bool on_planned(void *context, const kd_run_plan *plan) {
    watch *w = context;
    w->planned = true;
    snprintf(w->unread, sizeof w->unread, "%s", plan->unread_keys);
    assert_true(plan->model->total > 0 && plan->available > 0 && plan->ranks == 1);
    assert_non_null(strstr(plan->device, "cpu"));
    return !w->decline;
}

static bool on_progress(void *context, int64_t epoch, kd_stage stage, int64_t done, int64_t total) {
    watch *w = context;
    assert_true(epoch >= 0 && done >= 0 && done <= total && kd_stage_name(stage)[0]);
    w->steps++;
    return w->stop_before == 0 || w->steps < w->stop_before;
}

static bool on_epoch(void *context, const kd_epoch_record *record) {
    watch *w = context;
    assert_true(isfinite(record->loss) && record->test.users > 0);
    w->epochs++;
    return w->enough == 0 || w->epochs < w->enough;
}

static void on_resumed(void *context, int64_t epoch) { ((watch *)context)->resumed = epoch; }

static kd_training watched(watch *w) {
    return (kd_training){
        .context = w, .planned = on_planned, .resumed = on_resumed, .progress = on_progress, .epoch = on_epoch};
}

static void assert_same_model(const kd_run *a, const kd_run *b) {
    assert_int_equal(kd_run_array_count(a), kd_run_array_count(b));
    assert_true(kd_run_array_count(a) > 2);
    for (int64_t i = 0; i < kd_run_array_count(a); i++) {
        kd_array x = kd_run_array(a, i), y = kd_run_find(b, x.name);
        assert_non_null(y.data);
        assert_int_equal(x.rank, y.rank);
        assert_int_equal(x.shape[0], y.shape[0]);
        assert_int_equal(x.shape[1], y.shape[1]);
        assert_memory_equal(x.data, y.data, (size_t)(x.shape[0] * x.shape[1]) * sizeof *x.data);
    }
}

static void run_in_memory_is_the_one_in_a_folder(void **state) {
    (void)state;
    watch w = {.epochs = 0}, v = {.epochs = 0};
    kd_training memory = watched(&w), folder = watched(&v);
    kd_run *a, *b, *c;
    kd_run_summary summary;
    kd_config *config = small(NULL);
    kd_dataset *data = open_data();
    char path[512];
    snprintf(path, sizeof path, "%s", scratch("run"));
    folder.folder = path;
    omp_set_num_threads(3);
    assert_ok(kd_run_train(data, config, &memory, &summary, &a));
    assert_ok(kd_run_train(data, config, &folder, NULL, &b));
    assert_ok(kd_run_open(path, NULL, &c));
    assert_string_equal(w.unread, "");
    assert_true(w.planned && w.epochs == 3 && w.steps > 3 && v.steps == w.steps);
    assert_int_equal(summary.best_epoch, kd_run_epoch(a));
    assert_int_equal(kd_run_epoch(c), kd_run_epoch(a));
    assert_true(summary.peak_bytes > 0 && summary.exchanges == 0);
    assert_same_model(a, b);
    assert_same_model(a, c);
    assert_int_equal(omp_get_max_threads(), 3); /* the caller's own, whatever the runs took */
    assert_ptr_equal(kd_run_dataset(a), data);
    assert_ptr_not_equal(kd_run_dataset(c), data);
    kd_run_close(c);
    kd_run_close(b);
    kd_run_close(a);
    kd_dataset_close(data);
    kd_config_close(config);
}

static void lightgcn_trains_too(void **state) {
    (void)state;
    watch w = {.epochs = 0};
    kd_training training = watched(&w);
    kd_run *run;
    kd_config *config = small("model=lightgcn");
    kd_dataset *data = open_data();
    assert_ok(kd_run_train(data, config, &training, NULL, &run));
    assert_int_equal(kd_run_find(run, "view.item").shape[1], 8);
    assert_string_equal(w.unread, "hidden"); /* of those in small() */
    kd_run_close(run);
    kd_dataset_close(data);
    kd_config_close(config);
}

static void callbacks_end_a_run(void **state) {
    (void)state;
    watch no = {.decline = true}, early = {.enough = 1}, stop = {.steps = 0};
    kd_training training = watched(&no);
    kd_run *run;
    kd_run_summary summary;
    kd_config *config = small(NULL);
    kd_dataset *data = open_data();
    assert_ok(kd_run_train(data, config, &training, &summary, &run));
    assert_true(!run && no.steps == 0 && summary.best_epoch == -1);

    training = watched(&early);
    assert_ok(kd_run_train(data, config, &training, &summary, &run));
    assert_int_equal(early.epochs, 1);
    assert_int_equal(kd_run_epoch(run), 0);
    kd_run_close(run);

    /* in the second epoch: the first one's model is handed over */
    stop.stop_before = early.steps + 2;
    training = watched(&stop);
    assert_failed(kd_run_train(data, config, &training, &summary, &run), KD_ERR_INTERRUPTED,
                  "stopped as asked in epoch 1");
    assert_int_equal(stop.epochs, 1);
    assert_int_equal(stop.steps, stop.stop_before); /* and no step more */
    assert_non_null(run);
    assert_int_equal(kd_run_epoch(run), 0);
    kd_run_close(run);

    /* before any epoch: there is none */
    stop = (watch){.stop_before = 1};
    assert_failed(kd_run_train(data, config, &training, &summary, &run), KD_ERR_INTERRUPTED, "before the first epoch");
    assert_null(run);
    assert_int_equal(stop.steps, 1);
    kd_dataset_close(data);
    kd_config_close(config);
}

static void stopped_run_goes_on_to_the_same_model(void **state) {
    (void)state;
    watch w = {.epochs = 0}, first = {.stop_before = 40}, rest = {.resumed = -1};
    kd_training whole = watched(&w), training = watched(&first);
    kd_run *a, *b;
    kd_config *config = small(NULL);
    kd_dataset *data = open_data();
    char path[512];
    snprintf(path, sizeof path, "%s", scratch("stopped"));
    assert_ok(kd_run_train(data, config, &whole, NULL, &a));
    assert_true(w.steps > first.stop_before);
    training.folder = path;
    assert_failed(kd_run_train(data, config, &training, NULL, &b), KD_ERR_INTERRUPTED, "stopped as asked");
    kd_run_close(b);
    training = watched(&rest);
    training.folder = path;
    training.resume = true;
    assert_ok(kd_run_train(data, config, &training, NULL, &b));
    assert_true(rest.resumed >= 0 && rest.steps < w.steps);
    assert_same_model(a, b);
    kd_run_close(a);
    kd_run_close(b);
    kd_dataset_close(data);
    kd_config_close(config);
}

/* Lists are those of the dot products of what kd_run_find gives; metrics follow from them. */
static void ranking_is_by_dot_products_of_the_views(void **state) {
    (void)state;
    enum { K = 7 };
    const int64_t cuts[] = {K};
    kd_training training = {.folder = NULL};
    kd_run *run;
    kd_metrics metrics;
    kd_config *config = small(NULL);
    kd_dataset *data = open_data();
    const int32_t *user, *item;
    assert_ok(kd_run_train(data, config, &training, NULL, &run));
    kd_array u = kd_run_find(run, "view.user"), v = kd_run_find(run, "view.item");
    int64_t users = kd_dataset_ids(data, KD_ID_USER), items = kd_dataset_ids(data, KD_ID_ITEM), width = u.shape[1];
    int64_t count = kd_dataset_interactions(data, KD_SUBSET_TEST, &user, &item), held = 0;
    int32_t *all = calloc((size_t)users, sizeof *all), *list = calloc((size_t)(users * K), sizeof *list);
    float *score = calloc((size_t)(users * K), sizeof *score);
    assert_true(all && list && score && u.shape[0] == users && v.shape[0] == items && v.shape[1] == width);
    for (int64_t i = 0; i < users; i++) all[i] = (int32_t)i;
    assert_ok(kd_run_recommend(run, users, all, K, list, score));
    for (int64_t i = 0; i < users * K; i++) {
        double dot = 0.0;
        if (list[i] < 0) continue;
        for (int64_t k = 0; k < width; k++) dot += (double)u.data[i / K * width + k] * v.data[list[i] * width + k];
        if (!(fabs(dot - score[i]) <= 1e-5 * (1.0 + fabs(dot)))) fail_msg("score %g, expected %g", score[i], dot);
        if (i % K > 0) assert_true(score[i] <= score[i - 1]);
    }
    double recall = 0.0;
    for (int64_t i = 0, end; i < count; i = end, held++) {
        int64_t hits = 0;
        for (end = i; end < count && user[end] == user[i]; end++)
            for (int64_t k = 0; k < K; k++) hits += list[user[i] * K + k] == item[end];
        recall += (double)hits / (double)(end - i);
    }
    assert_ok(kd_run_evaluate(run, KD_SUBSET_TEST, 1, cuts, &metrics));
    assert_int_equal(metrics.users, held);
    assert_true(fabs(metrics.recall[0] - recall / (double)held) <= 1e-9);
    free(all);
    free(list);
    free(score);
    kd_run_close(run);
    kd_dataset_close(data);
    kd_config_close(config);
}

static void ids_are_found(void **state) {
    (void)state;
    kd_dataset *data = open_data();
    const char *const ids[] = {kd_dataset_id(data, KD_ID_USER, 3), "nobody", kd_dataset_id(data, KD_ID_USER, 0)};
    int64_t index[3];
    assert_ok(kd_dataset_find(data, KD_ID_USER, 3, ids, index));
    assert_true(index[0] == 3 && index[1] == -1 && index[2] == 0);
    assert_null(kd_dataset_id(data, KD_ID_ITEM, kd_dataset_ids(data, KD_ID_ITEM)));
    assert_null(kd_dataset_id(data, KD_ID_ITEM, -1));
    kd_dataset_close(data);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    const char *const unknown[] = {"epoks=3"};
    const int64_t falling[] = {5, 5};
    const int32_t nobody = 90;
    const int64_t huge = INT64_MAX;
    int32_t item[2];
    float score[2];
    char text[32];
    kd_metrics metrics;
    kd_run *run;
    kd_dataset *none;
    kd_config *config, *good = small(NULL);
    kd_dataset *data = open_data();
    assert_failed(kd_config_open(NULL, 1, unknown, &config), KD_ERR_ARGUMENT, "epochs");
    assert_null(config);
    assert_failed(kd_config_value(good, "epoks", text, sizeof text), KD_ERR_ARGUMENT, "epochs");
    assert_ok(kd_config_value(good, "hidden", text, sizeof text));
    assert_string_equal(text, "16");
    assert_ok(kd_config_value(good, "guidance_weight.image", text, sizeof text));
    assert_true(fabs(strtod(text, NULL) - 0.1) < 1e-12);
    assert_failed(kd_dataset_open(scratch("nowhere"), &none), KD_ERR_FORMAT, "nowhere");
    assert_null(none);
    assert_failed(kd_run_open(scratch("nowhere"), NULL, &run), KD_ERR_FORMAT, "nowhere");
    assert_null(run);

    kd_training training = {.resume = true};
    assert_failed(kd_run_train(data, good, &training, NULL, &run), KD_ERR_ARGUMENT, "resume");
    training = (kd_training){.checkpoint_epochs = 1};
    assert_failed(kd_run_train(data, good, &training, NULL, &run), KD_ERR_ARGUMENT, "checkpoints");
    training = (kd_training){.folder = scratch("refused"), .checkpoint_keep = -1};
    assert_failed(kd_run_train(data, good, &training, NULL, &run), KD_ERR_ARGUMENT, "checkpoints");
    training = (kd_training){.profile_first = 4, .profile_end = 2};
    assert_failed(kd_run_train(data, good, &training, NULL, &run), KD_ERR_ARGUMENT, "profiled steps");
    training = (kd_training){.folder = ""};
    assert_failed(kd_run_train(data, good, &training, NULL, &run), KD_ERR_ARGUMENT, "expected a path");
    training = (kd_training){.overwrite = false};
    assert_ok(kd_run_train(data, good, &training, NULL, &run));
    assert_failed(kd_run_evaluate(run, KD_SUBSET_TEST, 2, falling, &metrics), KD_ERR_ARGUMENT, "ascending");
    assert_failed(kd_run_evaluate(run, KD_SUBSET_TRAIN, 1, falling, &metrics), KD_ERR_ARGUMENT, "test split");
    assert_failed(kd_run_evaluate(run, KD_SUBSET_TEST, 1, &huge, &metrics), KD_ERR_ARGUMENT, "to 1000000");
    assert_failed(kd_run_recommend(run, 1, &(int32_t){0}, huge, item, score), KD_ERR_ARGUMENT, "1 to 1000000");
    assert_failed(kd_run_recommend(run, 1, &nobody, 2, item, score), KD_ERR_ARGUMENT, "user 90");
    assert_failed(kd_run_compute(run, "tpu", 1), KD_ERR_ARGUMENT, "device");
    assert_null(kd_run_find(run, "view.nobody").data);
    assert_null(kd_run_array(run, kd_run_array_count(run)).name);
    kd_run_close(run);
    kd_run_close(NULL);
    kd_dataset_close(NULL);
    kd_config_close(NULL);
    kd_dataset_close(data);
    kd_config_close(good);
}

/* After a failure that all knew of, too; each run counts its own exchanges. */
static void trainings_follow_each_other_on_ranks(void **state) {
    (void)state;
    kd_run *run[2];
    kd_run_summary summary[2];
    kd_config *config = small(NULL);
    kd_dataset *data = open_data();
    kd_training refused = {.comm = comm, .checkpoint_keep = -1}, training = {.comm = comm};
    assert_int_equal(kd_run_train(data, config, &refused, NULL, &run[0]), KD_ERR_ARGUMENT);
    for (int i = 0; i < 2; i++) assert_ok(kd_run_train(data, config, &training, &summary[i], &run[i]));
    assert_true(summary[0].exchanges > 0);
    assert_int_equal(summary[1].exchanges, summary[0].exchanges);
    if (kd_comm_rank(comm) == 0) assert_same_model(run[0], run[1]);
    if (kd_comm_rank(comm) > 0) assert_true(!run[0] && !run[1]);
    for (int i = 0; i < 2; i++) kd_run_close(run[i]);
    kd_dataset_close(data);
    kd_config_close(config);
}

/* The last rank fails alone while the others train on: kd_comm_close ends them all. */
static int abandon(void) {
    kd_run *run;
    kd_dataset *data = NULL, *none;
    kd_config *config = small(NULL);
    kd_training refused = {.comm = comm, .checkpoint_keep = -1}, training = {.comm = comm};
    if (make_data(NULL) || kd_dataset_open(scratch("data"), &data) != KD_OK || remove_scratch(NULL)) return 2;
    kd_run_train(data, config, &refused, NULL, &run);
    if (kd_comm_rank(comm) + 1 == kd_comm_ranks(comm)) kd_comm_close(comm, kd_dataset_open("/nowhere", &none));
    kd_run_train(data, config, &training, NULL, &run);
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_in_memory_is_the_one_in_a_folder),
        cmocka_unit_test(lightgcn_trains_too),
        cmocka_unit_test(callbacks_end_a_run),
        cmocka_unit_test(stopped_run_goes_on_to_the_same_model),
        cmocka_unit_test(ranking_is_by_dot_products_of_the_views),
        cmocka_unit_test(ids_are_found),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    const struct CMUnitTest of_ranks[] = {cmocka_unit_test(trainings_follow_each_other_on_ranks)};
    if (kd_comm_open(NULL, 60, &comm) != KD_OK) return 2;
    if (argc > 1 && strcmp(argv[1], "abandon") == 0) return abandon();
    if (!comm) return cmocka_run_group_tests(tests, make_data, remove_scratch);
    if (kd_comm_rank(comm) > 0 && !freopen("/dev/null", "w", stdout)) return 2;
    int failed = cmocka_run_group_tests(of_ranks, make_data, remove_scratch);
    kd_comm_close(comm, KD_OK);
    return failed;
}
