#include "host/model/lightgcn/lightgcn.h"

#include <math.h>
#include <stdlib.h>

#include "host/base/memory.h"
#include "host/model/blocks.h"

/* Its shape: `own` are the local columns of E. */
typedef struct lightgcn_plan {
    kd_plan base;
    int64_t nodes, edges; /* of one direction */
    kd_range own;
    kd_range items; /* that this rank ranks where columns are divided */
    int64_t local_edges;
} lightgcn_plan;

typedef struct lightgcn {
    kd_model base;
    const lightgcn_plan *plan;
    float *value, *gradient, *m, *v; /* [nodes, own columns] E, its gradient, Adam's moments: one block */
    kd_mat table;                    /* E, users first */
    kd_csr adjacency;                /* [nodes, nodes] A */
    kd_csr item_columns;             /* [users, local items] train, where columns are divided */
    kd_mat view, dview, scratch;     /* [nodes, own columns] */
    kd_mat ranked_item;              /* [local items, dim] whole rows, where columns are divided */
    int32_t *user, *item;            /* [batch], [2 batch]: positives, then negatives */
    kd_groups users, items;
    kd_layout layout;
    kd_split split;
} lightgcn;

static lightgcn *of(kd_model *model) { return (lightgcn *)model; }

static kd_status plan_make(const kd_config *config, const kd_dataset *data, kd_comm *comm, kd_plan **out) {
    lightgcn_plan *p;
    int64_t ranks = kd_comm_ranks(comm);
    *out = NULL;
    KD_OR_RETURN(kd_host_alloc(&p, 1, sizeof *p, "plan"));
    *p = (lightgcn_plan){.base = {&kd_lightgcn_kind, config, data, comm},
                         .nodes = data->users + data->items,
                         .edges = data->train.count,
                         .own = kd_comm_share(comm, kd_share_table(config->dim, ranks)),
                         .items = kd_comm_share(comm, kd_share_columns(data->items))};
    p->local_edges = kd_count_in(p->items, data->train.count, data->train.item);
    *out = &p->base;
    if (ranks > config->dim)
        return KD_FAIL(KD_ERR_ARGUMENT, "model: lightgcn: %lld ranks: at most one for each of dim's %lld columns",
                       (long long)ranks, (long long)config->dim);
    return KD_OK;
}

static void plan_free(kd_plan *plan) { free(plan); }

static kd_status allocate_parameters(kd_pool *pool, lightgcn *m) {
    int64_t rows = m->plan->nodes, cols = m->plan->own.count, count, four;
    if (__builtin_mul_overflow(rows, cols, &count) || count > INT64_MAX / 4 - KD_TENSOR_FLOATS)
        return KD_FAIL(KD_ERR_MEMORY, "parameters: do not fit in any memory");
    count = kd_tensor_floats(count);
    four = 4 * count;
    kd_status status = kd_pool_alloc(pool, four, sizeof(float), "parameters", &m->value);
    m->table = kd_mat_make(m->value, rows, cols);
    if (status != KD_OK || !m->value) return status;
    m->gradient = m->value + count;
    m->m = m->gradient + count;
    m->v = m->m + count;
    return KD_OK;
}

/* Where columns are divided: what turns views to whole rows for the ranking. */
static kd_status allocate_division(kd_pool *pool, lightgcn *m) {
    const lightgcn_plan *p = m->plan;
    const kd_dataset *d = p->base.data;
    int64_t most = d->users > d->items ? d->users : d->items, dim = p->base.config->dim;
    KD_OR_RETURN(kd_layout_allocate(pool, p->base.comm, most, p->items.count, 1, dim, &m->layout));
    KD_OR_RETURN(kd_pool_mat(pool, p->items.count, dim, "ranking", &m->ranked_item));
    KD_OR_RETURN(kd_csr_allocate(pool, d->users, p->items.count, p->local_edges, false, "ranking", &m->item_columns));
    m->split = kd_layout_split(&m->layout);
    m->base.layout = &m->layout;
    return KD_OK;
}

static kd_status lay_out(kd_pool *pool, lightgcn *m) {
    const lightgcn_plan *p = m->plan;
    const kd_dataset *d = p->base.data;
    int64_t batch = p->base.config->batch;
    KD_OR_RETURN(allocate_parameters(pool, m));
    KD_OR_RETURN(kd_csr_allocate(pool, d->users, d->items, p->edges, false, "interaction graphs", &m->base.train));
    KD_OR_RETURN(kd_csr_allocate(pool, p->nodes, p->nodes, 2 * p->edges, true, "interaction graphs", &m->adjacency));
    KD_OR_RETURN(kd_pool_mat(pool, p->nodes, p->own.count, "views", &m->view));
    KD_OR_RETURN(kd_pool_mat(pool, p->nodes, p->own.count, "views", &m->dview));
    KD_OR_RETURN(kd_pool_mat(pool, p->nodes, p->own.count, "views", &m->scratch));
    KD_OR_RETURN(kd_pool_alloc(pool, batch, sizeof(int32_t), "batch", &m->user));
    KD_OR_RETURN(kd_pool_alloc(pool, 2 * batch, sizeof(int32_t), "batch", &m->item));
    KD_OR_RETURN(kd_groups_allocate(pool, batch, &m->users));
    KD_OR_RETURN(kd_groups_allocate(pool, 2 * batch, &m->items));
    if (p->base.comm) KD_OR_RETURN(allocate_division(pool, m));
    m->base.score_width = p->base.config->dim;
    return KD_OK;
}

