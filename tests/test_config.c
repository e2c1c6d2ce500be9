/* Configuration: the published defaults, file and override order, nearest keys, ranges, semantics, saving. */
#include "data_fixture.h"

#include "host/config/config.h"
#include "host/config/keys.h"
#include "host/config/load.h"

/* Doubles that were written and read back, or parsed from the same literal, are the same bits. */
#define assert_real(actual, expected) assert_true((actual) == (expected))

static kd_config load_text(const char *yaml) {
    kd_config config;
    kd_status status = kd_config_load(write_text("run.yaml", yaml), 0, NULL, &config);
    if (status != KD_OK) fail_msg("%s", kd_last_error());
    return config;
}

static kd_config load_override(const char *override) {
    kd_config config;
    kd_status status = kd_config_load(NULL, 1, &override, &config);
    if (status != KD_OK) fail_msg("%s", kd_last_error());
    return config;
}

static void assert_yaml_fails(const char *yaml, const char *words) {
    kd_config config;
    assert_failed(kd_config_load(write_text("bad.yaml", yaml), 0, NULL, &config), KD_ERR_ARGUMENT, words);
}

static void assert_override_fails(const char *override, const char *words) {
    kd_config config;
    assert_failed(kd_config_load(NULL, 1, &override, &config), KD_ERR_ARGUMENT, words);
}

static void assert_same(const kd_config *a, const kd_config *b) {
    for (int64_t i = 0; i < kd_key_count; i++) {
        char x[2048], y[2048];
        kd_key_format(&kd_keys[i], a, x, sizeof x);
        kd_key_format(&kd_keys[i], b, y, sizeof y);
        if (strcmp(x, y) != 0) fail_msg("%s: '%s' and '%s'", kd_keys[i].name, x, y);
        if (kd_keys[i].type == KD_KEY_REAL)
            assert_memory_equal((const char *)a + kd_keys[i].offset, (const char *)b + kd_keys[i].offset,
                                sizeof(double));
    }
    assert_memory_equal(a->topk, b->topk, sizeof a->topk);
    assert_int_equal(a->guidance_weight_count, b->guidance_weight_count);
    for (int64_t i = 0; i < a->guidance_weight_count; i++) {
        assert_string_equal(a->guidance_weight[i].modality, b->guidance_weight[i].modality);
        assert_real(a->guidance_weight[i].weight, b->guidance_weight[i].weight);
    }
}

static void defaults_are_the_published_ones(void **state) {
    (void)state;
    kd_config c;
    kd_config_defaults(&c);
    assert_int_equal(c.semantics, KD_SEMANTICS_PUBLISHED);
    assert_int_equal(c.epochs, 25);
    assert_int_equal(c.batch, 1024);
    assert_int_equal(c.dim, 64);
    assert_real(c.lr, 1e-3);
    assert_real(c.reg, 1e-5);
    assert_int_equal(c.seed, 421);
    assert_int_equal(c.gnn_layers, 1);
    assert_int_equal(c.kg_hops, 1);
    assert_int_equal(c.triplet_num, 10);
    assert_real(c.mess_dropout, 0.1);
    assert_int_equal(c.trans, 0);
    assert_real(c.res_lambda, 0.5);
    assert_real(c.ris_adj_lambda, 0.2);
    assert_int_equal(c.cl_method, 0);
    assert_real(c.ssl_reg, 0.01);
    assert_real(c.temp, 0.5);
    assert_int_equal(c.guidance_weight_count, 0);
    assert_int_equal(c.hidden, 1000);
    assert_int_equal(c.time_dim, 10);
    assert_int_equal(c.steps, 5);
    assert_int_equal(c.sampling_steps, 0);
    assert_real(c.noise_scale, 0.1);
    assert_real(c.noise_min, 1e-4);
    assert_real(c.noise_max, 0.02);
    assert_real(c.e_loss, 0.1);
    assert_int_equal(c.q, 1);
    assert_real(c.keep_rate, 0.5);
    assert_real(c.epsilon, 0.5);
}

