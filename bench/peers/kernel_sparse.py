"""Peers of the sparse ops: products with the adjacency, a hop of relation-aware attention."""
import json
import os
import subprocess
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

import common
import graphs
import model_r2
from kernel_inputs import FLOAT32, Case, Peer, Timing, difference, largest, optional

# products with the adjacency


def spmm_at(width):
    return lambda setting: spmm(setting, width)


def plain_product(matrix, x):
    """Float64, entry by entry."""
    ptr, col = matrix.crow_indices().long(), matrix.col_indices().long()
    row = torch.repeat_interleave(torch.arange(len(ptr) - 1, device=ptr.device), ptr.diff())
    out = torch.zeros(matrix.shape[0], x.shape[1], dtype=torch.float64, device=x.device)
    return out.index_add_(0, row, matrix.values().double()[:, None] * x.double().index_select(0, col))


def spmm(setting, width):
    d = setting.data
    a = graphs.attention_aware(d.train, d.users, d.items, None, 0.0, setting.device).matrix
    x = setting.draws().matrix(a.shape[1], width)
    expected, coo = plain_product(a, x), a.to_sparse_coo().coalesce()
    arms = {"torch CSR": lambda: a @ x, "torch COO": lambda: coo @ x}
    pyg, torch_sparse = optional("torch_geometric.utils"), optional("torch_sparse")
    if pyg:
        arms["torch_geometric.utils.spmm, CSR"] = lambda: pyg.spmm(a, x, "sum")
    if torch_sparse:
        tensor = torch_sparse.SparseTensor(rowptr=a.crow_indices().long(), col=a.col_indices().long(), value=a.values(),
                                           sparse_sizes=tuple(a.shape), is_sorted=True)
        arms["torch_sparse.matmul"] = lambda: torch_sparse.matmul(tensor, x)
    arms.update(scipy_arm(setting, a, x))
    peers = [Peer(name, run, lambda y: difference(y, expected)) for name, run in arms.items()]
    return Case("spmm_%d" % width, (a.shape[0], width), len(a.values()), peers + cusparse_arms(setting, a, width))


def scipy_arm(setting, a, x):
    sparse = optional("scipy.sparse")
    if not sparse or setting.device.type != "cpu":
        return {}
    parts = tuple(part.numpy() for part in (a.values(), a.col_indices(), a.crow_indices()))
    matrix, dense = sparse.csr_matrix(parts, shape=tuple(a.shape)), x.numpy()
    return {"scipy CSR, one thread": lambda: matrix @ dense}


class Program:
    """One algorithm of cuSPARSE in a process of its own: it checks itself against a plain sum before its clock starts."""
    tolerance, differs, optional = FLOAT32, "", False

    def __init__(self, program, algorithm, a, width):
        self.name, self.a = "cuSPARSE " + algorithm, a
        self.program, self.algorithm, self.width = program, algorithm, width

    def call(self, iterations):
        a = self.a
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "matrix")
            with open(path, "wb") as f:
                f.write(np.array([*a.shape, len(a.values())], np.int64).tobytes())
                for part in (a.crow_indices(), a.col_indices(), a.values()):
                    f.write(part.cpu().numpy().tobytes())
            words = [self.program, path, str(self.width), str(iterations), self.algorithm]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        if not done.stdout:
            done.check_returncode()
        return json.loads(done.stdout)

    def difference(self):
        """JSON has no NaN: an error that is none is left out."""
        return self.call(1).get("max_err", np.inf)

    def measure(self, iterations, device):
        record = self.call(iterations)
        return Timing(record["min_us"], record["med_us"], record["p99_us"])


def cusparse_arms(setting, a, width):
    if setting.device.type != "cuda" or not os.path.exists(setting.cusparse):
        return []
    return [Program(setting.cusparse, name, a, width) for name in ("default", "csr_alg1", "csr_alg2", "csr_alg3")]


# a hop of relation-aware attention: e_h + sum alpha e_t


def hop(e, tail, head, logit):
    """As R1: one scattered sum for the softmax, one for the rows."""
    alpha = common.softmax_by(head, len(e), F.leaky_relu(logit, common.LEAKY_SLOPE))
    return e.index_add(0, head, alpha[:, None] * e.index_select(0, tail))


class Published:
    """R1: the logit by its formula, (e_h | e_t) W . r."""

    def __init__(self, kg, e, relation, weight):
        self.kg, self.inputs = kg, [x.clone().requires_grad_() for x in (e, relation, weight)]

    def __call__(self):
        (e, relation, weight), kg = self.inputs, self.kg
        pair = torch.cat([e.index_select(0, kg.head), e.index_select(0, kg.tail)], 1) @ weight
        return hop(e, kg.tail, kg.head, (pair * relation.index_select(0, kg.relation)).sum(1))


