#!/usr/bin/env python3
"""Checks that R1 and R2 compute what they should: an arm that is wrong is no peer.

usage: check.py CASE [CASE ...] [--data=DIR] [--similarity=FILE] [--device=cpu] [--compile] [--key=value ...]

CASE: a folder of arrays that the published implementation gave (tests/cases/two-mixed); each arm is compared with them.
DIR: a data set; on it R1 and R2 are compared with each other, given the same parameters, noise and masks.
Two arrays agree if max|a - b| <= 1e-5 max|b|, or 1e-7 where b is all zero. Exit status 1 if any does not.
"""
import argparse
import json
import os
import sys

import numpy as np
import torch

import common
import data as data_files
import fused
import graphs
from model_r1 import R1
from model_r2 import R2

ARMS = {"r1": R1, "r2": R2}
TOLERANCE = 1e-5
ZERO = 1e-7


class Report:
    def __init__(self):
        self.counts, self.failed, self.worst = {}, [], {}

    def compare(self, group, name, actual, expected):
        """One array; group: what is compared with what."""
        a, b = (np.asarray(x.detach().cpu() if torch.is_tensor(x) else x, np.float64) for x in (actual, expected))
        self.counts[group] = self.counts.get(group, 0) + 1
        if a.shape != b.shape:
            self.failed.append("%s: %s: shape %s, expected %s" % (group, name, a.shape, b.shape))
            return
        scale, error = np.abs(b).max(initial=0), np.abs(a - b).max(initial=0)
        relative = error / scale if scale > 0 else (0.0 if error <= ZERO else np.inf)
        self.worst[group] = max(self.worst.get(group, (0.0, "")), (relative, name))
        if not relative <= TOLERANCE:
            self.failed.append("%s: %s: differs by %.2g of its largest element" % (group, name, relative))

    def finish(self):
        for group, count in self.counts.items():
            print("%s: %d arrays, largest difference %.1e (%s)" % ((group, count) + self.worst.get(group, (0.0, "-"))))
        for line in self.failed:
            print(line)
        sys.exit(1 if self.failed else 0)


class GoldenDraws:
    """The steps and the noise of a case; no dropout, nothing thinned."""

    def __init__(self):
        self.t = self.noise = None

    def steps(self, count, most):
        return self.t

    def normal(self, rows, width):
        return self.noise[:rows, :width].clone()  # arms write over what they draw

    def dropout(self, x, p):
        return x

    def keep(self, count, rate):
        return torch.ones(count, dtype=torch.bool)


class SeededDraws:
    """The same draws for whoever asks for the same things in the same order."""

    def __init__(self, seed, device):
        self.generator, self.device = torch.Generator().manual_seed(seed), device

    def steps(self, count, most):
        return torch.randint(most, (count,), generator=self.generator).to(self.device)

    def normal(self, rows, width):
        return torch.randn(rows, width, generator=self.generator).to(self.device)

    def dropout(self, x, p):
        return x * ((torch.rand(x.shape, generator=self.generator) >= p).to(self.device) / (1 - p))


# what the arms name differently

def denoiser_of(trainer, m):
    return trainer.kg_denoiser if m == "kg" else trainer.denoisers[m]


def source_of(trainer, m):
    """The 0/1 rows that a denoiser trains on, and g."""
    if m == "kg":
        return trainer.neighbours, trainer.entity_means()
    return trainer.interactions, trainer.user_means()


def weights_of(trainer, m):
    """A denoiser's parameters, under the names and in the shapes of the published code, as views."""
    p = denoiser_of(trainer, m).p
    if not isinstance(trainer, R2):
        return {name: [x] for name, x in p.items()}
    return {"emb_layer_weight": [p["time_w"]], "emb_layer_bias": [p["time_b"]],
            "in_layers_0_weight": [p["w1"], p["w1_time"]], "in_layers_0_bias": [p["b1"]],
            "out_layers_0_weight": [p["w2"]], "out_layers_0_bias": [p["b2"]]}


def set_weights(trainer, m, given):
    with torch.no_grad():
        for name, parts in weights_of(trainer, m).items():
            if len(parts) == 1:
                parts[0].copy_(given[name])
                continue
            width = parts[0].shape[0]
            parts[0].copy_(given[name][:, :width].t())
            parts[1].copy_(given[name][:, width:].t())


