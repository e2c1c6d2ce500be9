#!/usr/bin/env python3
"""What each identity of the algebra saves: an epoch with all of it beside epochs that give one up, in turn.

usage: identities.py KDIFFE DATA [--rounds=1] [--only=chain,output] [--key=value ...]

Every round runs every arm once, each in a process of its own, so that what else the machine does falls on all of them.
docs/architecture.md says what the words of `naive` give up.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

# the stages that a word changes
STAGES = {"chain": ["sample"], "output": ["denoise_modalities", "denoise_kg"], "views": ["steps", "evaluate"],
          "rows": ["steps"], "features": ["denoise_modalities", "denoise_kg"], "scores": ["evaluate"]}


def seconds_of(o, words, folder):
    path = os.path.join(folder, "epoch.json")
    command = [o.kdiffe, "bench", o.data, "--ops=epoch", "--iterations=1", "--json=" + path] + words
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open(path) as f:
        described = json.load(f)
    return described, {op["op"][len("epoch_"):]: op["med_us"] / 1e6 for op in described["ops"]}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("kdiffe")
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default=",".join(STAGES))
    o, words = parser.parse_known_args()
    names = o.only.split(",")
    for name in names:
        if name not in STAGES:
            sys.exit("identities.py: --only: unknown identity '%s'; there are %s" % (name, " ".join(STAGES)))
    runs = {name: [] for name in [""] + names}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(o.rounds):
            for name in runs:
                described, seconds = seconds_of(o, words + (["--naive=" + name] if name else []), folder)
                runs[name].append(seconds)
    print("kdiffe %s, commit %s, %s; %s" % (described["version"], described["commit"], described["device"], " ".join(words)))
    print("\n| `naive` | stage | with it, s | without, s | ratio |\n|---|---|---|---|---|")
    for name in names:
        for stage in STAGES[name]:
            fused, naive = (statistics.median(run[stage] for run in runs[arm]) for arm in ("", name))
            print("| `%s` | %s | %.2f | %.2f | %.2f |" % (name, stage, fused, naive, naive / fused))


if __name__ == "__main__":
    main()
