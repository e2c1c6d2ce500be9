"""Peers of what ranks and what draws: top-k, noised rows, orders, negatives, walks."""
from types import SimpleNamespace

import numpy as np
import torch

import common
import model_r2
from kernel_inputs import SEED, Case, Peer, difference, optional, share_is

# top-k columns


def check_lists(index, scores, k):
    """By value, since equal scores may stand in either order; a column named twice or masked is wrong."""
    index = torch.as_tensor(index).long().view(len(scores), k).to(scores.device)
    if (index.sort(1).values.diff(dim=1) == 0).any():
        return np.inf
    return difference(scores.gather(1, index), scores.topk(k, dim=1).values)


def topk_1(setting):
    x = setting.draws().matrix(setting.rows(), setting.data.items)
    arms = {"torch.topk": lambda: torch.topk(x, 1, dim=1).indices, "torch.argmax": lambda: torch.argmax(x, 1)}
    scores = x.double()
    return Case("topk_1", tuple(x.shape), 0,
                [Peer(name, run, lambda index: check_lists(index, scores, 1)) for name, run in arms.items()])


def topk_20(setting):
    """The same scores, masked and ranked; then, for what only ranks its own products, scores of two tables."""
    rows, items = setting.rows(), setting.data.items
    train = setting.data.train[setting.data.train[:, 0] < rows]
    draws, k = setting.draws(), min(20, items)
    x, mask = draws.matrix(rows, items), tuple(setting.on(train[:, c].copy()) for c in (0, 1))
    masked = x.double()
    masked[mask] = -torch.inf
    x, low = x.clone(), x.new_tensor(-torch.inf)

    def run():
        x.index_put_(mask, low)
        return torch.topk(x, k, dim=1).indices

    peers = [Peer("torch, masked in place, topk", run, lambda index: check_lists(index, masked, k))]
    return Case("topk_20", (rows, items), len(train), peers + product_arms(setting, draws, mask, train, k))


def product_arms(setting, draws, mask, train, k):
    rows, items, width = setting.rows(), setting.data.items, 2 * setting.s.dim
    user, item = draws.matrix(rows, width), draws.matrix(items, width)
    scores = user.double() @ item.double().t()
    scores[mask] = -torch.inf
    out, low = torch.empty(rows, items, device=setting.device), user.new_tensor(-torch.inf)

    def run():
        torch.mm(user, item.t(), out=out)
        out.index_put_(mask, low)
        return torch.topk(out, k, dim=1).indices

    check, more = lambda index: check_lists(index, scores, k), "with the product of width %d" % width
    peers = [Peer("torch.mm, masked, topk", run, check, setting.tolerance, more)]
    if optional("faiss") and setting.device.type == "cpu":
        peers.append(Peer("faiss.IndexFlatIP, then masked", faiss_arm(user, item, train, k), check, setting.tolerance, more))
    return peers


def faiss_arm(user, item, train, k):
    """It knows no mask for each row: so many more are asked for that enough are left."""
    faiss = optional("faiss")
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(item.shape[1])
    index.add(item.numpy())
    queries, items = user.numpy(), len(item)
    keys = train[:, 0] * items + train[:, 1]
    most = min(items, k + np.bincount(train[:, 0]).max(initial=0))

    def run():
        found = index.search(queries, int(most))[1]
        wanted = np.arange(len(queries))[:, None] * items + found
        masked = keys[np.searchsorted(keys, wanted).clip(max=len(keys) - 1)] == wanted
        return np.take_along_axis(found, np.argsort(masked, axis=1, kind="stable")[:, :k], 1)

    return run


# a denoiser's noised rows


STEPS = 10  # of the engine's case


