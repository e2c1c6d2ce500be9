/* Views, losses, whole steps and training, forward and backward. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "published/golden.h"

static void zero_gradients(golden_case *c, kd_kdiffe *m) {
    golden_require(kd_zero(c->ctx, m->params.gradient, m->params.count * (int64_t)sizeof(float)), "zero");
    golden_require(
        kd_zero(c->ctx, m->views.doutput.data, m->views.doutput.rows * m->views.doutput.cols * (int64_t)sizeof(float)),
        "zero");
}

/* The manifest writes "rgat.W" as rgat_W. */
static void manifest_name(const char *published, char name[96]) {
    snprintf(name, 96, "%s", published);
    for (char *at = name; *at; at++)
        if (*at == '.') *at = '_';
}

/* Every gradient that the manifest lists under the prefix. */
static void compare_gradients(golden_case *c, const kd_kdiffe *m, const char *prefix_name) {
    const kd_params *p = &m->params;
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%s", prefix_name); /* golden_name reuses its buffers */
    for (int64_t i = 0; i < p->entries; i++) {
        char name[96];
        kd_mat gradient = kd_gradient_of(p, p->entry[i].value);
        bool linear = strstr(p->entry[i].name, "_trans.weight") != NULL;
        manifest_name(p->entry[i].name, name);
        if (!golden_has(c, golden_name("%s%s", prefix, name))) continue;
        if (p->entry[i].divided)
            golden_compare_columns(c, m, golden_name("%s%s", prefix, name), gradient);
        else
            golden_compare_mat(c, golden_name("%s%s", prefix, name), gradient, linear);
    }
}

static kd_mat users_of(const kd_kdiffe *m, kd_mat nodes) { return kd_mat_rows(nodes, 0, m->plan->shape.users); }
static kd_mat items_of(const kd_kdiffe *m, kd_mat nodes) {
    return kd_mat_rows(nodes, m->plan->shape.users, m->plan->shape.items);
}

static void compare_view(golden_case *c, const kd_kdiffe *m, const char *prefix, int64_t slot) {
    kd_mat view = kd_slot(&m->views, m->views.output, slot);
    golden_compare_columns(c, m, golden_name("%s_user", prefix), users_of(m, view));
    golden_compare_columns(c, m, golden_name("%s_item", prefix), items_of(m, view));
}

static void forward(golden_case *c, kd_kdiffe *m, const kd_kg *main_kg) {
    kd_view_pass pass = {.training = true, .main_kg = main_kg, .seed = 1, .step = 0};
    golden_require(kd_views_forward(c->ctx, &m->params, &m->graphs, &pass, &m->views), "forward");
}

/* All entities, whatever the views read. */
static void check_rgat(golden_case *c, kd_kdiffe *m) {
    const kd_model_shape *s = &m->plan->shape;
    kd_rgat_pass pass = {0};
    kd_pool pool;
    kd_mat up;
    kd_rng rng = {0};
    kd_pool_init(&pool, c->ctx);
    golden_require(kd_rgat_pass_allocate(&pool, s, c->config.kg_hops, s->entities, m->graphs.capped.capacity, &pass),
                   "rgat");
    golden_require(kd_pool_mat(&pool, s->entities, s->local_dim, "test", &up), "rgat");
    golden_require(kd_rgat_begin(c->ctx, &m->params, &m->views.rgat), "rgat");
    golden_require(kd_rgat_pass_forward(c->ctx, &m->params, &m->graphs.capped, 0.0f, &rng, &m->views.rgat, &pass),
                   "rgat");
    golden_compare_columns(c, m, "rgat_out", pass.result);
    zero_gradients(c, m);
    golden_upload_columns(c, m, "rgat_up", up);
    golden_require(kd_rgat_pass_backward(c->ctx, &m->params, up, &m->views.rgat, &pass), "rgat");
    golden_require(kd_rgat_end(c->ctx, &m->params, &m->views.rgat), "rgat");
    if (kd_is_divided(s)) { /* what is whole on every rank has parts of its gradient from all */
        float *first = kd_gradient_of(&m->params, m->params.relation).data;
        golden_join(c, kd_mat_make(first, 1, m->params.count - (first - m->params.gradient)));
    }
    compare_gradients(c, m, "rgat_grad_");
    kd_pool_free(&pool);
}

