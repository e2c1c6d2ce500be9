"""Reads a data set folder (docs/formats.md) and the attention-aware matrix that `kdiffe attention` writes."""
import os
from dataclasses import dataclass, field

import numpy as np

FIRST_MODALITIES = ("image", "text", "audio")


@dataclass
class Dataset:
    name: str
    users: int
    items: int
    entities: int
    relations: int
    train: np.ndarray  # [n, 2] user, item; sorted, each pair once
    valid: np.ndarray
    test: np.ndarray
    triples: np.ndarray  # [n, 3] head, relation, tail
    features: dict = field(default_factory=dict)


def read_columns(path, columns):
    """The named columns of a text table, each a list of strings."""
    with open(path, encoding="utf-8") as f:
        header = [name.split(":")[0] for name in f.readline().rstrip("\r\n").split("\t")]
        at = [header.index(c) for c in columns]
        rows = [line.rstrip("\r\n").split("\t") for line in f if line.strip()]
    return [[row[i] for row in rows] for i in at]


def read_ids(path, column):
    return {name: i for i, name in enumerate(read_columns(path, [column])[0])} if os.path.exists(path) else {}


def read_numbers(path, columns, ids):
    """[n, columns] with each id replaced by its number; empty where the file is missing."""
    if not os.path.exists(path):
        return np.zeros((0, len(columns)), np.int64)
    values = read_columns(path, columns)
    return np.array([[known[v] for v in column] for known, column in zip(ids, values)], np.int64).T.copy()


def modality_order(name):
    return (FIRST_MODALITIES.index(name), "") if name in FIRST_MODALITIES else (len(FIRST_MODALITIES), name)


def read_features(folder):
    names = [f[:-len("_feat.npy")] for f in os.listdir(folder) if f.endswith("_feat.npy")]
    return {m: np.load(os.path.join(folder, m + "_feat.npy")).astype(np.float32)
            for m in sorted(names, key=modality_order)}


def read_dataset(folder):
    name = [f for f in os.listdir(folder) if f.endswith(".train.inter")][0][:-len(".train.inter")]
    at = lambda suffix: os.path.join(folder, name + suffix)
    users, items = read_ids(at(".user"), "user_id"), read_ids(at(".item"), "item_id")
    entities, relations = read_ids(at(".entity"), "entity_id"), read_ids(at(".relation"), "relation_id")
    split = lambda s: np.unique(read_numbers(at("." + s + ".inter"), ["user_id", "item_id"], [users, items]), axis=0)
    triples = read_numbers(at(".kg"), ["head_id", "relation_id", "tail_id"], [entities, relations, entities])
    return Dataset(name, len(users), len(items), max(len(entities), len(items)), len(relations),
                   split("train"), split("valid"), split("test"), triples, read_features(folder))


def read_similarity(path):
    """Rows, columns and values of the attention-aware matrix."""
    table = np.loadtxt(path, ndmin=2)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]