static void defaults_of_the_engine(void **state) {
    (void)state;
    kd_config c;
    kd_config_defaults(&c);
    assert_int_equal(c.attention.method, KD_ATTENTION_CUMULATIVE);
    assert_int_equal(c.attention.walks, 6);
    assert_int_equal(c.attention.walk_steps, 130);
    assert_real(c.attention.restart, 0.2);
    assert_string_equal(c.attention.file, "");
    assert_int_equal(c.kg.train_view, KD_TRAIN_VIEW_FULL);
    assert_int_equal(c.kg.id_space, KD_ID_SPACE_SHARED);
    assert_int_equal(c.guidance, KD_GUIDANCE_ROW_INDEX);
    assert_int_equal(c.select_on, KD_SELECT_ON_TEST);
    assert_true(c.use.attention && c.use.kg && c.use.generated_kg && c.use.multimodal && c.use.contrastive);
    assert_int_equal(c.topk_count, 1);
    assert_int_equal(c.topk[0], 20);
    assert_int_equal(c.eval_every, 1);
    assert_int_equal(c.patience, 0);
    assert_int_equal(c.device, KD_DEVICE_AUTO);
    assert_int_equal(c.threads, 0);
    assert_int_equal(c.precision, KD_PRECISION_TF32);
}

/* kd_config_defaults cannot report a default that its own range refuses: this does. */
static void every_default_is_a_value_that_its_key_takes(void **state) {
    (void)state;
    for (int64_t i = 0; i < kd_key_count; i++) {
        kd_config c = {0};
        if (kd_key_set(&kd_keys[i], kd_keys[i].fallback, "", &c) != KD_OK) fail_msg("%s", kd_last_error());
        if (kd_keys[i].paper && kd_key_set(&kd_keys[i], kd_keys[i].paper, "", &c) != KD_OK)
            fail_msg("%s", kd_last_error());
    }
}

static void file_takes_nested_and_dotted_keys(void **state) {
    (void)state;
    kd_config c = load_text("# a comment\n"
                            "dim: 16\n"
                            "lr: 2.5e-3\n"
                            "attention:\n  method: node\n  walks: 4\n"
                            "attention.restart: 0.5\n"
                            "guidance_weight: {audio: 0.3, text: 0}\n"
                            "use: {kg: false}\n"
                            "topk: [5, 10]\n");
    assert_int_equal(c.dim, 16);
    assert_real(c.lr, 2.5e-3);
    assert_int_equal(c.attention.method, KD_ATTENTION_NODE);
    assert_int_equal(c.attention.walks, 4);
    assert_real(c.attention.restart, 0.5);
    assert_real(kd_config_guidance_weight(&c, "audio"), 0.3);
    assert_real(kd_config_guidance_weight(&c, "text"), 0.0);
    assert_false(c.use.kg);
    assert_true(c.use.attention);
    assert_int_equal(c.topk_count, 2);
    assert_int_equal(c.topk[0], 5);
    assert_int_equal(c.topk[1], 10);
}

static void flags_are_words_in_any_order(void **state) {
    (void)state;
    kd_config c = {0};
    char text[64];
    const kd_key *key = kd_key_find("naive");
    assert_int_equal(kd_key_set(key, "scores,chain", "", &c), KD_OK);
    assert_int_equal(c.naive, KD_NAIVE_CHAIN | KD_NAIVE_SCORES);
    kd_key_format(key, &c, text, sizeof text);
    assert_string_equal(text, "chain,scores");
    assert_int_equal(kd_key_set(key, "", "", &c), KD_OK);
    assert_int_equal(c.naive, 0);
    assert_failed(kd_key_set(key, "chain,", "", &c), KD_ERR_ARGUMENT,
                  "naive: expected any of chain, output, views, rows, features, scores, got 'chain,'");
    assert_failed(kd_key_set(key, "chains", "", &c), KD_ERR_ARGUMENT,
                  "naive: expected any of chain, output, views, rows, features, scores, got 'chains'");
}

