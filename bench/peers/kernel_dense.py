"""Peers of the dense ops: products, InfoNCE, unit rows, Adam."""
import numpy as np
import torch
import torch.nn.functional as F

import common
import model_r2
from kernel_inputs import Case, Peer, difference, largest, share_is

# products


def gemm_in(setting):
    """P = X W1."""
    draws, rows, items, hidden = setting.draws(), setting.rows(), setting.data.items, setting.s.hidden
    x, w, out = draws.matrix(rows, items), draws.matrix(items, hidden), draws.matrix(rows, hidden)
    return product(setting, "gemm_in", (rows, items, hidden), x, w, "torch.mm", lambda: torch.mm(x, w, out=out))


def gemm_weight(setting):
    """dW1 = X' dP."""
    draws, rows, items, hidden = setting.draws(), setting.rows(), setting.data.items, setting.s.hidden
    x, dp, out = draws.matrix(rows, items), draws.matrix(rows, hidden), draws.matrix(items, hidden)
    return product(setting, "gemm_weight", (items, rows, hidden), x.t(), dp, "torch.mm, transposed",
                   lambda: torch.mm(x.t(), dp, out=out))


def gemm_chain(setting):
    """P = H chain + c2 P."""
    draws, rows, hidden = setting.draws(), setting.rows(), setting.s.hidden
    h, chain, p = draws.matrix(rows, hidden), draws.matrix(hidden, hidden), draws.matrix(rows, hidden)
    return product(setting, "gemm_chain", (rows, hidden, hidden), h, chain, "torch.addmm_",
                   lambda: p.addmm_(h, chain, beta=0.5), 0.5 * p.double())


def linear(setting):
    """out = H W2' + b2."""
    draws, rows, items, hidden = setting.draws(), setting.rows(), setting.data.items, setting.s.hidden
    h, w, out = draws.matrix(rows, hidden), draws.matrix(items, hidden), draws.matrix(rows, items)
    bias = draws.matrix(1, items)[0]
    case = product(setting, "linear", (rows, hidden, items), h, w.t(), "torch.addmm", lambda: torch.addmm(
        bias, h, w.t(), out=out), bias.double())
    expected = h.double() @ w.double().t() + bias.double()
    case.peers.append(Peer("F.linear", lambda: F.linear(h, w, bias), lambda c: difference(c, expected), setting.tolerance))
    return case


def product(setting, op, shape, a, b, name, run, rest=0.0):
    expected = a.double() @ b.double() + rest
    return Case(op, shape, 0, [Peer(name, run, lambda c: difference(c, expected), setting.tolerance)])


# InfoNCE of unit rows


def infonce_users(setting):
    return infonce(setting, "infonce_users", 0, setting.data.users)


def infonce_items(setting):
    return infonce(setting, "infonce_items", 1, setting.data.items)


def naive_loss(a, b, nodes, temp):
    """Every batch entry an anchor, logits stored; summed over the batch, which is the engine's weight of its size."""
    return F.cross_entropy(a.index_select(0, nodes) @ b.t() / temp, nodes, reduction="sum")


class Contrast:
    """One arm's own tables and their gradients, which calls add to."""

    def __init__(self, a, b, loss):
        self.a, self.b, self.loss = a.clone().requires_grad_(), b.clone().requires_grad_(), loss

    def run(self):
        loss = self.loss(self.a, self.b)
        loss.backward()
        return loss.detach(), self.a.grad, self.b.grad


def infonce(setting, op, part, rows):
    draws, temp = setting.draws(), setting.s.temp
    nodes = setting.batch(draws)[part]
    a, b = (draws.unit_matrix(rows, setting.s.dim) for _ in range(2))
    expected = Contrast(a.double(), b.double(), lambda a, b: naive_loss(a, b, nodes, temp)).run()
    check = lambda result: largest(difference(x, y) for x, y in zip(result, expected))
    distinct, weight = model_r2.multiplicity(nodes.cpu().numpy(), setting.device)
    weight, tile = weight * len(nodes), 256 if setting.device.type == "cpu" else len(nodes)
    tiled = lambda a, b: model_r2._InfoNce.apply(a.index_select(0, distinct), b, distinct, weight, temp, tile)
    naive = lambda a, b: naive_loss(a, b, nodes, temp)
    arm = lambda name, loss, **more: Peer(name, Contrast(a, b, loss).run, check, setting.tolerance, **more)
    return Case(op, (len(distinct), rows, setting.s.dim), len(nodes),
                [arm("torch, logits stored (R1)", naive),
                 arm("torch.compile of it", torch.compile(naive), optional=True),
                 arm("torch, tiled, multiplicities (R2)", tiled)])


