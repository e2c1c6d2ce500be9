"""What the arms share: settings, parameters, schedule, the order of an epoch, its clock, evaluation, the command line."""
import argparse
import json
import math
import os
import resource
import sys
import time
from dataclasses import dataclass, field, fields

import numpy as np
import torch
import torch.nn.functional as F

import data as data_files
import fused
import graphs

STAGES = ("denoise_modalities", "denoise_kg", "sample", "steps", "evaluate")
INPUT_DROPOUT = 0.5
LEAKY_SLOPE = 0.2


@dataclass
class Settings:
    """The engine's keys and defaults (docs/configuration.md), `published` semantics."""
    epochs: int = 25
    batch: int = 1024
    dim: int = 64
    lr: float = 1e-3
    reg: float = 1e-5
    seed: int = 421
    gnn_layers: int = 1
    kg_hops: int = 1
    triplet_num: int = 10
    mess_dropout: float = 0.1
    trans: int = 0
    res_lambda: float = 0.5
    ris_adj_lambda: float = 0.2
    cl_method: int = 0
    ssl_reg: float = 0.01
    temp: float = 0.5
    hidden: int = 1000
    time_dim: int = 10
    steps: int = 5
    sampling_steps: int = 0
    noise_scale: float = 0.1
    noise_min: float = 1e-4
    noise_max: float = 0.02
    e_loss: float = 0.1
    q: int = 1
    keep_rate: float = 0.5
    epsilon: float = 0.5
    topk: int = 20
    threads: int = 0
    guidance_weight: dict = field(default_factory=dict)

    def guidance(self, modality):
        return self.guidance_weight.get(modality, 1 - self.e_loss if modality == "text" else self.e_loss)


KINDS = {f.name: f.type for f in fields(Settings) if f.type in (int, float)}
EXPECTED = {int: "a whole number", float: "a number"}
WEIGHT_PREFIX = "guidance_weight."


def refuse(message):
    """A wrong word on the command line: one line, and the exit status that the engine has for it."""
    print("%s: %s" % (os.path.basename(sys.argv[0]), message), file=sys.stderr)
    sys.exit(2)


def parse_setting(word):
    """--key=value -> key, number"""
    key, equals, value = word.lstrip("-").partition("=")
    if not equals:
        refuse("%s: expected --key=value" % word)
    kind = float if key.startswith(WEIGHT_PREFIX) else KINDS.get(key)
    if kind is None:
        refuse("unknown key '%s'; there are %s %sMODALITY" % (key, " ".join(sorted(KINDS)), WEIGHT_PREFIX))
    try:
        return key, kind(value)
    except ValueError:
        refuse("%s: expected %s, got '%s'" % (key, EXPECTED[kind], value))


def parse_settings(words):
    """--key=value words; an unknown key is an error, as it is for the engine."""
    settings = Settings()
    for key, value in map(parse_setting, words):
        if key.startswith(WEIGHT_PREFIX):
            settings.guidance_weight[key[len(WEIGHT_PREFIX):]] = value
        else:
            setattr(settings, key, value)
    return settings


class Schedule:
    """docs/model.md#noise-schedule, in double; the arrays that batches index are float32 on the device."""

    def __init__(self, s, device):
        v = np.linspace(s.noise_scale * s.noise_min, s.noise_scale * s.noise_max, s.steps)
        beta = np.full(s.steps, 1e-4)
        beta[1:] = np.minimum(1 - (1 - v[1:]) / (1 - v[:-1]), 0.999)
        now = np.cumprod(1 - beta)
        before = np.append(1.0, now[:-1])
        snr = now / (1 - now)
        self.c1 = (beta * np.sqrt(before) / (1 - now)).tolist()
        self.c2 = ((1 - before) * np.sqrt(1 - beta) / (1 - now)).tolist()
        on = lambda x: torch.tensor(x, dtype=torch.float32, device=device)
        self.signal, self.sigma = on(np.sqrt(now)), on(np.sqrt(1 - now))
        self.weight = on(np.append(1.0, snr[:-1] - snr[1:]))
        self.time = on(time_features(s.steps, s.time_dim))


