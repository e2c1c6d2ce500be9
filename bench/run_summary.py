#!/usr/bin/env python3
"""One run in three lines: device and peak memory; the best epoch; median seconds of each stage.

usage: run_summary.py RUN/metrics.jsonl
"""
import json
import statistics
import sys


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1]) as f:
        records = [json.loads(line) for line in f]
    epochs = [r for r in records if r["event"] == "epoch"]
    evaluated = [r for r in epochs if r.get("test")]
    if not evaluated:
        sys.exit("run_summary.py: %s has no evaluated epoch" % sys.argv[1])
    cut = max((key for key in evaluated[0]["test"] if key.startswith("recall@")), key=lambda key: int(key[7:]))
    best = max(evaluated, key=lambda r: r["test"][cut])
    steady = epochs[1:] or epochs
    stages = [s for s in steady[0]["seconds"] if s not in ("attention", "total")] + ["total"]
    print(records[0]["device"])
    print("%d epochs; best test %s %.4f, epoch %d; last loss %.6g" % (len(epochs), cut, best["test"][cut], best["epoch"], epochs[-1]["loss"]))
    print("median seconds: " + ", ".join("%s %.4f" % (s, statistics.median(e["seconds"].get(s, 0.0) for e in steady)) for s in stages))


if __name__ == "__main__":
    main()
