#!/usr/bin/env python3
"""R1: a KDiffE epoch in clean, vectorised, device-resident PyTorch, every formula computed as it is written.

usage: model_r1.py DATA [--device=cuda] [--similarity=FILE] [--compile] [--key=value ...]
"""
import torch
import torch.nn.functional as F

import common
import fused
import graphs


class Denoiser:
    """h = tanh(W1 [x ; temb] + b1), out = W2 h + b2."""

    def __init__(self, width, s, schedule, device):
        self.schedule = schedule
        self.p = {"emb_layer_weight": common.normal_leaf(s.time_dim, s.time_dim, device),
                  "emb_layer_bias": common.bias_leaf(s.time_dim, device),
                  "in_layers_0_weight": common.normal_leaf(s.hidden, width + s.time_dim, device),
                  "in_layers_0_bias": common.bias_leaf(s.hidden, device),
                  "out_layers_0_weight": common.normal_leaf(width, s.hidden, device),
                  "out_layers_0_bias": common.bias_leaf(width, device)}
        self.optimizer = common.adam(list(self.p.values()), s.lr)

    def __call__(self, x, t):
        p = self.p
        time = F.linear(self.schedule.time[t], p["emb_layer_weight"], p["emb_layer_bias"])
        h = torch.tanh(F.linear(torch.cat([x, time], 1), p["in_layers_0_weight"], p["in_layers_0_bias"]))
        return F.linear(h, p["out_layers_0_weight"], p["out_layers_0_bias"])


