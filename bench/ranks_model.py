"""What ranks send each other in an epoch, and how long an epoch should take on many of them.

usage: ranks_model.py [--shape=tiktok|large] [--users=N --items=N --entities=N --relations=N --interactions=N --triples=N]
                      [--features=128,768,128] [--dim=64 --hidden=1000 --batch=1024 --steps=5] [--ranks=1,8,64,512]
                      [--shard --edges=N --capped-edges=N] ...

Bytes are exact, but for anchors that a batch holds twice and the walks before the first epoch: kdiffe train says the same at
the end of a run on several CPUs.
With --shard they need the edges of the knowledge graph as it is held, all and capped. Times are a model: work at the rates given
below, all-reduces by rings inside a machine and between machines, and overlap as the engine arranges it. Its assumptions
are printed with the table; docs/multi-gpu.md says what they leave out.
"""
import argparse
import math
import sys

SHAPES = {
    "tiktok": dict(users=9308, items=6710, entities=6710, relations=12, interactions=59541, triples=206166,
                   features="128,768,128"),
    "large": dict(users=1000000, items=1000000, entities=2000000, relations=24, interactions=20000000,
                  triples=20000000, features="128,768,128"),
}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shape", choices=SHAPES, default="tiktok")
    for name in ("users", "items", "entities", "relations", "interactions", "triples"):
        p.add_argument("--" + name, type=int)
    p.add_argument("--features")
    for name, value in (("dim", 64), ("hidden", 1000), ("batch", 1024), ("steps", 10), ("time-dim", 10), ("layers", 1),
                        ("q", 10), ("cl-method", 1), ("topk", 20)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--hops", type=int, default=1)
    p.add_argument("--shard", action="store_true", help="tables divided over the ranks by columns")
    p.add_argument("--linear", type=int, default=1, help="0: features by matrices without a bias")
    p.add_argument("--edges", type=int, help="of the knowledge graph, with inverse ones [2 triples]")
    p.add_argument("--capped-edges", type=int, help="that message passing uses [at most 10 a head]")
    p.add_argument("--ranks", default="1,8,64,512")
    p.add_argument("--per-machine", type=int, default=8)
    p.add_argument("--product-rate", type=float, default=300e12, help="dense products, operations a second")
    p.add_argument("--infonce-rate", type=float, default=30e12, help="InfoNCE in float32, operations a second")
    p.add_argument("--memory-rate", type=float, default=2.6e12, help="bytes a second")
    p.add_argument("--inside", type=float, default=360e9, help="busbw between GPUs of a machine, bytes a second")
    p.add_argument("--between", type=float, default=40e9, help="busbw a GPU between machines, bytes a second")
    p.add_argument("--latency", type=float, default=12e-6, help="of a sum, and again for each doubling of machines")
    a = p.parse_args()
    for key, value in SHAPES[a.shape].items():
        if getattr(a, key) is None:
            setattr(a, key, value)
    a.features = [int(f) for f in a.features.split(",")] if a.features else []
    return a


class Model:
    """The arithmetic of one epoch."""

    def __init__(self, a):
        self.a = a
        self.rows = [(a.users, a.items)] * len(a.features) + ([(a.entities, a.entities)] if a.triples else [])
        self.tables = a.dim * (a.users + a.items + a.entities)
        self.others = a.dim * (a.relations + 2 * a.dim + sum(a.features) + a.linear * len(a.features)) + len(a.features)
        self.parameters = self.tables + self.others
        self.steps = -(-a.interactions // a.batch)
        self.terms = (len(a.features) if a.cl_method else len(a.features) * (len(a.features) - 1) // 2) + a.cl_method
        self.keys = (len(a.features) if a.cl_method else len(a.features) - 1) + a.cl_method
        self.anchors = 2 if a.cl_method else len(a.features) - 1
        self.wide = (a.hidden + 4) // 4 * 4

    def denoiser(self, width):
        return width * (self.a.hidden + self.wide) + self.time()

    def time(self):
        """Parameters of the time embedding, whole on every rank."""
        return (self.a.time_dim + 1) * (self.a.hidden + self.a.time_dim)

    def batches(self, rows):
        return -(-rows // self.a.batch)

    def own(self, ranks):
        """A table's columns on rank 0."""
        return share(self.a.dim, 4 if ranks <= -(-self.a.dim // 4) else 1, ranks)

    def turn(self, ranks, rows, unit=1):
        """Bytes that leave rank 0 when a matrix of whole width is turned from columns to rows: rows of other ranks."""
        return 4 * (rows - share(rows, unit, ranks)) * self.own(ranks)

    def turn_back(self, ranks, rows, unit=1):
        return 4 * share(rows, unit, ranks) * (self.a.dim - self.own(ranks))

    def sent(self, ranks):
        """Bytes that rank 0 sums, exchanges or turns in an epoch, by what for."""
        a, nodes, divided = self.a, self.a.users + self.a.items, self.a.shard
        batches = sum(self.batches(rows) for rows, _ in self.rows)
        rows = sum(rows for rows, _ in self.rows)
        parts = {
            "denoisers' hidden rows": rows * 4 * (a.hidden + self.wide),
            "what guides them": rows * 4 * a.dim * (2 if divided else 1),
            "their time embedding": batches * 4 * self.time(),
            "sampled rows, carried in hidden space": rows * 4 * (a.hidden + self.wide)
            + len(self.rows) * 4 * a.hidden * (self.wide + 1),
            "their best columns": rows * 8 * a.q * ranks,
            "InfoNCE's denominators, at most": 8 * 2 * self.terms * a.interactions,
            "losses and metrics": 8 * (batches + 3 * self.steps) + 8 * 2 * 4,
        }
        if not divided:
            parts["steps' gradients"] = 4 * self.parameters * self.steps
            return parts
        full, capped = a.edges or 2 * a.triples, a.capped_edges or min(2 * a.triples, 10 * a.entities)
        heads = a.items
        hop = lambda edges: 2 * 4 * (a.hops * edges + (a.hops - 1) * a.entities + heads)
        view = lambda turn: turn(ranks, a.users) + turn(ranks, a.items)
        parts.update({
            "steps' gradients": 4 * self.others * self.steps,
            "attention's logits and norms": self.steps * (1 + a.cl_method) * hop(capped) + hop(full) // 2,
            "residuals' norms": 2 * self.steps * 3 * 4 * a.batch + 4 * nodes,
            "features": (self.steps + 1) * len(a.features) * self.turn_back(ranks, a.items, 4)
            + self.steps * len(a.features) * self.turn(ranks, a.items, 4),
            "margins": 4 * a.interactions,
            "keys and their gradients": self.steps * self.keys * (view(self.turn) + view(self.turn_back)),
            "anchors and their gradients": self.steps * self.anchors * 2 * 2 * 4 * a.batch * a.dim,
            "what guides sampling": 4 * a.users * (bool(a.features) + bool(a.triples))
            + bool(a.triples) * 4 * (a.items - min(share(a.entities, 4, ranks), a.items)) * self.own(ranks),
            "the model that is kept, if it is the best": 4 * (self.tables + 2 * a.dim * nodes),
            "views that rank, and lists": 4 * a.users * 2 * a.dim + 8 * a.users * a.topk * ranks
            + 2 * self.turn(ranks, a.items, 4),
        })
        return parts

    def sum_seconds(self, count, ranks):
        """An all-reduce of `count` floats: rings inside machines, then between them."""
        a = self.a
        if ranks == 1:
            return 0.0
        machines = -(-ranks // a.per_machine)
        inside = min(ranks, a.per_machine)
        seconds = a.latency * (1 + math.log2(machines)) + 2 * (inside - 1) / inside * 4 * count / a.inside
        if machines > 1:  # every GPU of a machine sends its part of what the machine has summed
            seconds += 2 * (machines - 1) / machines * 4 * count / a.between
        return seconds

    def turn_seconds(self, count, ranks):
        """An all-to-all in which every rank sends `count` floats, by the slower of the two networks."""
        a = self.a
        if ranks == 1:
            return 0.0
        return a.latency + 4 * count / (a.inside if ranks <= a.per_machine else a.between)

    def denoise(self, ranks):
        a, seconds = self.a, 0.0
        for rows, width in self.rows:
            here = width / ranks
            direct = 6 * a.batch * here * a.hidden
            gram = 3 * here * a.hidden ** 2 + 4 * a.batch * a.hidden ** 2
            ends = 4 * a.batch * here * a.hidden
            work = (min(direct, gram) + ends) / a.product_rate
            beside = min(direct, gram) / 3 / a.product_rate  # the output layer's gradient, beside the sum of dh
            adam = 28 * (self.denoiser(width) / ranks) / a.memory_rate
            hidden = self.sum_seconds(a.batch * a.hidden, ranks)
            small = self.sum_seconds(a.batch * a.dim, ranks) + self.sum_seconds(self.time(), ranks)
            seconds += self.batches(rows) * (work + adam + hidden + small + max(0.0, hidden - beside))
        return seconds

    def sample(self, ranks):
        a, seconds = self.a, 0.0
        for rows, width in self.rows:
            work = (2 * rows * width * a.hidden + 2 * a.steps * rows * a.hidden ** 2) / ranks
            hidden = 1.5 * self.sum_seconds(a.batch * a.hidden, ranks)  # a sum, and a gather of half its cost
            best = self.sum_seconds(a.batch * a.q * ranks, ranks)
            seconds += work / a.product_rate + self.batches(rows) * (hidden + best)
        return seconds

    def train(self, ranks):
        a, nodes = self.a, self.a.users + self.a.items
        slots, m = len(a.features) + 3, len(a.features)
        edges = 2 * a.interactions + nodes
        columns = a.dim / (ranks if a.shard else 1)
        once = lambda width: 8 * edges + 8 * nodes * width
        graph = 2 * (a.layers * once(slots * columns) + (2 + 2 * m) * once(columns)) + 60 * nodes * columns * slots
        attention = 2 * 2 * 2 * (48 * a.triples * 2 + 24 * a.entities * columns)
        products = 4 * a.items * sum(a.features) * a.dim / a.product_rate / (ranks if a.shard else 1)
        infonce = 8 * self.terms * a.batch * nodes * a.dim / a.infonce_rate
        adam = 28 * (self.tables / (ranks if a.shard else 1) + self.others)
        each = (graph + attention + adam) / a.memory_rate + products
        sums = 2 * self.terms * self.sum_seconds(2 * a.batch, ranks)
        if a.shard:
            sums += self.sum_seconds(self.others, ranks)
            sums += 2 * (self.sum_seconds(a.batch, ranks) + self.sum_seconds(2 * a.batch, ranks))
            sums += 4 * a.hops * (self.sum_seconds(2 * a.triples, ranks) + self.sum_seconds(a.entities, ranks))
            sums += 4 * self.anchors * self.sum_seconds(a.batch * a.dim, ranks)
            sums += 4 * self.turn_seconds(self.keys * nodes / 2 * a.dim / ranks, ranks)
            sums += 2 * m * self.turn_seconds(a.items * a.dim / ranks, ranks)
        else:
            early = a.dim * (a.entities + a.relations + 2 * a.dim)
            overlap = 0.4 * graph / a.memory_rate
            sums += max(0.0, self.sum_seconds(early, ranks) - overlap) + self.sum_seconds(self.parameters - early, ranks)
        return self.steps * (infonce / ranks + each + sums)


def share(count, unit, ranks):
    """What rank 0 has of `count` in whole units (src/host/ranks/collectives.h)."""
    return min(count, unit * -(-(-(-count // unit)) // ranks))


def main():
    a = arguments()
    if a.shard and max(int(r) for r in a.ranks.split(",")) > a.dim:
        sys.exit("ranks_model.py: --shard is for one rank for each of --dim's columns at most")
    model = Model(a)
    numbers = [int(r) for r in a.ranks.split(",")]
    several = next((r for r in numbers if r > 1), 2)
    parts = model.sent(several)
    print("| sent by rank 0 of %d in an epoch | bytes |\n|---|---:|" % several)
    for what, count in parts.items():
        print("| %s | %s |" % (what, format(count, ",")))
    print("| all | %s |" % format(sum(parts.values()), ","))
    print("\n| ranks | denoise, s | sample, s | steps, s | epoch, s | speed-up | efficiency |\n|---:|---:|---:|---:|---:|---:|---:|")
    alone = None
    for ranks in numbers:
        parts = model.denoise(ranks), model.sample(ranks), model.train(ranks)
        total = sum(parts)
        alone = alone or total
        print("| %d | %s | %.3g | %.1f | %.0f%% |" % (ranks, " | ".join("%.3g" % p for p in parts), total, alone / total,
                                                      100 * alone / total / ranks))


if __name__ == "__main__":
    main()
