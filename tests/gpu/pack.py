#!/usr/bin/env python3
"""A folder that run.sh OUT makes all of run.py's steps from, on a machine with a GPU's driver, glibc and python3 and nothing
else: make gpu-pack.

usage: pack.py BUILD OUT [--data=DIR] [--golden=DIR ...] [--no-curve] [--key=value ...]

Programs of BUILD, stripped, with the libraries that are neither CUDA's nor glibc's; golden folders; data/tiktok, or --data;
bench/peers; and the curve of the CPU that the last step compares with, which takes minutes and is kept in BUILD until a
source file or the data changes (--no-curve: the target computes it). --key=value: options of that curve's run beside the
published ones. Fails if the folder is larger than 55 MB.
"""
import argparse
import glob
import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import steps

HERE = os.path.dirname(os.path.abspath(__file__))
MOST = 55e6
PROGRAMS = ["kdiffe"] + ["tests/" + name for name in (
    "golden", "test_columns", "test_graph_columns", "test_ops", "test_split", "test_naive_columns", "test_training_columns",
    "test_ranks")]
# The loader and what is of one version with it; the toolkit's and the driver's, which run.py looks for on the target.
GLIBC = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv|anl|mvec))\.so\.\d+$")
CUDA = re.compile(r"lib(cuda|cudart|cublas|cublasLt|cusparse|nccl|nvJitLink)\.so\.\d+$")
FILES = ["bench/run_summary.py", "datasets/demo.yaml"]
RUN_SH = """#!/bin/sh
# run.sh OUT [WORDS]: what is to be confirmed on this machine's GPU, within eight minutes; the record is OUT/record.txt.
[ $# -gt 0 ] || { echo "usage: run.sh OUT [WORDS of gpu/run.py]" >&2; exit 2; }
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
exec python3 "$here/run.py" "$@"
"""


def call(words, **more):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        sys.exit("pack.py: %s: %s" % (words[0], ((done.stderr + done.stdout).strip().splitlines() or ["failed"])[-1]))
    return done.stdout


