#!/usr/bin/env python3
"""R2: R1 given the exact algebra of the engine, in PyTorch. What it computes is the same; README.md lists the identities.

usage: model_r2.py DATA [--device=cuda] [--similarity=FILE] [--compile] [--key=value ...]
"""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

import common
import fused
import graphs
from model_r1 import R1


class Denoiser:
    """The denoiser of R1 with W1 transposed and split into its columns for x and for the time, so that a sparse row times W1
    is a sparse product, and the time is a table of one row a step."""

    def __init__(self, width, s, schedule, device):
        self.schedule, self.width = schedule, width
        first = common.normal_leaf(s.hidden, width + s.time_dim, device).detach()
        self.p = {"w1": first[:, :width].t().contiguous().requires_grad_(),
                  "w1_time": first[:, width:].t().contiguous().requires_grad_(),
                  "b1": common.bias_leaf(s.hidden, device),
                  "w2": common.normal_leaf(width, s.hidden, device),
                  "b2": common.bias_leaf(width, device),
                  "time_w": common.normal_leaf(s.time_dim, s.time_dim, device),
                  "time_b": common.bias_leaf(s.time_dim, device)}
        self.optimizer = common.adam(list(self.p.values()), s.lr)

    def table(self):
        """temb W1_time + b1 of every step."""
        p = self.p
        return F.linear(self.schedule.time, p["time_w"], p["time_b"]) @ p["w1_time"] + p["b1"]

    def hidden(self, x, t):
        return torch.tanh(torch.addmm(self.table().index_select(0, t), x, self.p["w1"]))


@dataclass
class Rows:
    """Some rows of a CSR matrix: entry[k] of the matrix stands in row[k] of them, column col[k]."""
    matrix: torch.Tensor
    index: torch.Tensor
    entry: torch.Tensor
    row: torch.Tensor
    col: torch.Tensor

    def graph(self):
        return graphs.graph(self.row, self.col, self.matrix.values()[self.entry],
                            (len(self.index), self.matrix.shape[1]))


@dataclass
class Anchors:
    """The distinct users or distinct positive items of a batch, numbered in three ways, and the share of each."""
    key: torch.Tensor   # among all users or all items
    node: torch.Tensor  # among all nodes
    at: torch.Tensor    # among the nodes of the batch
    weight: torch.Tensor


@dataclass
class Batch:
    """A step's triples by the nodes that they read."""
    nodes: torch.Tensor  # distinct users, then distinct items; users come first in all views
    rows: graphs.Graph   # of the adjacency, at these nodes
    at: torch.Tensor     # [3, triples]: user, positive and negative among the nodes
    anchors: list        # of users, of positive items


@dataclass
class Views:
    """The views of a step. Those that are keys of the contrast are made for all nodes, the others, where there are any, only
    at the batch's."""
    main: torch.Tensor
    modalities: list
    multimodal: torch.Tensor = None
    second: torch.Tensor = None