def weight_gradients(trainer, m):
    return {name: parts[0].grad if len(parts) == 1 else torch.cat([x.grad for x in parts]).t()
            for name, parts in weights_of(trainer, m).items()}


def denoiser_loss(trainer, m, rows):
    if isinstance(trainer, R2):
        batch = trainer.select(source_of(trainer, m)[0], rows.cpu().numpy())
        return trainer.kg_loss(batch, *trainer.kg_guidance()) if m == "kg" else \
            trainer.modality_loss(m, batch, *trainer.modality_guidance(m))
    return trainer.kg_loss(rows, *trainer.kg_guidance()) if m == "kg" else trainer.modality_loss(m, rows)


def output_ways(trainer):
    """Names the ways to an output layer's gradients and makes the arm take one after the other. R2 has two, and batches as
    short as those here would never make it choose the Gram matrix."""
    if not isinstance(trainer, R2):
        yield ""
        return
    for gram in (False, True):
        trainer.gram_pays = lambda denoiser, count: gram
        yield ", by the Gram matrix" if gram else ""
    del trainer.gram_pays


def denoiser_gradients(trainer, m, rows):
    """The loss, and its gradients by name."""
    denoiser_of(trainer, m).optimizer.zero_grad()
    loss = denoiser_loss(trainer, m, rows)
    loss.backward()
    return loss, weight_gradients(trainer, m)


def step_losses(trainer, batch):
    return trainer.step_losses(next(iter(trainer.step_batches(batch))))


def all_views(trainer):
    """Main, multimodal and every modality's view, of all nodes."""
    if isinstance(trainer, R2):
        users, items = trainer.data.users, trainer.data.items
        every = np.arange(max(users, items))
        views = trainer.views(trainer.step_batch(np.stack([every % users, every % items, every % items])))
        return [views.main, views.multimodal] + views.modalities
    unit = trainer.unit_features()
    return [trainer.kg_view(trainer.capped_kg, True), trainer.multimodal_view(unit)] + \
        [trainer.modality_view(m, unit) for m in trainer.modalities]


def gradients(trainer, scalar):
    """By every parameter; zeros where one takes no part."""
    found = torch.autograd.grad(scalar, list(trainer.p.values()), allow_unused=True)
    return {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(trainer.p.items(), found)}


# against the arrays of the published implementation

class Case:
    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "manifest.json")) as f:
            self.config = json.load(f)["config"]

    def has(self, name):
        return os.path.exists(os.path.join(self.folder, name + ".npy"))

    def array(self, name):
        return np.load(os.path.join(self.folder, name + ".npy"))

    def tensor(self, name):
        x = torch.as_tensor(self.array(name))
        return x if x.is_floating_point() else x.long()

    def pairs(self, split):
        return np.unique(np.stack([self.array(split + "_user"), self.array(split + "_item")], 1).astype(np.int64), axis=0)

    def dataset(self):
        c = self.config
        return data_files.Dataset("case", c["users"], c["items"], c["entities"], c["relations_with_inverse"] // 2,
                                  self.pairs("train"), self.pairs("test")[:0], self.pairs("test"),
                                  self.array("kg_triples").astype(np.int64),
                                  {m: self.array("feat_" + m) for m in c["modalities"]})

    def settings(self, cl_method):
        s = common.Settings(cl_method=cl_method, triplet_num=-1, keep_rate=1.0)
        for key, value in self.config.items():
            if hasattr(s, key) and key != "users":
                setattr(s, key, value)
        return s

    def similarity(self):
        return self.array("attn_row").astype(np.int64), self.array("attn_col").astype(np.int64), self.array("attn_val")

    def trainer(self, arm, cl_method):
        t = ARMS[arm](self.dataset(), self.settings(cl_method), self.similarity(), "cpu")
        t.draws = GoldenDraws()
        with torch.no_grad():
            for name, x in t.p.items():
                x.copy_(self.tensor("param_" + name))
        for m in t.modalities:
            t.modality_graphs[m] = graphs.modality_graph(self.tensor("gen_%s_items" % m), t.data.items, torch.ones(()))
        return t


