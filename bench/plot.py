#!/usr/bin/env python3
"""Pictures of what `kdiffe bench --json=FILE` measured, of one run or of two side by side.

usage: plot.py BENCH.json [AFTER.json] --out=FILE.svg|FILE.png

Draws what the files have rows for: a roofline of the ops that compute, the bandwidth of those that only move bytes, the
stages of an epoch beside their floors. Needs matplotlib. Exit status 2: usage; 3: not what kdiffe bench wrote; 1: the rest.
"""
import argparse
import collections
import json
import os
import sys
import textwrap

import figures
from figures import COLOURS, clean, short

Op = collections.namedtuple("Op", "seconds floor GBps GFLOPps intensity")
Run = collections.namedtuple("Run", "label look copy gemm ops")  # copy and gemm in GB/s and GFLOP/s; ops by kind


def stop(status, message):
    print("plot.py: " + clean(message), file=sys.stderr)
    sys.exit(status)


class Parser(argparse.ArgumentParser):
    def error(self, message):  # argparse would print the whole usage first
        stop(2, message + "; --help says what there is")


def member(o, key, kind):
    value = o.get(key) if isinstance(o, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError("'%s' is missing or of another type" % key)
    return value


def number(o, key, least=0.0):
    value = member(o, key, (int, float))
    if not least <= value < 1e18:  # and so no NaN
        raise ValueError("'%s' is out of range" % key)
    return float(value)


def kind(name, bytes, flops):
    if name.startswith("epoch_"):
        return "total" if name == "epoch_total" else "stage"
    return "neither" if bytes == 0 else "computes" if flops > 0 else "moves"


def parse(root, name, look):
    ceilings, ops = member(root, "ceilings", dict), {}
    for row in member(root, "ops", list):
        op, seconds = clean(member(row, "op", str)), number(row, "med_us", 1e-6) / 1e6
        bytes, flops, floor = number(row, "bytes"), number(row, "flops"), number(row, "floor_us") / 1e6
        of_kind = ops.setdefault(kind(op, bytes, flops), {})
        of_kind[op] = Op(seconds, floor, bytes / seconds / 1e9, flops / seconds / 1e9, flops / max(bytes, 1))
    copy, gemm = number(ceilings, "copy_GB/s", 1e-6), number(ceilings, "gemm_GFLOP/s", 1e-6)
    facts = {key: member(root, key, str) for key in ("version", "commit", "device", "data")}
    facts.update(name=name, copy=short(copy), gemm=short(gemm))
    texts = ("%(name)s: kdiffe %(version)s, commit %(commit)s; %(device)s",
             "%(data)s; copy %(copy)s GB/s, product %(gemm)s GFLOP/s")
    label = "\n".join(textwrap.fill(clean(text % facts), 140) for text in texts)
    return Run(label, look, copy, gemm, ops)


def read(path, name, look):
    try:
        with open(path, encoding="utf-8") as f:
            return parse(json.load(f), name, look)
    except OSError as error:
        stop(3, "%s: %s" % (path, error.strerror))
    except (ValueError, RecursionError) as error:
        stop(3, "%s: not what kdiffe bench --json wrote: %s" % (path, error))


def read_all(paths):
    blue = {"color": COLOURS["blue"], "linewidth": 1.5, "markersize": 5}
    orange = dict(blue, color=COLOURS["orange"], linestyle="--", markerfacecolor="white")
    looks = [("", blue)] if len(paths) == 1 else [("before, ", orange), ("after, ", blue)]
    return [read(path, word + os.path.basename(path), look) for path, (word, look) in zip(paths, looks)]


def draw_roofs(axes, runs, every):
    """The axes, wide enough for every op, and each run's roof; returns the lines."""
    ridges = [run.gemm / run.copy for run in runs]
    intensities, rates = ridges + [op.intensity for op in every], [run.gemm for run in runs] + [op.GFLOPps for op in every]
    low, high = min(intensities) / 2, max(intensities) * 6  # names stand to the right
    figures.log_axis(axes.xaxis, low, high)
    figures.log_axis(axes.yaxis, min(rates) / 2, max(rates) * 3)
    lines = []
    for run, ridge in zip(runs, ridges):
        roof = [(low, low * run.copy), (ridge, run.gemm), (high, run.gemm)]
        axes.plot(*zip(*roof), **run.look)
        lines += zip(roof, roof[1:])
    return lines


def draw_roofline(axes, runs, ops):
    """Names are written once the panel has its size: returns what does that."""
    axes.set(xlabel="operations a byte", ylabel="GFLOP/s",
             title="Ops that compute: their rate, and the roof that the run's copy and product rates set")
    lines = draw_roofs(axes, runs, [op for of_run in ops for op in of_run.values()])
    points, discs = {}, [(op.intensity, op.GFLOPps) for of_run in ops for op in of_run.values()]
    for run, of_run in zip(runs, ops):
        for name, op in of_run.items():
            point = op.intensity, op.GFLOPps
            axes.plot(*point, marker="o", zorder=4, **run.look)
            if name in points:  # what became of it
                axes.plot(*zip(points[name], point), color=COLOURS["grey"], linewidth=0.7, zorder=1)
                lines.append((points[name], point))
            points[name] = point
    return lambda: figures.label(axes, points, lines, discs)


def rows(axes, runs, ops):
    """A row a name, the first on top. Yields each bar's run, place, height and op."""
    names = list(dict.fromkeys(name for of_run in ops for name in of_run))
    height = 0.8 / len(runs)
    axes.set(yticks=range(len(names)), yticklabels=[n.replace("epoch_", "") for n in names], ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for k, (run, of_run) in enumerate(zip(runs, ops)):
        for name, op in of_run.items():
            yield run, names.index(name) + (k + 0.5) * height - 0.4, height, op


def note(axes, x, y, op, text):
    ratio = short(op.seconds / op.floor) + "\u00d7" if op.floor > 0 else "no floor"
    axes.annotate(text + ratio, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=8, zorder=5,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})


def draw_bandwidth(axes, runs, ops):
    rates = [op.GBps for of_run in ops for op in of_run.values()] + [run.copy for run in runs]
    axes.set(xlabel="GB/s", title="Ops that only move bytes: their rate, and the run's copy rate as a line; time over floor")
    figures.log_axis(axes.xaxis, min(rates) / 2, max(rates) * 3)
    for run in runs:
        axes.axvline(run.copy, **run.look)
    for run, y, _, op in rows(axes, runs, ops):
        axes.plot(op.GBps, y, marker="o", **run.look)
        note(axes, op.GBps, y, op, "")


def draw_stages(axes, runs, ops):
    most = max(max(op.seconds, op.floor) for of_run in ops for op in of_run.values())
    scale, unit = (1, "s") if most >= 1 else (1000, "ms")
    axes.set(xlabel=unit, xlim=(0, 1.2 * most * scale),
             title="Stages of an epoch: median, and beneath it its floor in grey; time over floor")
    for run, y, height, op in rows(axes, runs, ops):
        axes.barh(y - 0.13 * height, op.seconds * scale, 0.54 * height, color=run.look["color"])
        axes.barh(y + 0.27 * height, op.floor * scale, 0.26 * height, color=COLOURS["grey"])
        note(axes, max(op.seconds, op.floor) * scale, y, op, "%s %s, " % (short(op.seconds * scale), unit))


# each kind's panel, and its inches: a fixed part, and more a bar
PANELS = (("computes", draw_roofline, 5.2, 0.0), ("moves", draw_bandwidth, 0.8, 0.2), ("stage", draw_stages, 0.8, 0.24))


def draw(runs):
    plt = figures.pyplot()
    panels = [(drawn, [run.ops.get(kind, {}) for run in runs], inches, more) for kind, drawn, inches, more in PANELS]
    panels = [panel for panel in panels if any(panel[1])]
    heights = [inches + more * sum(map(len, ops)) for _, ops, inches, more in panels]
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, sum(heights) + 0.5 * len(runs)), height_ratios=heights,
                                squeeze=False, layout="constrained")
    marks = [plt.Line2D([], [], marker="o", **run.look) for run in runs]
    figure.legend(marks, [run.label for run in runs], loc="outside upper left", frameon=False, fontsize=8)
    last = [drawn(a, runs, ops) for a, (drawn, ops, _, _) in zip(axes[:, 0], panels)]
    figure.draw_without_rendering()
    for write_names in filter(None, last):
        write_names()
    return figure


def main():
    parser = Parser(usage=__doc__, allow_abbrev=False)
    parser.add_argument("bench", nargs="+")
    parser.add_argument("--out", required=True)
    o = parser.parse_args()
    if len(o.bench) > 2:
        parser.error("one file or two, not %d" % len(o.bench))
    if os.path.splitext(o.out)[1] not in (".svg", ".png"):
        parser.error("--out=%s: expected .svg or .png" % o.out)
    runs = read_all(o.bench)
    if not any(run.ops.get(panel[0]) for run in runs for panel in PANELS):
        stop(3, "%s: nothing to draw" % " ".join(o.bench))
    for name in sorted(set(name for run in runs for name in run.ops.get("neither", ()))):
        print("plot.py: %s: left out, no bytes are counted" % name, file=sys.stderr)
    try:
        figures.save(draw(runs), o.out)
    except OSError as error:
        stop(1, "%s: %s" % (o.out, error.strerror))


if __name__ == "__main__":
    main()
