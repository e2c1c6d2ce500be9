#!/usr/bin/env python3
"""What kernels load, of the lines that the stand-in wrote to KDIFFE_EMU_LAUNCHES (tests/emu/loads.cc).

usage: launch_report.py write LAUNCHES.tsv DOCUMENT.md   the table between DOCUMENT's markers (make launch-report)
       launch_report.py check LAUNCHES.tsv KERNEL...     the kernels that are held to the bounds (tests/launches.sh)

write also prints the table. check prints a line a kernel and exits 1 if a held one is beyond a bound, or was not launched: a
warp's loads over those of a warp at the mean, and rounds of loads one after the other. Of the kernels that together make most
of a step's loads, those that nobody holds are named with their figures.
"""
import csv
import re
import sys

BEGIN, END = "<!-- launches: begin -->\n", "<!-- launches: end -->\n"
MOST_RATIO, MOST_CHAIN = 4.0, 64
HOT_SHARE = 0.9  # of a step's loads, which its hot kernels make together
SHOWN_SHARE = 0.001  # others are shown only if they are beyond a bound


class Kernel:
    """All launches of a kernel in steps of one kind: the worst of each."""

    def __init__(self, step, name):
        self.step, self.name = step, name
        self.launches = self.blocks = self.warps = self.busiest = self.chain = self.loads = 0
        self.ratio, self.share, self.hot = 1.0, 0.0, False

    def add(self, row):
        self.launches += 1
        self.loads += int(row["loads"])
        for field in ("blocks", "warps", "busiest", "chain"):
            setattr(self, field, max(getattr(self, field), int(row[field])))
        if float(row["mean"]) > 0:
            self.ratio = max(self.ratio, int(row["busiest"]) / float(row["mean"]))

    @property
    def within(self):
        return self.ratio <= MOST_RATIO and self.chain <= MOST_CHAIN


def plain(name):
    """A kernel's name without the parentheses that a macro needs around commas."""
    return name[1:-1] if name.startswith("(") and name.endswith(")") else name


def read(path):
    """Kernels by step, in the order of their first launch."""
    kernels = {}
    with open(path) as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            key = row["step"], plain(row["kernel"])
            kernels.setdefault(key, Kernel(*key)).add(row)
    for step in {k.step for k in kernels.values()}:
        mark_hot([k for k in kernels.values() if k.step == step])
    return list(kernels.values())


def mark_hot(of_step):
    total, before = sum(k.loads for k in of_step) or 1, 0
    for kernel in sorted(of_step, key=lambda k: -k.loads):
        kernel.share, kernel.hot = kernel.loads / total, before < HOT_SHARE * total
        before += kernel.loads


def table(kernels):
    lines = ["| step | kernel | launches | blocks | warps | loads of the busiest lane | longest / mean | chain | share of loads |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for k in kernels:
        if k.step and (k.share >= SHOWN_SHARE or not k.within):
            lines.append("| %s | `%s` | %d | %d | %d | %d | %.1f | %d | %.1f %% |" % (
                k.step, k.name, k.launches, k.blocks, k.warps, k.busiest, k.ratio, k.chain, 100 * k.share))
    return "\n".join(lines) + "\n"


def write(launches, document):
    with open(document) as file:
        text = file.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        sys.exit("launch_report: %s: expected the two markers, once each" % document)
    made = table(read(launches))
    with open(document, "w") as file:
        file.write(text[:text.index(BEGIN) + len(BEGIN)] + made + text[text.index(END):])
    print(made, end="")


def check(launches, held):
    failed = False
    kernels = read(launches)
    base = {k: re.sub("<.*", "", k.name) for k in kernels}
    for name in sorted({base[k] for k in kernels if k.hot or base[k] in held} | set(held)):
        own = [k for k in kernels if base[k] == name]
        figures = "; ".join("%s: longest / mean %.1f, chain %d" % (k.step, k.ratio, k.chain) for k in own)
        if name not in held:
            print("not yet held: %s: %s" % (name, figures))
            continue
        bad = not own or not all(k.within for k in own)
        failed = failed or bad
        print("%s %s: %s" % ("FAIL " if bad else "ok   ", name, figures or "was not launched"))
    return 1 if failed else 0


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "write":
        write(*sys.argv[2:])
    elif len(sys.argv) > 3 and sys.argv[1] == "check":
        sys.exit(check(sys.argv[2], sys.argv[3:]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