class R1(common.Trainer):
    def make_graphs(self, similarity):
        super().make_graphs(similarity)
        # 0/1 rows as dense bytes: a batch of them is one gather
        self.user_rows = self.interactions.matrix.to_dense().byte()
        self.entity_rows = self.neighbours.matrix.to_dense().byte()

    def make_denoiser(self, width):
        return Denoiser(width, self.s, self.schedule, self.device)

    def rows_of(self, x0):
        return self.user_rows if x0 is self.interactions else self.entity_rows

    # denoisers

    def reconstruct(self, denoiser, x0, g):
        """Output for noised rows and each row's importance-weighted error."""
        t = self.draws.steps(len(x0), self.s.steps)
        noise = self.draws.normal(*x0.shape)
        x = fused.noised(x0, self.schedule.signal[t], self.schedule.sigma[t], noise)
        if g is not None:
            x = x + g[:, None]
        out = denoiser(self.draws.dropout(x, common.INPUT_DROPOUT), t)
        return out, self.schedule.weight[t] * fused.row_errors(x0, out)

    def modality_loss(self, m, rows):
        x0 = self.user_rows[rows].float()
        with torch.no_grad():
            feature, target = self.transform(m), x0 @ self.p["iEmbeds"]
        out, error = self.reconstruct(self.denoisers[m], x0, None)
        guidance = fused.row_errors(out @ feature, target)
        return (error + self.s.guidance(m) * guidance).mean()

    def kg_loss(self, rows, users_of_items, g):
        x0 = self.entity_rows[rows].float()
        out, error = self.reconstruct(self.kg_denoiser, x0, g[rows])
        guidance = fused.row_errors(out[:, :self.data.items] @ users_of_items, self.p["eEmbeds"].detach()[rows])
        return (error + self.s.e_loss * guidance).mean()

    def shuffled(self, count):
        return torch.randperm(count, device=self.device).split(self.s.batch)

    def denoise_modalities(self):
        return {m: self.train_denoiser(self.denoisers[m], self.shuffled(self.data.users),
                                       lambda rows, m=m: self.modality_loss(m, rows)) for m in self.modalities}

    def kg_guidance(self):
        """Constants of the phase: Y' uE and g."""
        return self.interactions.transpose @ self.p["uEmbeds"].detach(), self.entity_means()

    def denoise_kg(self):
        constants = self.kg_guidance()
        return self.train_denoiser(self.kg_denoiser, self.shuffled(self.data.entities),
                                   lambda rows: self.kg_loss(rows, *constants))

    # reverse sampling

    @torch.no_grad()
    def reverse_chain(self, denoiser, x0, g):
        s, schedule = self.s, self.schedule
        x = x0.float()
        if s.sampling_steps > 0:
            at = s.sampling_steps - 1
            x = schedule.signal[at] * x + schedule.sigma[at] * self.draws.normal(*x.shape)
        x = x + g[:, None]
        for i in reversed(range(s.steps)):
            t = torch.full((len(x),), i, device=self.device)
            x = schedule.c1[i] * denoiser(x, t) + schedule.c2[i] * x
        return x

    def reverse_chains(self, denoiser, x0, g):
        tiles = zip(self.rows_of(x0).split(self.s.batch), g.split(self.s.batch))
        return (self.reverse_chain(denoiser, *tile) for tile in tiles)

    # views

    def rgat(self, kg, dropout):
        p, s = self.p, self.s
        e = result = p["eEmbeds"]
        for _ in range(s.kg_hops):
            tail = e.index_select(0, kg.tail)
            pair = torch.cat([e.index_select(0, kg.head), tail], 1) @ p["rgat_W"]
            logit = F.leaky_relu((pair * p["rEmbeds"].index_select(0, kg.relation)).sum(1), common.LEAKY_SLOPE)
            alpha = common.softmax_by(kg.head, kg.entities, logit)
            rows = e.index_add(0, kg.head, alpha[:, None] * tail)
            e = fused.unit_rows(self.draws.dropout(rows, s.mess_dropout) if dropout else rows)
            result = s.res_lambda * result + e
        return result

    def kg_view(self, kg, dropout):
        z = torch.cat([self.p["uEmbeds"], self.rgat(kg, dropout)[:self.data.items]])
        return graphs.gcn(self.adjacency, z, self.s.gnn_layers)

    def unit_features(self):
        return {m: fused.unit_rows(self.transform(m)) for m in self.modalities}

    def multimodal_view(self, unit):
        p, s, users = self.p, self.s, self.data.users
        share = torch.softmax(p["modal_weight"], 0)
        own = torch.cat([p["uEmbeds"], p["iEmbeds"]])
        z = 0
        for k, m in enumerate(self.modalities):
            first = graphs.spmm(self.adjacency, torch.cat([p["uEmbeds"], unit[m]]))
            second = graphs.spmm(self.adjacency, torch.cat([first[:users], p["iEmbeds"]]))
            drawn = graphs.spmm(self.modality_graphs[m], own)
            z = z + share[k] * (first + second + s.ris_adj_lambda * drawn)
        return graphs.gcn(self.adjacency, z, s.gnn_layers) + s.res_lambda * fused.unit_rows(z)

    def modality_view(self, m, unit):
        z = graphs.spmm(self.modality_graphs[m], torch.cat([self.p["uEmbeds"], unit[m]]))
        return graphs.gcn(self.adjacency, z, self.s.gnn_layers)

    # losses

    def bpr(self, views, batch):
        user, positive, negative = batch[0], batch[1] + self.data.users, batch[2] + self.data.users
        margin = sum((v[user] * (v[positive] - v[negative])).sum(1) for v in views)
        return -F.logsigmoid(margin).sum() / self.s.batch

    def weight_decay(self):
        return self.s.reg * (self.p["uEmbeds"].square().sum() + self.p["iEmbeds"].square().sum())

    def contrast(self, a, b, batch):
        users, temp = self.data.users, self.s.temp
        return fused.info_nce(a[:users], b[:users], batch[0], temp) + fused.info_nce(a[users:], b[users:], batch[1], temp)

    def contrastive(self, main, unit, batch):
        views = [self.modality_view(m, unit) for m in self.modalities]
        if self.s.cl_method == 1:
            pairs = [(main, v) for v in views] + [(self.kg_view(self.capped_kg, True), main)]
        else:
            pairs = [(a, b) for i, a in enumerate(views) for b in views[i + 1:]]
        return self.s.ssl_reg * sum((self.contrast(a, b, batch) for a, b in pairs), main.new_zeros(()))

    def step_batches(self, triples):
        return triples.split(self.s.batch, dim=1)

    def step_losses(self, batch):
        """BPR, weight decay, contrastive."""
        main, unit = self.kg_view(self.capped_kg, True), self.unit_features()
        views = [main] + ([self.multimodal_view(unit)] if self.modalities else [])
        return torch.stack([self.bpr(views, batch), self.weight_decay(), self.contrastive(main, unit, batch)])

    # evaluation

    def score_views(self):
        views = [self.kg_view(self.generated_kg, False)]
        if self.modalities:
            views.append(self.multimodal_view(self.unit_features()))
        return [(v[:self.data.users], v[self.data.users:]) for v in views]

    def mask_training(self, scores, tile):
        scores.masked_fill_(self.user_rows[tile].bool(), -torch.inf)


if __name__ == "__main__":
    common.main("r1", R1)