static void an_empty_file_is_the_defaults(void **state) {
    (void)state;
    kd_config c = load_text(""), defaults;
    kd_config_defaults(&defaults);
    assert_same(&c, &defaults);
}

static void overrides_win_over_the_file_and_later_ones_over_earlier(void **state) {
    (void)state;
    const char *const overrides[] = {
        "dim=48", "topk=10,20", "attention.walks=4", "guidance_weight.audio=0.3", "use.kg=no", "guidance_weight.b=1",
        "dim=32"};
    kd_config c;
    const char *path = write_text("run.yaml", "dim: 16\nhidden: 77\n");
    assert_failed(kd_config_load(path, 7, overrides, &c), KD_ERR_ARGUMENT, "use.kg: expected true or false, got 'no'");
    const char *const good[] = {"dim=48",       "topk=10,20", "attention.walks=4", "guidance_weight.audio=0.3",
                                "use.kg=false", "dim=32"};
    assert_int_equal(kd_config_load(path, 6, good, &c), KD_OK);
    assert_int_equal(c.dim, 32);
    assert_int_equal(c.hidden, 77);
    assert_int_equal(c.topk_count, 2);
    assert_int_equal(c.attention.walks, 4);
    assert_real(kd_config_guidance_weight(&c, "audio"), 0.3);
    assert_false(c.use.kg);
}

static void guidance_weight_falls_back_to_e_loss(void **state) {
    (void)state;
    kd_config c = load_override("e_loss=0.7");
    assert_real(kd_config_guidance_weight(&c, "image"), 0.7);
    assert_real(kd_config_guidance_weight(&c, "audio"), 0.7);
    assert_real(kd_config_guidance_weight(&c, "text"), 1.0 - 0.7);
}

static void unknown_keys_name_the_nearest_and_the_line(void **state) {
    (void)state;
    assert_yaml_fails("dim: 16\n\nepoch: 3\n", "bad.yaml:3: unknown key 'epoch'; the nearest is 'epochs'");
    assert_yaml_fails("attention:\n  method: node\n  walk: 3\n",
                      "bad.yaml:3: unknown key 'attention.walk'; the nearest is 'attention.walks'");
    assert_override_fails("select-on=valid", "unknown key 'select-on'; the nearest is 'select_on'");
    assert_override_fails("use.kgs=false", "unknown key 'use.kgs'; the nearest is 'use.kg'");
}

static void files_that_are_no_configuration(void **state) {
    (void)state;
    kd_config c;
    assert_yaml_fails("- dim\n- lr\n", "bad.yaml:1: ");
    assert_yaml_fails("dim: 16\nlr: [1, 2\n", "bad.yaml:");
    assert_yaml_fails("dim: {a: {b: 3}}\n", "bad.yaml:1: ");
    assert_yaml_fails("use: {kg: {deep: true}}\n", "bad.yaml:1: ");
    assert_yaml_fails("topk: [[5], 10]\n", "bad.yaml:1: ");
    assert_yaml_fails("dim: \n", "bad.yaml:1: dim: expected a whole number");
    assert_failed(kd_config_load(scratch("absent.yaml"), 0, NULL, &c), KD_ERR_ARGUMENT, "absent.yaml");
    assert_override_fails("dim", "'dim': expected key=value");
    assert_override_fails("=3", "unknown key ''");
}