/* The upstream gradient `name` [slots * nodes, dim] into consecutive slots, then back to the parameters. */
static void backward(golden_case *c, kd_kdiffe *m, const char *prefix, int64_t slot, int64_t slots) {
    int64_t shape[4], nodes = m->views.output.rows, dim = m->plan->shape.dim;
    float *up = golden_floats(c, golden_name("%s_up", prefix), shape);
    if (!up) return;
    c->inputs++;
    zero_gradients(c, m);
    for (int64_t i = 0; i < slots; i++)
        golden_take_columns(c, m, up + i * nodes * dim, kd_slot(&m->views, m->views.doutput, slot + i));
    if (!kd_is_divided(&m->plan->shape)) /* ranks add up what each of them makes of its share */
        golden_require(
            kd_add_scaled(c->ctx, 0.0f, m->views.doutput, 1.0f / (float)kd_comm_ranks(c->comm), m->views.doutput),
            "share");
    golden_require(kd_views_backward(c->ctx, &m->params, &m->graphs, &m->views), "backward");
    compare_gradients(c, m, golden_name("%s_grad_", prefix));
    free(up);
}

/* by_head [edges] = kg_keep, which is in the order of kg_edges, in that of the full graph. */
static uint8_t *kept_by_head(golden_case *c, const kd_kg_edges *full) {
    int64_t shape[4], *cursor;
    int32_t *keep = golden_ints(c, "kg_keep", shape), *published = golden_ints(c, "kg_edges", shape);
    uint8_t *by_head;
    if (!keep || !published || shape[0] != full->count) exit(1);
    golden_require(kd_host_alloc(&by_head, full->count, 1, "test"), "test");
    golden_require(kd_host_alloc(&cursor, full->entities, sizeof *cursor, "test"), "test");
    for (int64_t i = 0; i < full->count; i++) {
        int32_t head = published[3 * i];
        by_head[full->head_ptr[head] + cursor[head]++] = (uint8_t)keep[i];
    }
    free(cursor);
    free(keep);
    free(published);
    return by_head;
}

static void upload_kg(golden_case *c, const kd_kg_edges *edges, const kd_kg *out) {
    int64_t pointers = (edges->entities + 1) * (int64_t)sizeof(int64_t), *tail_ptr, *in_edge;
    int64_t bytes = edges->count * (int64_t)sizeof(int32_t);
    int32_t *in_head;
    golden_require(kd_host_alloc(&tail_ptr, edges->entities + 1, sizeof *tail_ptr, "test"), "test");
    golden_require(kd_host_alloc(&in_edge, edges->count, sizeof *in_edge, "test"), "test");
    golden_require(kd_host_alloc(&in_head, edges->count, sizeof *in_head, "test"), "test");
    kd_kg_edges_by_tail(edges, tail_ptr, in_head, in_edge);
    golden_require(kd_upload(c->ctx, out->head_ptr, edges->head_ptr, pointers), "test");
    golden_require(kd_upload(c->ctx, out->tail_ptr, tail_ptr, pointers), "test");
    golden_require(kd_upload(c->ctx, out->tail, edges->tail, bytes), "test");
    golden_require(kd_upload(c->ctx, out->relation, edges->relation, bytes), "test");
    golden_require(kd_upload(c->ctx, out->in_head, in_head, bytes), "test");
    golden_require(kd_upload(c->ctx, out->in_edge, in_edge, 2 * bytes), "test");
    golden_require(kd_synchronize(c->ctx), "test");
    free(tail_ptr);
    free(in_edge);
    free(in_head);
}

/* graphs.generated = the full graph's edges that the manifest keeps. */
void golden_thin_kg(golden_case *c, kd_kdiffe *m) {
    const kd_kg_edges *full = &m->plan->full;
    kd_kg_edges kept = {.entities = full->entities, .relations = full->relations};
    uint8_t *keep = kept_by_head(c, full);
    golden_require(kd_host_alloc(&kept.head_ptr, full->entities + 1, sizeof *kept.head_ptr, "test"), "test");
    golden_require(kd_host_alloc(&kept.tail, full->count, sizeof *kept.tail, "test"), "test");
    golden_require(kd_host_alloc(&kept.relation, full->count, sizeof *kept.relation, "test"), "test");
    for (int64_t h = 0; h < full->entities; h++) {
        for (int64_t k = full->head_ptr[h]; k < full->head_ptr[h + 1]; k++)
            if (keep[k]) {
                kept.tail[kept.count] = full->tail[k];
                kept.relation[kept.count++] = full->relation[k];
            }
        kept.head_ptr[h + 1] = kept.count;
    }
    upload_kg(c, &kept, &m->graphs.generated);
    c->inputs++;
    free(kept.head_ptr);
    free(kept.tail);
    free(kept.relation);
    free(keep);
}