def check_graphs(case, t, compare):
    compare("adj_dense", t.adjacency.matrix.to_dense(), case.array("adj_dense"))
    compare("kg_x0", t.neighbours.matrix.to_dense(), case.array("kg_x0"))
    by_pair = lambda edges: edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    compare("kg_edges", by_pair(torch.stack([t.kg.head, t.kg.tail, t.kg.relation], 1).numpy()),
            by_pair(case.array("kg_edges")))
    for m in t.modalities:
        name = "gen_%s_adj_dense" % m
        compare(name, t.modality_graphs[m].matrix.to_dense(), case.array(name))
        compare(name + " (transpose)", t.modality_graphs[m].transpose.to_dense().t(), case.array(name))


def check_gradients(case, t, prefix, scalar, compare):
    """A case may leave out the gradient of a parameter that takes no part."""
    for name, g in gradients(t, scalar).items():
        compare(prefix + name, g, case.array(prefix + name) if case.has(prefix + name) else np.zeros(g.shape))


def check_views(case, t, compare):
    result = t.rgat(t.capped_kg, True)
    compare("rgat_out", result, case.array("rgat_out"))
    check_gradients(case, t, "rgat_grad_", (result * case.tensor("rgat_up")).sum(), compare)
    names = ["kgview", "mmview"] + ["clview_" + m for m in t.modalities]
    users = t.data.users
    for name, view in zip(names, all_views(t)):
        compare(name + "_user", view[:users], case.array(name + "_user"))
        compare(name + "_item", view[users:], case.array(name + "_item"))
    for prefix, part in (("kgview", slice(0, 1)), ("mmview", slice(1, 2)), ("clview", slice(2, None))):
        up = case.tensor(prefix + "_up")
        check_gradients(case, t, prefix + "_grad_", (torch.cat(all_views(t)[part]) * up).sum(), compare)


def check_step(case, t, compare):
    prefix = "step_cl%d_asrun_" % t.s.cl_method
    if not case.has(prefix + "losses"):
        return
    batch = torch.stack([case.tensor("batch_" + name) for name in ("user", "pos", "neg")])
    losses = step_losses(t, batch)
    compare(prefix + "losses", torch.cat([losses, losses.sum()[None]]), case.array(prefix + "losses"))
    check_gradients(case, t, prefix + "grad_", losses.sum(), compare)


def check_denoiser(case, t, m, compare):
    d = "d" + m
    set_weights(t, m, {name: case.tensor("%s_param_%s" % (d, name)) for name in weights_of(t, m)})
    t.draws.t, t.draws.noise = case.tensor(d + "_t"), case.tensor(d + "_eps")
    for way in output_ways(t):
        loss, found = denoiser_gradients(t, m, case.tensor(d + "_rows"))
        compare(d + "_loss" + way, loss[None], case.array(d + "_loss"))
        for name, g in found.items():
            name = "%s_grad_%s" % (d, name)
            compare(name + way, g, case.array(name))


def check_sampling(case, t, m, compare):
    d, batch = "d" + m, t.s.batch
    x0, g = source_of(t, m)
    t.draws.noise, t.s.batch = case.tensor(d + "_sample2_eps"), len(g)  # the noise is given for all rows at once
    for steps, name in ((2, "_sample2"), (0, "_sample")):
        t.s.sampling_steps = steps
        compare(d + name, torch.cat(list(t.reverse_chains(denoiser_of(t, m), x0, g))), case.array(d + name))
    t.s.batch = batch
    top = t.sample(denoiser_of(t, m), x0, g)
    compare(d + "_topq", top, case.array(d + "_topq"))
    return top


def check_generated(case, t, top, compare):
    kg = t.kg.edges(graphs.generated(t.kg, top))
    edges = torch.stack([kg.head, kg.tail, kg.relation], 1).numpy()
    compare("gen_kg_edges", edges[np.lexsort((edges[:, 1], edges[:, 0]))], case.array("gen_kg_edges"))


def check_ranking(case, t, compare):
    edges, keep = case.array("kg_edges").astype(np.int64), case.array("kg_keep").astype(bool)
    kept = torch.as_tensor(edges[keep][:, 0] * t.data.entities + edges[keep][:, 1])
    t.generated_kg = t.kg.edges(torch.isin(t.kg.head * t.data.entities + t.kg.tail, kept))
    name = [f[:-4] for f in os.listdir(case.folder) if f.startswith("eval_top")][0]
    t.s.topk = int(name[len("eval_top"):])
    with torch.no_grad():
        compare(name, t.ranked_lists(), case.array(name))
    compare("eval_metrics_f64", list(t.evaluate()["test"].values()), case.array("eval_metrics_f64"))


