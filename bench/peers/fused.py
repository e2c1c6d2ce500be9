"""What the arms compute element by element or row by row, in functions of tensors and numbers alone, so that torch.compile
can fuse each (--compile). Draws are not among them: on a CPU compiled ones are many times slower than the library's."""
import torch
import torch.nn.functional as F


def unit_rows(x):
    return F.normalize(x)


def thinned(x, u, p):
    """x without the elements where u, uniform in [0, 1), is below p. Overwrites u."""
    return x * u.ge_(p).mul_(1 / (1 - p))


def noised(x0, signal, sigma, noise):
    return signal[:, None] * x0 + sigma[:, None] * noise


def row_errors(a, b):
    return (a - b).square().mean(1)


def info_nce(a, b, nodes, temp):
    logits = F.normalize(a.index_select(0, nodes)) @ F.normalize(b).t() / temp
    return F.cross_entropy(logits, nodes)


def anchor_weights(cosines, weight, temp):
    """The weighted sum over anchors of log sum exp(cosine / temp), its derivatives written over the cosines. Those are
    bounded: no maximum is taken off."""
    e = cosines.mul_(1 / temp).exp_()
    total = e.sum(1)
    e.mul_((weight / (temp * total))[:, None])
    return torch.dot(weight, total.log())


def compile_all():
    for f in (unit_rows, thinned, noised, row_errors, info_nce, anchor_weights):
        globals()[f.__name__] = torch.compile(f)
