#!/usr/bin/env python3
"""Makes a golden case: random small data, and every array of the model on it, in float64 by numpy and autograd.

A second opinion that shares nothing with the engine but the formulas of docs/architecture.md and the paper. Needs numpy and
autograd (`pip install numpy autograd`); the test suite only reads the cases that are already in tests/cases/.

usage: make_case.py OUT [--seed=1] [--users=14] ... (any key of DEFAULTS), for example
       make_case.py tests/cases/one-linear --modalities=image:5 --trans=1
"""
import json
import os
import sys

import autograd.numpy as np
from autograd import grad

DEFAULTS = dict(seed=1, users=14, items=14, entities=17, relations=3, triples=28, dim=14, hidden=7, time_dim=4,
                gnn_layers=1, kg_hops=1, trans=1, steps=4, epsilon=0.7, temp=0.4, res_lambda=0.5, ris_adj_lambda=0.2,
                ssl_reg=0.05, reg=1e-4, batch=8, e_loss=0.3, q=2, noise_scale=0.1, noise_min=1e-4, noise_max=0.02,
                modalities="image:5,text:4")


def read_options(words):
    c = dict(DEFAULTS)
    for word in words:
        key, value = word.lstrip("-").split("=", 1)
        c[key] = type(DEFAULTS[key])(value)
    c["modalities"] = [(m.split(":")[0], int(m.split(":")[1])) for m in c["modalities"].split(",")]
    return c


class Case:
    def __init__(self, c):
        self.c, self.rng, self.files = c, np.random.RandomState(c["seed"]), {}

    def put(self, name, values, what, dtype="float32"):
        self.files[name] = (np.asarray(values).astype(dtype), what)
        return values

    def uniform(self, *shape, bound=0.3):
        return self.rng.uniform(-bound, bound, shape).astype("float32").astype("float64")


def unit(x):
    return x / np.maximum(np.sqrt(np.sum(x * x, 1, keepdims=True)), 1e-12)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


# ---- data ------------------------------------------------------------------------------------------------------------

def make_interactions(s):
    c, rng = s.c, s.rng
    held = rng.rand(c["users"], c["items"])
    s.Y = (held < 0.3).astype(float)
    s.Y[np.arange(c["users"]), rng.randint(c["items"], size=c["users"])] = 1.0
    for u in range(c["users"]):  # enough items are left to rank
        s.Y[u, np.nonzero(s.Y[u])[0][c["items"] - 5:]] = 0.0
    s.test = ((held > 0.85) & (s.Y == 0)).astype(float)
    s.test[0] = 0.0
    for name, matrix in (("train", s.Y), ("test", s.test)):
        user, item = np.nonzero(matrix)
        s.put(name + "_user", user, name + " interactions, users", "int32")
        s.put(name + "_item", item, name + " interactions, items", "int32")


def make_kg(s):
    c, rng = s.c, s.rng
    triples = np.stack([rng.randint(c["items"], size=c["triples"]), rng.randint(c["relations"], size=c["triples"]),
                        rng.randint(c["entities"], size=c["triples"])], 1)
    triples = np.concatenate([triples, triples[:3]])
    s.put("kg_triples", triples, "raw triples head, relation, tail; duplicates kept", "int32")
    distinct = sorted({tuple(t) for t in triples.tolist()})
    both = distinct + [(t, r + c["relations"], h) for h, r, t in distinct]
    seen, edges = set(), []
    for h, r, t in both:
        if (h, t) not in seen:
            seen.add((h, t))
            edges.append((h, t, r))
    s.edges = np.array(edges)
    s.put("kg_edges", s.edges, "head, tail, relation", "int32")
    s.x0 = np.zeros((c["entities"], c["entities"]))
    s.x0[s.edges[:, 0], s.edges[:, 1]] = 1.0
    s.put("kg_x0", s.x0, "0/1 neighbour rows")
    s.keep = (rng.rand(len(edges)) < 0.6).astype(int)
    s.put("kg_keep", s.keep, "edges of kg_edges that the generated graph keeps", "uint8")


