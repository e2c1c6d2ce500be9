"""What the kernel peers share: the inputs of `kdiffe bench`, draw for draw, the clock, and comparisons with float64."""
import importlib
import math
import statistics
import time
from dataclasses import dataclass, field

import numpy as np
import torch

import graphs

WARM_UPS, LEAST_ITERATIONS, MOST_CALLS = 3, 5, 1000
LONG_ENOUGH, LONG_RUN = 1e-3, 5.0  # seconds: of one timed batch of calls; of all timings of a peer
FLOAT32, TF32 = 1e-5, 1e-3
SEED = 1


class Draws:
    """The engine's input generator: splitmix64 of a counter, so a case that asks in the same order has the same inputs."""

    def __init__(self, device):
        self.count, self.device = 0, device

    def take(self, n):
        z = np.arange(self.count + 1, self.count + n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self.count += n
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return z ^ z >> np.uint64(31)

    def matrix(self, rows, cols, scale=1.0):
        """Uniform in [-scale, scale)."""
        x = (self.take(rows * cols) >> np.uint64(40)).astype(np.float32) * np.float32(2 ** -23) - np.float32(1)
        return torch.as_tensor((np.float32(scale) * x).reshape(rows, cols), device=self.device)

    def unit_matrix(self, rows, cols):
        x = self.matrix(rows, cols).double()
        return (x / x.square().sum(1, keepdim=True).sqrt()).float()

    def below(self, n, count):
        return self.integers(self.take(count) % np.uint64(n))

    def integers(self, values):
        return torch.as_tensor(values.astype(np.int64), device=self.device)


@dataclass
class Timing:
    """Microseconds a call."""
    least: float
    median: float
    p99: float


@dataclass
class Peer:
    """run: one call, which is what is timed. check: its first result -> relative difference from float64."""
    name: str
    run: object
    check: object
    tolerance: float = FLOAT32
    differs: str = ""  # how its work is not the op's; then no ratio is given
    optional: bool = False  # may be unable to run here, which is said and is no failure

    def difference(self):
        torch.manual_seed(SEED)  # a check may draw again what run drew
        return self.check(self.run())

    def measure(self, iterations, device):
        return timed(self.run, iterations, device)


@dataclass
class Case:
    op: str
    shape: tuple
    nnz: int
    peers: list = field(default_factory=list)


@dataclass
class Setting:
    """What all cases share."""
    data: object
    s: object  # common.Settings
    device: torch.device
    tolerance: float  # of dense products at the precision in use
    cusparse: str  # the program made of cusparse_spmm.cu, where it is there

    def draws(self):
        return Draws(self.device)

    def rows(self):
        """Of a denoiser's batch."""
        return min(self.s.batch, self.data.users)

    def on(self, x):
        return torch.as_tensor(x, device=self.device)

    def batch(self, draws):
        """Users, positives and negatives, as the engine's cases draw them."""
        train, n = self.data.train, min(self.s.batch, len(self.data.train))
        z = draws.take(2 * n)
        k = (z[0::2] % np.uint64(len(train))).astype(np.int64)
        return self.on(train[k, 0].copy()), self.on(train[k, 1].copy()), draws.integers(z[1::2] % np.uint64(self.data.items))

    def interactions(self):
        return graphs.interactions(self.data.train, self.data.users, self.data.items, self.device)


OPTIONAL = ("scipy", "torch_geometric", "torch_sparse", "torch_cluster", "faiss")


def optional(name):
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def difference(actual, expected):
    """max|a - b| / max|b|, the rule of check.py; NaN stays, and fails whatever it is compared with."""
    a, b = (torch.as_tensor(x).detach().double().cpu() for x in (actual, expected))
    if a.shape != b.shape:
        return math.inf
    return ((a - b).abs().max() / b.abs().max()).item()


def largest(differences):
    """Python's max would lose a NaN."""
    return float(np.max(list(differences)))


def share_is(kept, p):
    """Whether a share p of kept is set, to six standard deviations."""
    n = kept.numel()
    return abs(kept.double().mean().item() - p) <= 6 * math.sqrt(p * (1 - p) / n)


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_calls(run, calls, device):
    wait(device)
    begin = time.perf_counter()
    for _ in range(calls):
        run()
    wait(device)
    return (time.perf_counter() - begin) / calls


def timed(run, iterations, device):
    """As the engine times a case: warm-ups, then batches of calls between two waits, each a millisecond or longer."""
    begin = time.perf_counter()
    for i in range(WARM_UPS):
        if i == 0 or time.perf_counter() - begin < LONG_RUN:
            once = time_calls(run, 1, device)
    calls = 1 if once >= LONG_ENOUGH else min(int(LONG_ENOUGH / once) + 1, MOST_CALLS)
    sample = []
    while len(sample) < iterations and (len(sample) < LEAST_ITERATIONS or time.perf_counter() - begin < LONG_RUN):
        sample.append(1e6 * time_calls(run, calls, device))
    return Timing(min(sample), statistics.median(sample), sorted(sample)[math.ceil(0.99 * len(sample)) - 1])
