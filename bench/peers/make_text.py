#!/usr/bin/env python3
"""Copies a data set and adds text features of seeded random numbers: the published data lacks the third modality, and its
cost does not depend on what the numbers are.

usage: make_text.py DATA OUT [--width=768] [--seed=1]
"""
import argparse
import os
import shutil

import numpy as np

import data as data_files


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    items = data_files.read_dataset(options.data).items
    shutil.copytree(options.data, options.out, ignore=shutil.ignore_patterns("*.cache"))
    features = np.random.default_rng(options.seed).standard_normal((items, options.width), np.float32)
    np.save(os.path.join(options.out, "text_feat.npy"), features)


if __name__ == "__main__":
    main()
