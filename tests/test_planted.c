/* Training on planted data: it learns, the KG denoiser keeps informative triples, the knowledge graph earns its place.
 */
#include "planted_fixture.h"

#include "host/model/kdiffe/kdiffe.h"
#include "host/train/trainer.h"

static void training_learns(void **state) {
    op_fixture *f = *state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    kd_dataset d = make_data(&s);
    outcome o = train(f->ctx, &c, &d);
    print_message("planted: recall@20 %.4f after %d epochs; 20 of 240 items by chance is 0.083\n", o.best_recall,
                  (int)c.epochs);
    assert_true(o.last_loss < 0.8 * o.first_loss);
    assert_true(o.best_recall > 0.25);
    assert_true(o.snapshot);
    kd_dataset_free(&d);
}

static void every_shape_of_the_model_trains(void **state) {
    op_fixture *f = *state;
    for (int64_t modalities = 0; modalities <= 4; modalities++)
        for (int kg = 0; kg < 2; kg++) {
            kd_synth_config s;
            kd_config c;
            vary(modalities, kg, &s, &c);
            kd_dataset d = make_data(&s);
            outcome o = train(f->ctx, &c, &d);
            assert_true(isfinite(o.last_loss) && o.epochs == 2);
            kd_dataset_free(&d);
        }
}

static void every_ablation_trains(void **state) {
    op_fixture *f = *state;
    kd_synth_config s = small_data();
    kd_dataset d = make_data(&s);
    double whole = 0.0;
    for (int off = 0; off < 6; off++) {
        kd_config c = small_model();
        c.epochs = 1;
        c.use.attention = off != 1;
        c.use.kg = off != 2;
        c.use.generated_kg = off != 3;
        c.use.multimodal = off != 4;
        c.use.contrastive = off != 5;
        outcome o = train(f->ctx, &c, &d);
        assert_true(isfinite(o.last_loss));
        if (off == 0) whole = o.last_loss;
        if (off > 0) assert_true(o.last_loss != whole); /* each switch changes something */
    }
    kd_dataset_free(&d);
}

static void the_same_seed_gives_the_same_bits(void **state) {
    op_fixture *f = *state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    kd_dataset d = make_data(&s);
    c.epochs = 3;
    outcome first = train(f->ctx, &c, &d), second = train(f->ctx, &c, &d);
    assert_memory_equal(first.losses, second.losses, 3 * sizeof(double));
    c.seed++;
    outcome other = train(f->ctx, &c, &d);
    assert_true(other.losses[0] != first.losses[0]);
    kd_dataset_free(&d);
}

static void threads_do_not_change_the_losses(void **state) {
    (void)state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    kd_dataset d = make_data(&s);
    outcome o[2];
    c.epochs = 2;
    for (int threads = 1; threads <= 2; threads++) {
        kd_ctx *ctx;
        assert_ok(kd_ctx_open((kd_compute){.device = KD_DEVICE_CPU, .threads = threads, .precision = KD_PRECISION_FP32},
                              &ctx));
        o[threads - 1] = train(ctx, &c, &d);
        kd_ctx_close(ctx);
    }
    for (int e = 0; e < 2; e++) assert_near(o[1].losses[e], o[0].losses[e], 1e-6);
    kd_dataset_free(&d);
}

/* Features so large that squares overflow: the run stops and says where. */
static void a_loss_that_is_not_finite_stops_the_run(void **state) {
    op_fixture *f = *state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    kd_dataset d = make_data(&s);
    outcome o = {0};
    kd_observer observer = {.context = &o, .epoch = on_epoch, .best = on_best};
    for (int64_t i = 0; i < d.items * d.modalities[0].width; i++) d.modalities[0].values[i] *= 1e30f;
    assert_int_equal(kd_train(f->ctx, &c, &d, &observer, NULL, NULL), KD_ERR_NUMERIC);
    assert_non_null(strstr(kd_last_error(), "epoch 0, stage denoise_modalities, step 0"));
    assert_int_equal(kd_exit_code(KD_ERR_NUMERIC), 5);
    kd_dataset_free(&d);
}

