#!/usr/bin/env python3
"""Microseconds of the engine's ops beside the best that PyTorch and other libraries do, in turn on the same inputs.

usage: kernels.py KDIFFE [DATA] [--ops=NAMES] [--rounds=2] [--iterations=30] [--device=cpu] [--threads=N]
                  [--precision=tf32] [--key=value ...]

Without DATA the data set of `kdiffe bench` is made. NAMES: ops or families as of `kdiffe bench --ops`, separated by commas.
Every peer is first compared with float64 on its own inputs; one that is wrong is not timed, and the exit status is 1.
README.md says what the columns mean.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings

import torch

import common
import compare
import data as data_files
import kernel_dense
import kernel_draws
import kernel_inputs
import kernel_sparse
from kernel_inputs import Timing

CASES = {**kernel_dense.CASES, **kernel_sparse.CASES, **kernel_draws.CASES}

# what `kdiffe bench` makes where it is given no data: src/host/bench/setting.c
SYNTH = ("--users=9308", "--items=6710", "--tastes=50", "--interactions=7", "--split=0.866,0.044,0.09",
         "--modalities=image:128,text:768,audio:128", "--relations=2", "--attributes=83", "--kg-informative=15.4",
         "--kg-noise=15.4")


def parse():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("kdiffe")
    parser.add_argument("data", nargs="?")
    parser.add_argument("--ops", default="all")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", default="tf32", choices=("fp32", "tf32"))
    return parser.parse_known_args()


def selected(words):
    known = set(CASES) | {family for family, _ in CASES.values()} | {"all"}
    words = words.split(",")
    for word in words:
        if word not in known:
            sys.exit("kernels.py: --ops: unknown op '%s'; there are %s" % (word, " ".join(sorted(known))))
    return [op for op, (family, _) in CASES.items() if {op, family, "all"} & set(words)]


class Engine:
    """Times one op in a process of its own, as a peer is timed in this one."""

    def __init__(self, o, words, folder):
        self.command = [o.kdiffe, "bench", o.data, "--device=" + o.device, "--threads=%d" % o.threads,
                        "--precision=" + o.precision] + words
        self.path = os.path.join(folder, "ours.json")
        self.described = None

    def measure(self, op, iterations):
        words = ["--ops=" + op, "--iterations=%d" % iterations, "--json=" + self.path]
        subprocess.run(self.command + words, check=True, stdout=subprocess.DEVNULL)
        with open(self.path) as f:
            self.described = json.load(f)
        return self.described["ops"][0]


def synthesize(o, folder):
    """The engine's own data set, in files."""
    o.data = os.path.join(folder, "synth")
    subprocess.run([o.kdiffe, "synth", o.data, *SYNTH], check=True, stdout=subprocess.DEVNULL)


def make_setting(o, words):
    device = torch.device(o.device)
    tf32 = o.device == "cuda" and o.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.set_num_threads(o.threads)
    program = os.path.join(os.path.dirname(os.path.abspath(o.kdiffe)), "peers", "cusparse_spmm")
    return kernel_inputs.Setting(data_files.read_dataset(o.data), common.parse_settings(words), device,
                                 kernel_inputs.TF32 if tf32 else kernel_inputs.FLOAT32, program)


def print_head(o, setting, words):
    print("# data %s; %s, %d cores; %d threads each; load average %.1f; %d rounds of %d timings; %s" %
          (os.path.basename(os.path.normpath(o.data)), compare.processor(), os.cpu_count(), o.threads, os.getloadavg()[0],
           o.rounds, o.iterations, " ".join(words)))
    device = torch.cuda.get_device_name() if o.device == "cuda" else "cpu"
    precision = o.precision if o.device == "cuda" else "fp32"
    print("# PyTorch %s on %s, %s" % (torch.__version__, device, precision))
    for name in kernel_inputs.OPTIONAL:
        module = kernel_inputs.optional(name)
        print("# %s %s" % (name, module.__version__ if module else "is not installed: its peers are left out"))
    if o.device == "cuda" and not os.path.exists(setting.cusparse):
        print("# %s is not there: cuSPARSE's algorithms are left out" % setting.cusparse)
    print("%-19s %18s %-38s %11s %11s %7s  %-23s %s" %
          ("op", "shape", "peer", "ours_us", "peer_us", "ratio", "(ours spread)", "(peer spread)"))