class Scalars:
    """R2: two scalars an edge, sums as sparse products."""
    attend = model_r2._Attend

    def __init__(self, kg, e, rh, rt):
        self.kg, self.inputs = model_r2.SparseKg(kg), [x.clone().requires_grad_() for x in (e, rh, rt)]

    def logit(self):
        (e, rh, rt), kg = self.inputs, self.kg
        return ((e @ rh.t()).view(-1).index_select(0, kg.head_entry) +
                (e @ rt.t()).view(-1).index_select(0, kg.tail_entry))

    def __call__(self):
        kg, e = self.kg, self.inputs[0]
        alpha = common.softmax_by(kg.head, len(e), F.leaky_relu(self.logit(), common.LEAKY_SLOPE))
        return self.attend.apply(alpha, e, kg) + e


class _GatheredAttend(model_r2._Attend):
    """The gradient of alpha from both rows of every edge, gathered: slower on a CPU; on a GPU which is faster is to be seen."""

    @staticmethod
    def backward(ctx, grad):
        alpha, e = ctx.saved_tensors
        kg = ctx.kg
        dalpha = (grad.index_select(0, kg.head) * e.index_select(0, kg.tail)).sum(1)
        return dalpha, kg.by_tail(alpha) @ grad.contiguous(), None


class Gathered(Scalars):
    """R2 with that gradient; its forward pass is R2's."""
    attend = _GatheredAttend


class Geometric(Scalars):
    """Messages as torch_geometric's GATConv passes them: its scalars an edge, its softmax, its propagate."""

    def __init__(self, kg, e, rh, rt):
        super().__init__(kg, e, rh, rt)
        self.edges, self.layer = torch.stack([kg.tail, kg.head]), geometric_layer()

    def __call__(self):
        e = self.inputs[0]
        return e + self.layer.propagate(self.edges, e=e, logit=self.logit())


def geometric_layer():
    from torch_geometric.nn import MessagePassing
    from torch_geometric.utils import softmax

    class Layer(MessagePassing):
        def message(self, e_j, logit, index, ptr, size_i):
            alpha = softmax(F.leaky_relu(logit, common.LEAKY_SLOPE), index, ptr, size_i)
            return alpha[:, None] * e_j

    return Layer(aggr="add", node_dim=0)


def rgat_case(setting, op, make_peer):
    """make_peer: (name, arm, float64 inputs, their hop) -> Peer. Each arm has weights of its own form."""
    d, s, draws = setting.data, setting.s, setting.draws()
    torch.manual_seed(s.seed)
    kg = graphs.capped(graphs.kg_edges(d.triples, d.entities, d.relations, setting.device), s.triplet_num)
    e = draws.matrix(kg.entities, s.dim)
    rh, rt = (draws.matrix(kg.relations, s.dim, 0.3) for _ in range(2))
    relation, weight = draws.matrix(kg.relations, s.dim), draws.matrix(2 * s.dim, s.dim, 0.1)
    arms = {"torch, scattered, W per edge (R1)": Published(kg, e, relation, weight),
            "torch, scalars, sparse sums (R2)": Scalars(kg, e, rh, rt)}
    if op == "rgat_backward":
        arms["torch, scalars, rows gathered"] = Gathered(kg, e, rh, rt)
    if optional("torch_geometric"):
        arms["torch_geometric softmax, propagate"] = Geometric(kg, e, rh, rt)
    peers = [make_peer(name, arm, *expected_hop(kg, arm)) for name, arm in arms.items()]
    return Case(op, (kg.entities, kg.relations, s.dim), len(kg.head), peers)


def expected_hop(kg, arm):
    inputs = [x.detach().double().requires_grad_() for x in arm.inputs]
    e, *rest = inputs
    if isinstance(arm, Published):
        relation, weight = rest
        top, bottom = weight.split(e.shape[1])
        rest = relation @ top.t(), relation @ bottom.t()
    rh, rt = rest
    logit = ((e[kg.head] * rh[kg.relation]).sum(1) + (e[kg.tail] * rt[kg.relation]).sum(1))
    return inputs, hop_plain(e, kg, F.leaky_relu(logit, common.LEAKY_SLOPE))


def hop_plain(e, kg, logit):
    """Softmax without the maximum: float64 has room for these logits."""
    share = logit.exp()
    total = torch.zeros(len(e), dtype=torch.float64, device=e.device).index_add(0, kg.head, share)
    return e.index_add(0, kg.head, (share / total[kg.head])[:, None] * e[kg.tail])


def rgat_forward(setting):
    def make_peer(name, arm, inputs, expected):
        return Peer(name, arm, lambda agg: difference(agg, expected), setting.tolerance)

    return rgat_case(setting, "rgat_forward", make_peer)


def rgat_backward(setting):
    def make_peer(name, arm, inputs, hop64):
        agg = arm()
        up = setting.draws().matrix(*agg.shape)
        expected = torch.autograd.grad(hop64, inputs, up.double())
        check = lambda found: largest(difference(x, y) for x, y in zip(found, expected))
        return Peer(name, lambda: torch.autograd.grad(agg, arm.inputs, up, retain_graph=True), check,
                    setting.tolerance)

    return rgat_case(setting, "rgat_backward", make_peer)


CASES = {"spmm_%d" % width: ("spmm", spmm_at(width)) for width in (64, 192, 256)}
CASES.update({"rgat_forward": ("rgat", rgat_forward), "rgat_backward": ("rgat", rgat_backward)})