static void values_out_of_range(void **state) {
    (void)state;
    static const char *const bad[] = {
        "epochs=0",
        "epochs=1.5",
        "epochs=3x",
        "epochs=",
        "epochs=99999999999999999999",
        "dim=0",
        "lr=-1",
        "lr=nan",
        "lr=inf",
        "mess_dropout=1",
        "mess_dropout=-0.1",
        "keep_rate=0",
        "keep_rate=1.01",
        "temp=0",
        "trans=3",
        "cl_method=2",
        "triplet_num=-2",
        "time_dim=0",
        "steps=0",
        "attention.restart=1.5",
        "attention.method=walk",
        "semantics=none",
        "topk=",
        "topk=20,10",
        "topk=10,10",
        "topk=0",
        "topk=1,2,3,4,5,6,7,8,9",
        "topk=10,",
        "seed=-1",
        "seed=18446744073709551616",
        "threads=-1",
        "patience=-1",
        "eval_every=0",
        "device=gpu",
        "precision=fp16",
        "use.kg=1",
        "guidance_weight.audio=-1",
        "guidance_weight.audio=nan",
        "guidance_weight.=1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kd_config c;
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
        if (kd_config_load(NULL, 1, &bad[i], &c) == KD_OK) fail_msg("%s was taken", bad[i]);
        assert_failed(kd_config_load(NULL, 1, &bad[i], &c), KD_ERR_ARGUMENT, key);
    }
    assert_yaml_fails("lr: 1e-3\ndim: -4\n", "bad.yaml:2: dim: expected a whole number from 1 to");
}

static void keys_that_do_not_fit_each_other(void **state) {
    (void)state;
    const char *const crossed[] = {"noise_min=0.5", "noise_max=0.1"}, *const beyond[] = {"steps=4", "sampling_steps=5"};
    kd_config c;
    assert_failed(kd_config_load(NULL, 2, crossed, &c), KD_ERR_ARGUMENT, "noise_min");
    assert_failed(kd_config_load(NULL, 2, beyond, &c), KD_ERR_ARGUMENT, "sampling_steps");
}

static void semantics_sets_four_keys_that_nobody_gave(void **state) {
    (void)state;
    kd_config c = load_override("semantics=paper");
    assert_int_equal(c.kg.train_view, KD_TRAIN_VIEW_GENERATED);
    assert_int_equal(c.guidance, KD_GUIDANCE_LINKED_USERS);
    assert_int_equal(c.kg.id_space, KD_ID_SPACE_SEPARATE);
    assert_int_equal(c.select_on, KD_SELECT_ON_VALID);
    c = load_text("select_on: test\nsemantics: paper\nkg: {train_view: full}\n");
    assert_int_equal(c.select_on, KD_SELECT_ON_TEST);
    assert_int_equal(c.kg.train_view, KD_TRAIN_VIEW_FULL);
    assert_int_equal(c.guidance, KD_GUIDANCE_LINKED_USERS);
    const char *const back[] = {"semantics=published"};
    assert_int_equal(kd_config_load(write_text("run.yaml", "semantics: paper\nguidance: linked_users\n"), 1, back, &c),
                     KD_OK);
    assert_int_equal(c.guidance, KD_GUIDANCE_LINKED_USERS);
    assert_int_equal(c.kg.train_view, KD_TRAIN_VIEW_FULL);
    const char *const given[] = {"guidance=row_index", "semantics=paper"};
    assert_int_equal(kd_config_load(NULL, 2, given, &c), KD_OK);
    assert_int_equal(c.guidance, KD_GUIDANCE_ROW_INDEX);
    assert_int_equal(c.kg.id_space, KD_ID_SPACE_SEPARATE);
}

static void assert_round_trip(int64_t count, const char *const *overrides) {
    kd_config before, after;
    if (kd_config_load(NULL, count, overrides, &before) != KD_OK) fail_msg("%s", kd_last_error());
    assert_int_equal(kd_config_save(&before, scratch("saved.yaml")), KD_OK);
    if (kd_config_load(scratch("saved.yaml"), 0, NULL, &after) != KD_OK) fail_msg("%s", kd_last_error());
    assert_same(&before, &after);
}

