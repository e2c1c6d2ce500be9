/* Gradients of whole losses against central differences. */
#include "gradient_fixture.h"

/* The slope of the loss along a random direction of each parameter, by differences and by the gradient: single elements
 * would drown in float32 rounding. */
static void step_gradients_match_differences(void **state) {
    op_fixture *f = *state;
    for (int64_t method = 0; method < 2; method++) {
        gradient_case g;
        open_case(f, method, method, 0, &g);
        load_batch(f, &g);
        kd_params *p = &g.model->params;
        step_loss(f, &g, true);
        float *gradient = malloc((size_t)p->count * sizeof *gradient); /* later passes overwrite it on the device */
        assert_ok(kd_download(f->ctx, gradient, p->gradient, p->count * (int64_t)sizeof *gradient));
        for (int64_t e = 0; e < p->entries; e++) {
            kd_mat value = p->entry[e].value;
            int64_t n = value.rows * value.cols;
            const float *slope = gradient + (value.data - p->value);
            float *start = op_read(f, value);
            float *moved = malloc((size_t)n * sizeof *moved);
            double along = 0.0, side[2], step = 1e-3;
            for (int64_t i = 0; i < n; i++) along += (double)slope[i] * (op_value(40, i) > 0.0f ? 1.0 : -1.0);
            for (int s = 0; s < 2; s++) {
                for (int64_t i = 0; i < n; i++)
                    moved[i] = start[i] + (float)((s ? step : -step) * (op_value(40, i) > 0.0f ? 1.0 : -1.0));
                assert_ok(kd_mat_upload(f->ctx, moved, value));
                side[s] = step_loss(f, &g, false);
            }
            assert_ok(kd_mat_upload(f->ctx, start, value));
            double difference = (side[1] - side[0]) / (2.0 * step);
            if (!(fabs(difference - along) <= 2e-2 * fmax(0.05, fabs(along))))
                fail_msg("cl_method %d, %s: slope %.6g by differences, %.6g by the gradient", (int)method,
                         p->entry[e].name, difference, along);
            free(start);
            free(moved);
        }
        free(gradient);
        close_case(&g);
    }
}

/* The slope along a direction of +-1 elements, by the gradient and by moving the part both ways. */
static void check_part(op_fixture *f, gradient_case *g, kd_denoiser *d, const kd_denoiser_batch *batch,
                       const kd_denoiser_guidance *guidance, int part, kd_mat value) {
    int64_t n = value.rows * value.cols;
    kd_mat gradient = value;
    gradient.data = d->gradient + (value.data - d->value);
    denoiser_loss(f, g, d, batch, guidance);
    float *start = op_read(f, value), *slope = op_read(f, gradient), *moved = malloc((size_t)n * sizeof *moved);
    double along = 0.0, side[2], step = 1e-3;
    for (int64_t i = 0; i < n; i++) along += (double)slope[i] * (op_value(41, i) > 0.0f ? 1.0 : -1.0);
    for (int s = 0; s < 2; s++) {
        for (int64_t i = 0; i < n; i++)
            moved[i] = start[i] + (float)((s ? step : -step) * (op_value(41, i) > 0.0f ? 1.0 : -1.0));
        assert_ok(kd_mat_upload(f->ctx, moved, value));
        side[s] = denoiser_loss(f, g, d, batch, guidance);
    }
    assert_ok(kd_mat_upload(f->ctx, start, value));
    double difference = (side[1] - side[0]) / (2.0 * step);
    if (!(fabs(difference - along) <= 2e-2 * fmax(0.01, fabs(along))))
        fail_msg("output way %d, part %d: slope %.6g by differences, %.6g by the gradient", (int)d->output_gradient,
                 part, difference, along);
    free(start);
    free(slope);
    free(moved);
}

static void denoiser_gradients_match_differences(void **state) {
    op_fixture *f = *state;
    gradient_case g;
    kd_denoiser_guidance guidance;
    open_case(f, 1, 1, 0, &g);
    kd_denoiser *d = &g.model->kg_denoiser;
    assert_ok(kd_guide_kg(g.model, &guidance));
    kd_denoiser_batch batch = {.x0 = g.model->graphs.entity_rows,
                               .x0_transpose = g.model->graphs.entity_rows,
                               .count = 20,
                               .row = g.model->row,
                               .g = g.model->guidance.entity_mean,
                               .dropout = 0.5,
                               .seed = 9,
                               .epoch = 2};
    kd_mat parts[] = {d->w1, d->w1_time, d->b1, d->w2, d->b2, d->time_w, d->time_b};
    for (d->output_gradient = KD_OUTPUT_DIRECT; d->output_gradient <= KD_OUTPUT_GRAM; d->output_gradient++)
        for (int k = 0; k < 7; k++) check_part(f, &g, d, &batch, &guidance, k, parts[k]);
    close_case(&g);
}

/* Half of the edges, and of A_m's entries, survive thinning at keep rate 0.5; kept entries of A_m are doubled. */
static void thinning_keeps_the_rate(void **state) {
    op_fixture *f = *state;
    gradient_case g;
    open_case(f, 1, 1, 0, &g);
    kd_modality_graph *a = &g.model->graphs.modality[0];
    int64_t entries = a->nodes + 2 * a->users * a->q, kept = 0, asymmetric = 0;
    float *val = malloc((size_t)entries * sizeof *val), *transpose = malloc((size_t)entries * sizeof *val);
    assert_ok(kd_download(f->ctx, val, a->val, entries * (int64_t)sizeof *val));
    assert_ok(kd_download(f->ctx, transpose, a->val_transpose, entries * (int64_t)sizeof *val));
    for (int64_t i = 0; i < entries; i++) {
        kept += val[i] != 0.0f;
        asymmetric += (val[i] != 0.0f) != (transpose[i] != 0.0f);
    }
    assert_near((double)kept / (double)entries, 0.5, 0.12);
    assert_true(asymmetric > 0); /* the two directions are thinned separately */
    free(val);
    free(transpose);
    close_case(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step_gradients_match_differences),
        cmocka_unit_test(denoiser_gradients_match_differences),
        cmocka_unit_test(thinning_keeps_the_rate),
    };
    return cmocka_run_group_tests(tests, op_set_up, op_tear_down);
}