# unit rows with dropout


def unit_rows_expected(x, p, kept):
    """Float64 forward pass given which elements stay."""
    dropped = x.double() * kept / (1 - p)
    norm = dropped.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)
    return dropped / norm, norm


def check_unit_rows(x, p, y):
    """Which elements were dropped is seen in the result: they are zero there."""
    kept = y != 0
    return difference(y, unit_rows_expected(x, p, kept)[0]) if share_is(kept, 1 - p) else np.inf


def unit_rows_inputs(setting, draws):
    n, d = setting.data.users + setting.data.items, setting.s.dim
    return draws.matrix(n, d), setting.s.mess_dropout


def unit_rows_arms(setting):
    fast = common.Draws(setting.device).dropout
    arms = {"F.normalize(F.dropout)": F.dropout}
    if setting.device.type == "cpu":  # on a GPU the two are the same
        arms["F.normalize, uniform_ dropout (R1)"] = fast
    return {name: lambda x, p, drop=drop: F.normalize(drop(x, p)) for name, drop in arms.items()}


def unit_rows_forward(setting):
    x, p = unit_rows_inputs(setting, setting.draws())
    peers = [Peer(name, lambda arm=arm: arm(x, p), lambda y: check_unit_rows(x, p, y))
             for name, arm in unit_rows_arms(setting).items()]
    return Case("unit_rows_forward", tuple(x.shape), 0, peers)


def unit_rows_backward(setting):
    draws = setting.draws()
    x, p = unit_rows_inputs(setting, draws)
    up, peers = draws.matrix(*x.shape), []
    for name, arm in unit_rows_arms(setting).items():
        leaf = x.clone().requires_grad_()
        y = arm(leaf, p)
        unit, norm = unit_rows_expected(x, p, y.detach() != 0)
        expected = (up - unit * (unit * up).sum(1, keepdim=True)) / norm * (y.detach() != 0) / (1 - p)
        peers.append(Peer(name,
                          lambda y=y, leaf=leaf: torch.autograd.grad(y, leaf, up, retain_graph=True)[0],
                          lambda dx, expected=expected: difference(dx, expected)))
    return Case("unit_rows_backward", tuple(x.shape), 0, peers)


# Adam


def adam(setting):
    s, items = setting.s, setting.data.items
    n = 2 * items * s.hidden + items + (s.time_dim + 1) * s.hidden + (s.time_dim + 1) * s.time_dim
    draws = setting.draws()
    p, g, m, v = (draws.matrix(1, n)[0] for _ in range(4))
    v.abs_()
    expected = adam_expected(*(x.double() for x in (p, g, m, v)))
    check = lambda result: largest(difference(x, y) for x, y in zip(result, expected))
    peers = [Peer("torch.optim.Adam(%s=True)" % kind, adam_step(setting, kind, p, g, m, v), check)
             for kind in ("fused", "foreach")]
    return Case("adam", (1, n), 0, peers)


def adam_expected(p, g, m, v, lr=1e-3):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p - lr / 0.1 * m / ((v / 0.001).sqrt() + 1e-8), m, v


def adam_step(setting, kind, p, g, m, v):
    p, m, v = (x.clone() for x in (p, m, v))
    p.grad = g
    optimizer = torch.optim.Adam([p], lr=1e-3, **{kind: True})
    steps = torch.zeros((), device=setting.device if kind == "fused" else "cpu")
    optimizer.state[p] = {"step": steps, "exp_avg": m, "exp_avg_sq": v}

    def run():
        optimizer.step()
        return p, m, v

    return run


CASES = {"gemm_in": ("gemm", gemm_in), "gemm_weight": ("gemm", gemm_weight), "gemm_chain": ("gemm", gemm_chain),
         "linear": ("linear", linear), "unit_rows_forward": ("unit_rows", unit_rows_forward),
         "unit_rows_backward": ("unit_rows", unit_rows_backward), "adam": ("adam", adam),
         "infonce_users": ("infonce", infonce_users), "infonce_items": ("infonce", infonce_items)}