def time_features(steps, width):
    half = width // 2
    angle = np.arange(steps)[:, None] * np.exp(-math.log(10000.0) * np.arange(half) / half)
    return np.concatenate([np.cos(angle), np.sin(angle), np.zeros((steps, width % 2))], 1)


class Draws:
    """Every random choice of a training step, so that a check can give both arms the same."""

    def __init__(self, device):
        self.device = device

    def steps(self, count, most):
        return torch.randint(most, (count,), device=self.device)

    def normal(self, rows, width):
        return torch.randn(rows, width, device=self.device)

    def dropout(self, x, p):
        if x.is_cuda:
            return F.dropout(x, p)
        # F.dropout draws with bernoulli_, which takes three times as long as uniform_ on a CPU
        return fused.thinned(x, torch.rand_like(x, requires_grad=False), p)

    def keep(self, count, rate):
        return torch.rand(count, device=self.device) < rate


def uniform(rows, cols, bound, device):
    return torch.empty(rows, cols, device=device).uniform_(-bound, bound).requires_grad_()


def is_linear(trans, modality):
    return trans == 1 or (trans == 2 and modality != "image")


def make_parameters(data, s, device):
    """Leaves under the names of the published code."""
    xavier = lambda r, c, gain=1.0: uniform(r, c, gain * math.sqrt(6 / (r + c)), device)
    p = {"uEmbeds": xavier(data.users, s.dim), "iEmbeds": xavier(data.items, s.dim),
         "eEmbeds": xavier(data.entities, s.dim), "rEmbeds": xavier(2 * data.relations, s.dim),
         "rgat_W": xavier(2 * s.dim, s.dim, math.sqrt(2))}
    if data.features:
        share = torch.full((len(data.features),), 1 / len(data.features), device=device)
        p["modal_weight"] = share.requires_grad_()
    for m, x in data.features.items():
        if is_linear(s.trans, m):
            bound = 1 / math.sqrt(x.shape[1])
            p[m + "_trans_weight"] = uniform(s.dim, x.shape[1], bound, device)
            p[m + "_trans_bias"] = torch.empty(s.dim, device=device).uniform_(-bound, bound).requires_grad_()
        else:
            p[m + "_trans"] = xavier(x.shape[1], s.dim)
    return p


def normal_leaf(rows, cols, device):
    return (torch.randn(rows, cols, device=device) * math.sqrt(2 / (rows + cols))).requires_grad_()


def bias_leaf(width, device):
    return (torch.randn(width, device=device) * 0.001).requires_grad_()


def adam(parameters, lr):
    return torch.optim.Adam(parameters, lr=lr, fused=True)


def softmax_by(key, groups, x):
    """Softmax of x over entries with the same key."""
    with torch.no_grad():
        top = torch.full((groups,), -math.inf, device=x.device).scatter_reduce_(0, key, x, "amax")
    e = torch.exp(x - top.index_select(0, key))
    return e / torch.zeros(groups, device=x.device).index_add(0, key, e).index_select(0, key)