static kd_status allocate(const kd_plan *plan, kd_pool *pool, kd_model **out) {
    lightgcn *m;
    *out = NULL;
    KD_OR_RETURN(kd_host_alloc(&m, 1, sizeof *m, "model"));
    m->base = (kd_model){.plan = plan, .ctx = pool->ctx};
    m->plan = (const lightgcn_plan *)plan;
    *out = &m->base;
    return lay_out(pool, m);
}

static void free_model(kd_model *model) { free(model); }

static int64_t workspace(const kd_model *model) {
    int64_t batch = model->plan->config->batch, bpr = kd_bpr_workspace(batch);
    int64_t group = kd_group_workspace(2 * batch);
    return group > bpr ? group : bpr;
}

/* Each table by itself, as the published code of KDiffE draws its own. */
static kd_status fill_parameters(lightgcn *m) {
    const kd_dataset *d = m->plan->base.data;
    int64_t dim = m->plan->base.config->dim, cols = m->table.cols,
            bytes = m->table.rows * cols * (int64_t)sizeof(float);
    uint64_t seed = m->plan->base.config->seed;
    float *host;
    KD_OR_RETURN(kd_host_alloc(&host, m->table.rows * cols, sizeof *host, "initial parameters"));
    kd_uniform_fill(host, kd_mat_make(NULL, d->users, cols), m->plan->own.first, kd_xavier_bound(d->users, dim), seed,
                    0);
    kd_uniform_fill(host + d->users * cols, kd_mat_make(NULL, d->items, cols), m->plan->own.first,
                    kd_xavier_bound(d->items, dim), seed, 1);
    kd_status status = kd_upload(m->base.ctx, m->value, host, bytes);
    free(host);
    return status;
}

/* val of an edge = 1 / sqrt(degree of one end * degree of the other). */
static kd_status fill_adjacency(lightgcn *m, const kd_bipartite *g) {
    kd_status status = KD_OK;
    kd_ctx *ctx = m->base.ctx;
    int64_t nnz = g->row_ptr[g->nodes];
    float *val = NULL;
    KD_TRY(kd_host_alloc(&val, nnz, sizeof *val, "adjacency"));
    for (int64_t r = 0; r < g->nodes; r++)
        for (int64_t k = g->row_ptr[r]; k < g->row_ptr[r + 1]; k++) {
            int64_t c = g->col[k];
            double degrees = (double)(g->row_ptr[r + 1] - g->row_ptr[r]) * (double)(g->row_ptr[c + 1] - g->row_ptr[c]);
            val[k] = (float)(1.0 / sqrt(degrees));
        }
    KD_TRY(kd_fill(ctx, m->adjacency.row_ptr, g->row_ptr, g->nodes + 1, sizeof *g->row_ptr));
    KD_TRY(kd_fill(ctx, m->adjacency.col, g->col, nnz, sizeof *g->col));
    KD_TRY(kd_fill(ctx, m->adjacency.val, val, nnz, sizeof *val));
cleanup:
    free(val);
    return status;
}

static kd_status fill(kd_model *model, const kd_bipartite *g, const float *similarity) {
    lightgcn *m = of(model);
    const kd_dataset *d = model->plan->data;
    kd_range users = {0, d->users}, items = {0, d->items};
    (void)similarity;
    KD_OR_RETURN(fill_parameters(m));
    KD_OR_RETURN(fill_adjacency(m, g));
    KD_OR_RETURN(kd_csr_fill_part(model->ctx, g->row_ptr, g->col, d->users, users, items, &model->train));
    if (model->layout)
        KD_OR_RETURN(
            kd_csr_fill_part(model->ctx, g->row_ptr, g->col, d->users, users, m->plan->items, &m->item_columns));
    return KD_OK;
}

/* to = (sum over k = 0..K of A^k from) / (K + 1). */
static kd_status propagate(lightgcn *m, kd_mat from, kd_mat to) {
    int64_t layers = m->plan->base.config->gnn_layers;
    KD_OR_RETURN(kd_gcn(m->base.ctx, m->adjacency, layers, from, m->scratch, to));
    return kd_add_scaled(m->base.ctx, 0.0f, to, (float)(1.0 / (double)(layers + 1)), to);
}

static kd_status load(lightgcn *m, const kd_step_batch *b) {
    kd_ctx *ctx = m->base.ctx;
    KD_OR_RETURN(kd_gather(ctx, b->count, b->first, b->order, b->user, m->user));
    KD_OR_RETURN(kd_gather(ctx, b->count, b->first, b->order, b->positive, m->item));
    KD_OR_RETURN(kd_gather(ctx, b->count, b->first, b->order, b->negative, m->item + b->count));
    KD_OR_RETURN(kd_group(ctx, b->count, m->user, &m->users));
    return kd_group(ctx, 2 * b->count, m->item, &m->items);
}

