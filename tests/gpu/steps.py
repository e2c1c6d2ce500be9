"""What is confirmed and measured on a GPU, step by step, in order of worth (run.py runs them, machine.py gives them limits)."""
import csv
import gzip
import io
import json
import math
import os
import re
import shutil
import socket
import sys

from machine import Failed, Skipped, find_tool

# The options of docs/reproduction.md.
PUBLISHED = ["--trans=1", "--cl_method=1", "--temp=0.7", "--steps=10", "--e_loss=0.7", "--guidance_weight.audio=0.3",
             "--epsilon=0.81"]
# TikTok's shape (docs/bench.md), without the third modality, which make_text.py adds as it does to TikTok.
TAILS = ["--users=9308", "--items=6710", "--tastes=5", "--user-tastes=5", "--popularity=0.9", "--interactions=8.336",
         "--active-users=103", "--activity=0.12", "--split=0.823,0.01,0.167", "--modalities=image:128,audio:128",
         "--relations=4", "--kg-informative=0", "--kg-noise=0", "--kg-hubs=3"]
OPS = ("gemm,gram,linear,spmm,rgat,unit_rows,squared_norm,column_sum,adam,infonce,bpr,group,sample_negatives,permutation,"
       "q_sample,hidden_forward,denoise_loss,topk_rows,modality_graph_build,kg_generate,walk_cumulative,prefix_jaccard")
# A trace tells ops, not kernels: those that an epoch's time is in, or in whose place nothing has been measured yet.
HOT_KERNELS = ("kd_sum_rows", "tensor_sums", "noise_rows", "adam_update", "best_columns", "group_batch")
# How far a run on a GPU may be from the CPU's, which draws the same numbers: sums in another order change a loss little and,
# once a choice has flipped, recall as far as another seed would; of few users, by some whole ones.
LOSS_TOLERANCE, RECALL_TOLERANCE, FLIPPED_USERS = 0.02, 0.006, 3
CURVE_EPOCHS = 10
# How compute-sanitizer's findings begin.
FINDING = re.compile(r"(?m)^========= (?:Invalid|Misaligned|Uninitialized|Barrier error|Race|(?:ERROR|Error|Warning): .*[Rr]ace|"
                     r"Program hit)")


def shipped_data(kdiffe, folder, call):
    """Makes the data set of TikTok, or where that is not here one of its shape; which of them it is."""
    for source in ("../shared/datasets/tiktok", "shared/datasets/tiktok"):
        if os.path.isdir(source):
            call([kdiffe, "convert", "--from=published", source, folder])
            return "TikTok"
    call([kdiffe, "synth", folder] + TAILS)
    return "planted data of TikTok's shape, since ../shared/datasets/tiktok is not here"


def published_words(data):
    """Of the options, those that a data set of these modalities knows."""
    return [w for w in PUBLISHED if ".audio=" not in w or os.path.exists(os.path.join(data, "audio_feat.npy"))]


def train_words(setting, data, out, words, device="cuda"):
    return ([setting.kdiffe, "train", data, "--out=" + out, "--overwrite", "--device=" + device] + words)


def read_run(folder):
    """Losses and recalls of a run's epochs."""
    with open(os.path.join(folder, "metrics.jsonl")) as f:
        epochs = [r for r in map(json.loads, f) if r["event"] == "epoch"]
    tests = [r.get("test") or {} for r in epochs]
    recall = [next((v for k, v in test.items() if k.startswith("recall@")), None) for test in tests]
    return [{"loss": r["loss"], "recall": v, "users": t.get("users")} for r, v, t in zip(epochs, recall, tests)]


class Setting:
    """What the steps need to know of this machine, the programs and the data. quick: little of what can be repeated."""

    def __init__(self, build, data, words, quick, full):
        self.kdiffe, self.tests = os.path.join(build, "kdiffe"), os.path.join(build, "tests")
        self.data, self.wide, self.quick, self.full = data, data, quick, full
        self.words, self.own = published_words(data) + words, words
        self.device, self.facts, self.curve = "", {}, None

    @property
    def stand_in(self):
        return "stand-in" in self.device

    def needs_a_gpu(self):
        if self.stand_in:
            raise Skipped("the device is the stand-in")