static void saved_configurations_read_back_to_the_same_values(void **state) {
    (void)state;
    static const char *const odd[] = {
        "semantics=paper",
        "select_on=test",
        "lr=0.30000000000000004",
        "seed=18446744073709551615",
        "topk=1,5,20",
        "use.kg=false",
        "guidance_weight.audio=0.1",
        "guidance_weight.my-video=0.30000000000000004",
        "attention.method=power",
        "reg=0",
        "epsilon=0.81",
        "triplet_num=-1",
        "attention.file=a folder/it's \"quoted\" \\ #1: x.tsv",
    };
    assert_round_trip(0, NULL);
    assert_round_trip(sizeof odd / sizeof odd[0], odd);
}

/* Names that YAML would read as something else than a plain word. */
static void modality_names_survive_saving(void **state) {
    (void)state;
    static const char *const names[] = {"guidance_weight.a: b=0.5", "guidance_weight.# c=0.5", "guidance_weight.*d=0.5",
                                        "guidance_weight.\"e\"=0.5", "guidance_weight.f\tg\nh=0.5"};
    assert_round_trip(sizeof names / sizeof names[0], names);
}

static void a_save_that_fails_is_an_output_error(void **state) {
    (void)state;
    kd_config c;
    kd_config_defaults(&c);
    assert_failed(kd_config_save(&c, scratch("no such folder/config.yaml")), KD_ERR_IO, "config.yaml");
}

static void edit_distance(void **state) {
    (void)state;
    assert_int_equal(kd_edit_distance("", ""), 0);
    assert_int_equal(kd_edit_distance("", "abc"), 3);
    assert_int_equal(kd_edit_distance("abc", ""), 3);
    assert_int_equal(kd_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(kd_edit_distance("epochs", "epochs"), 0);
}

static void help_names_every_key(void **state) {
    (void)state;
    for (int64_t i = 0; i < kd_key_count; i++)
        if (!strstr(kd_keys_help(), kd_keys[i].name)) fail_msg("--help lacks %s", kd_keys[i].name);
    assert_non_null(strstr(kd_keys_help(), "guidance_weight.MODALITY"));
}

/* docs/configuration.md has a row for each key, in the table's own words. */
static void documentation_has_every_key(void **state) {
    (void)state;
    static char text[65536];
    FILE *f = fopen("docs/configuration.md", "rb");
    if (!f) skip(); /* not run from the repository's root */
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    for (int64_t i = 0; i < kd_key_count; i++) {
        const kd_key *key = &kd_keys[i];
        char expected[128], row[512];
        kd_key_expects(key, expected, sizeof expected);
        snprintf(row, sizeof row, "| `%s` | %s | %s%s%s | %s |\n", key->name, expected,
                 key->fallback[0] ? key->fallback : "none", key->paper ? "; paper: " : "", key->paper ? key->paper : "",
                 key->help);
        if (!strstr(text, row)) fail_msg("docs/configuration.md lacks: %s", row);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_published_ones),
        cmocka_unit_test(defaults_of_the_engine),
        cmocka_unit_test(every_default_is_a_value_that_its_key_takes),
        cmocka_unit_test(file_takes_nested_and_dotted_keys),
        cmocka_unit_test(flags_are_words_in_any_order),
        cmocka_unit_test(an_empty_file_is_the_defaults),
        cmocka_unit_test(overrides_win_over_the_file_and_later_ones_over_earlier),
        cmocka_unit_test(guidance_weight_falls_back_to_e_loss),
        cmocka_unit_test(unknown_keys_name_the_nearest_and_the_line),
        cmocka_unit_test(files_that_are_no_configuration),
        cmocka_unit_test(values_out_of_range),
        cmocka_unit_test(keys_that_do_not_fit_each_other),
        cmocka_unit_test(semantics_sets_four_keys_that_nobody_gave),
        cmocka_unit_test(saved_configurations_read_back_to_the_same_values),
        cmocka_unit_test(modality_names_survive_saving),
        cmocka_unit_test(a_save_that_fails_is_an_output_error),
        cmocka_unit_test(edit_distance),
        cmocka_unit_test(help_names_every_key),
        cmocka_unit_test(documentation_has_every_key),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
