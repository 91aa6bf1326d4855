"""Wrong answers to exercise 04: one vector again, a clipped step, and an optimizer for what is mine. The others in museum_04_*.py.

whole gradients, whole weights, whole momentum: right values, and nothing is saved
a norm of one shard, a sum for a mean, a tied weight twice: everything saved, and wrong values
"""

from tests.check import museum_04_gather, museum_04_gradients, museum_04_islands
from tests.check.museum import Mutant, changed

TOGETHER = "04-put-together"
CLIP = "04-clip"
OWNERS = "04-owners"

ROWS = "    rows = deal(gradient, N).T[[column(r, N) for r in range(N)]]\n"
CLIP_HEAD = (
    """
def clipped_step(shard, gradient, max_norm, comm):
    N = comm.world_size
"""
    + ROWS
)

TRAIN = """
def train(x, y, comm):
    model, N, rank = speller(x.shape[-1]), comm.world_size, comm.rank
    trained = [p for p in model.parameters() if p.requires_grad]
    owned_by = owners([p.numel() for p in trained], N)
    mine = [p for p, home in zip(trained, owned_by) if home == rank]
    optimizer = make_optimizer(mine) if mine else None
    for batch, wanted in zip(x, y):
        loss_of(model, batch, wanted).backward()
        for p, home in zip(trained, owned_by):
            if home != rank:
                comm.send(p.grad, to=home)
                p.grad = None
                continue
            for other in range(N):
                if other != rank:
                    p.grad += comm.recv(p.grad, source=other)
            p.grad /= N
        if mine:
            optimizer.step()
            optimizer.zero_grad()
        for p, home in zip(trained, owned_by):
            if home != rank:
                p.data.copy_(comm.recv(p.data, source=home))
                continue
            for other in range(N):
                if other != rank:
                    comm.send(p.data, to=other)
    return [p.detach() for p in model.parameters()]
"""