def device(s):
    def work(run):
        if not s.stand_in and shutil.which("nvidia-smi"):
            asked = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.sm,clocks.mem,temperature.gpu,pstate"
            run.code(["nvidia-smi", "--query-gpu=" + asked, "--format=csv"])
            s.facts["nvidia_smi"] = run.output().strip().splitlines()[1:]
        s.facts.update(device=s.device, python=sys.version.split()[0], cores=os.cpu_count())
        run.figures.update(s.facts)
        run.say("libraries besides the loader's: " + run.env["LD_LIBRARY_PATH"])
    return work


def add_text(s):
    """A third modality, as wide as text's features are."""
    def work(run):
        if os.path.exists(os.path.join(s.data, "text_feat.npy")):
            raise Skipped("the data set has text features")
        wide = os.path.join(run.work, "wide")
        run.command([sys.executable, "bench/peers/make_text.py", s.data, wide, "--width=768"])
        s.wide = wide
    return work


def golden(s):
    def work(run):
        places = ("tests/cases", "../shared/golden", "shared/golden")
        folders = [os.path.join(p, f) for p in places if os.path.isdir(p) for f in sorted(os.listdir(p))]
        folders = [f for f in folders if os.path.exists(os.path.join(f, "manifest.json"))]
        try:
            run.command([os.path.join(s.tests, "golden"), "--device=cuda"] + folders)
        finally:
            run.figures.update(folders=len(folders), passed=len(re.findall(r" PASS$", run.output(), re.M)),
                               failed=len(re.findall(r" FAIL$", run.output(), re.M)))
        if run.figures["passed"] == 0:
            raise Failed("nothing was compared")
    return work


def count_tests(run):
    text = re.sub(r"(?m)^\[==========\] \d+ test\(s\) run\.$[\s\S]*?(?=^\$ |\Z)", "", run.output())  # names failures again
    run.figures.update(ok=len(re.findall(r"(?m)^\[       OK \]", text)),
                       failed=len(re.findall(r"(?m)^\[  (?:FAILED|ERROR) +\] [^-0-9]", text)),
                       skipped=re.findall(r"(?m)^\[  SKIPPED \] (\S+)", text))


def program(s, name, **more):
    def work(run):
        try:
            run.command([os.path.join(s.tests, name)], KDIFFE_TEST_DEVICE="cuda", **more)
        finally:
            count_tests(run)
        if run.figures["ok"] == 0:
            raise Failed("no test ran")
    return work


def table(text):
    """Rows of what `kdiffe bench` prints, also of one that was stopped."""
    rows = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 15 and words[1] == "cuda" and words[-1].isdigit():
            ratio = float(words[12]) if words[12] != "-" else None
            rows.append({"op": words[0], "us": float(words[7]), "floor_us": float(words[11]), "ratio": ratio,
                         "wrong": int(words[14])})
    return rows


def epochs(s, precision):
    def work(run):
        run.command([s.kdiffe, "bench", s.wide, "--ops=epoch", "--device=cuda", "--precision=" + precision,
                     "--iterations=%d" % (2 if s.quick else 5)] + s.words)
        for row in table(run.output()):
            run.figures[row["op"][len("epoch_"):]] = {"seconds": row["us"] / 1e6, "ratio": row["ratio"]}
        if not run.figures.get("total", {}).get("seconds", 0) > 0:
            raise Failed("no epoch was timed")
    return work


def ops(s):
    def work(run):
        report = os.path.join(run.out, "ops.json")
        try:
            run.command([s.kdiffe, "bench", s.wide, "--ops=" + OPS, "--device=cuda", "--json=" + report,
                         "--iterations=%d" % (5 if s.quick else 30)] + s.words)
        finally:
            run.figures["ops"] = table(run.output())
            run.figures["failed"] = sum(row["wrong"] > 0 for row in run.figures["ops"])
    return work


