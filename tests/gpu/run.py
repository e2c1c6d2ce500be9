#!/usr/bin/env python3
"""Everything that only a GPU can confirm, on the first one of this machine.

usage: run.py OUT [--build=DIR] [--data=DIR] [--quick|--full] [--seconds=N] [--skip=STEP,...] [--keep=DIR] [--key=value ...]

Runs from a checkout (make gpu-check) with the programs in --build [build/gpu], or beside a pack.tar.xz (make gpu-pack), from
what is in that. --data: another data set than TikTok. --quick: within four minutes; neither: within eight; --full: within an
hour, with more of everything. --skip: steps that are not wanted, by their names in steps.jsonl. --keep: also puts the record
there, dated, unless the device is the stand-in. Other words go to every run.

OUT gets steps.log (what every step printed), steps.jsonl (a line a step, with its figures), summary.txt, record.txt (the two
together, to be kept), ops.json and trace.json.gz: few files, since a machine that is not one's own may give back only a few.
Exit status 1 if a step failed, 2 if nothing could be tried.
"""
import argparse
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

import machine
import steps

HERE = os.path.dirname(os.path.abspath(__file__))
PACK = os.path.join(HERE, "pack.tar.xz")
LINES = 40  # of the summary, at most


def leave(why):
    print("gpu-run: " + why, file=sys.stderr)
    sys.exit(2)


def said(done):
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else "exit status %d" % done.returncode