void golden_check_views(golden_case *c, kd_kdiffe *m) {
    const kd_view_slots *s = &m->views.slots;
    check_rgat(c, m);
    forward(c, m, &m->graphs.generated);
    compare_view(c, m, "genview", s->kg);
    forward(c, m, &m->graphs.capped);
    compare_view(c, m, "kgview", s->kg);
    backward(c, m, "kgview", s->kg, 1);
    if (s->multimodal >= 0) {
        forward(c, m, &m->graphs.capped);
        compare_view(c, m, "mmview", s->multimodal);
        backward(c, m, "mmview", s->multimodal, 1);
    }
    if (s->modality >= 0) {
        forward(c, m, &m->graphs.capped);
        for (int64_t i = 0; i < m->plan->shape.modalities; i++)
            compare_view(c, m, golden_name("clview_%s", m->plan->shape.modality[i]), s->modality + i);
        backward(c, m, "clview", s->modality, m->plan->shape.modalities);
    }
}

/* Loads the manifest's batch; returns its size. */
static int64_t load_batch(golden_case *c, kd_kdiffe *m) {
    int64_t shape[4], count, bytes;
    int32_t *user = golden_ints(c, "batch_user", shape), *positive = golden_ints(c, "batch_pos", shape);
    int32_t *negative = golden_ints(c, "batch_neg", shape), *order;
    if (!user || !positive || !negative) exit(1);
    count = shape[0];
    bytes = count * (int64_t)sizeof *user;
    golden_require(kd_host_alloc(&order, count, sizeof *order, "test"), "test");
    for (int64_t i = 0; i < count; i++) order[i] = (int32_t)i;
    golden_require(kd_upload(c->ctx, c->trainer.loop.order, order, bytes), "batch");
    golden_require(kd_upload(c->ctx, c->trainer.user, user, bytes), "batch");
    golden_require(kd_upload(c->ctx, c->trainer.positive, positive, bytes), "batch");
    golden_require(kd_upload(c->ctx, c->trainer.negative, negative, bytes), "batch");
    kd_step_batch batch = {.count = count,
                           .order = c->trainer.loop.order,
                           .user = c->trainer.user,
                           .positive = c->trainer.positive,
                           .negative = c->trainer.negative};
    golden_require(kd_step_load(c->ctx, &batch, &m->losses), "batch");
    free(user);
    free(positive);
    free(negative);
    free(order);
    return count;
}

void golden_check_losses(golden_case *c, kd_kdiffe *m) {
    kd_pool pool;
    kd_mat a, b, da, db, anchor, danchor;
    float *norm;
    double *device, loss;
    int64_t rows = m->plan->shape.users, dim = m->plan->shape.dim, count = load_batch(c, m);
    const kd_groups *nodes = &m->losses.users;
    kd_pool_init(&pool, c->ctx);
    kd_mat *mats[] = {&a, &b, &da, &db, &anchor, &danchor};
    for (int i = 0; i < 6; i++)
        golden_require(kd_pool_mat(&pool, i < 4 ? rows : nodes->capacity, dim, "test", mats[i]), "test");
    golden_require(kd_pool_alloc(&pool, 2 * rows, sizeof(float), "test", &norm), "test");
    golden_require(kd_pool_alloc(&pool, 1, sizeof(double), "test", &device), "test");
    golden_upload(c, "nce_a", a, false);
    golden_upload(c, "nce_b", b, false);
    golden_require(kd_unit_rows_forward(c->ctx, &(kd_unit_rows_forward_args){.x = a, .y = a, .norm = norm}),
                   "unit rows");
    golden_require(kd_unit_rows_forward(c->ctx, &(kd_unit_rows_forward_args){.x = b, .y = b, .norm = norm + rows}),
                   "unit rows");
    golden_require(kd_take_rows(c->ctx, nodes, a, anchor), "anchors");
    kd_infonce_args args = {.count = count,
                            .temp = (float)c->config.temp,
                            .weight = 1.0f,
                            .nodes = *nodes,
                            .a = anchor,
                            .b = b,
                            .da = danchor,
                            .db = db,
                            .loss = device};
    golden_require(kd_infonce(c->ctx, &args), "infonce");
    golden_require(kd_give_rows(c->ctx, nodes, danchor, da), "anchors");
    golden_require(kd_unit_rows_backward(
                       c->ctx, &(kd_unit_rows_backward_args){.alpha = 1.0f, .y = a, .norm = norm, .dy = da, .dx = da}),
                   "unit rows");
    golden_require(
        kd_unit_rows_backward(
            c->ctx, &(kd_unit_rows_backward_args){.alpha = 1.0f, .y = b, .norm = norm + rows, .dy = db, .dx = db}),
        "unit rows");
    golden_require(kd_download(c->ctx, &loss, device, sizeof loss), "infonce");
    golden_compare(c, "nce_loss", &(float){(float)loss}, 1);
    golden_compare_mat(c, "nce_grad_a", da, false);
    golden_compare_mat(c, "nce_grad_b", db, false);
    kd_pool_free(&pool);
}