def trace(s):
    def work(run):
        path = os.path.join(run.work, "trace.json")
        run.command(train_words(s, s.wide, os.path.join(run.work, "traced"), ["--epochs=1", "--trace=" + path] + s.words))
        with open(path) as f:
            text = f.read()
        with gzip.open(os.path.join(run.out, "trace.json.gz"), "wt") as f:
            f.write(text)
        sums = {}
        for event in json.loads(text)["traceEvents"]:
            took = sums.setdefault(event["name"], [0, 0.0])
            took[0], took[1] = took[0] + 1, took[1] + event.get("dur", 0)
        run.figures["us"] = {k: {"count": n, "us": round(us)} for k, (n, us) in sorted(sums.items(), key=lambda i: -i[1][1])}
        if not sums:
            raise Failed("the trace is empty")
    return work


def peers(s):
    def work(run):
        asked = "import numpy, torch; print('torch', torch.__version__, torch.cuda.is_available())"
        if run.code([sys.executable, "-c", asked]) != 0:
            raise Skipped("python3 here lacks numpy or torch: " + run.output().strip().splitlines()[-1])
        s.needs_a_gpu()
        if not run.output().rstrip().endswith("True"):
            raise Skipped("PyTorch here sees no GPU")
        text = run.command([sys.executable, "bench/peers/compare.py", s.kdiffe, s.wide, "--device=cuda", "--arms=ours,r1,r2",
                            "--rounds=%d" % (2 if s.full else 1), "--epochs=4"] + s.words)
        for line in text.splitlines():
            words = line.split()
            if len(words) == 9 and words[0] not in ("stage", "#"):
                run.figures[words[0]] = dict(zip(("ours", "r1", "r2", "r1/ours", "r2/ours"), words[1:7:2] + words[7:]))
        if "total" not in run.figures:
            raise Failed("compare.py printed no table")
    return work


def read_counters(text):
    """{kernel: {metric: value}} of ncu's CSV, of each kernel the launch that took longest."""
    lines = text.splitlines()
    begin = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    launches = {}
    for row in csv.DictReader(io.StringIO("\n".join(lines[begin:]))) if begin is not None else ():
        if row.get("Metric Name"):
            launch = launches.setdefault(row["ID"], {"kernel": row["Kernel Name"]})
            launch[row["Metric Name"]] = "%s %s" % (row["Metric Value"], row.get("Metric Unit") or "")
    longest = {}
    for launch in launches.values():
        name = re.match(r"[^<(]*", re.sub(r"^void ", "", launch.pop("kernel"))).group()
        took = re.match(r"([\d.,]+) ([num]?)", launch.get("Duration", ""))
        us = float(took.group(1).replace(",", "")) * {"n": 1e-3, "u": 1.0, "m": 1e3, "": 1e6}[took.group(2)] if took else 0.0
        if us >= longest.get(name, {"us": 0.0})["us"]:
            longest[name] = dict(launch, us=us)
    return longest


def counters(s):
    def work(run):
        ncu = find_tool("ncu", run.env)
        if not ncu:
            raise Skipped("no ncu here")
        s.needs_a_gpu()
        # Traced, a run launches every kernel by itself; one launch is counted of each of a kernel's shapes.
        words = [ncu, "--set", "basic", "--clock-control", "none", "--kernel-name", "regex:" + "|".join(HOT_KERNELS),
                 "--filter-mode", "per-launch-config", "--launch-count", "1", "--csv", "--page", "details"]
        traced = ["--epochs=1", "--trace=" + os.path.join(run.work, "profiled.json")]
        try:
            code = run.code(words + train_words(s, s.wide, os.path.join(run.work, "profiled"), traced + s.words))
        finally:
            run.figures["kernels"] = read_counters(run.output())
        if code != 0 or not run.figures["kernels"]:
            why = [line for line in run.output().splitlines() if line.startswith("==ERROR==")]
            raise Skipped("ncu counted nothing: " + (why[0] if why else "exit status %d" % code))
    return work