def put(source, tree, path):
    target = os.path.join(tree, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
    return target


def put_programs(build, tree):
    """The names of the libraries that are left to the target."""
    left = set()
    for name in PROGRAMS:
        source = os.path.join(build, name)
        target = put(source, tree, "build/" + name)
        call(["strip", target])
        os.chmod(target, 0o755)
        for line in call(["ldd", source]).splitlines():
            found = re.match(r"\s*(\S+) => (/\S+)", line)
            library = os.path.basename(found.group(1) if found else line.split()[0])
            if GLIBC.match(library) or CUDA.match(library) or not found:
                left.add(library)
            elif not os.path.exists(os.path.join(tree, "build/lib", library)):
                call(["strip", "--strip-unneeded", put(found.group(2), tree, "build/lib/" + library)])
    return sorted(left - {"linux-vdso.so.1"})


def put_golden(folders, tree):
    for folder in folders:
        place = "shared/golden" if "shared/golden" in os.path.abspath(folder) else "tests/cases"
        for f in sorted(os.listdir(folder)):
            put(os.path.join(folder, f), tree, os.path.join(place, os.path.basename(os.path.normpath(folder)), f))


def put_data(o, kdiffe, tree):
    target = os.path.join(tree, "data/tiktok")
    os.makedirs(os.path.dirname(target))
    if not o.data:
        told = steps.shipped_data(kdiffe, target, call)
    else:
        shutil.copytree(o.data, target, ignore=shutil.ignore_patterns("*.cache"))
        told = os.path.basename(os.path.normpath(o.data))
    for f in glob.glob(os.path.join(target, "*.cache")):
        os.remove(f)
    return told


def sources_and(folder):
    """A word for everything that a run on the CPU depends on."""
    digest = hashlib.sha256()
    for pattern in ("include/**/*.h", "src/host/**/*.[ch]", "src/kernels/*.[ch]", "src/kernels/c*/**/*.[ch]", "src/kernels/ops/*"):
        for path in sorted(glob.glob(pattern, recursive=True)):
            with open(path, "rb") as f:
                digest.update(f.read())
    for path in sorted(glob.glob(os.path.join(folder, "*"))):
        with open(path, "rb") as f:
            digest.update(f.read())
    return digest.hexdigest()


def put_curve(o, kdiffe, tree, commit):
    """Recorded once for the sources, the data and the options; a run of the CPU, whatever else the build is made for."""
    data, kept = os.path.join(tree, "data/tiktok"), os.path.join(o.build, "curve.json")
    words = ["--epochs=%d" % steps.CURVE_EPOCHS] + steps.published_words(data) + o.words
    key = sources_and(data) + " ".join(words)
    curve = None
    if os.path.exists(kept):
        with open(kept) as f:
            curve = json.load(f)
    if not curve or curve["key"] != key:
        print("recording %d epochs of the CPU, which takes minutes" % steps.CURVE_EPOCHS, flush=True)
        with tempfile.TemporaryDirectory() as out:
            call([kdiffe, "train", data, "--out=" + out, "--overwrite", "--device=cpu"] + words,
                 env=dict(os.environ, OMP_WAIT_POLICY="passive"))  # other processes may want the cores
            curve = {"key": key, "by": "the CPU at commit " + commit, "epochs": steps.read_run(out)}
        with open(kept, "w") as f:
            json.dump(curve, f)
    put(kept, tree, "curve.json")
    for f in glob.glob(os.path.join(data, "*.cache")):
        os.remove(f)


def built_for(build):
    with open(os.path.join(build, "flags")) as f:
        flags = f.read()
    codes = ["the stand-in"] if "-u,ncclAllReduce" in flags else re.findall(r"code=\[?([\w,]+)", flags)
    return ",".join(codes) + "; CPU " + ",".join(re.findall(r"-march=x86-64-(v\d)", flags))


def size(path):
    return sum(os.path.getsize(os.path.join(folder, f)) for folder, _, files in os.walk(path) for f in files)


def write_pack(o, tree):
    os.makedirs(o.out, exist_ok=True)
    # A dictionary in which the copies of the engine that the programs are linked with find each other.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 1 << 26}]
    with lzma.open(os.path.join(o.out, "pack.tar.xz"), "wb", filters=filters) as f, tarfile.open(fileobj=f, mode="w") as tar:
        tar.add(tree, arcname=".")
    for name in ("run.py", "machine.py", "steps.py"):
        shutil.copyfile(os.path.join(HERE, name), os.path.join(o.out, name))
    with open(os.path.join(o.out, "run.sh"), "w") as f:
        f.write(RUN_SH)
    os.chmod(os.path.join(o.out, "run.sh"), 0o755)


def parse():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("out")
    parser.add_argument("--data")
    parser.add_argument("--golden", action="append")
    parser.add_argument("--no-curve", action="store_true")
    o, o.words = parser.parse_known_args()
    o.golden = o.golden or [os.path.dirname(m) for m in sorted(glob.glob("tests/cases/*/manifest.json") +
                                                                glob.glob("../shared/golden/*/manifest.json"))]
    return o


def main():
    o = parse()
    kdiffe = os.path.join(o.build, "kdiffe")
    commit = call(["git", "describe", "--always", "--dirty"]).strip()
    with tempfile.TemporaryDirectory() as tree:
        left = put_programs(o.build, tree)
        put_golden(o.golden, tree)
        for f in FILES + glob.glob("bench/peers/*.py"):
            put(f, tree, f)
        told = put_data(o, kdiffe, tree)
        if not o.no_curve:
            put_curve(o, kdiffe, tree, commit)
        with open(os.path.join(tree, "about.json"), "w") as f:
            json.dump({"commit": commit, "built": built_for(o.build), "data": told}, f)
        write_pack(o, tree)
        parts = {name: size(os.path.join(tree, name)) for name in ("build/lib", "build/tests", "data", "tests", "shared", "bench")}
    total = size(o.out)
    print("%s: %.1f MB; unpacked, MB: %s" % (o.out, total / 1e6, ", ".join("%s %.1f" % (k, v / 1e6) for k, v in parts.items())))
    print("data: %s. Left to the target: %s; of the repository: MPI, test_lightgcn, test_resume, cusparse_spmm, features of a "
          "third modality, which are made there" % (told, " ".join(left)))
    if total > MOST:
        sys.exit("pack.py: larger than %.0f MB" % (MOST / 1e6))


if __name__ == "__main__":
    main()
