"""The graphs of docs/model.md#views, built with vectorised operations on the device, and products with them."""
from dataclasses import dataclass

import numpy as np
import torch


def csr(rows, cols, values, shape):
    """A CSR tensor with 32-bit indices, which is what cuSPARSE and MKL multiply with; entries in any order, each once."""
    order = torch.argsort(rows * shape[1] + cols)
    bounds = torch.arange(shape[0] + 1, device=rows.device)
    ptr = torch.searchsorted(rows[order].contiguous(), bounds)
    return torch.sparse_csr_tensor(ptr.int(), cols[order].int(), values[order], shape, check_invariants=False)


@dataclass
class Graph:
    matrix: torch.Tensor
    transpose: torch.Tensor


def graph(rows, cols, values, shape):
    return Graph(csr(rows, cols, values, shape), csr(cols, rows, values, (shape[1], shape[0])))


class _Spmm(torch.autograd.Function):
    """matrix @ x whose gradient multiplies with a transpose made once; autograd's own would make it at every call."""

    @staticmethod
    def forward(ctx, x, matrix, transpose):
        ctx.transpose = transpose
        return matrix @ x

    @staticmethod
    def backward(ctx, grad):
        return ctx.transpose @ grad.contiguous(), None, None


def spmm(g, x):
    return _Spmm.apply(x, g.matrix, g.transpose)


def gcn(adjacency, x, layers):
    total = x
    for _ in range(layers):
        x = spmm(adjacency, x)
        total = total + x
    return total


def interactions(pairs, users, items, device):
    """Y [users, items], 0/1."""
    u, i = torch.as_tensor(pairs, device=device).unbind(1)
    return graph(u, i, torch.ones(len(u), device=device), (users, items))


def attention_aware(pairs, users, items, similarity, epsilon, device):
    """D^-1/2 (A + I + epsilon S) D^-1/2 with D the row sums of A + I."""
    n = users + items
    u, i = pairs[:, 0], pairs[:, 1] + users
    keys = np.concatenate([u * n + i, i * n + u])
    order = np.argsort(keys)
    keys = keys[order]
    value = np.ones(len(keys))
    if similarity is not None:
        rows, cols, s = similarity
        value[np.searchsorted(keys, rows * n + cols)] += epsilon * s
    degree = 1.0 + np.bincount(keys // n, minlength=n)
    rows = np.concatenate([keys // n, np.arange(n)])
    cols = np.concatenate([keys % n, np.arange(n)])
    value = np.concatenate([value, np.ones(n)]) / np.sqrt(degree[rows] * degree[cols])
    on = lambda x: torch.as_tensor(x, device=device)
    return graph(on(rows), on(cols), on(value.astype(np.float32)), (n, n))


def modality_graph(top, items, keep):
    """The generated items of every user, both directions, plus I, normalised by its own degrees. keep: a factor for
    each of the 2 users q + nodes entries, 0 or 1/keep_rate."""
    users, q = top.shape
    n = users + items
    u = torch.arange(users, device=top.device)[:, None].expand(users, q).reshape(-1)
    v = top.reshape(-1) + users
    own = torch.arange(n, device=top.device)
    rows, cols = torch.cat([u, v, own]), torch.cat([v, u, own])
    scale = torch.ones(n, device=top.device).index_add_(0, rows[:-n], torch.ones_like(rows[:-n], dtype=torch.float))
    scale = scale.rsqrt_()
    return graph(rows, cols, scale[rows] * scale[cols] * keep, (n, n))


@dataclass
class Kg:
    """Directed edges, sorted by head."""
    entities: int
    relations: int
    head: torch.Tensor
    tail: torch.Tensor
    relation: torch.Tensor

    def edges(self, chosen):
        return Kg(self.entities, self.relations, self.head[chosen], self.tail[chosen], self.relation[chosen])


def kg_edges(triples, entities, relations, device):
    """Sorted distinct triples, then their inverses; the first of every ordered pair stays."""
    forward = np.unique(triples.reshape(-1, 3), axis=0)
    inverse = np.stack([forward[:, 2], forward[:, 1] + relations, forward[:, 0]], 1)
    edges = np.concatenate([forward, inverse])
    first = np.unique(edges[:, 0] * entities + edges[:, 2], return_index=True)[1]
    edges = edges[np.sort(first)]
    edges = torch.as_tensor(edges[np.argsort(edges[:, 0], kind="stable")], device=device)
    return Kg(entities, 2 * relations, *(edges[:, c].contiguous() for c in (0, 2, 1)))


def neighbours(kg):
    """The entities' 0/1 neighbour rows."""
    return graph(kg.head, kg.tail, torch.ones(len(kg.head), device=kg.head.device), (kg.entities, kg.entities))


def capped(kg, most):
    """At most `most` edges of each head, uniform without replacement."""
    if most < 0:
        return kg
    order = torch.argsort(kg.head + torch.rand(len(kg.head), device=kg.head.device, dtype=torch.float64))
    heads = kg.head[order]
    rank = torch.arange(len(heads), device=heads.device) - torch.searchsorted(heads, heads)
    return kg.edges(torch.sort(order[rank < most]).values)


def generated(kg, top):
    """Which edges (h, t) have t among h's sampled columns, or h among t's."""
    pair = lambda a, b: (top.index_select(0, a) == b[:, None]).any(1)
    return pair(kg.head, kg.tail) | pair(kg.tail, kg.head)
