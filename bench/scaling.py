#!/usr/bin/env python3
"""Cost growth: epochs on planted data of 1, 4 and 16 times a size beside what the arithmetic says.

usage: scaling.py KDIFFE [--threads=N] [--iterations=2] [--write=docs/scaling.md]

Prints a table; --write puts it between the markers of that file and the plot beside it, as .svg (needs matplotlib). Exit
status 1 if a stage grew faster than its dense products by more than the slack, or memory faster than the data. docs/scaling.md
says what is compared.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import figures

FACTORS = (1, 4, 16)
USERS, ITEMS, ATTRIBUTES, TASTES = 600, 430, 5, 10  # at 1x; attributes of a relation and taste
SLACK = 1.2  # stages of less than a second vary so much on a machine with other work
BEGIN, END = "<!-- measured -->", "<!-- end -->"


def synthesize(o, factor, folder):
    path = os.path.join(folder, "planted-%d" % factor)
    words = ["--users=%d" % (USERS * factor), "--items=%d" % (ITEMS * factor), "--tastes=%d" % (TASTES * factor),
             "--attributes=%d" % ATTRIBUTES, "--interactions=7", "--modalities=image:64,text:64"]
    subprocess.run([o.kdiffe, "synth", path] + words, check=True, stdout=subprocess.DEVNULL)
    return path


def measure(o, factor, folder):
    """What bench says of every stage, and the most memory it held, in MB."""
    record = os.path.join(folder, "epoch.json")
    command = [o.kdiffe, "bench", synthesize(o, factor, folder), "--ops=epoch", "--iterations=%d" % o.iterations,
               "--threads=%d" % o.threads, "--json=" + record]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit("scaling.py: %s: failed" % " ".join(command))
    with open(record) as f:
        described = json.load(f)
    return described, usage.ru_maxrss / 1024


def stages_of(described):
    """Seconds and operations of each stage that has dense products."""
    return {op["op"][len("epoch_"):]: (op["min_us"] / 1e6, op["flops"]) for op in described["ops"] if op["flops"] > 0}


def compare(runs):
    """Rows (stage, seconds, growth of time, growth of operations), and whether all hold."""
    stages = [stages_of(described) for described, _ in runs]
    rows, good = [], True
    for stage in stages[0]:
        seconds, flops = zip(*(s[stage] for s in stages))
        time, arithmetic = [s / seconds[0] for s in seconds], [f / flops[0] for f in flops]
        good &= all(t <= SLACK * a for t, a in zip(time, arithmetic))
        rows.append((stage, seconds, time, arithmetic))
    memory = [m for _, m in runs]
    good &= all(m / memory[0] <= f for m, f in zip(memory, FACTORS))
    return rows, memory, good


def table(runs, rows, memory):
    described = runs[0][0]
    lines = ["kdiffe %s, commit %s; %s." % (described["version"], described["commit"], described["device"].split(" (")[0]), "",
             "| stage | " + " | ".join("%dx, s" % f for f in FACTORS) + " | growth of time | growth of operations |",
             "|---|" + "---:|" * (len(FACTORS) + 2)]
    growth = lambda values: ", ".join("%.1f" % v for v in values[1:])
    for stage, seconds, time, arithmetic in rows:
        lines.append("| %s | %s | %s | %s |" % (stage, " | ".join("%.3f" % s for s in seconds), growth(time), growth(arithmetic)))
    lines.append("| peak memory, MB | %s | %s | at most %s |" %
                 (" | ".join("%.0f" % m for m in memory), growth([m / memory[0] for m in memory]), growth([float(f) for f in FACTORS])))
    return "\n".join(lines)


def plot(rows, path):
    figure, axes = figures.pyplot().subplots(figsize=(7, 4.5))
    for stage, _, time, arithmetic in rows:
        line, = axes.plot(FACTORS, time, marker="o", label=stage)
        axes.plot(FACTORS, arithmetic, linestyle=":", color=line.get_color())
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=4)
    axes.set_xticks(FACTORS, ["%dx" % f for f in FACTORS])
    axes.set_yticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
    axes.set_xlabel("users, items, interactions and triples")
    axes.set_ylabel("growth: time (solid), dense operations (dotted)")
    axes.legend()
    figure.tight_layout()
    figures.save(figure, path)


def write(path, text, rows):
    with open(path) as f:
        old = f.read()
    if BEGIN not in old or END not in old:
        sys.exit("scaling.py: %s: has no '%s' and '%s'" % (path, BEGIN, END))
    head, rest = old.split(BEGIN, 1)
    new = head + BEGIN + "\n" + text + "\n" + END + rest.split(END, 1)[1]
    plot(rows, os.path.splitext(path)[0] + ".svg")
    with open(path, "w") as f:
        f.write(new)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("kdiffe")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--write")
    o = parser.parse_args()
    if o.write:
        figures.pyplot()  # not there: said before the minutes of measuring
    with tempfile.TemporaryDirectory() as folder:
        runs = [measure(o, factor, folder) for factor in FACTORS]
    rows, memory, good = compare(runs)
    text = table(runs, rows, memory)
    print(text)
    if o.write:
        write(o.write, text, rows)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