def gram(w, strips=4):
    """w' w. Its lower half is the mirror of the upper one, so a strip of rows is multiplied from its own columns on."""
    square = w.new_empty(w.shape[1], w.shape[1])
    size = -(-w.shape[1] // strips)
    for first in range(0, w.shape[1], size):
        strip, later = slice(first, first + size), slice(first + size, None)
        torch.mm(w[:, strip].t(), w[:, first:], out=square[strip, first:])
        square[later, strip] = square[strip, later].t()
    return square


class _GramError(torch.autograd.Function):
    """Squared errors of the rows of out = h w2' + b2 against 0/1 rows, without out: what its gradients need of it is
    (out - x0) w2 = h (w2' w2) + b2 w2 - x0 w2."""

    @staticmethod
    def forward(ctx, h, w2, b2, x0):
        ctx.x0 = x0
        shift, reached = b2 @ w2, x0.matrix @ w2
        rest = torch.addmm(shift, h, gram(w2)).sub_(reached)
        ctx.save_for_backward(h, w2, b2, rest)
        # (out - x0) out' less (out - x0) x0', where x0 x0' = x0 1
        return (h * (rest + (shift - reached))).sum(1) + x0.matrix @ (1 - 2 * b2) + b2.dot(b2)

    @staticmethod
    def backward(ctx, grad):
        h, w2, b2, rest = ctx.saved_tensors
        scale = 2 * grad
        scaled = scale[:, None] * h
        total = scaled.sum(0)
        dw2 = (w2 @ (h.t() @ scaled)).addr_(b2, total).addmm_(ctx.x0.transpose, scaled, alpha=-1)
        db2 = w2 @ total + scale.sum() * b2 - ctx.x0.transpose @ scale
        return scale[:, None] * rest, dw2, db2, None


class _InfoNce(torch.autograd.Function):
    """Weighted InfoNCE of unit anchor rows against the unit table b: a tile of anchors at a time, each exponentiated in
    place and turned into gradients at once, so that logits are never stored. Unit rows bound the logits: no maximum."""

    @staticmethod
    def forward(ctx, anchors, b, nodes, weight, temp, tile):
        positive = b.index_select(0, nodes)
        da, db = torch.empty_like(anchors), torch.zeros_like(b)
        loss = -(weight * (anchors * positive).sum(1)).sum() / temp
        for first in range(0, len(nodes), tile):
            part = slice(first, first + tile)
            e = torch.mm(anchors[part], b.t())
            loss += fused.anchor_weights(e, weight[part], temp)
            torch.mm(e, b, out=da[part])
            db.addmm_(e.t(), anchors[part])
        scaled = (weight / temp)[:, None]
        da -= scaled * positive
        db.index_add_(0, nodes, scaled * anchors, alpha=-1)
        ctx.save_for_backward(da, db)
        return loss

    @staticmethod
    def backward(ctx, grad):
        da, db = ctx.saved_tensors
        return grad * da, grad * db, None, None, None, None


class _Attend(torch.autograd.Function):
    """sum over a head's edges of alpha e[tail], as sparse products in both directions; the gradient of alpha is a dense
    product at the entries of a sparse matrix, which gathers no rows."""

    @staticmethod
    def forward(ctx, alpha, e, kg):
        ctx.kg = kg
        ctx.save_for_backward(alpha, e)
        return kg.by_head(alpha) @ e

    @staticmethod
    def backward(ctx, grad):
        alpha, e = ctx.saved_tensors
        kg, grad = ctx.kg, grad.contiguous()
        dalpha = torch.sparse.sampled_addmm(kg.by_head(alpha), grad, e.t(), beta=0.0)
        return dalpha.values(), kg.by_tail(alpha) @ grad, None


class SparseKg:
    """A knowledge graph with the structure of both products ready; only the weights change."""

    def __init__(self, kg):
        self.head, self.tail = kg.head, kg.tail
        self.shape = (kg.entities, kg.entities)
        self.head_entry = kg.head * kg.relations + kg.relation
        self.tail_entry = kg.tail * kg.relations + kg.relation
        bounds = torch.arange(kg.entities + 1, device=kg.head.device)
        self.order = torch.argsort(kg.tail, stable=True)
        self.head_ptr = torch.searchsorted(kg.head, bounds).int()
        self.tail_ptr = torch.searchsorted(kg.tail[self.order], bounds).int()
        self.tail_col, self.head_col = kg.tail.int(), kg.head[self.order].int()

    def by_head(self, alpha):
        return torch.sparse_csr_tensor(self.head_ptr, self.tail_col, alpha, self.shape, check_invariants=False)

    def by_tail(self, alpha):
        return torch.sparse_csr_tensor(self.tail_ptr, self.head_col, alpha[self.order], self.shape,
                                       check_invariants=False)


def multiplicity(nodes, device):
    """Distinct nodes of a batch and the share of the batch that each has."""
    distinct, count = np.unique(nodes, return_counts=True)
    weight = (count / len(nodes)).astype(np.float32)
    return torch.as_tensor(distinct, device=device), torch.as_tensor(weight, device=device)


class R2(R1):
    def make_graphs(self, similarity):
        common.Trainer.make_graphs(self, similarity)
        self.tile = 256 if self.device.type == "cpu" else self.s.batch
        # on the host, so that the size of a batch is known without waiting for the device
        self.host_ptr = {id(g): g.matrix.crow_indices().cpu().numpy()
                         for g in (self.interactions, self.neighbours, self.adjacency)}
        self.sparse_kg = SparseKg(self.capped_kg)

    def make_denoiser(self, width):
        return Denoiser(width, self.s, self.schedule, self.device)

    # sparse rows

    def expand(self, x0, index, count):
        """The entries of the given rows; count of them in all."""
        ptr = x0.matrix.crow_indices().long()
        begin = ptr.index_select(0, index)
        degree = ptr.index_select(0, index + 1) - begin
        local = torch.arange(len(index), device=self.device)
        row = torch.repeat_interleave(local, degree, output_size=count)
        offset = torch.arange(count, device=self.device) - (torch.cumsum(degree, 0) - degree).index_select(0, row)
        entry = begin.index_select(0, row) + offset
        return Rows(x0.matrix, index, entry, row, x0.matrix.col_indices()[entry].long())

    def select(self, x0, index):
        """The same by numbers on the host, where the number of entries is found."""
        ptr = self.host_ptr[id(x0)]
        return self.expand(x0, torch.as_tensor(index, device=self.device), int((ptr[index + 1] - ptr[index]).sum()))

    # denoisers

    def batches(self, x0):
        order = np.random.permutation(x0.matrix.shape[0])
        for first in range(0, len(order), self.s.batch):
            yield self.select(x0, order[first:first + self.s.batch])

    def gram_pays(self, denoiser, count):
        """Whether the Gram matrix takes fewer operations than products of the output, for a batch of count rows."""
        n, hidden = denoiser.p["w2"].shape
        return 4 * (n + count) * hidden ** 2 < 6 * count * n * hidden

    def squared_error(self, denoiser, h, rows, entry):
        """|out - x0|^2 of every row."""
        w2, b2 = denoiser.p["w2"], denoiser.p["b2"]
        if self.gram_pays(denoiser, len(h)):
            return _GramError.apply(h, w2, b2, rows.graph())
        # the product's gradient does not need the product: x0 is taken off in place
        rest = F.linear(h, w2, b2)
        rest.view(-1).index_add_(0, entry, h.new_ones(()).expand(len(entry)), alpha=-1)
        return torch.linalg.vector_norm(rest, dim=1).square()

    def denoiser_loss(self, denoiser, rows, g, projection, target, weight):
        """x0 stays sparse; the guided output is h (W2' F) + b2' F."""
        p, schedule, width = denoiser.p, self.schedule, denoiser.width
        t = self.draws.steps(len(rows.index), self.s.steps)
        x = self.draws.normal(len(rows.index), width).mul_(schedule.sigma[t][:, None])
        entry = rows.row * width + rows.col
        x.view(-1).index_add_(0, entry, schedule.signal[t].index_select(0, rows.row))
        if g is not None:
            x += g.index_select(0, rows.index)[:, None]
        h = denoiser.hidden(self.draws.dropout(x, common.INPUT_DROPOUT), t)
        error = self.squared_error(denoiser, h, rows, entry) * (schedule.weight[t] / width)
        seen = projection.shape[0]
        guided = h @ (p["w2"][:seen].t() @ projection) + p["b2"][:seen] @ projection
        guidance = fused.row_errors(guided, target.index_select(0, rows.index))
        return (error + weight * guidance).mean()

    def modality_guidance(self, m):
        """Constants of the phase: f_m and Y iE."""
        with torch.no_grad():
            return self.transform(m), self.interactions.matrix @ self.p["iEmbeds"]

    def modality_loss(self, m, rows, feature, target):
        return self.denoiser_loss(self.denoisers[m], rows, None, feature, target, self.s.guidance(m))

    def kg_loss(self, rows, users_of_items, g):
        return self.denoiser_loss(self.kg_denoiser, rows, g, users_of_items, self.p["eEmbeds"].detach(), self.s.e_loss)

    def denoise_modalities(self):
        losses = {}
        for m in self.modalities:
            constants = self.modality_guidance(m)
            losses[m] = self.train_denoiser(self.denoisers[m], self.batches(self.interactions),
                                            lambda rows: self.modality_loss(m, rows, *constants))
        return losses

    def denoise_kg(self):
        constants = self.kg_guidance()
        return self.train_denoiser(self.kg_denoiser, self.batches(self.neighbours),
                                   lambda rows: self.kg_loss(rows, *constants))

    # reverse sampling

    def chain_start(self, denoiser, x0, first, count, g, column_sum):
        """W1 (x0 + g), or of x0 noised."""
        w1, schedule, ptr = denoiser.p["w1"], self.schedule, self.host_ptr[id(x0)]
        begin, end = int(ptr[first]), int(ptr[first + count])
        rows = torch.sparse_csr_tensor(x0.matrix.crow_indices()[first:first + count + 1] - begin,
                                       x0.matrix.col_indices()[begin:end], x0.matrix.values()[begin:end],
                                       (count, denoiser.width), check_invariants=False)
        noised, at = self.s.sampling_steps > 0, self.s.sampling_steps - 1
        start = torch.addmm(g[:, None] * column_sum, rows, w1, alpha=float(schedule.signal[at]) if noised else 1.0)
        if noised:
            start.addmm_(self.draws.normal(count, denoiser.width), w1, alpha=float(schedule.sigma[at]))
        return start

    @torch.no_grad()
    def reverse_chains(self, denoiser, x0, g):
        """The chain runs on p = W1 x: p <- c1 (h W2' W1 + b2 W1) + c2 p, one output product at its end."""
        p, schedule = denoiser.p, self.schedule
        chain, constant = p["w2"].t() @ p["w1"], p["b2"] @ p["w1"]
        column_sum, table = p["w1"].sum(0), denoiser.table()
        for first in range(0, len(g), self.s.batch):
            part = g[first:first + self.s.batch]
            x = self.chain_start(denoiser, x0, first, len(part), part, column_sum)
            for i in reversed(range(1, self.s.steps)):
                h = torch.tanh(x + table[i])
                x = x.mul_(schedule.c2[i]).add_(constant, alpha=schedule.c1[i]).addmm_(h, chain, alpha=schedule.c1[i])
            h = torch.tanh(x + table[0])
            yield F.linear(h, p["w2"], p["b2"])

    # views

    def rgat(self, kg, dropout):
        """The logit splits into one scalar a (node, relation) for the head and one for the tail."""
        p, s = self.p, self.s
        sparse = self.sparse_kg if kg is self.capped_kg else SparseKg(kg)
        top, bottom = p["rgat_W"].split(s.dim)
        head, tail = p["rEmbeds"] @ top.t(), p["rEmbeds"] @ bottom.t()
        e = result = p["eEmbeds"]
        for _ in range(s.kg_hops):
            logit = ((e @ head.t()).view(-1).index_select(0, sparse.head_entry) +
                     (e @ tail.t()).view(-1).index_select(0, sparse.tail_entry))
            alpha = common.softmax_by(sparse.head, kg.entities, F.leaky_relu(logit, common.LEAKY_SLOPE))
            rows = _Attend.apply(alpha, e, sparse) + e
            e = fused.unit_rows(self.draws.dropout(rows, s.mess_dropout) if dropout else rows)
            result = s.res_lambda * result + e
        return result

    def kg_input(self, kg, dropout):
        return torch.cat([self.p["uEmbeds"], self.rgat(kg, dropout)[:self.data.items]])

    def multimodal_inputs(self, contrast):
        """Z of the multimodal view and, for the contrast, A_m [uE ; n_m] of every modality. P and Q are linear in the
        features and the weights sum to 1: the modalities merge before two products, and A_m multiplies both at once."""
        p, s, users = self.p, self.s, self.data.users
        share, unit = torch.softmax(p["modal_weight"], 0), self.unit_features()
        mixed = sum(share[k] * unit[m] for k, m in enumerate(self.modalities))
        first = graphs.spmm(self.adjacency, torch.cat([p["uEmbeds"], mixed]))
        z = first + graphs.spmm(self.adjacency, torch.cat([first[:users], p["iEmbeds"]]))
        own, contrasts = torch.cat([p["uEmbeds"], p["iEmbeds"]]), []
        for k, m in enumerate(self.modalities):
            right = torch.cat([own, torch.cat([p["uEmbeds"], unit[m]])], 1) if contrast else own
            drawn = graphs.spmm(self.modality_graphs[m], right)
            z = z + s.ris_adj_lambda * share[k] * drawn[:, :s.dim]
            contrasts.append(drawn[:, s.dim:])
        return z, contrasts

    def gcn_at(self, batch, x):
        """A GCN whose last layer is made at the batch's nodes only."""
        own, layers = x.index_select(0, batch.nodes), self.s.gnn_layers
        if layers == 0:
            return own
        return own + graphs.spmm(batch.rows, graphs.gcn(self.adjacency, x, layers - 1))

    def views(self, batch):
        """Every view of a step. One wide product a layer serves all that are made at the same nodes."""
        s, everywhere, there = self.s, [self.kg_input(self.capped_kg, True)], {}
        if self.modalities:
            there["multimodal"], contrasts = self.multimodal_inputs(True)
            everywhere += contrasts
            residual = s.res_lambda * fused.unit_rows(there["multimodal"].index_select(0, batch.nodes))
        if s.cl_method == 1:
            there["second"] = self.kg_input(self.capped_kg, True)
        main, *modalities = graphs.gcn(self.adjacency, torch.cat(everywhere, 1), s.gnn_layers).split(s.dim, 1)
        if there:
            made = self.gcn_at(batch, torch.cat(list(there.values()), 1)).split(s.dim, 1)
            there = dict(zip(there, made))
        if self.modalities:
            there["multimodal"] = there["multimodal"] + residual
        return Views(main, modalities, **there)

    # losses

    def step_batch(self, triples):
        """Nodes are counted on the host, once a batch and not once a term."""
        users, on = self.data.users, lambda x: torch.as_tensor(x, device=self.device)
        place = triples + np.array([[0], [users], [users]])
        distinct = np.unique(place)
        nodes, anchors = on(distinct), []
        for keys, first in zip(triples, (0, users)):
            key, weight = multiplicity(keys, self.device)
            anchors.append(Anchors(key, key + first, torch.searchsorted(nodes, key + first), weight))
        rows = self.select(self.adjacency, distinct).graph()
        return Batch(nodes, rows, on(np.searchsorted(distinct, place)), anchors)

    def step_batches(self, triples):
        host = triples.cpu().numpy()
        return (self.step_batch(host[:, first:first + self.s.batch]) for first in range(0, host.shape[1], self.s.batch))

    def bpr(self, views, batch):
        """Both views side by side: the sum of two dot products is one."""
        score = views.main.index_select(0, batch.nodes)
        if views.multimodal is not None:
            score = torch.cat([score, views.multimodal], 1)
        user, positive, negative = (score.index_select(0, at) for at in batch.at)
        return -F.logsigmoid((user * (positive - negative)).sum(1)).sum() / self.s.batch

    def contrast(self, anchors, b, batch):
        tables = b.split([self.data.users, self.data.items])
        return sum(_InfoNce.apply(a, table, group.key, group.weight, self.s.temp, self.tile)
                   for a, table, group in zip(anchors, tables, batch.anchors))

    def contrastive(self, views, batch):
        """The tables are normalised once for all terms, an anchor that is no key only where it is read."""
        anchors = lambda view: [view.index_select(0, group.node) for group in batch.anchors]
        unit = [fused.unit_rows(v) for v in views.modalities]
        if self.s.cl_method == 1:
            main = fused.unit_rows(views.main)
            second = [fused.unit_rows(views.second.index_select(0, group.at)) for group in batch.anchors]
            pairs = [(anchors(main), v) for v in unit] + [(second, main)]
        else:
            pairs = [(anchors(a), b) for i, a in enumerate(unit) for b in unit[i + 1:]]
        return self.s.ssl_reg * sum((self.contrast(a, b, batch) for a, b in pairs), views.main.new_zeros(()))

    def step_losses(self, batch):
        views = self.views(batch)
        return torch.stack([self.bpr(views, batch), self.weight_decay(), self.contrastive(views, batch)])

    # evaluation

    def score_views(self):
        """Both views side by side, as in a step."""
        inputs = [self.kg_input(self.generated_kg, False)]
        if self.modalities:
            inputs.append(self.multimodal_inputs(False)[0])
        view = graphs.gcn(self.adjacency, torch.cat(inputs, 1), self.s.gnn_layers)
        if self.modalities:
            view[:, self.s.dim:] += self.s.res_lambda * fused.unit_rows(inputs[1])
        return [(view[:self.data.users], view[self.data.users:])]

    def mask_training(self, scores, tile):
        ptr = self.host_ptr[id(self.interactions)]
        part = slice(int(ptr[tile.start]), int(ptr[tile.stop]))
        scores[self.train_user[part] - tile.start, self.train_item[part]] = -torch.inf


if __name__ == "__main__":
    common.main("r2", R2)
