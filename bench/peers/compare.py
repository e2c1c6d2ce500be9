#!/usr/bin/env python3
"""Seconds of an epoch, stage by stage: the engine and its PyTorch peers, run in turn on the same data and settings.

usage: compare.py KDIFFE DATA [--arms=ours,r1,r2] [--rounds=2] [--epochs=3] [--device=cpu] [--threads=0] [--compile]
                  [--key=value ...]

Every round runs every arm once, each in a process of its own, so that what else the machine does falls on all of them.
The first epoch of each run is left out. README.md says what the columns mean.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

import common

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = {"r1": "model_r1.py", "r2": "model_r2.py"}
ATTENTION_KEYS = ("--seed=", "--attention.")


def read_records(lines):
    return [json.loads(line) for line in lines if line.startswith("{")]


def run_ours(o, words, folder):
    out = os.path.join(folder, "run")
    keys = ["--device=" + o.device, "--threads=%d" % o.threads, "--epochs=%d" % o.epochs]
    subprocess.run([o.kdiffe, "train", o.data, "--out=" + out, "--overwrite"] + keys + words, check=True,
                   stdout=subprocess.DEVNULL)
    with open(os.path.join(out, "metrics.jsonl")) as f:
        return read_records(f)


def peer_words(words):
    return [w for w in words if not w.startswith("--attention.")]


def run_peer(arm, o, words, similarity):
    keys = ["--device=" + o.device, "--threads=%d" % o.threads, "--epochs=%d" % o.epochs, "--similarity=" + similarity]
    keys += ["--compile"] if o.compile else []
    command = [sys.executable, "-W", "ignore", os.path.join(HERE, PEERS[arm]), o.data]
    done = subprocess.run(command + keys + peer_words(words),
                          check=True, stdout=subprocess.PIPE, text=True)
    return read_records(done.stdout.splitlines())


def make_similarity(o, words, folder):
    """One attention-aware matrix for the peers, who do not walk: it is made once a run and is no part of an epoch."""
    path = os.path.join(folder, "similarity.tsv")
    keys = [w for w in words if w.startswith(ATTENTION_KEYS)]
    subprocess.run([o.kdiffe, "attention", o.data, "--out=" + path] + keys, check=True, stdout=subprocess.DEVNULL)
    return path


def measure(o, words):
    """The records of every run of every arm, and the load before each."""
    runs, load = {arm: [] for arm in o.arms}, []
    with tempfile.TemporaryDirectory() as folder:
        similarity = make_similarity(o, words, folder)
        for _ in range(o.rounds):
            for arm in o.arms:
                load.append(os.getloadavg()[0])
                records = run_ours(o, words, folder) if arm == "ours" else run_peer(arm, o, words, similarity)
                runs[arm].append(records)
                print("# %s: %s" % (arm, " ".join("%.1f" % s for s in stage_seconds(records, "total"))),
                      file=sys.stderr, flush=True)
    return runs, load


def stage_seconds(records, stage):
    """Of every epoch after the first."""
    epochs = [r for r in records if r["event"] == "epoch"]
    return [r["seconds"].get(stage, 0.0) for r in epochs[1:]]


def all_seconds(runs, arm, stage):
    return [s for records in runs[arm] for s in stage_seconds(records, stage)]


def processor():
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor()


def print_head(o, words, runs, load):
    print("# data %s; %s, %d cores; load average before each run %.1f to %.1f; %d rounds of %d epochs; %s" %
          (os.path.basename(os.path.normpath(o.data)), processor(), os.cpu_count(), min(load), max(load), o.rounds,
           o.epochs, " ".join(words)))
    for arm in o.arms:
        start = runs[arm][0][0]
        peak = max(records[-1]["peak_memory_bytes"] for records in runs[arm])
        last = runs[arm][0][-2]
        print("# %-4s %s; %s; peak memory %.2f GB; last epoch bpr %.4f, test recall %.4f" %
              (arm, start["version"], start["device"], peak / 1e9, last["bpr"],
               next(iter(last.get("test", {"recall": float("nan")}).values()))))


def print_table(o, runs):
    peers = [arm for arm in o.arms if arm != "ours"]
    ratios = peers if "ours" in o.arms else []
    print("%-20s" % "stage" + "".join("%9s %15s" % (arm, "(spread)") for arm in o.arms) +
          "".join("%9s" % (arm + "/ours") for arm in ratios))
    for stage in common.STAGES + ("total",):
        seconds = {arm: all_seconds(runs, arm, stage) for arm in o.arms}
        middle = {arm: statistics.median(s) for arm, s in seconds.items()}
        line = "%-20s" % stage
        for arm in o.arms:
            line += "%9.3f %15s" % (middle[arm], "%.3f-%.3f" % (min(seconds[arm]), max(seconds[arm])))
        for arm in ratios:
            line += "%9s" % ("%.2f" % (middle[arm] / middle["ours"]) if middle["ours"] > 0 else "-")
        print(line)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("kdiffe")
    parser.add_argument("data")
    parser.add_argument("--arms", default="ours,r1,r2", type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="torch.compile in the peers")
    o, words = parser.parse_known_args()
    if o.epochs < 2:
        sys.exit("compare.py: expected at least two epochs, the first is left out")
    if set(o.arms) & set(PEERS):
        common.parse_settings(peer_words(words))  # a key that no peer knows stops here, not after the engine's run
    runs, load = measure(o, words)
    print_head(o, words, runs, load)
    print_table(o, runs)


if __name__ == "__main__":
    main()