def same_work(case, record):
    """A peer that computes something of another size is none."""
    shape = "x".join(str(n) for n in case.shape)
    if (shape, case.nnz) != (record["shape"], record["nnz"]):
        sys.exit("kernels.py: %s: the engine's is %s with %d entries, the peers' %s with %d" %
                 (case.op, record["shape"], record["nnz"], shape, case.nnz))


def sound(case, peer):
    """Whether the peer may be timed: None if it cannot run here, which is said; False, said too, if it is wrong."""
    try:
        error = peer.difference()
    except Exception as e:
        if not peer.optional:
            raise
        print("# %s: %s cannot run here: %s" % (case.op, peer.name, (str(e).splitlines() or [repr(e)])[0]), flush=True)
        return None
    if error <= peer.tolerance:
        return True
    print("# %s: %s is WRONG: differs by %.2g of the largest element" % (case.op, peer.name, error), flush=True)
    return False


def over_rounds(timings):
    """Median of the rounds' medians; the smallest and the largest of all."""
    return Timing(min(t.least for t in timings), statistics.median(t.median for t in timings), max(t.p99 for t in timings))


def measure(case, peers, engine, o):
    """In every round the engine, then every peer, so that what else the machine does falls on all of them."""
    device, ours, theirs = torch.device(o.device), [], {peer.name: [] for peer in peers}
    for _ in range(o.rounds):
        record = engine.measure(case.op, o.iterations)
        ours.append(Timing(record["min_us"], record["med_us"], record["p99_us"]))
        for peer in peers:
            theirs[peer.name].append(peer.measure(o.iterations, device))
    return over_rounds(ours), {name: over_rounds(t) for name, t in theirs.items()}


def print_rows(case, peers, ours, theirs):
    spread = lambda t: "(%.1f-%.1f)" % (t.least, t.p99)
    for peer in peers:
        t = theirs[peer.name]
        ratio = "-" if peer.differs else "%.2f" % (t.median / ours.median)
        print("%-19s %18s %-38s %11.1f %11.1f %7s  %-23s %s%s" %
              (case.op, "x".join(str(n) for n in case.shape), peer.name, ours.median, t.median, ratio, spread(ours),
               spread(t), "  " + peer.differs if peer.differs else ""), flush=True)


def run_case(op, setting, engine, o):
    """False if a peer was wrong."""
    if CASES[op][0] == "rgat" and len(setting.data.triples) == 0:
        print("# %s: left out, there is no knowledge graph" % op, flush=True)
        return True
    case = CASES[op][1](setting)
    same_work(case, engine.measure(op, 1))
    found = {peer.name: sound(case, peer) for peer in case.peers}
    good = [peer for peer in case.peers if found[peer.name]]
    if good:
        print_rows(case, good, *measure(case, good, engine, o))
    else:
        print("# %s: no peer to time here" % op, flush=True)
    return False not in found.values()


def main():
    o, words = parse()
    warnings.simplefilter("ignore")  # PyTorch calls its sparse tensors unfinished at every start
    with tempfile.TemporaryDirectory() as folder:
        if not o.data:
            synthesize(o, folder)
        setting, engine = make_setting(o, words), Engine(o, words, folder)
        print_head(o, setting, words)
        right = [run_case(op, setting, engine, o) for op in selected(o.ops)]
        if engine.described:
            print("# ours: kdiffe %s, commit %s, %s" % tuple(engine.described[k] for k in ("version", "commit", "device")))
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