def make_adjacency(s):
    c, rng = s.c, s.rng
    n = c["users"] + c["items"]
    A = np.zeros((n, n))
    A[:c["users"], c["users"]:] = s.Y
    A = A + A.T
    S = np.triu(rng.rand(n, n)).astype("float32").astype("float64") * A
    S = S + S.T
    row, col = np.nonzero(S)
    s.put("attn_row", row, "S row", "int32")
    s.put("attn_col", col, "S column", "int32")
    s.put("attn_val", S[row, col], "S value")
    d = 1.0 / np.sqrt(1.0 + A.sum(1))
    s.A = d[:, None] * (A + np.eye(n) + c["epsilon"] * S) * d[None, :]
    s.put("adj_dense", s.A, "A-hat")


def make_walks(s, steps=6, per_edge=2):
    """Published order: items ascending, their users ascending, pairs of the item's and the user's walk."""
    c, rng, n = s.c, s.rng, s.c["users"] + s.c["items"]
    neighbours = [list(np.nonzero(s.Y[u])[0] + c["users"]) for u in range(c["users"])]
    neighbours += [list(np.nonzero(s.Y[:, i])[0]) for i in range(c["items"])]
    visited, rows, value = [set() for _ in range(n)], [], {}

    def walk(start):
        node, path, restart = start, [], 0.0
        for _ in range(steps):
            if rng.rand() < restart:
                path.pop()
                node, restart = (path[-1] if path else start), 0.0
            else:
                node = neighbours[node][rng.randint(len(neighbours[node]))]
                path.append(node)
                restart += 0.2
        visited[start].update(path)
        rows.append([start, len(path)] + path + [-1] * (steps - len(path)))

    for v in range(c["users"], n):
        for u in neighbours[v]:
            for _ in range(per_edge):
                walk(v)
                walk(u)
            value[u, v] = value[v, u] = len(visited[u] & visited[v]) / len(visited[u] | visited[v])
    kept = sorted(k for k in value if value[k] > 0)
    s.put("walks", rows, "walks in the published order", "int32")
    s.put("walk_row", [k[0] for k in kept], "row", "int32")
    s.put("walk_col", [k[1] for k in kept], "column", "int32")
    s.put("walk_val", [value[k] for k in kept], "cumulative Jaccard")


# ---- parameters and views ----------------------------------------------------------------------------------------------

def make_params(s):
    c, p, d = s.c, {}, s.c["dim"]
    p["uEmbeds"], p["iEmbeds"] = s.uniform(c["users"], d), s.uniform(c["items"], d)
    p["eEmbeds"], p["rEmbeds"] = s.uniform(c["entities"], d), s.uniform(2 * c["relations"], d, bound=0.6)
    p["rgat_W"], p["modal_weight"] = s.uniform(2 * d, d, bound=0.6), s.uniform(len(c["modalities"]), bound=0.5)
    s.X, s.linear = {}, {}
    for name, width in c["modalities"]:
        s.X[name] = s.put("feat_" + name, s.uniform(c["items"], width, bound=1.0), "item features")
        s.linear[name] = c["trans"] == 1 or (c["trans"] == 2 and name != "image")
        if s.linear[name]:
            p[name + "_trans_weight"], p[name + "_trans_bias"] = s.uniform(d, width), s.uniform(d)
        else:
            p[name + "_trans"] = s.uniform(width, d)
    s.p = p
    for name, value in p.items():
        s.put("param_" + name, value, "parameter")


def transform(s, p, m):
    if s.linear[m]:
        return s.X[m] @ p[m + "_trans_weight"].T + p[m + "_trans_bias"]
    return leaky(s.X[m] @ p[m + "_trans"])


def rgat(s, p, edges):
    c, e, result = s.c, p["eEmbeds"], p["eEmbeds"]
    head, tail, relation = edges[:, 0], edges[:, 1], edges[:, 2]
    into = np.zeros((c["entities"], len(edges)))
    into[head, np.arange(len(edges))] = 1.0
    for _ in range(c["kg_hops"]):
        both = np.concatenate([e[head], e[tail]], 1) @ p["rgat_W"]
        weight = np.exp(leaky(np.sum(both * p["rEmbeds"][relation], 1)))
        alpha = weight / (into.T @ (into @ weight))
        e = unit(into @ (alpha[:, None] * e[tail]) + e)
        result = c["res_lambda"] * result + e
    return result