def check_case(folder, arm, report):
    case = Case(folder)
    group = "%s, %s" % (os.path.basename(os.path.normpath(folder)), arm)
    compare = lambda name, actual, expected: report.compare(group, name, actual, expected)
    for cl_method in (0, 1):
        check_step(case, case.trainer(arm, cl_method), compare)
    t = case.trainer(arm, 0)
    check_graphs(case, t, compare)
    check_views(case, t, compare)
    for m in t.modalities + ["kg"]:
        check_denoiser(case, t, m, compare)
        top = check_sampling(case, t, m, compare)
    check_generated(case, t, top, compare)
    check_ranking(case, t, compare)


# the arms against each other

def make_pair(o, settings):
    """R1, and R2 with the same parameters and graphs."""
    data = data_files.read_dataset(o.data)
    similarity = data_files.read_similarity(o.similarity) if o.similarity else None
    pair = []
    for arm in ("r1", "r2"):
        torch.manual_seed(settings.seed)  # the capped graph and the first parameters
        pair.append(ARMS[arm](data, settings, similarity, o.device))
    r1, r2 = pair
    for m in denoised(r1):
        set_weights(r2, m, {name: parts[0] for name, parts in weights_of(r1, m).items()})
    return r1, r2


def denoised(trainer):
    return trainer.modalities + (["kg"] if trainer.kg_denoiser else [])


def seeded_denoiser(trainer, m):
    trainer.draws = SeededDraws(1, trainer.device)
    return denoiser_gradients(trainer, m, torch.arange(trainer.s.batch // 2, device=trainer.device) * 2)


def compare_denoisers(r1, r2, compare):
    for m in denoised(r1):
        expected, gradient = seeded_denoiser(r1, m)
        for way in output_ways(r2):
            loss, found = seeded_denoiser(r2, m)
            compare("denoiser %s loss%s" % (m, way), loss[None], expected[None])
            for name, g in found.items():
                compare("denoiser %s gradient %s%s" % (m, name, way), g, gradient[name])


def compare_sampling(r1, r2, compare):
    """The first rows' chains; then both go on with the graphs that R1 samples."""
    for m in denoised(r1):
        outs = []
        for t in (r1, r2):
            outs.append(next(iter(t.reverse_chains(denoiser_of(t, m), *source_of(t, m)))))
        compare("reverse chain %s" % m, outs[1], outs[0])
    for m in r1.modalities:
        top = r1.sample(r1.denoisers[m], r1.interactions, r1.user_means())
        keep = torch.ones((), device=r1.device)
        r1.modality_graphs[m] = r2.modality_graphs[m] = graphs.modality_graph(top, r1.data.items, keep)


def compare_steps(r1, r2, compare):
    order = torch.randperm(len(r1.train_user), device=r1.device)[:r1.s.batch]
    batch = torch.stack([r1.train_user, r1.train_item, r1.negatives()])[:, order]
    losses, found = [], []
    for t in (r1, r2):
        t.draws = SeededDraws(2, t.device)
        losses.append(step_losses(t, batch))
        found.append(gradients(t, losses[-1].sum()))
    for k, name in enumerate(("bpr", "weight decay", "contrastive")):
        compare("step, %s loss" % name, losses[1][k:k + 1], losses[0][k:k + 1])
    for name, g in found[1].items():
        compare("step, gradient %s" % name, g, found[0][name])


def compare_ranking(r1, r2, compare):
    scores = []
    with torch.no_grad():
        for t in (r1, r2):
            scores.append(sum(user[:t.s.batch] @ item.t() for user, item in t.score_views()))
    compare("scores", scores[1], scores[0])


def check_data(o, settings, report):
    r1, r2 = make_pair(o, settings)
    group = "r2 against r1, " + r1.data.name
    compare = lambda name, actual, expected: report.compare(group, name, actual, expected)
    compare_denoisers(r1, r2, compare)
    compare_sampling(r1, r2, compare)
    compare_steps(r1, r2, compare)
    compare_ranking(r1, r2, compare)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--data")
    parser.add_argument("--similarity")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    o, words = parser.parse_known_args()
    settings, report = common.parse_settings(words), Report()
    if o.compile:
        fused.compile_all()
    for folder in o.cases:
        for arm in ARMS:
            check_case(folder, arm, report)
    if o.data:
        check_data(o, settings, report)
    report.finish()


if __name__ == "__main__":
    main()