def sanitizer(s, tool, name):
    def work(run):
        checker = find_tool("compute-sanitizer", run.env)
        if not checker:
            raise Skipped("no compute-sanitizer here")
        s.needs_a_gpu()
        try:
            code = run.code([checker, "--tool", tool, "--error-exitcode", "9", os.path.join(s.tests, name)],
                            KDIFFE_TEST_MOST="33", KDIFFE_TEST_DEVICE="cuda")
        finally:
            run.figures["failed"] = len(FINDING.findall(run.output()))
            run.figures["summary"] = re.findall(r"(?m)^========= .*SUMMARY.*$", run.output())
        if code != 0 and "Device not supported" in run.output():
            raise Skipped("compute-sanitizer does not support this device")
        if code != 0:
            raise Failed("exit status %d %s" % (code, " ".join(run.figures["summary"])))
    return work


def planted(s, run):
    """The demo's data set, smaller on the stand-in."""
    folder = os.path.join(run.work, "planted")
    if not os.path.isdir(folder):
        size = ["--users=60", "--items=40", "--tastes=4"] if s.stand_in else ["--users=3000", "--items=1200", "--tastes=40"]
        run.command([s.kdiffe, "synth", folder, "--interactions=12", "--modalities=image:64,text:64,audio:32", "--seed=1"] + size)
    return folder


def precisions(s):
    def work(run):
        data, out = planted(s, run), os.path.join(run.work, "precision")
        for precision in ("fp32", "tf32", "bf16"):
            run.command(train_words(s, data, out, ["--config=datasets/demo.yaml", "--precision=" + precision,
                                                   "--epochs=%d" % (10 if s.full else 2)] + s.own))
            run.command([sys.executable, "bench/run_summary.py", os.path.join(out, "metrics.jsonl")])
            run.figures[precision] = max(e["recall"] for e in read_run(out))
    return work


def on_this_card(run, n, words):
    """n ranks on this one card: NCCL takes them for hosts, and talks over loopback sockets. For right numbers only."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = dict(NCCL_P2P_DISABLE="1", NCCL_SHM_DISABLE="1", NCCL_IB_DISABLE="1", NCCL_SOCKET_IFNAME="lo", NCCL_NVLS_ENABLE="0",
                  NCCL_MAX_CTAS="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE=str(n), KDIFFE_TEST_DEVICE="cuda")
    codes = run.codes([(words, dict(common, NCCL_HOSTID="rank%d" % r, RANK=str(r), LOCAL_RANK=str(r))) for r in range(n)])
    if any(codes):
        raise Failed("%s as %d ranks: exit statuses %s" % (os.path.basename(words[0]), n, codes))


def ranks(s, n):
    def work(run):
        on_this_card(run, n, [os.path.join(s.tests, "test_ranks")])
        count_tests(run)
        # Without walks: nothing is exchanged before a step is recorded.
        words = ["--epochs=2", "--cl_method=1", "--precision=fp32", "--config=datasets/demo.yaml",
                 "--use.attention=false"] + s.own
        data, losses = planted(s, run), {}
        for name, count, more in (("1", 1, []), ("%d" % n, n, []), ("%d, divided" % n, n, ["--shard=true"])):
            out = os.path.join(run.work, "ranks")
            on_this_card(run, count, train_words(s, data, out, words + more))
            losses[name] = [e["loss"] for e in read_run(out)]
            if not all(abs(a - b) <= 1e-5 * a for a, b in zip(losses["1"], losses[name])) or len(losses[name]) != 2:
                raise Failed("losses of %s ranks %s, of one %s" % (name, losses[name], losses["1"]))
        run.figures["losses"] = losses
    return work


def worst(ours, theirs):
    """The largest relative difference of losses and the largest difference of recalls; NaN where there is one."""
    if len(ours) != len(theirs) or any(v is None or v != v for e in ours + theirs for v in e.values()):
        return math.nan, math.nan
    return (max(abs(a["loss"] - b["loss"]) / abs(b["loss"]) for a, b in zip(ours, theirs)),
            max(abs(a["recall"] - b["recall"]) for a, b in zip(ours, theirs)))


def curve(s):
    """The published comparison of docs/reproduction.md: its first epochs beside the CPU's."""
    def work(run):
        count, curves = 3 if s.quick and s.stand_in else CURVE_EPOCHS, {}
        words = ["--epochs=%d" % count] + s.words
        for precision in ("fp32", "tf32"):
            out = os.path.join(run.work, "curve-" + precision)
            run.command(train_words(s, s.data, out, words + ["--precision=" + precision]))
            curves[precision] = read_run(out)
        if s.curve:
            cpu, run.figures["cpu"] = s.curve["epochs"][:count], "recorded by " + s.curve["by"]
        else:
            out, run.figures["cpu"] = os.path.join(run.work, "curve-cpu"), "computed here"
            run.command(train_words(s, s.data, out, words, device="cpu"))
            cpu = read_run(out)
        run.figures["recall"] = {"cpu": [e["recall"] for e in cpu]}
        allowed = max(RECALL_TOLERANCE, FLIPPED_USERS / (cpu[0]["users"] or 1))
        for precision, ours in curves.items():
            loss, recall = worst(ours, cpu)
            run.figures[precision] = {"loss_difference": loss, "recall_difference": recall}
            run.figures["recall"][precision] = [e["recall"] for e in ours]
            if not (loss <= LOSS_TOLERANCE and recall <= allowed):
                raise Failed("%s: losses differ from the CPU's by up to %.3g of them (%g allowed), recalls by %.4f (%g allowed)" %
                             (precision, loss, LOSS_TOLERANCE, recall, allowed))
    return work