def gcn(s, z):
    out = z
    for _ in range(s.c["gnn_layers"]):
        out = z + s.A @ out
    return out


def kg_view(s, p, edges):
    return gcn(s, np.concatenate([p["uEmbeds"], rgat(s, p, edges)[:s.c["items"]]]))


def modal_view(s, p):
    u, w = s.c["users"], np.exp(p["modal_weight"])
    z = 0.0
    for k, (m, _) in enumerate(s.c["modalities"]):
        P = s.A @ np.concatenate([p["uEmbeds"], unit(transform(s, p, m))])
        Q = s.A @ np.concatenate([P[:u], p["iEmbeds"]])
        own = s.G[m] @ np.concatenate([p["uEmbeds"], p["iEmbeds"]])
        z = z + w[k] / np.sum(w) * (P + Q + s.c["ris_adj_lambda"] * own)
    return gcn(s, z) + s.c["res_lambda"] * unit(z)


def contrast_view(s, p, m):
    return gcn(s, s.G[m] @ np.concatenate([p["uEmbeds"], unit(transform(s, p, m))]))


def make_modality_graphs(s):
    c, n = s.c, s.c["users"] + s.c["items"]
    s.G = {}
    for m, _ in c["modalities"]:
        top = np.array([s.rng.permutation(c["items"])[:c["q"]] for _ in range(c["users"])])
        s.put("gen_%s_items" % m, top, "sampled items", "int32")
        B = np.eye(n)
        for u in range(c["users"]):
            B[u, c["users"] + top[u]] = B[c["users"] + top[u], u] = 1.0
        d = 1.0 / np.sqrt(B.sum(1))
        s.G[m] = d[:, None] * B * d[None, :]
        s.put("gen_%s_adj_dense" % m, s.G[m], "normalised graph")


def put_gradients(s, prefix, f):
    g = grad(f)(s.p)
    for name in s.p:
        exact = np.where(np.abs(g[name]) < 1e-15, 0.0, g[name])  # one modality's weight has no gradient but rounding
        s.put(prefix + "_grad_" + name, exact, "gradient")


def check_views(s):
    c, u = s.c, s.c["users"]
    n = u + c["items"]
    s.thinned = s.edges[s.keep == 1]
    s.put("rgat_out", rgat(s, s.p, s.edges), "rgat")
    up = s.put("rgat_up", s.uniform(c["entities"], c["dim"]), "upstream gradient")
    put_gradients(s, "rgat", lambda p: np.sum(up * rgat(s, p, s.edges)))
    views = {"kgview": lambda p: kg_view(s, p, s.edges), "genview": lambda p: kg_view(s, p, s.thinned),
             "mmview": lambda p: modal_view(s, p)}
    for name, f in views.items():
        v = f(s.p)
        s.put(name + "_user", v[:u], name)
        s.put(name + "_item", v[u:], name)
        if name != "genview":
            up_v = s.put(name + "_up", s.uniform(n, c["dim"]), "upstream gradient")
            put_gradients(s, name, lambda p, f=f, up_v=up_v: np.sum(up_v * f(p)))
    for m, _ in c["modalities"]:
        v = contrast_view(s, s.p, m)
        s.put("clview_%s_user" % m, v[:u], "contrastive view")
        s.put("clview_%s_item" % m, v[u:], "contrastive view")
    up_c = s.put("clview_up", s.uniform(n * len(c["modalities"]), c["dim"]), "upstream gradient")
    put_gradients(s, "clview", lambda p: np.sum(
        up_c * np.concatenate([contrast_view(s, p, m) for m, _ in c["modalities"]])))


# ---- losses and training -----------------------------------------------------------------------------------------------

