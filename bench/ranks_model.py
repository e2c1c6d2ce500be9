"""What ranks send each other in an epoch, and how long an epoch should take on many of them.

usage: ranks_model.py [--shape=tiktok|large] [--users=N --items=N --entities=N --relations=N --interactions=N --triples=N]
                      [--features=128,768,128] [--dim=64 --hidden=1000 --batch=1024 --steps=5] [--ranks=1,8,64,512] ...

Bytes are exact: kdiffe train says the same at the end of a run on several CPUs. Times are a model: work at the rates given
below, all-reduces by rings inside a machine and between machines, and overlap as the engine arranges it. Its assumptions
are printed with the table; docs/multi-gpu.md says what they leave out.
"""
import argparse
import math

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
                        ("q", 10), ("cl-method", 1)):
        p.add_argument("--" + name, type=int, default=value)
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
        self.parameters = a.dim * (a.users + a.items + a.entities + a.relations + 2 * a.dim + sum(a.features)) + len(a.features)
        self.steps = -(-a.interactions // a.batch)
        self.terms = (len(a.features) if a.cl_method else len(a.features) * (len(a.features) - 1) // 2) + a.cl_method

    def denoiser(self, width):
        wide = (self.a.hidden + 4) // 4 * 4
        return width * (self.a.hidden + wide) + (self.a.time_dim + 1) * (self.a.hidden + self.a.time_dim)

    def batches(self, rows):
        return -(-rows // self.a.batch)

    def sent(self):
        """Bytes that a rank sums or exchanges in an epoch, by what for."""
        a = self.a
        return {
            "denoisers' gradients": sum(4 * self.denoiser(width) * self.batches(rows) for rows, width in self.rows),
            "steps' gradients": 4 * self.parameters * self.steps,
            "InfoNCE's denominators, at most": 8 * 2 * self.terms * a.interactions,
            "sampled columns": sum(4 * a.q * rows for rows, _ in self.rows),
        }

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

    def denoise(self, ranks):
        a, seconds = self.a, 0.0
        for rows, width in self.rows:
            count = a.batch / ranks
            direct = 6 * count * width * a.hidden
            gram = 3 * width * a.hidden ** 2 + 4 * count * a.hidden ** 2
            ends = 4 * count * width * a.hidden
            half = self.denoiser(width) / 2
            output, input_side = (min(direct, gram) + ends / 2) / a.product_rate, ends / 2 / a.product_rate
            adam = 28 * self.denoiser(width) / a.memory_rate
            first, second = self.sum_seconds(half, ranks), self.sum_seconds(half, ranks)
            seconds += self.batches(rows) * (output + max(input_side, first) + second + adam)
        return seconds

    def sample(self, ranks):
        a, seconds = self.a, 0.0
        for rows, width in self.rows:
            work = 2 * rows * width * a.hidden + 2 * a.steps * rows * a.hidden ** 2
            share = max(1.0 / ranks, 1.0 / self.batches(rows))  # whole batches
            seconds += work * share / a.product_rate + 4 * a.q * rows / a.inside * (ranks > 1)
        return seconds

    def train(self, ranks):
        a, nodes = self.a, self.a.users + self.a.items
        slots, m = len(a.features) + 3, len(a.features)
        edges = 2 * a.interactions + nodes
        once = lambda width: 8 * edges + 8 * nodes * width
        graph = 2 * (a.layers * once(slots * a.dim) + (2 + 2 * m) * once(a.dim)) + 60 * nodes * a.dim * slots
        attention = 2 * 2 * 2 * (48 * a.triples * 2 + 24 * a.entities * a.dim)
        products = 4 * a.items * sum(a.features) * a.dim / a.product_rate
        infonce = 8 * self.terms * a.batch * nodes * a.dim / a.infonce_rate
        replicated = (graph + attention + 28 * self.parameters) / a.memory_rate + products
        early = a.dim * (a.entities + a.relations + 2 * a.dim)
        overlap = 0.4 * graph / a.memory_rate
        sums = max(0.0, self.sum_seconds(early, ranks) - overlap) + self.sum_seconds(self.parameters - early, ranks)
        sums += 2 * self.terms * self.sum_seconds(2 * a.batch, ranks)
        return self.steps * (infonce / ranks + replicated + sums)


def main():
    a = arguments()
    model = Model(a)
    print("| sent by a rank in an epoch | bytes |\n|---|---:|")
    for what, count in model.sent().items():
        print("| %s | %s |" % (what, format(count, ",")))
    print("\n| ranks | denoise, s | sample, s | steps, s | epoch, s | speed-up | efficiency |\n|---:|---:|---:|---:|---:|---:|---:|")
    alone = None
    for ranks in [int(r) for r in a.ranks.split(",")]:
        parts = model.denoise(ranks), model.sample(ranks), model.train(ranks)
        total = sum(parts)
        alone = alone or total
        print("| %d | %s | %.3g | %.1f | %.0f%% |" % (ranks, " | ".join("%.3g" % p for p in parts), total, alone / total,
                                                      100 * alone / total / ranks))


if __name__ == "__main__":
    main()
