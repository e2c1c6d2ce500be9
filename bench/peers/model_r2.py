#!/usr/bin/env python3
"""R2: R1 given the exact algebra of the engine, in PyTorch. What it computes is the same; README.md lists the identities.

usage: model_r2.py DATA [--device=cuda] [--similarity=FILE] [--key=value ...]
"""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

import common
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
    """A batch of sparse 0/1 rows: entry k stands in row[k] of the batch, column col[k]."""
    index: torch.Tensor
    row: torch.Tensor
    col: torch.Tensor


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
            e = torch.mm(anchors[part], b.t()).mul_(1 / temp).exp_()
            total = e.sum(1)
            loss += torch.dot(weight[part], total.log())
            e.mul_((weight[part] / (temp * total))[:, None])
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
        self.host_ptr = {id(g): g.matrix.crow_indices().cpu().numpy() for g in (self.interactions, self.neighbours)}
        self.sparse_kg = SparseKg(self.capped_kg)

    def make_denoiser(self, width):
        return Denoiser(width, self.s, self.schedule, self.device)

    # denoisers

    def expand(self, x0, index, count):
        """The entries of the given rows; count of them in all."""
        ptr = x0.matrix.crow_indices().long()
        begin = ptr.index_select(0, index)
        degree = ptr.index_select(0, index + 1) - begin
        local = torch.arange(len(index), device=self.device)
        row = torch.repeat_interleave(local, degree, output_size=count)
        offset = torch.arange(count, device=self.device) - (torch.cumsum(degree, 0) - degree).index_select(0, row)
        return Rows(index, row, x0.matrix.col_indices()[begin.index_select(0, row) + offset].long())

    def batches(self, x0):
        order = np.random.permutation(x0.matrix.shape[0])
        ptr = self.host_ptr[id(x0)]
        for first in range(0, len(order), self.s.batch):
            rows = order[first:first + self.s.batch]
            count = int((ptr[rows + 1] - ptr[rows]).sum())
            yield self.expand(x0, torch.as_tensor(rows, device=self.device), count)

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
        # the product's gradient does not need the product: x0 is taken off in place
        rest = F.linear(h, p["w2"], p["b2"])
        rest.view(-1).index_add_(0, entry, x.new_ones(()).expand(len(entry)), alpha=-1)
        error = torch.linalg.vector_norm(rest, dim=1).square() * (schedule.weight[t] / width)
        seen = projection.shape[0]
        guided = h @ (p["w2"][:seen].t() @ projection) + p["b2"][:seen] @ projection
        guidance = (guided - target.index_select(0, rows.index)).square().mean(1)
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
            e = F.normalize(self.draws.dropout(rows, s.mess_dropout) if dropout else rows)
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

    def views(self, kg, training):
        """Every view of a pass, [nodes, views, dim]: main, multimodal, then for training the modalities and the second
        KG view. One wide product a layer serves them all."""
        inputs, residual = [self.kg_input(kg, training)], None
        if self.modalities:
            z, contrasts = self.multimodal_inputs(training)
            inputs += [z] + (contrasts if training else [])
            residual = self.s.res_lambda * F.normalize(z)
        if training and self.s.cl_method == 1:
            inputs.append(self.kg_input(self.capped_kg, True))
        out = list(graphs.gcn(self.adjacency, torch.cat(inputs, 1), self.s.gnn_layers).split(self.s.dim, 1))
        if residual is not None:
            out[1] = out[1] + residual
        return out

    # losses

    def step_batches(self, triples):
        """Distinct nodes are counted on the host once an epoch, not once a term."""
        host = triples[:2].cpu().numpy()
        for first in range(0, host.shape[1], self.s.batch):
            part = slice(first, first + self.s.batch)
            yield triples[:, part], [multiplicity(nodes[part], self.device) for nodes in host]

    def contrast(self, a, b, groups):
        loss, users = 0, self.data.users
        for (nodes, weight), part in zip(groups, (slice(0, users), slice(users, None))):
            anchors = a[part].index_select(0, nodes)
            loss = loss + _InfoNce.apply(anchors, b[part], nodes, weight, self.s.temp, self.tile)
        return loss

    def contrastive(self, views, groups):
        """The tables are normalised once for all terms."""
        count = len(self.modalities)
        unit = [F.normalize(v) for v in views[2:2 + count]]
        if self.s.cl_method == 1:
            main = F.normalize(views[0])
            pairs = [(main, v) for v in unit] + [(F.normalize(views[-1]), main)]
        else:
            pairs = [(a, b) for i, a in enumerate(unit) for b in unit[i + 1:]]
        return self.s.ssl_reg * sum((self.contrast(a, b, groups) for a, b in pairs), views[0].new_zeros(()))

    def step_losses(self, batch):
        triples, groups = batch
        views = self.views(self.capped_kg, True)
        scores = views[:2] if self.modalities else views[:1]
        return torch.stack([self.bpr(scores, triples), self.weight_decay(), self.contrastive(views, groups)])

    # evaluation

    def score_views(self):
        """Both views side by side: the sum of two dot products is one."""
        view = torch.cat(self.views(self.generated_kg, False), 1)
        return [(view[:self.data.users], view[self.data.users:])]

    def mask_training(self, scores, tile):
        ptr = self.host_ptr[id(self.interactions)]
        part = slice(int(ptr[tile.start]), int(ptr[tile.stop]))
        scores[self.train_user[part] - tile.start, self.train_item[part]] = -torch.inf


if __name__ == "__main__":
    common.main("r2", R2)