def infonce(a, b, nodes, tau):
    logits = unit(a)[nodes] @ unit(b).T / tau
    positive = np.sum(unit(a)[nodes] * unit(b)[nodes], 1) / tau
    return np.mean(np.log(np.sum(np.exp(logits), 1)) - positive)


def losses(s, p, method, edges):
    c, u = s.c, s.c["users"]
    main, modal = kg_view(s, p, edges), modal_view(s, p)

    def score(v, items):
        return np.sum(v[s.user] * v[u + items], 1)

    x = score(main, s.pos) - score(main, s.neg) + score(modal, s.pos) - score(modal, s.neg)
    bpr = np.sum(np.log(1.0 + np.exp(-x))) / c["batch"]
    decay = c["reg"] * (np.sum(p["uEmbeds"] ** 2) + np.sum(p["iEmbeds"] ** 2))
    modal_views = [contrast_view(s, p, m) for m, _ in c["modalities"]]
    if method == 0:
        pairs = [(a, b) for i, a in enumerate(modal_views) for b in modal_views[i + 1:]]
    else:
        pairs = [(main, v) for v in modal_views] + [(kg_view(s, p, s.edges), main)]
    contrast = 0.0
    for a, b in pairs:
        contrast = contrast + infonce(a[:u], b[:u], s.user, c["temp"]) + infonce(a[u:], b[u:], s.pos, c["temp"])
    return bpr, decay, c["ssl_reg"] * contrast


def check_losses(s):
    c, rng = s.c, s.rng
    count = c["batch"] - 2
    s.user, s.pos = rng.randint(c["users"], size=count), rng.randint(c["items"], size=count)
    s.neg = rng.randint(c["items"], size=count)
    s.user[1] = s.user[0]
    for name, value in (("user", s.user), ("pos", s.pos), ("neg", s.neg)):
        s.put("batch_" + name, value, "batch", "int32")
    a, b = s.put("nce_a", s.uniform(c["users"], c["dim"]), "a"), s.put("nce_b", s.uniform(c["users"], c["dim"]), "b")
    s.put("nce_loss", [infonce(a, b, s.user, c["temp"])], "loss")
    s.put("nce_grad_a", grad(lambda x: infonce(x, b, s.user, c["temp"]))(a), "gradient")
    s.put("nce_grad_b", grad(lambda x: infonce(a, x, s.user, c["temp"]))(b), "gradient")
    for method in (0, 1):
        for name, edges in (("asrun", s.edges), ("asmeant", s.thinned)):
            prefix = "step_cl%d_%s" % (method, name)
            parts = losses(s, s.p, method, edges)
            s.put(prefix + "_losses", list(parts) + [sum(parts)], "BPR, decay, contrastive, total")
            put_gradients(s, prefix, lambda p, method=method, edges=edges: sum(losses(s, p, method, edges)))


def adam(p, g, m, v, step):
    m[...] = 0.9 * m + 0.1 * g
    v[...] = 0.999 * v + 0.001 * g * g
    return p - 1e-3 / (1 - 0.9 ** step) * m / (np.sqrt(v) / np.sqrt(1 - 0.999 ** step) + 1e-8)


def check_training(s):
    p0, m, v = s.put("adam_p0", s.uniform(5, 3), "start"), np.zeros((5, 3)), np.zeros((5, 3))
    for i in range(3):
        p0 = adam(p0, s.put("adam_g%d" % i, s.uniform(5, 3), "gradient"), m, v, i + 1)
        s.put("adam_p%d" % (i + 1), p0, "after the step")
    p = {k: x.copy() for k, x in s.p.items()}
    state = {k: (np.zeros_like(x), np.zeros_like(x)) for k, x in p.items()}
    history = []
    for i in range(3):
        history.append(sum(losses(s, p, 1, s.thinned)))
        g = grad(lambda q: sum(losses(s, q, 1, s.thinned)))(p)
        p = {k: adam(p[k], g[k], state[k][0], state[k][1], i + 1) for k in p}
    s.put("train_losses_f64", history, "loss before each step", "float64")
    for name, value in p.items():
        s.put("train_param_" + name, value, "after three steps; 1e-5 absolute")


