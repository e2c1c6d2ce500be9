#!/usr/bin/env python3
"""Copies a data set and adds text features of seeded random numbers: the published data lacks the third modality, and its
cost does not depend on what the numbers are. Needs Python alone.

usage: make_text.py DATA OUT [--width=768] [--seed=1]
"""
import argparse
import array
import ast
import glob
import os
import random
import shutil
import struct
import sys

MAGIC = b"\x93NUMPY\x01\x00"
SPREAD = 3.0 ** 0.5  # of uniform numbers with variance 1


def first_dimension(path):
    """Of an .npy file's array: its head is a dictionary in Python's words."""
    with open(path, "rb") as f:
        major = f.read(8)[6]
        size, = struct.unpack("<H" if major == 1 else "<I", f.read(2 if major == 1 else 4))
        return ast.literal_eval(f.read(size).decode("latin1"))["shape"][0]


def write_floats(path, rows, cols, values):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (rows, cols)
    head += " " * (-(len(MAGIC) + 2 + len(head) + 1) % 64) + "\n"
    if sys.byteorder == "big":
        values.byteswap()
    with open(path, "wb") as f:
        f.write(MAGIC + struct.pack("<H", len(head)) + head.encode())
        values.tofile(f)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    known = glob.glob(os.path.join(options.data, "*_feat.npy"))
    if not known:
        sys.exit("make_text.py: %s has no features of another modality, which say how many items there are" % options.data)
    items, draw = first_dimension(known[0]), random.Random(options.seed).random
    shutil.copytree(options.data, options.out, ignore=shutil.ignore_patterns("*.cache"))
    values = array.array("f", ((2.0 * draw() - 1.0) * SPREAD for _ in range(items * options.width)))
    write_floats(os.path.join(options.out, "text_feat.npy"), items, options.width, values)


if __name__ == "__main__":
    main()