MUTANTS = [
    Mutant(
        TOGETHER,
        "the column with the rank's number",
        loses={"values"},
        answer="""
def put_together(shard, n, comm):
    N = comm.world_size
    rows, hand = shard.new_empty(len(shard), N), shard
    for step in range(N):
        rows[:, (comm.rank - step) % N] = hand
        if step < N - 1:
            hand = comm.exchange(hand, to=comm.right, source=comm.left)
    return rows.reshape(-1)[:n]
""",
    ),
    Mutant(
        TOGETHER,
        "gathered from the wrong owner: the one on the right",
        loses={"values"},
        answer="""
def put_together(shard, n, comm):
    N = comm.world_size
    rows, hand = shard.new_empty(len(shard), N), shard
    for step in range(N):
        rows[:, column((comm.rank + step) % N, N)] = hand
        if step < N - 1:
            hand = comm.exchange(hand, to=comm.right, source=comm.left)
    return rows.reshape(-1)[:n]
""",
    ),
    Mutant(
        TOGETHER,
        "the padding comes along",
        loses={"values"},
        answer="""
def put_together(shard, n, comm):
    N = comm.world_size
    rows, hand = shard.new_empty(len(shard), N), shard
    for step in range(N):
        rows[:, column((comm.rank - step) % N, N)] = hand
        if step < N - 1:
            hand = comm.exchange(hand, to=comm.right, source=comm.left)
    return rows.reshape(-1)
""",
    ),
    Mutant(
        TOGETHER,
        "room for all shards in every message",
        loses={"bytes"},
        answer="""
def put_together(shard, n, comm):
    N = comm.world_size
    rows = torch.full((len(shard), N), float("nan"))
    rows[:, column(comm.rank, N)] = shard
    for step in range(N - 1):
        came = comm.exchange(rows, to=comm.right, source=comm.left)
        rows = torch.where(rows.isnan(), came, rows)
    return rows.reshape(-1)[:n]
""",
    ),
    Mutant(
        TOGETHER,
        "to the left",
        loses={"peers"},
        answer="""
def put_together(shard, n, comm):
    N = comm.world_size
    rows, hand = shard.new_empty(len(shard), N), shard
    for step in range(N):
        rows[:, column((comm.rank + step) % N, N)] = hand
        if step < N - 1:
            hand = comm.exchange(hand, to=comm.left, source=comm.right)
    return rows.reshape(-1)[:n]
""",
    ),
    Mutant(
        TOGETHER,
        "each shard in two messages",
        loses={"messages"},
        answer="""
def put_together(shard, n, comm):
    N = comm.world_size
    rows, hand = shard.new_empty(len(shard), N), shard
    for step in range(N):
        rows[:, column((comm.rank - step) % N, N)] = hand
        if step < N - 1:
            hand = torch.cat([comm.exchange(part, to=comm.right, source=comm.left) for part in hand.tensor_split(2)])
    return rows.reshape(-1)[:n]
""",
    ),
    Mutant(
        TOGETHER,
        "calls ours, and sorts the columns",
        loses={"own work"},
        answer="""
from minidl.collectives.ring import textbook_all_gather

def put_together(shard, n, comm):
    N = comm.world_size
    rows = textbook_all_gather(shard, comm).reshape(N, -1)
    return rows[[owner(c, N) for c in range(N)]].T.reshape(-1)[:n]
""",
    ),
    Mutant(
        CLIP,
        "as it was handed out",
        loses={"values", "bytes"},
        answer="""
def clipped_step(shard, gradient, max_norm, comm):
    N = comm.world_size
    whole = ring.all_reduce(deal(gradient, N), comm)
    mine = whole[:, column(comm.rank, N)]
    norm = (mine ** 2).sum().sqrt().reshape(1)
    return shard - rate * mine * (max_norm / norm).clamp(max=1.0), norm
""",
    ),
    Mutant(
        CLIP,
        "all-reduce where a reduce-scatter will do",
        loses={"bytes"},
        answer="""
def clipped_step(shard, gradient, max_norm, comm):
    N = comm.world_size
    whole = ring.all_reduce(deal(gradient, N), comm) / N
    mine, norm = whole[:, column(comm.rank, N)], whole.norm().reshape(1)
    return shard - rate * mine * (max_norm / norm).clamp(max=1.0), norm
""",
    ),
    Mutant(
        CLIP,
        "the norm of one's own shard",
        loses={"values"},
        answer=CLIP_HEAD
        + """
    mine = ring.reduce_scatter(rows.reshape(-1), comm) / N
    norm = mine.norm().reshape(1)
    return shard - rate * mine * (max_norm / norm).clamp(max=1.0), norm
""",
    ),
    Mutant(
        CLIP,
        "the sum of the norms",
        loses={"values"},
        answer=CLIP_HEAD
        + """
    mine = ring.reduce_scatter(rows.reshape(-1), comm) / N
    norm = ring.all_reduce(mine.norm().reshape(1), comm)
    return shard - rate * mine * (max_norm / norm).clamp(max=1.0), norm
""",
    ),
    Mutant(
        CLIP,
        "the sum for the mean",
        loses={"values"},
        answer=CLIP_HEAD
        + """
    mine = ring.reduce_scatter(rows.reshape(-1), comm)
    norm = ring.all_reduce((mine ** 2).sum().reshape(1), comm).sqrt()
    return shard - rate * mine * (max_norm / norm).clamp(max=1.0), norm
""",
    ),
    Mutant(
        CLIP,
        "each rank clips before the mean",
        loses={"values"},
        answer="""
def clipped_step(shard, gradient, max_norm, comm):
    N = comm.world_size
    gradient = gradient * (max_norm / gradient.norm()).clamp(max=1.0)
"""
        + ROWS
        + """
    mine = ring.reduce_scatter(rows.reshape(-1), comm) / N
    norm = ring.all_reduce((mine ** 2).sum().reshape(1), comm).sqrt()
    return shard - rate * mine, norm
""",
    ),
    Mutant(
        CLIP,
        "scales up what is short",
        loses={"values"},
        answer=CLIP_HEAD
        + """
    mine = ring.reduce_scatter(rows.reshape(-1), comm) / N
    norm = ring.all_reduce((mine ** 2).sum().reshape(1), comm).sqrt()
    return shard - rate * mine * (max_norm / norm), norm
""",
    ),
    Mutant(
        CLIP,
        "gathers all shards for their norm",
        loses={"bytes"},
        answer=CLIP_HEAD
        + """
    mine = ring.reduce_scatter(rows.reshape(-1), comm) / N
    norm = ring.all_gather(mine, comm).norm().reshape(1)
    return shard - rate * mine * (max_norm / norm).clamp(max=1.0), norm
""",
    ),
    Mutant(
        CLIP,
        "steps in what it was given",
        loses={"inputs"},
        answer=CLIP_HEAD
        + """
    mine = ring.reduce_scatter(rows.reshape(-1), comm) / N
    norm = ring.all_reduce((mine ** 2).sum().reshape(1), comm).sqrt()
    return shard.sub_(rate * mine * (max_norm / norm).clamp(max=1.0)), norm
""",
    ),
    Mutant(
        CLIP,
        "asks for our Zero1, and then does it by hand",
        loses={"own work"},
        answer="""
from minidl.parallel.zero import Zero1
"""
        + CLIP_HEAD
        + """
    mine = ring.reduce_scatter(rows.reshape(-1), comm) / N
    norm = ring.all_reduce((mine ** 2).sum().reshape(1), comm).sqrt()
    return shard - rate * mine * (max_norm / norm).clamp(max=1.0), norm
""",
    ),
    Mutant(
        OWNERS,
        "shards nothing: an optimizer for all parameters on every rank",
        loses={"memory", "bytes"},
        answer="""
def train(x, y, comm):
    model = speller(x.shape[-1])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(trained)
    for batch, wanted in zip(x, y):
        loss_of(model, batch, wanted).backward()
        for p in trained:
            p.grad = ring.all_reduce(p.grad, comm) / comm.world_size
        optimizer.step()
        optimizer.zero_grad()
    return [p.detach() for p in model.parameters()]
""",
    ),
    Mutant(
        OWNERS,
        "the messages of a sharded optimizer, the momentum of a whole one",
        loses={"memory"},
        answer=changed(
            TRAIN,
            "make_optimizer(mine) if mine else None",
            "make_optimizer(trained)",
            "                p.grad = None\n                continue",
            "                continue",
            "        if mine:\n",
            "        if True:\n",
        ),
    ),
    Mutant(
        OWNERS,
        "everybody gets the whole mean, owners step",
        loses={"bytes"},
        answer=changed(
            TRAIN,
            """            if home != rank:
                comm.send(p.grad, to=home)
                p.grad = None
                continue
            for other in range(N):
                if other != rank:
                    p.grad += comm.recv(p.grad, source=other)
            p.grad /= N
""",
            """            p.grad = ring.all_reduce(p.grad, comm) / N if home == rank else ring.all_reduce(p.grad, comm) * 0
""",
        ),
    ),
    Mutant(
        OWNERS,
        "the frozen parameter has an owner, too",
        loses={"values", "memory", "bytes", "real"},
        answer=changed(
            TRAIN,
            " if p.requires_grad]",
            "]",
            "        for p, home in zip(trained, owned_by):\n            if home != rank:\n                comm.send(p.grad",
            "        for p in trained:\n            p.grad = torch.ones_like(p) if p.grad is None else p.grad\n"
            "        for p, home in zip(trained, owned_by):\n            p.requires_grad_()\n            if home != rank:\n                comm.send(p.grad",
        ),
    ),
    Mutant(
        OWNERS,
        "the tied weight is reduced twice",
        loses={"values", "bytes", "memory", "real"},
        answer=changed(
            TRAIN,
            "[p for p in model.parameters() if p.requires_grad]",
            "[p for _, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]",
            "                p.grad = None\n",
            "",
            "        if mine:",
            "        for p in trained:\n            p.grad = None if p.grad is None else p.grad.clone()\n        if mine:",
            "make_optimizer(mine) if mine",
            "make_optimizer(list(dict.fromkeys(mine))) if mine",
        ),
    ),
    Mutant(
        OWNERS,
        "the sum for the mean",
        loses={"values", "real"},
        answer=changed(TRAIN, "            p.grad /= N\n", ""),
    ),
    Mutant(
        OWNERS,
        "the mean of the weights in place of the gradients'",
        loses={"values", "bytes", "memory", "real"},
        answer="""
def train(x, y, comm):
    model = speller(x.shape[-1])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(trained)
    for batch, wanted in zip(x, y):
        loss_of(model, batch, wanted).backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.state.clear()
        for p in trained:
            p.data.copy_(ring.all_reduce(p.data, comm) / comm.world_size)
    return [p.detach() for p in model.parameters()]
""",
    ),
    Mutant(
        OWNERS,
        "gradients of the step before stay",
        loses={"values", "real"},
        answer=changed(
            TRAIN, "                p.grad = None\n", "", "            optimizer.zero_grad()\n", ""
        ),
    ),
    Mutant(
        OWNERS,
        "an optimizer of nothing",
        loses={"values", "memory"},
        answer=changed(TRAIN, "make_optimizer(mine) if mine else None", "make_optimizer(mine)"),
    ),
    Mutant(
        OWNERS,
        "owners send before they have received",
        loses={"deadlock", "real"},
        answer=changed(
            TRAIN,
            """                p.data.copy_(comm.recv(p.data, source=home))
                continue
            for other in range(N):
                if other != rank:
                    comm.send(p.data, to=other)
""",
            """                continue
            for other in range(N):
                if other != rank:
                    comm.send(p.data, to=other)
        for p, home in zip(trained, owned_by):
            if home != rank:
                p.data.copy_(comm.recv(p.data, source=home))
""",
        ),
    ),
    Mutant(
        OWNERS,
        "PyTorch's own, by its name",
        loses={"own work"},
        answer="\nfrom torch.distributed.optim import ZeroRedundancyOptimizer\n" + TRAIN,
    ),
    *museum_04_gradients.MUTANTS,
    *museum_04_gather.MUTANTS,
    *museum_04_islands.MUTANTS,
]