def check_evaluation(s, k=4):
    u = s.c["users"]
    kg, modal = kg_view(s, s.p, s.thinned), modal_view(s, s.p)
    score = kg[:u] @ kg[u:].T + modal[:u] @ modal[u:].T
    score = np.where(s.Y > 0, -np.inf, score)
    top = np.argsort(-score, axis=1, kind="stable")[:, :k]
    s.put("eval_top%d" % k, top, "ranked lists", "int32")
    sums = []
    for user in range(u):
        held = set(np.nonzero(s.test[user])[0])
        if held:
            hits = [1.0 if i in held else 0.0 for i in top[user]]
            gain = [1.0 / np.log2(r + 2.0) for r in range(k)]
            sums.append([sum(hits) / len(held), np.dot(hits, gain) / sum(gain[:min(k, len(held))]), sum(hits) / k])
    s.put("eval_metrics_f64", np.mean(sums, 0), "Recall, NDCG, Precision", "float64")


# ---- diffusion -----------------------------------------------------------------------------------------------------------

def make_schedule(s):
    c = s.c
    v = np.linspace(c["noise_scale"] * c["noise_min"], c["noise_scale"] * c["noise_max"], c["steps"])
    beta = np.array([1e-4] + [min(1 - (1 - v[i]) / (1 - v[i - 1]), 0.999) for i in range(1, c["steps"])])
    s.abar = np.cumprod(1 - beta)
    before = np.concatenate([[1.0], s.abar[:-1]])
    s.c1, s.c2 = beta * np.sqrt(before) / (1 - s.abar), (1 - before) * np.sqrt(1 - beta) / (1 - s.abar)
    snr = s.abar / (1 - s.abar)
    s.weight = np.concatenate([[1.0], snr[:-1] - snr[1:]])
    for name, value in (("betas", beta), ("alphas_cumprod", s.abar), ("posterior_mean_coef1", s.c1),
                        ("posterior_mean_coef2", s.c2), ("posterior_variance", beta * (1 - before) / (1 - s.abar)),
                        ("weight", s.weight)):
        s.put("sched_%s_f64" % name, value, "schedule", "float64")


def denoise(s, w, x, t):
    half = s.c["time_dim"] // 2
    angle = t[:, None] * np.exp(-np.log(10000.0) * np.arange(half) / half)[None, :]
    time = np.concatenate([np.cos(angle), np.sin(angle)] + ([np.zeros((len(t), 1))] if s.c["time_dim"] % 2 else []), 1)
    embedding = time @ w["emb_layer_weight"].T + w["emb_layer_bias"]
    h = np.tanh(np.concatenate([x, embedding], 1) @ w["in_layers_0_weight"].T + w["in_layers_0_bias"])
    return h @ w["out_layers_0_weight"].T + w["out_layers_0_bias"]


def reverse(s, w, x):
    for i in reversed(range(s.c["steps"])):
        x = s.c1[i] * denoise(s, w, x, np.full(len(x), float(i))) + s.c2[i] * x
    return x