/* Forward, losses and backward of one batch; parts[3] and the gradients are left behind. */
static void step(golden_case *c, kd_kdiffe *m, int64_t count, const kd_kg *main_kg, double parts[KD_LOSS_PARTS]) {
    zero_gradients(c, m);
    forward(c, m, main_kg);
    golden_require(kd_zero(c->ctx, c->trainer.loop.loss, KD_LOSS_PARTS * (int64_t)sizeof(double)), "loss");
    golden_require(kd_step_losses_gradient(c->ctx, count, &m->params, &m->views, &m->losses, c->trainer.loop.loss),
                   "loss");
    golden_require(kd_views_backward(c->ctx, &m->params, &m->graphs, &m->views), "backward");
    golden_sum(c, c->trainer.loop.loss, KD_LOSS_PARTS, parts);
}

void golden_check_steps(golden_case *c, kd_kdiffe *m) {
    int64_t count = load_batch(c, m);
    for (int meant = 0; meant < 2; meant++) {
        char prefix[64];
        double parts[KD_LOSS_PARTS];
        snprintf(prefix, sizeof prefix, "step_cl%d_%s", (int)c->config.cl_method, meant ? "asmeant" : "asrun");
        if (!golden_has(c, golden_name("%s_losses", prefix))) continue;
        step(c, m, count, meant ? &m->graphs.generated : &m->graphs.capped, parts);
        float losses[4] = {(float)parts[KD_LOSS_BPR], (float)parts[KD_LOSS_WEIGHT_DECAY],
                           (float)parts[KD_LOSS_CONTRASTIVE],
                           (float)(parts[KD_LOSS_BPR] + parts[KD_LOSS_WEIGHT_DECAY] + parts[KD_LOSS_CONTRASTIVE])};
        golden_compare(c, golden_name("%s_losses", prefix), losses, 4);
        compare_gradients(c, m, golden_name("%s_grad_", prefix));
    }
}

static void check_adam(golden_case *c) {
    int64_t shape[4], n;
    float *p = golden_floats(c, "adam_p0", shape), *state, *device;
    void *block;
    kd_cursor *cursor;
    const kd_adam_config adam = {1e-3, 0.9, 0.999, 1e-8};
    if (!p) return;
    n = shape[0] * shape[1];
    golden_require(kd_alloc(c->ctx, 4 * n * (int64_t)sizeof(float), "test", &block), "test");
    golden_require(kd_alloc(c->ctx, sizeof *cursor, "test", (void **)&cursor), "test");
    device = block;
    state = device + 2 * n;
    golden_require(kd_upload(c->ctx, device, p, n * (int64_t)sizeof(float)), "adam");
    c->inputs++;
    for (int64_t i = 0; golden_has(c, golden_name("adam_g%d", (int)i)); i++) {
        golden_upload(c, golden_name("adam_g%d", (int)i), kd_mat_make(device + n, 1, n), false);
        golden_require(kd_adam(c->ctx, &(kd_adam_args){.config = &adam,
                                                       .steps = &cursor->step,
                                                       .n = n,
                                                       .p = device,
                                                       .g = device + n,
                                                       .m = state,
                                                       .v = state + n}),
                       "adam");
        golden_require(kd_cursor_advance(c->ctx, 1, 0, NULL, NULL, cursor), "adam");
        golden_compare_mat(c, golden_name("adam_p%d", (int)i + 1), kd_mat_make(device, 1, n), false);
    }
    kd_release(c->ctx, block);
    kd_release(c->ctx, cursor);
    free(p);
}