def ask(words, env=None):
    return subprocess.run(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def call(words):
    done = ask(words)
    if done.returncode != 0:
        leave(said(done))


def about(o):
    """What was built of what: a pack says it, a checkout is asked."""
    if os.path.exists("about.json"):
        with open("about.json") as f:
            return json.load(f)
    commit = ask(["git", "describe", "--always", "--dirty"]).stdout.strip() or "unknown"
    return {"commit": commit, "built": o.build, "data": ""}


def open_setting(o, work):
    """Programs that start, data, and a device that answers; or one line that says what is missing."""
    pack = os.path.exists(PACK)
    if pack:
        with tarfile.open(PACK) as f:
            f.extractall(work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # else 3.12 warns
        os.chdir(work)
    o.build = "build" if pack else o.build
    kdiffe = os.path.abspath(os.path.join(o.build, "kdiffe"))
    if not os.path.exists(kdiffe):
        leave("%s is not there" % kdiffe)
    lacking = machine.find_libraries(kdiffe, os.environ, ["libcuda.so.1", "libnccl.so.2"])
    if lacking:
        leave("found neither by the loader nor in CUDA's usual places: " + " ".join(lacking))
    told = about(o)
    data = o.data or "data/tiktok"
    if not os.path.isdir(data):
        if o.data:
            leave("%s is no folder" % data)
        data = os.path.join(work, "tiktok")
        told["data"] = steps.shipped_data(kdiffe, data, call)
    answer = ask([kdiffe, "train", data, "--device=cuda", "--dry-run"] + o.words)
    if answer.returncode != 0:
        leave(said(answer))
    setting = steps.Setting(os.path.abspath(o.build), os.path.abspath(data), o.words, o.quick, o.full)
    setting.device = re.search(r"(?m)^device: (.*)$", answer.stdout).group(1)
    setting.facts = dict(told, data=os.path.basename(data) if o.data else told["data"])
    if os.path.exists("curve.json") and not o.data:
        with open("curve.json") as f:
            setting.curve = json.load(f)
    return setting


def now(form):
    return datetime.datetime.now(datetime.timezone.utc).strftime(form)


def unwanted(_):
    raise machine.Skipped("not wanted")


def epoch_lines(records):
    for r in records:
        if r["step"].startswith("epochs ") and "total" in r:
            stages = ["%s %.4f%s" % (k, v["seconds"], " (%.2f)" % v["ratio"] if v["ratio"] else "")
                      for k, v in r.items() if isinstance(v, dict)]
            yield "%s, seconds (ratio to the floor): %s" % (r["step"], ", ".join(stages))


def figure_lines(records):
    """The figures that matter."""
    yield from epoch_lines(records)
    by_name = {r["step"]: r for r in records}
    total = by_name.get("peers", {}).get("total")
    if total:
        yield "an epoch beside PyTorch: ours %(ours)s s, R1 %(r1)s s, R2 %(r2)s s: R1/ours %(r1/ours)s, R2/ours %(r2/ours)s" % total
    ops = [o for o in by_name.get("ops", {}).get("ops", ()) if o["ratio"]]
    if ops:
        ops.sort(key=lambda o: -o["ratio"])
        yield "worst ratios of %d ops: %s" % (len(ops), ", ".join("%s %.2f" % (o["op"], o["ratio"]) for o in ops[:8]))
    traced = list(by_name.get("trace", {}).get("us", {}).items())[:8]
    if traced:
        yield "longest in a traced epoch, ms: " + ", ".join("%s %.1f" % (k, v["us"] / 1e3) for k, v in traced)
    for name, k in by_name.get("ncu", {}).get("kernels", {}).items():
        wanted = ("Memory Throughput", "DRAM Throughput", "Compute (SM) Throughput", "Achieved Occupancy", "Theoretical Occupancy")
        yield "ncu %s: %.1f us, %s" % (name, k["us"], ", ".join("%s %s" % (w, k[w]) for w in wanted if w in k))
    curve = by_name.get("curve", {})
    for precision in ("fp32", "tf32"):
        if precision in curve:
            yield "curve, %s beside the CPU's (%s): losses within %.2g of them, recalls within %.4f" % (
                precision, curve["cpu"], curve[precision]["loss_difference"], curve[precision]["recall_difference"])


def summary(run, setting, mode):
    of = {v: [r for r in run.records if r["verdict"] == v] for v in ("passed", "failed", "cut", "skipped")}
    facts = setting.facts
    head = ["gpu run of commit %s, %s, %s" % (facts["commit"], now("%Y-%m-%dT%H:%MZ"), mode),
            "device: " + setting.device, "built: %s; data: %s" % (facts["built"], facts["data"])]
    body = ["passed: " + ", ".join(r["step"] for r in of["passed"])]
    for verdict in ("failed", "cut", "skipped"):
        reasons = {}
        for r in of[verdict]:
            reasons.setdefault(r["why"], []).append(r["step"])
        body += ["%s: %s: %s" % (verdict, ", ".join(names), why[:160]) for why, names in reasons.items()]
    last = ["%s, %.0f s" % (", ".join("%d %s" % (len(of[v]), v) for v in of), time.monotonic() - run.started)]
    figures = list(figure_lines(run.records))
    room = LINES - len(head + figures + last)
    if len(body) > room:
        body = body[:room - 1] + ["and %d more, which steps.jsonl tells" % (len(body) - room + 1)]
    return "\n".join(head + body + figures + last) + "\n"


def write_record(run, text):
    with open(os.path.join(run.out, "summary.txt"), "w") as f:
        f.write(text)
    with open(os.path.join(run.out, "steps.jsonl")) as f, open(os.path.join(run.out, "record.txt"), "w") as record:
        record.write(text + "\n" + f.read())


def keep(folder, setting, run):
    """The record under a name of its own: date and card."""
    card = re.sub(r"[^a-z0-9]+", "-", re.sub(r"^cuda: ", "", setting.device).split(",")[0].lower()).strip("-")
    path = os.path.join(folder, "%s-gpu-%s.txt" % (now("%Y-%m-%d"), card))
    shutil.copyfile(os.path.join(run.out, "record.txt"), path)
    print("record: " + path)


def parse():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out")
    parser.add_argument("--build", default="build/gpu")
    parser.add_argument("--data")
    parser.add_argument("--keep")
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--skip", default="", type=lambda text: text.split(","))
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--quick", action="store_true")
    how_much.add_argument("--full", action="store_true")
    o, o.words = parser.parse_known_args()
    o.seconds = o.seconds or (230 if o.quick else 3600 if o.full else 470)
    o.out = os.path.abspath(o.out)
    o.data, o.keep = o.data and os.path.abspath(o.data), o.keep and os.path.abspath(o.keep)
    return o


def main():
    o = parse()
    os.makedirs(o.out, exist_ok=True)
    signal.signal(signal.SIGTERM, machine.stop)
    signal.signal(signal.SIGINT, machine.stop)
    with tempfile.TemporaryDirectory(prefix="gpu-run-") as work:
        run = machine.Run(o.out, work, o.seconds)
        setting = open_setting(o, work)
        run.env.update(LD_LIBRARY_PATH=os.environ.get("LD_LIBRARY_PATH", ""))
        patience = 10 if o.full else 4 if setting.stand_in else 1
        for name, most, step in steps.steps(setting):
            run.step(name, most * patience, unwanted if name in o.skip else step)
            text = summary(run, setting, "quick" if o.quick else "full" if o.full else "short")
            write_record(run, text)
        print("\n" + text, end="")
        if o.keep and not setting.stand_in:
            keep(o.keep, setting, run)
        os.chdir("/")  # out of what is taken away now
    sys.exit(1 if any(r["verdict"] == "failed" for r in run.records) else 0)


if __name__ == "__main__":
    main()