def q_sample(setting):
    draws, rows, data = setting.draws(), setting.rows(), setting.data
    row = setting.on(data.users - 1 - np.arange(rows) * (data.users // rows))
    t = draws.below(STEPS, rows)
    x0 = setting.interactions()
    step = torch.arange(STEPS, device=setting.device)
    scale = SimpleNamespace(signal=1 - 0.05 * step, sigma=0.1 * (step + 1.0))
    dense = x0.matrix.to_dense()
    batch = dense[row]
    arms = {"torch, dense rows (R1)": noised_dense(setting, dense.byte(), row, t, scale),
            "torch, sparse rows (R2)": noised_sparse(setting, x0, row, t, scale)}
    check = lambda x: check_noised(x, batch, t, scale)
    peers = [Peer(name, run, check) for name, run in arms.items()]
    return Case("q_sample", (rows, data.items), int(batch.sum()), peers)


def check_noised(x, x0, t, scale):
    """The noise is what an arm draws first; which elements were dropped is seen in the result: they are zero there."""
    torch.manual_seed(SEED)
    noise, kept, p = torch.randn_like(x).double(), x != 0, common.INPUT_DROPOUT
    expected = (scale.signal.double()[t][:, None] * x0 + scale.sigma.double()[t][:, None] * noise) * kept / (1 - p)
    return difference(x, expected) if share_is(kept, 1 - p) else np.inf


def noised_dense(setting, dense, row, t, scale):
    drop = common.Draws(setting.device).dropout

    def run():
        x0 = dense[row].float()
        x = scale.signal[t][:, None] * x0 + scale.sigma[t][:, None] * torch.randn_like(x0)
        return drop(x, common.INPUT_DROPOUT)

    return run


def noised_sparse(setting, x0, row, t, scale):
    """Signals are added where the rows have entries. R2 knows their number on the host, as here."""
    drop, width = common.Draws(setting.device).dropout, x0.matrix.shape[1]
    count, here = int(x0.matrix.crow_indices().long().diff()[row].sum()), SimpleNamespace(device=setting.device)

    def run():
        rows = model_r2.R2.expand(here, x0, row, count)
        x = torch.randn(len(row), width, device=setting.device).mul_(scale.sigma[t][:, None])
        x.view(-1).index_add_(0, rows.row * width + rows.col, scale.signal[t].index_select(0, rows.row))
        return drop(x, common.INPUT_DROPOUT)

    return run


# orders and negatives


def check_order(order, n):
    """A permutation that moves things: integers, so any difference is all of it."""
    order = torch.as_tensor(order).cpu()
    own = torch.arange(n)
    return 0.0 if torch.equal(order.sort().values, own) and not torch.equal(order, own) else np.inf


def permutation(setting):
    n, rng, device = len(setting.data.train), np.random.default_rng(SEED), setting.device
    arms = {"torch.randperm": lambda: torch.randperm(n, device=device),
            "torch.argsort of torch.rand": lambda: torch.argsort(torch.rand(n, device=device, dtype=torch.float64))}
    if device.type == "cpu":
        arms["numpy permutation, one thread"] = lambda: rng.permutation(n)
    return Case("permutation", (n,), n, [Peer(name, run, lambda order: check_order(order, n)) for name, run in arms.items()])


def check_negatives(negative, train, items):
    """No item of its user; all over the catalogue, seen in the mean to six standard deviations."""
    negative = np.asarray(torch.as_tensor(negative).cpu())
    taken = np.isin(train[:, 0] * items + negative, train[:, 0] * items + train[:, 1])
    inside = (negative >= 0) & (negative < items)
    return 0.0 if inside.all() and not taken.any() and mean_is_fair(negative, train, items) else np.inf


def mean_is_fair(negative, train, items):
    """A user's candidates are all items but its own, so the expected mean is known user by user."""
    users, item = train[:, 0], train[:, 1]
    degree, sums = np.bincount(users), np.bincount(users, weights=item)
    expected = ((items * (items - 1) / 2 - sums) / np.maximum(items - degree, 1))[users].mean()
    return abs(negative.mean() - expected) <= 6 * items / np.sqrt(12 * len(negative))


def numpy_negatives(train, items, rng):
    keys = train[:, 0] * items + train[:, 1]
    drawn, bad = rng.integers(items, size=len(train)), np.arange(len(train))
    while True:
        wanted = train[bad, 0] * items + drawn[bad]
        bad = bad[keys[np.searchsorted(keys, wanted).clip(max=len(keys) - 1)] == wanted]
        if len(bad) == 0:
            return drawn
        drawn[bad] = rng.integers(items, size=len(bad))


def sample_negatives(setting):
    data, rng = setting.data, np.random.default_rng(SEED)
    user, item = (setting.on(data.train[:, c].copy()) for c in (0, 1))
    arm = SimpleNamespace(data=data, device=setting.device, train_user=user, train_item=item,
                          train_keys=user * data.items + item)
    arms = {"torch, rejected together (R1)": lambda: common.Trainer.negatives(arm)}
    if setting.device.type == "cpu":
        arms["numpy, rejected together, one thread"] = lambda: numpy_negatives(data.train, data.items, rng)
    check = lambda negative: check_negatives(negative, data.train, data.items)
    return Case("sample_negatives", (len(user),), len(user), [Peer(name, run, check) for name, run in arms.items()])


# walks


WALKS, WALK_STEPS = 6, 130  # the engine's defaults
TILE = 4096  # walkers that move together: their state stays in a cache
BELOW = np.arange(6) / 5  # probability of a restart after so many moves
SHARE = np.append(1 / (1 - BELOW[:5]), 0)


def walk_together(ptr, col, start, draws):
    """Cumulative walks, a step of all walkers at a time: the nodes that each keeps, and how many. A draw below the restart
    probability takes the last node back; above it, it picks the neighbour."""
    node, previous, at = start, start, np.arange(len(start))
    moves, length = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)
    kept = np.empty((len(start), len(draws)), np.int32)
    for u in draws:
        below = BELOW[moves]
        back = u < below
        pick = (np.where(back, 0, u - below) * SHARE[moves] * (ptr[node + 1] - ptr[node])).astype(np.int64)
        step = np.where(back, previous, col[ptr[node] + pick])
        length -= back
        kept[at, length] = step  # beyond the list where the walker went back
        length += ~back
        moves = np.where(back, 0, moves + 1)
        previous, node = node, step
    return kept, length


def first_seen(start, kept, length, nodes):
    """Each start's distinct nodes in the order of the first walk that kept them, and each walk's number of new ones.
    start ascends. Written backwards, the first of equal keys is what stays."""
    walker, place = np.nonzero(np.arange(kept.shape[1]) < length[:, None])
    keys = (start[walker] - start[0]) * nodes + kept[walker, place]
    first, own = np.empty((start[-1] - start[0] + 1) * nodes, np.int32), np.arange(len(keys), dtype=np.int32)
    first[keys[::-1]] = own[::-1]
    new = first[keys] == own
    return kept[walker, place][new], np.bincount(walker[new], minlength=len(start))


def tiles(start):
    """Ranges of walkers, none of which splits a start."""
    first = 0
    while first < len(start):
        last = min(first + TILE, len(start))
        last = np.searchsorted(start, start[last - 1] if last < len(start) else start[-1] + 1)
        if last <= first:  # one start has more walkers than a tile
            last = np.searchsorted(start, start[first] + 1)
        yield first, last
        first = last


def walks(ptr, col, start, rng):
    """All lists one after another, and the end of every walk's part in them."""
    parts = []
    for first, last in tiles(start):
        mine = start[first:last]
        kept, length = walk_together(ptr, col, mine, rng.random((WALK_STEPS, len(mine))))
        parts.append(first_seen(mine, kept, length, len(ptr) - 1))
    lists, new = (np.concatenate(x) for x in zip(*parts))
    return lists, np.cumsum(new)


def plain_walk(ptr, col, start, draws):
    """One walk, a step at a time."""
    node, previous, moves, kept = start, start, 0, []
    for u in draws:
        if u < BELOW[moves]:
            step, moves = previous, 0
            kept.pop()
        else:
            share = (u - BELOW[moves]) * SHARE[moves]
            step, moves = col[ptr[node] + int(share * (ptr[node + 1] - ptr[node]))], moves + 1
            kept.append(step)
        previous, node = node, step
    return kept


def check_walks(ptr, col, start, result, rng, most=20):
    """The starts of the first, the last and some other tiles against walks made one by one."""
    (lists, end), wrong, looked = result, 0, list(tiles(start))
    for number, (first, last) in enumerate(looked):
        draws = rng.random((WALK_STEPS, last - first))
        if number % max(1, len(looked) // most) and number != len(looked) - 1:
            continue
        seen, expected, at = set(), [], end[first - 1] if first else 0
        for w in range(first, np.searchsorted(start, start[first] + 1)):
            for node in plain_walk(ptr, col, start[first], draws[:, w - first]):
                if node not in seen:
                    seen.add(node)
                    expected.append(node)
            wrong += end[w] - at != len(expected)
        wrong += not np.array_equal(lists[at:at + len(expected)], expected)
    return float(wrong)


def graph_of(data):
    """Both directions of every interaction, by row; items follow users."""
    n, user, item = data.users + data.items, data.train[:, 0], data.train[:, 1] + data.users
    keys = np.sort(np.concatenate([user * n + item, item * n + user]))
    return np.searchsorted(keys // n, np.arange(n + 1)), keys % n, keys // n


def walk_cumulative(setting):
    ptr, col, row = graph_of(setting.data)
    start = np.repeat(row, WALKS)
    peers = []
    if setting.device.type == "cpu":
        peers.append(Peer("numpy, walkers together, one thread",
                          lambda: walks(ptr, col, start, np.random.default_rng(SEED)),
                          lambda result: check_walks(ptr, col, start, result, np.random.default_rng(SEED)), 0.0))
    if optional("torch_cluster"):
        peers.append(cluster_arm(*(setting.on(x) for x in (ptr, col, start))))
    return Case("walk_cumulative", (len(col), WALKS, WALK_STEPS), len(col), peers)


def cluster_arm(ptr, col, start):
    def check(result):
        """Every step goes along an edge."""
        nodes, n = result[0].cpu(), len(ptr) - 1
        row = torch.repeat_interleave(torch.arange(n), ptr.cpu().diff())
        steps = (nodes[:, :-1] * n + nodes[:, 1:]).flatten()
        good = torch.isin(steps, row * n + col.cpu()).all() and torch.equal(nodes[:, 0], start.cpu())
        return 0.0 if good and nodes.shape[1] == WALK_STEPS + 1 else np.inf

    return Peer("torch_cluster random_walk",
                lambda: torch.ops.torch_cluster.random_walk(ptr, col, start, WALK_STEPS, 1.0, 1.0), check, 0.0,
                "no restarts, no lists")


CASES = {"topk_1": ("topk_rows", topk_1), "topk_20": ("topk_rows", topk_20), "q_sample": ("q_sample", q_sample),
         "permutation": ("permutation", permutation), "sample_negatives": ("sample_negatives", sample_negatives),
         "walk_cumulative": ("walk_cumulative", walk_cumulative)}