/* loss += BPR; dview = its gradient. Of divided columns the first rank says the loss, which all of them know. */
static kd_status bpr(lightgcn *m, int64_t count, double *loss) {
    const kd_dataset *d = m->plan->base.data;
    kd_bpr_args args = {.split = m->base.layout ? &m->split : NULL,
                        .count = count,
                        .batch = (double)m->plan->base.config->batch,
                        .user = m->user,
                        .positive = m->item,
                        .negative = m->item + count,
                        .users = m->users,
                        .items = m->items,
                        .user_view = kd_mat_rows(m->view, 0, d->users),
                        .item_view = kd_mat_rows(m->view, d->users, d->items),
                        .duser = kd_mat_rows(m->dview, 0, d->users),
                        .ditem = kd_mat_rows(m->dview, d->users, d->items),
                        .loss = kd_comm_rank(m->plan->base.comm) > 0 ? NULL : loss};
    kd_status status = kd_zero(m->base.ctx, m->dview.data, m->dview.rows * m->dview.ld * (int64_t)sizeof(float));
    return status == KD_OK ? kd_bpr(m->base.ctx, &args) : status;
}

static kd_status step(kd_model *model, const kd_step_batch *b, double *loss) {
    lightgcn *m = of(model);
    const kd_config *c = model->plan->config;
    const kd_adam_config adam = {c->lr, 0.9, 0.999, 1e-8};
    kd_mat gradient = kd_mat_make(m->gradient, m->table.rows, m->table.cols);
    KD_OR_RETURN(load(m, b));
    KD_OR_RETURN(propagate(m, m->table, m->view));
    KD_OR_RETURN(bpr(m, b->count, loss + KD_LOSS_BPR));
    KD_OR_RETURN(propagate(m, m->dview, gradient));
    KD_OR_RETURN(kd_squared_norm(model->ctx, (float)c->reg, m->table, gradient, loss + KD_LOSS_WEIGHT_DECAY));
    return kd_adam(model->ctx, &(kd_adam_args){.config = &adam,
                                               .steps = b->clock,
                                               .n = m->table.rows * m->table.cols,
                                               .p = m->value,
                                               .g = m->gradient,
                                               .m = m->m,
                                               .v = m->v});
}

static kd_status score(kd_model *model, int64_t epoch, kd_ranked *out) {
    lightgcn *m = of(model);
    const kd_dataset *d = model->plan->data;
    (void)epoch;
    KD_OR_RETURN(propagate(m, m->table, m->view));
    *out = (kd_ranked){kd_mat_rows(m->view, 0, d->users), kd_mat_rows(m->view, d->users, d->items), model->train};
    if (!model->layout) return KD_OK;
    KD_OR_RETURN(kd_layout_to_rows(model->ctx, model->layout, kd_share_columns(d->items), out->item, m->ranked_item));
    out->item = m->ranked_item;
    out->train = m->item_columns;
    return KD_OK;
}

static void add(kd_named_matrices *out, const char *name, kd_mat nodes, int64_t first, int64_t rows, bool divided) {
    int64_t i = out->count++;
    out->entry[i].name = name;
    out->entry[i].value = kd_mat_rows(nodes, first, rows);
    out->entry[i].divided = divided;
    out->entry[i].transposed = false;
}

static void matrices(const kd_model *model, kd_named_matrices *out) {
    const lightgcn *m = (const lightgcn *)model;
    const kd_dataset *d = model->plan->data;
    bool divided = model->layout != NULL;
    out->count = 0;
    add(out, "uEmbeds", m->table, 0, d->users, divided);
    add(out, "iEmbeds", m->table, d->users, d->items, divided);
    add(out, "view.user", m->view, 0, d->users, divided);
    add(out, "view.item", m->view, d->users, d->items, divided);
}

static void arrays(kd_model *model, kd_position at, kd_run_arrays *out) {
    lightgcn *m = of(model);
    (void)at; /* nothing but the parameters lives from step to step */
    const struct {
        const char *name;
        float *data;
    } copy[] = {{"value", m->value}, {"adam_m", m->m}, {"adam_v", m->v}};
    for (int i = 0; i < 3; i++)
        kd_run_arrays_add_columns(out, copy[i].name, "nodes", kd_mat_make(copy[i].data, m->table.rows, m->table.cols));
}

static const char KEYS[] =
    " model semantics select_on seed epochs batch lr reg dim gnn_layers topk eval_every patience "
    "device threads precision deterministic ";

const kd_model_kind kd_lightgcn_kind = {.name = "lightgcn",
                                        .keys = KEYS,
                                        .plan = plan_make,
                                        .plan_free = plan_free,
                                        .allocate = allocate,
                                        .free_model = free_model,
                                        .workspace = workspace,
                                        .fill = fill,
                                        .step = step,
                                        .score = score,
                                        .matrices = matrices,
                                        .arrays = arrays};