ZERO = """
from minidl.parallel.zero import {0}

def train(x, y, comm):
    model = {0}(speller(x.shape[-1]), comm, make_optimizer)
    for batch, wanted in zip(x, y):
        loss_of(model, batch, wanted).backward()
        model.step()
    return list(model.full_state_dict().values())
"""

NEAREST = {
    TOGETHER: [
        MUTANTS[6].answer,
        """
def put_together(shard, n, comm):               # ring.textbook_all_gather
    chunks = shard.repeat(comm.world_size, 1)
    for step in range(comm.world_size - 1):
        give = (comm.rank - step) % comm.world_size
        take = (give - 1) % comm.world_size
        chunks[take] = comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks.reshape(-1)[:n]
""",
    ],
    CLIP: [
        """
def clipped_step(shard, gradient, max_norm, comm):      # Zero1's: shards in blocks
    N = comm.world_size
    padded = torch.cat([gradient, gradient.new_zeros(-len(gradient) % N)])
    mine = ring.reduce_scatter(padded, comm) / N
    norm = ring.all_reduce((mine.double() ** 2).sum().reshape(1), comm).sqrt()
    return shard - rate * mine * (max_norm / (norm + 1e-6)).clamp(max=1.0).to(mine.dtype), norm
""",
        """
from minidl.parallel.sharded_units import Flat

def clipped_step(shard, gradient, max_norm, comm):
    flat = Flat([nn.Parameter(gradient.clone())], comm)
    flat.scatter(flat.whole.clone(), ring.reduce_scatter, comm)
    own = flat.pieces[0].grad
    mine = torch.cat([own, own.new_zeros(len(shard) - len(own))])
    norm = ring.all_reduce((mine ** 2).sum().reshape(1), comm).sqrt()
    return shard - rate * mine * (max_norm / norm).clamp(max=1.0), norm
""",
    ],
    OWNERS: [ZERO.format("Zero1"), ZERO.format("Zero2"), ZERO.format("Zero3")],
    **museum_04_gradients.NEAREST,
    **museum_04_gather.NEAREST,
    **museum_04_islands.NEAREST,
}