/* Area under the ROC curve of score for label, by counting pairs; ties count half. */
static double auc(int64_t n, const float *score, const uint8_t *label) {
    double wins = 0.0, pairs = 0.0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (label[i] && !label[j]) {
                pairs += 1.0;
                wins += score[i] > score[j] ? 1.0 : score[i] == score[j] ? 0.5 : 0.0;
            }
    return wins / pairs;
}

/* Trains the KG denoiser alone and scores every triple by the end of the reverse chain at (head, tail). */
static void the_kg_denoiser_tells_noise_from_information(void **state) {
    op_fixture *f = *state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    kd_dataset d;
    uint8_t *informative;
    kd_trainer trainer;
    kd_bipartite graph;
    s.modality_count = 0;
    s.attributes = 1;
    s.items = 600;
    s.kg_informative = s.kg_noise = 4.0;
    c.hidden = 500;
    c.lr = 1e-3;
    c.batch = 64;
    assert_ok(kd_synth_generate(&s, &d, &informative));
    assert_ok(kd_bipartite_build(d.users, d.items, &d.train, &graph));
    assert_ok(kd_trainer_open(f->ctx, &c, &d, NULL, NULL, &trainer));
    assert_ok(kd_trainer_fill(&trainer, &graph, NULL));
    kd_kdiffe *m = kd_kdiffe_of(trainer.model);
    for (int64_t epoch = 0; epoch < 60; epoch++) assert_ok(kd_denoise_kg(trainer.model, &trainer.loop, epoch));
    float *score = malloc((size_t)d.kg.count * sizeof *score),
          *row = malloc((size_t)m->plan->shape.entities * sizeof *row);
    kd_reverse_rows rows = {.x0 = m->graphs.entity_rows, .count = 1, .row = m->row, .g = m->guidance.entity_mean};
    assert_ok(kd_reverse_prepare(f->ctx, &m->kg_denoiser));
    for (int64_t i = 0; i < d.kg.count; i++) {
        kd_mat out;
        if (i == 0 || d.kg.head[i] != d.kg.head[i - 1]) {
            rows.first = d.kg.head[i];
            assert_ok(kd_reverse_chain(f->ctx, &rows, &m->kg_denoiser, &out));
            assert_ok(kd_mat_download(f->ctx, out, row));
        }
        score[i] = row[d.kg.tail[i]];
    }
    double area = auc(d.kg.count, score, informative);
    print_message("planted: AUC %.4f of informative over noise triples\n", area);
    assert_true(area > 0.7);
    free(score);
    free(row);
    free(informative);
    kd_trainer_close(&trainer);
    kd_bipartite_free(&graph);
    kd_dataset_free(&d);
}

/* Sparse interactions, no features, an informative graph: the model with it must beat the one without. One seed's
 * difference varies by as much as its mean (0.0052 with a deviation of 0.0055 over 30 seeds), so several are averaged.
 */
static void an_informative_kg_beats_none(void **state) {
    enum { SEEDS = 12 };
    op_fixture *f = *state;
    kd_synth_config s = small_data();
    kd_config c = small_model();
    double with = 0.0, without = 0.0;
    s.items = 600;
    s.interactions = 4;
    s.modality_count = 0;
    s.kg_informative = 4;
    s.kg_noise = 1;
    c.epochs = 12;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        s.seed = c.seed = seed;
        kd_dataset d = make_data(&s);
        c.use.kg = true;
        with += train(f->ctx, &c, &d).best_recall / SEEDS;
        c.use.kg = false;
        without += train(f->ctx, &c, &d).best_recall / SEEDS;
        kd_dataset_free(&d);
    }
    print_message("planted: recall@20 %.4f with the knowledge graph, %.4f without\n", with, without);
    assert_true(with > without);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_learns),
        cmocka_unit_test(every_shape_of_the_model_trains),
        cmocka_unit_test(every_ablation_trains),
        cmocka_unit_test(the_same_seed_gives_the_same_bits),
        cmocka_unit_test(threads_do_not_change_the_losses),
        cmocka_unit_test(a_loss_that_is_not_finite_stops_the_run),
        cmocka_unit_test(the_kg_denoiser_tells_noise_from_information),
        cmocka_unit_test(an_informative_kg_beats_none),
    };
    return cmocka_run_group_tests(tests, op_set_up, op_tear_down);
}