static void compare_trained(golden_case *c, const kd_kdiffe *m) {
    const kd_params *p = &m->params;
    for (int64_t i = 0; i < p->entries; i++) {
        char name[96];
        kd_mat value = p->entry[i].value;
        bool linear = strstr(p->entry[i].name, "_trans.weight") != NULL, divided = p->entry[i].divided;
        int64_t rows = value.rows, cols = divided ? m->plan->shape.dim : value.cols;
        float *host, *turned;
        manifest_name(p->entry[i].name, name);
        golden_require(kd_host_alloc(&host, rows * cols, sizeof *host, "test"), "test");
        golden_require(kd_host_alloc(&turned, rows * cols, sizeof *turned, "test"), "test");
        golden_require(kd_layout_download_whole(c->ctx, divided ? m->base.layout : NULL, value, host), "test");
        for (int64_t k = 0; k < rows * cols; k++) turned[linear ? k % cols * rows + k / cols : k] = host[k];
        golden_compare_absolute(c, golden_name("train_param_%s", name), turned, rows * cols);
        free(host);
        free(turned);
    }
}

void golden_check_training(golden_case *c, kd_kdiffe *m) {
    double losses[16];
    int64_t steps, count = load_batch(c, m);
    double *expected = golden_doubles(c, "train_losses_f64", &steps);
    check_adam(c);
    if (!expected || steps > 16) exit(1);
    free(expected);
    for (int64_t i = 0; i < steps; i++) {
        double parts[KD_LOSS_PARTS];
        step(c, m, count, &m->graphs.generated, parts);
        losses[i] = parts[KD_LOSS_BPR] + parts[KD_LOSS_WEIGHT_DECAY] + parts[KD_LOSS_CONTRASTIVE];
        golden_require(kd_params_adam(c->ctx, 1e-3, &c->trainer.cursor->step, &m->params), "adam");
        golden_require(kd_cursor_advance(c->ctx, count, 0, NULL, NULL, c->trainer.cursor), "adam");
    }
    golden_compare_doubles(c, "train_losses_f64", losses, steps, 1e-5);
    compare_trained(c, m);
}

void golden_check_evaluation(golden_case *c, kd_kdiffe *m) {
    int64_t shape[4], k;
    int32_t *expected, *list;
    kd_view_pass pass = {.training = false, .main_kg = &m->graphs.generated};
    kd_metrics metrics[2];
    kd_ranked ranked;
    bool divided = kd_is_divided(&m->plan->shape);
    int64_t width = m->views.slots.score * m->plan->shape.dim;
    const kd_csr held_out[2] = {c->trainer.test, {0}};
    kd_ranker ranker;
    kd_pool pool;
    const char *name = "eval_top5";
    for (cJSON *entry = c->files->child; entry; entry = entry->next)
        if (strncmp(entry->string, "eval_top", 8) == 0) name = entry->string;
    expected = golden_ints(c, name, shape);
    if (!expected) return;
    k = shape[1];
    kd_pool_init(&pool, c->ctx);
    golden_require(kd_views_forward(c->ctx, &m->params, &m->graphs, &pass, &m->views), "forward");
    kd_ranker_shape ranked_shape = {.layout = divided ? &m->views.layout : NULL,
                                    .width = width,
                                    .users = m->plan->shape.users,
                                    .items = m->plan->shape.items,
                                    .topk_count = 1,
                                    .topk = &k};
    golden_require(kd_ranker_allocate(&pool, &ranked_shape, &ranker), "rank");
    ranker.comm = c->comm;
    golden_require(kd_kdiffe_ranked(m, &ranked), "rank");
    if (!divided) /* else ranks make the lists together, below */
        golden_require(kd_ranker_lists(c->ctx, &ranker, ranked.user, ranked.item, ranked.train), "rank");
    golden_require(kd_ranker_metrics(c->ctx, &ranker, &ranked, held_out, metrics), "rank");
    golden_require(kd_host_alloc(&list, m->plan->shape.users * k, sizeof *list, "test"), "test");
    golden_require(kd_download(c->ctx, list, ranker.list, m->plan->shape.users * k * (int64_t)sizeof *list), "rank");
    golden_compare_ints(c, name, list, m->plan->shape.users * k);
    double actual[3] = {metrics[0].recall[0], metrics[0].ndcg[0], metrics[0].precision[0]};
    golden_compare_doubles(c, "eval_metrics_f64", actual, 3, 1e-5);
    kd_pool_free(&pool);
    free(expected);
    free(list);
}
