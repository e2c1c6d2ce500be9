#!/usr/bin/env python3
"""Seconds of a training epoch on a data set, stage by stage, beside the floor that its dense products set.

usage: epoch.py KDIFFE GEMM DATA OUT [--epochs=3] [--key=value ...]    (make bench-epoch DATA=... fills the first two in)

Runs GEMM (the machine's sgemm rate), `KDIFFE train` and GEMM again, in one go; prints a table. The first epoch is left out
of the medians. Columns: stage; seconds, the median epoch; floor, the stage's dense floating-point operations divided by the
measured rate; ratio, seconds over floor. InfoNCE counts every batch entry as an anchor, so its floor is a little high.
"""
import json
import os
import statistics
import subprocess
import sys


def gflops(program):
    return float(subprocess.run([program], check=True, capture_output=True, text=True).stdout)


def read_yaml(path):
    """The flat keys of a resolved config.yaml."""
    with open(path) as f:
        return dict(line.rstrip("\n").split(": ", 1) for line in f if ": " in line and not line.startswith(" "))


def count(path):
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as f:
        return sum(1 for _ in f) - 1


def operations(folder, config):
    """Dense floating-point operations of each stage of an epoch."""
    name = [f for f in os.listdir(folder) if f.endswith(".train.inter")][0][:-len(".train.inter")]
    at = lambda suffix: count(os.path.join(folder, name + suffix))
    users, items, train, entities = at(".user"), at(".item"), at(".train.inter"), at(".entity")
    modalities = sum(f.endswith("_feat.npy") for f in os.listdir(folder))
    hidden, dim, steps = int(config["hidden"]), int(config["dim"]), int(config["steps"])
    sample = lambda rows, width: rows * (2.0 * (steps - 1) * hidden * hidden + 2.0 * width * hidden)
    terms = modalities + 1 if config["cl_method"] == "1" else modalities * (modalities - 1) // 2
    return {"denoise_modalities": modalities * users * items * 2.0 * (5 * hidden + 2 * dim),
            "denoise_kg": entities * 2.0 * (5 * entities * hidden + 2 * items * dim),
            "sample": modalities * sample(users, items) + (sample(entities, entities) if entities else 0.0),
            "steps": 4 * 2.0 * terms * train * (users + items) * dim,
            "evaluate": 2.0 * users * items * 2 * dim}


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    kdiffe, gemm, data, out = sys.argv[1:5]
    options = sys.argv[5:]
    if not any(o.startswith("--epochs=") for o in options):
        options.append("--epochs=3")
    before = gflops(gemm)
    subprocess.run([kdiffe, "train", data, "--out=" + out, "--overwrite"] + options, check=True)
    after = gflops(gemm)
    with open(os.path.join(out, "metrics.jsonl")) as f:
        records = [json.loads(line) for line in f]
    epochs = [r["seconds"] for r in records if r["event"] == "epoch"][1:]
    if not epochs:
        sys.exit("epoch.py: expected at least two epochs, the first is left out")
    rate = (before + after) / 2
    floors = operations(data, read_yaml(os.path.join(out, "config.yaml")))
    start, end = records[0], records[-1]
    print("# kdiffe %s; %s; data %s %s" % (start["version"], start["device"], start["data"]["name"], start["data"]["hash"]))
    print("# sgemm %.0f GFLOP/s before, %.0f after; peak memory %.2f GB; %d epochs after the first; %s" %
          (before, after, end["peak_memory_bytes"] / 1e9, len(epochs), " ".join(options)))
    print("%-20s %9s %9s %7s" % ("stage", "seconds", "floor", "ratio"))
    for stage in list(floors) + ["total"]:
        seconds = statistics.median(e[stage] for e in epochs)
        floor = sum(floors.values()) / rate / 1e9 if stage == "total" else floors[stage] / rate / 1e9
        print("%-20s %9.2f %9.2f %7s" % (stage, seconds, floor, "%.2f" % (seconds / floor) if floor > 0 else "-"))


if __name__ == "__main__":
    main()