def check_denoiser(s, d, x0, g_train, g_sample, guide, weight, linked=None):
    c, n = s.c, x0.shape[1]
    w = {"emb_layer_weight": s.uniform(c["time_dim"], c["time_dim"]), "emb_layer_bias": s.uniform(c["time_dim"]),
         "in_layers_0_weight": s.uniform(c["hidden"], n + c["time_dim"]), "in_layers_0_bias": s.uniform(c["hidden"]),
         "out_layers_0_weight": s.uniform(n, c["hidden"]), "out_layers_0_bias": s.uniform(n)}
    for name, value in w.items():
        s.put("%s_param_%s" % (d, name), value, "denoiser parameter")
    rows = s.put(d + "_rows", s.rng.permutation(len(x0))[:c["batch"] - 1], "batch rows", "int32")
    t = s.put(d + "_t", s.rng.randint(c["steps"], size=len(rows)), "diffusion steps", "int32")
    eps = s.put(d + "_eps", s.uniform(len(rows), n, bound=2.0), "noise")
    x = np.sqrt(s.abar[t])[:, None] * x0[rows] + np.sqrt(1 - s.abar[t])[:, None] * eps + g_train[rows][:, None]

    def row_losses(q):
        out = denoise(s, q, x, t.astype(float))
        return s.weight[t] * np.mean((x0[rows] - out) ** 2, 1), guide(out, rows)

    reconstruction, guidance = row_losses(w)
    s.put(d + "_loss_rows", np.stack([reconstruction, guidance]), "reconstruction and guidance of each row")
    s.put(d + "_loss", [np.mean(reconstruction) + weight * np.mean(guidance)], "loss")
    g = grad(lambda q: np.mean(row_losses(q)[0]) + weight * np.mean(row_losses(q)[1]))(w)
    for name in w:
        s.put("%s_grad_%s" % (d, name), g[name], "gradient")
    noise = s.put(d + "_sample2_eps", s.uniform(*x0.shape, bound=2.0), "noise")
    start = np.sqrt(s.abar[1]) * x0 + np.sqrt(1 - s.abar[1]) * noise
    s.put(d + "_sample2", reverse(s, w, start + g_sample[:, None]), "reverse chain, sampling_steps 2")
    out = s.put(d + "_sample", reverse(s, w, x0 + g_sample[:, None]), "reverse chain")
    top = np.argsort(-out, axis=1, kind="stable")[:, :c["q"]]
    s.put(d + "_topq", top, "top-q columns", "int32")
    if linked is not None:
        s.put(d + "_sample_linked", reverse(s, w, x0 + linked[:, None]), "guided by linked users")
    return top


def check_diffusion(s):
    c, p = s.c, s.p
    mean = np.mean(p["uEmbeds"], 1)
    by_row = np.concatenate([mean[:c["entities"]], np.zeros(max(0, c["entities"] - c["users"]))])
    users_of = s.Y.sum(0)
    linked = np.zeros(c["entities"])
    linked[:c["items"]] = (s.Y.T @ mean) / np.maximum(users_of, 1.0)
    top = check_denoiser(s, "dkg", s.x0, by_row, by_row, lambda out, rows: np.mean(
        (out[:, :c["items"]] @ (s.Y.T @ p["uEmbeds"]) - p["eEmbeds"][rows]) ** 2, 1), c["e_loss"], linked)
    wanted = {(h, t) for h in range(c["entities"]) for t in top[h]}
    wanted |= {(t, h) for h, t in wanted}
    kept = sorted((h, t, r) for h, t, r in s.edges.tolist() if (h, t) in wanted)
    s.put("gen_kg_edges", np.array(kept).reshape(-1, 3), "generated knowledge graph", "int32")
    for m, _ in c["modalities"]:
        f = transform(s, p, m)
        check_denoiser(s, "d" + m, s.Y, np.zeros(c["users"]), mean, lambda out, rows, f=f: np.mean(
            (out @ f - s.Y[rows] @ p["iEmbeds"]) ** 2, 1), 1 - c["e_loss"] if m == "text" else c["e_loss"])


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out, s = sys.argv[1], Case(read_options(sys.argv[2:]))
    for part in (make_interactions, make_kg, make_adjacency, make_walks, make_params, make_modality_graphs, check_views,
                 check_losses, check_training, check_evaluation, make_schedule, check_diffusion):
        part(s)
    config = {k: v for k, v in s.c.items() if k not in ("seed", "relations", "triples")}
    config.update(relations_with_inverse=2 * s.c["relations"], leaky_slope=0.2,
                  modalities=[m for m, _ in s.c["modalities"]], feature_dims=dict(s.c["modalities"]))
    os.makedirs(out, exist_ok=True)
    for name, (values, _) in s.files.items():
        np.save(os.path.join(out, name + ".npy"), np.ascontiguousarray(values))
    files = {k: {"shape": list(v.shape), "dtype": str(v.dtype), "what": what} for k, (v, what) in s.files.items()}
    with open(os.path.join(out, "manifest.json"), "w") as f:
        json.dump({"seed": s.c["seed"], "config": config, "files": files}, f, indent=1)


if __name__ == "__main__":
    main()