class Trainer:
    """One KDiffE model. An arm says how its parts are computed; the order of an epoch is the same for all."""

    def __init__(self, data, settings, similarity, device):
        self.data, self.s, self.device = data, settings, torch.device(device)
        self.draws = Draws(self.device)
        self.modalities = list(data.features)
        self.schedule = Schedule(settings, self.device)
        self.p = make_parameters(data, settings, self.device)
        self.features = {m: torch.as_tensor(x, device=self.device) for m, x in data.features.items()}
        self.make_graphs(similarity)
        self.denoisers = {m: self.make_denoiser(data.items) for m in self.modalities}
        self.kg_denoiser = self.make_denoiser(data.entities) if len(data.triples) else None
        self.optimizer = adam(list(self.p.values()), settings.lr)
        self.held_out = {"valid": self.held_out_of(data.valid), "test": self.held_out_of(data.test)}

    def make_graphs(self, similarity):
        d, device = self.data, self.device
        self.train_user, self.train_item = torch.as_tensor(d.train, device=device).unbind(1)
        self.train_keys = (self.train_user * d.items + self.train_item).contiguous()
        self.interactions = graphs.interactions(d.train, d.users, d.items, device)
        self.adjacency = graphs.attention_aware(d.train, d.users, d.items, similarity, self.s.epsilon, device)
        self.kg = graphs.kg_edges(d.triples, d.entities, d.relations, device)
        self.neighbours = graphs.neighbours(self.kg)
        self.capped_kg = graphs.capped(self.kg, self.s.triplet_num)
        self.generated_kg = self.capped_kg
        self.modality_graphs = {}

    def transform(self, m):
        """f_m, which is not scaled to unit rows."""
        if is_linear(self.s.trans, m):
            return F.linear(self.features[m], self.p[m + "_trans_weight"], self.p[m + "_trans_bias"])
        return F.leaky_relu(self.features[m] @ self.p[m + "_trans"], LEAKY_SLOPE)

    def user_means(self):
        return self.p["uEmbeds"].detach().mean(1)

    def entity_means(self):
        """row_index: the mean of the user with the entity's own number, 0 where there is none."""
        g = torch.zeros(self.data.entities, device=self.device)
        shared = min(self.data.users, self.data.entities)
        g[:shared] = self.user_means()[:shared]
        return g

    def train_denoiser(self, denoiser, rows, loss_of):
        """Every row once, in a new order; the mean batch loss. rows: what loss_of is called with, batch by batch."""
        total, steps = torch.zeros((), device=self.device), 0
        for batch in rows:
            loss = loss_of(batch)
            loss.backward()
            denoiser.optimizer.step()
            denoiser.optimizer.zero_grad()
            total += loss.detach()
            steps += 1
        return total / steps

    def sample(self, denoiser, x0, g):
        """The q largest columns of every row at the end of the reverse chain."""
        return torch.cat([out.topk(self.s.q, dim=1).indices for out in self.reverse_chains(denoiser, x0, g)])

    def rebuild_graphs(self):
        """A_m of every modality and the generated knowledge graph."""
        s = self.s
        for m in self.modalities:
            top = self.sample(self.denoisers[m], self.interactions, self.user_means())
            keep = self.draws.keep(2 * top.numel() + self.data.users + self.data.items, s.keep_rate)
            self.modality_graphs[m] = graphs.modality_graph(top, self.data.items, keep / s.keep_rate)
        if self.kg_denoiser:
            top = self.sample(self.kg_denoiser, self.neighbours, self.entity_means())
            keep = graphs.generated(self.kg, top) & self.draws.keep(len(self.kg.head), s.keep_rate)
            self.generated_kg = self.kg.edges(keep)

    def negatives(self):
        """One uniform negative an interaction that is no training item of its user: drawn again until none is."""
        drawn = torch.randint(self.data.items, self.train_item.shape, device=self.device)
        while True:
            keys = self.train_user * self.data.items + drawn
            at = torch.searchsorted(self.train_keys, keys).clamp_(max=len(keys) - 1)
            bad = (self.train_keys[at] == keys).nonzero()[:, 0]
            if len(bad) == 0:
                return drawn
            drawn[bad] = torch.randint(self.data.items, (len(bad),), device=self.device)

    def train_steps(self):
        """BPR and contrastive steps over every interaction; sums of the losses over floor(interactions / batch)."""
        order = torch.randperm(len(self.train_user), device=self.device)
        triples = torch.stack([self.train_user, self.train_item, self.negatives()])[:, order]
        total = torch.zeros(3, device=self.device)
        for batch in self.step_batches(triples):
            losses = self.step_losses(batch)
            losses.sum().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            total += losses.detach()
        return total / max(1, len(order) // self.s.batch)

    def held_out_of(self, pairs):
        """Held-out users and items, and the number of every user's items."""
        user, item = torch.as_tensor(pairs, device=self.device).unbind(1)
        count = torch.as_tensor(np.bincount(pairs[:, 0], minlength=self.data.users), device=self.device)
        return user.contiguous(), item.contiguous(), count

    def ranked_lists(self):
        """Top-K of every user over all items, training items masked."""
        views = self.score_views()
        lists = []
        for first in range(0, self.data.users, self.s.batch):
            tile = slice(first, min(first + self.s.batch, self.data.users))
            scores = views[0][0][tile] @ views[0][1].t()
            for user, item in views[1:]:
                scores.addmm_(user[tile], item.t())
            self.mask_training(scores, tile)
            lists.append(torch.topk(scores, self.s.topk, dim=1).indices)
        return torch.cat(lists)

    @torch.no_grad()
    def evaluate(self):
        lists = self.ranked_lists()
        return {split: rank_metrics(lists, *held) for split, held in self.held_out.items() if len(held[0])}

    def epoch(self):
        """One epoch: seconds of every stage, losses and metrics."""
        clock = Clock(self.device)
        record = {"denoise": {}}
        denoise = clock.run("denoise_modalities", self.denoise_modalities)
        if self.kg_denoiser:
            denoise["kg"] = clock.run("denoise_kg", self.denoise_kg)
        clock.run("sample", self.rebuild_graphs)
        losses = clock.run("steps", self.train_steps)
        record.update(clock.run("evaluate", self.evaluate))
        record["denoise"] = {m: float(x) for m, x in denoise.items()}
        record.update(zip(("bpr", "weight_decay", "contrastive"), losses.tolist()))
        record["seconds"] = dict(clock.seconds, total=sum(clock.seconds.values()))
        return record


def rank_metrics(lists, user, item, count):
    """Recall, NDCG and Precision at the length of the lists, averaged over users with held-out items."""
    k = lists.shape[1]
    gain = 1 / torch.log2(torch.arange(2, k + 2, device=lists.device, dtype=torch.float64))
    hit = (lists.index_select(0, user) == item[:, None]).double()
    zero = torch.zeros(len(count), device=lists.device, dtype=torch.float64)
    hits, dcg = zero.index_add(0, user, hit.sum(1)), zero.index_add(0, user, hit @ gain)
    seen = count > 0
    ideal = torch.cumsum(gain, 0)[count[seen].clamp(max=k) - 1]
    recall, precision = (hits[seen] / count[seen]).mean(), (hits[seen] / k).mean()
    values = (recall, (dcg[seen] / ideal).mean(), precision)
    return dict(zip(("recall@%d" % k, "ndcg@%d" % k, "precision@%d" % k), (float(v) for v in values)))


class Clock:
    """Seconds of stages; a GPU's work is waited for at the end of each."""

    def __init__(self, device):
        self.device, self.seconds = device, {}

    def run(self, stage, work):
        self.wait()
        begin = time.perf_counter()
        result = work()
        self.wait()
        self.seconds[stage] = time.perf_counter() - begin
        return result

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def peak_memory(device):
    """Bytes: allocated on the GPU, else resident in the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name(device):
    if device.type == "cuda":
        return "%s, TF32 allowed" % torch.cuda.get_device_name(device)
    return "cpu: %d threads, fp32" % torch.get_num_threads()


def main(arm, make):
    """Trains and prints the records of docs/formats.md, one JSON object a line."""
    parser = argparse.ArgumentParser(usage="%s.py DATA [--device=cuda] [--similarity=FILE] [--compile] [--key=value ...]"
                                     % arm)
    parser.add_argument("data")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--similarity", help="attention-aware matrix, as `kdiffe attention` writes it")
    parser.add_argument("--compile", action="store_true", help="torch.compile of fused.py; the first epoch pays for it")
    known, words = parser.parse_known_args()
    settings = parse_settings(words)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    if known.compile:
        fused.compile_all()
    torch.manual_seed(settings.seed)
    similarity = data_files.read_similarity(known.similarity) if known.similarity else None
    trainer = make(data_files.read_dataset(known.data), settings, similarity, known.device)
    say = lambda record: print(json.dumps(record), flush=True)
    version = "PyTorch " + torch.__version__ + (", compiled" if known.compile else "")
    say({"event": "start", "arm": arm, "version": version, "device": device_name(trainer.device)})
    for epoch in range(settings.epochs):
        say(dict(trainer.epoch(), event="epoch", epoch=epoch))
    say({"event": "end", "peak_memory_bytes": peak_memory(trainer.device)})