def accuracy(s, precision):
    """30 epochs, as docs/reproduction.md has them."""
    def work(run):
        out = os.path.join(run.work, "accuracy")
        run.command(train_words(s, s.data, out, ["--epochs=30", "--precision=" + precision] + s.words))
        run.command([sys.executable, "bench/run_summary.py", os.path.join(out, "metrics.jsonl")])
        run.figures["recall"] = max(e["recall"] for e in read_run(out))
    return work


def steps(s):
    """(name, seconds at most in a short run, the step). A full run allows ten times as long, the stand-in four times."""
    few = {"KDIFFE_TEST_FILTER": "a_few_users_agree"} if s.stand_in and s.quick else {}  # fibers are slow
    tools = ("memcheck", "racecheck", "initcheck", "synccheck") if s.full else ("memcheck", "racecheck")
    checked = ("test_columns", "test_graph_columns") + (("test_split",) if s.full else ())
    listed = [("device", 15, device(s)), ("golden", 60, golden(s)), ("test_columns", 45, program(s, "test_columns")),
              ("test_graph_columns", 45, program(s, "test_graph_columns")), ("text features", 30, add_text(s))]
    listed += [("epochs " + p, 40, epochs(s, p)) for p in ("tf32", "bf16", "fp32")]
    listed += [("ops", 100, ops(s)), ("trace", 30, trace(s)), ("peers", 75, peers(s)), ("ncu", 60, counters(s)),
               ("test_training_columns", 40, program(s, "test_training_columns", **few)),
               ("test_naive_columns", 30, program(s, "test_naive_columns")), ("test_split", 20, program(s, "test_split")),
               ("test_ops", 40, program(s, "test_ops")), ("precisions", 30, precisions(s))]
    listed += [("%s %s" % (t, c), 30, sanitizer(s, t, c)) for t in tools for c in checked]
    listed += [("%d ranks on this card" % n, 30, ranks(s, n)) for n in ((2, 3) if s.full else (2,))]
    listed += [("curve", 60, curve(s))]
    listed += [("accuracy " + p, 60, accuracy(s, p)) for p in (("tf32", "fp32") if s.full else ())]
    return listed
