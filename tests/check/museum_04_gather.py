"""Wrong answers to exercise 04: weights that come too early, stay too long, or are waited for.

all at once            w0 w1 w2 ... w11 | compute            the memory of no sharding
not freed              w0, w0 w1, w0 w1 w2, ...              the same, a little later
waited for at once     w0 | compute | w1 | compute           the memory of two, and no overlap
"""

from tests.check.museum import Mutant

GATHER = "04-gather"
AHEAD = "04-ahead"

HEAD = """
def gather_on_use(shards, x, y, comm):
    N, n = comm.world_size, x.shape[1]

    def gathered(shard):
        rows = ring.all_gather(shard, comm).reshape(N, -1)
        return rows[[owner(c, N) for c in range(N)]].T.reshape(-1)[:n * n].reshape(n, n)

    def scattered(gradient):
        rows = deal(gradient, N).T[[column(r, N) for r in range(N)]]
        return ring.reduce_scatter(rows.reshape(-1), comm) / N

    kept, gradients = [], []
"""
FORWARD = """
    for shard in shards:
        t = torch.tanh(x @ gathered(shard))
        kept.append((x, t))
        x = x + t
"""
BACKWARD = """
    dx = 2 * (x - y) / x.numel()
    for shard in reversed(shards):
        x, t = kept.pop()
        dz = dx * (1 - t * t)
        gradients.append(scattered(x.T @ dz))
        dx = dx + dz @ gathered(shard).T
    return gradients[::-1]
"""
RIGHT = HEAD + FORWARD + BACKWARD

FETCH = """
def fetch_ahead(shards, x, comm):
    N, n = comm.world_size, x.shape[1]

    def gathered(shard, comm):
        rows = ring.all_gather(shard, comm).reshape(N, -1)
        return rows[[owner(c, N) for c in range(N)]].T.reshape(-1)[:n * n].reshape(n, n)
"""
LOOP = """
    coming = comm.background(gathered, shards[0], comm)
    for following in [*shards[1:], None]:
        weight = coming.wait()
        coming = None if following is None else comm.background(gathered, following, comm)
        x = x + torch.tanh(x @ weight)
    return x
"""

MUTANTS = [
    Mutant(
        GATHER,
        "all weights at once",
        loses={"memory"},
        answer=HEAD
        + """
    weights = [gathered(shard) for shard in shards]
    for weight in weights:
        t = torch.tanh(x @ weight)
        kept.append((x, t))
        x = x + t
    dx = 2 * (x - y) / x.numel()
    for weight in reversed(weights):
        x, t = kept.pop()
        dz = dx * (1 - t * t)
        gradients.append(scattered(x.T @ dz))
        dx = dx + dz @ weight.T
    return gradients[::-1]
""",
    ),
    Mutant(
        GATHER,
        "autograd keeps each weight for its backward pass",
        loses={"memory"},
        answer=HEAD
        + """
    def leave(parameter):
        gradients.append(scattered(parameter.grad))
        parameter.grad = None
    for shard in shards:
        weight = nn.Parameter(gathered(shard))
        weight.register_post_accumulate_grad_hook(leave)
        x = x + torch.tanh(x @ weight)
    distance(x, y).backward()
    return gradients[::-1]
""",
    ),
    Mutant(
        GATHER,
        "gathered twice, and never freed",
        loses={"memory"},
        answer=HEAD
        + """
    album = []
"""
        + FORWARD.replace(
            "t = torch.tanh(x @ gathered(shard))",
            "album.append(gathered(shard))\n        t = torch.tanh(x @ album[-1])",
        )
        + BACKWARD,
    ),
    Mutant(
        GATHER,
        "whole gradients until the end",
        loses={"memory"},
        answer=HEAD
        + FORWARD
        + BACKWARD.replace("scattered(x.T @ dz)", "x.T @ dz").replace(
            "return gradients[::-1]", "return [scattered(gradient) for gradient in gradients[::-1]]"
        ),
    ),
    Mutant(
        GATHER,
        "computes each layer twice",
        loses={"flops"},
        answer=HEAD
        + FORWARD.replace("kept.append((x, t))", "kept.append(x)")
        + """
    dx = 2 * (x - y) / x.numel()
    for shard in reversed(shards):
        x = kept.pop().detach().requires_grad_()
        weight = nn.Parameter(gathered(shard))
        (x + torch.tanh(x @ weight)).backward(dx)
        dx = x.grad
        gradients.append(scattered(weight.grad))
    return gradients[::-1]
""",
    ),
    Mutant(
        GATHER,
        "all-reduce where a reduce-scatter will do",
        loses={"bytes"},
        answer=RIGHT.replace(
            """
        rows = deal(gradient, N).T[[column(r, N) for r in range(N)]]
        return ring.reduce_scatter(rows.reshape(-1), comm) / N
""",
            """
        return shard_of(ring.all_reduce(gradient, comm) / N, comm.rank, N)
""",
        ),
    ),
    Mutant(
        GATHER,
        "gathers once more, to take the gradient of it",
        loses={"bytes"},
        answer=RIGHT.replace("        dz = dx", "        gathered(shard)\n        dz = dx"),
    ),
    Mutant(
        GATHER,
        "gathered from the wrong owner",
        loses={"values"},
        answer=RIGHT.replace("rows[[owner(c, N) for c in range(N)]]", "rows"),
    ),
    Mutant(
        GATHER,
        "the sum for the mean",
        loses={"values"},
        answer=RIGHT.replace("comm) / N\n", "comm)\n"),
    ),
    Mutant(
        GATHER,
        "gradients in the order in which they come",
        loses={"values"},
        answer=RIGHT.replace("gradients[::-1]", "gradients"),
    ),
    Mutant(
        GATHER,
        "forgets the way past the layer",
        loses={"values"},
        answer=RIGHT.replace("dx = dx + dz @", "dx = dz @"),
    ),
    Mutant(
        GATHER,
        "everybody sends first: works by buffering only",
        loses={"deadlock"},
        answer=RIGHT.replace(
            """
        rows = ring.all_gather(shard, comm).reshape(N, -1)
""",
            """
        for other in range(N):
            if other != comm.rank:
                comm.send(shard, to=other)
        rows = torch.stack([shard if other == comm.rank else comm.recv(shard, source=other) for other in range(N)])
""",
        ),
    ),
    Mutant(
        GATHER,
        "names ours",
        loses={"own work"},
        answer="\nimport minidl.parallel.sharded_units\n" + RIGHT,
    ),
    Mutant(
        AHEAD,
        "waits at once",
        loses={"overlap"},
        answer=FETCH
        + """
    for shard in shards:
        x = x + torch.tanh(x @ comm.background(gathered, shard, comm).wait())
    return x
""",
    ),
    Mutant(
        AHEAD,
        "asks for the next after it has computed",
        loses={"overlap"},
        answer=FETCH
        + LOOP.replace(
            """
        coming = None if following is None else comm.background(gathered, following, comm)
        x = x + torch.tanh(x @ weight)
""",
            """
        x = x + torch.tanh(x @ weight)
        coming = None if following is None else comm.background(gathered, following, comm)
""",
        ),
    ),
    Mutant(
        AHEAD,
        "no background at all",
        loses={"overlap"},
        answer=FETCH
        + """
    for shard in shards:
        x = x + torch.tanh(x @ gathered(shard, comm))
    return x
""",
    ),
    Mutant(
        AHEAD,
        "all weights at once, in the background",
        loses={"memory"},
        answer=FETCH
        + """
    coming = [comm.background(gathered, shard, comm) for shard in shards]
    for work in coming:
        x = x + torch.tanh(x @ work.wait())
    return x
""",
    ),
    Mutant(
        AHEAD,
        "keeps the Works of all weights",
        loses={"memory"},
        answer=FETCH
        + """
    works = [comm.background(gathered, shards[0], comm)]
    for i in range(len(shards)):
        weight = works[i].wait()
        if i + 1 < len(shards):
            works.append(comm.background(gathered, shards[i + 1], comm))
        x = x + torch.tanh(x @ weight)
    return x
""",
    ),
    Mutant(
        AHEAD,
        "fetches one for nothing, at the end",
        loses={"bytes"},
        answer=FETCH
        + LOOP.replace("[*shards[1:], None]", "[*shards[1:], shards[0]]").replace(
            "    return x\n", "    coming.wait()\n    return x\n"
        ),
    ),
    Mutant(
        AHEAD,
        "each product twice, so that there is something to overlap",
        loses={"flops"},
        answer=FETCH
        + LOOP.replace("torch.tanh(x @ weight)", "torch.tanh((x @ weight + x @ weight) / 2)"),
    ),
    Mutant(
        AHEAD,
        "one layer late",
        loses={"values"},
        answer=FETCH
        + LOOP.replace("        weight = coming.wait()\n", "")
        .replace("    for following", "    weight = coming.wait()\n    for following")
        .replace(
            "    return x\n",
            "        weight = weight if coming is None else coming.wait().T\n    return x\n",
        )
        .replace(
            "comm.background(gathered, following, comm)\n",
            "comm.background(gathered, following, comm)\n",
        ),
    ),
    Mutant(
        AHEAD,
        "gathered from the wrong owner",
        loses={"values"},
        answer=FETCH.replace("rows[[owner(c, N) for c in range(N)]]", "rows") + LOOP,
    ),
    Mutant(
        AHEAD,
        "names ours",
        loses={"own work"},
        answer="\nimport minidl.parallel.zero\n" + FETCH + LOOP,
    ),
]

CHAIN = """
from minidl.parallel.zero import Zero3

class Layer(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return x + torch.tanh(x @ self.weight)
"""
BLOCKS = "rows = torch.cat([gradient.reshape(-1), gradient.new_zeros(-gradient.numel() % N)])"

NEAREST = {
    GATHER: [
        CHAIN
        + """
def gradient_of(flat):
    own = torch.cat([piece.grad.reshape(-1) for piece in flat.pieces])
    return torch.cat([own, own.new_zeros(len(flat.shard) - len(own))])

def gather_on_use(shards, x, y, comm):
    N, n = comm.world_size, x.shape[1]
    rows = [ring.all_gather(shard, comm).reshape(N, -1)[[owner(c, N) for c in range(N)]].T.reshape(-1)[:n * n] for shard in shards]
    model = Zero3(nn.Sequential(*[Layer(row.reshape(n, n)) for row in rows]), comm, lambda ps: torch.optim.SGD(ps, lr=1.0))
    distance(model(x), y).backward()
    model.synchronise()
    return [shard_of(ring.all_gather(gradient_of(flat), comm)[:n * n], comm.rank, N) for flat in model.trained_flats]
""",
        RIGHT.replace(
            "rows[[owner(c, N) for c in range(N)]].T.reshape(-1)", "rows.reshape(-1)"
        ).replace("rows = deal(gradient, N).T[[column(r, N) for r in range(N)]]", BLOCKS),
    ],
    AHEAD: [
        CHAIN
        + """
def fetch_ahead(shards, x, comm):
    N, n = comm.world_size, x.shape[1]
    rows = [ring.all_gather(shard, comm).reshape(N, -1)[[owner(c, N) for c in range(N)]].T.reshape(-1)[:n * n] for shard in shards]
    return Zero3(nn.Sequential(*[Layer(row.reshape(n, n)) for row in rows]), comm, lambda ps: torch.optim.SGD(ps, lr=1.0))(x).detach()
""",
        FETCH.replace("rows[[owner(c, N) for c in range(N)]].T.reshape(-1)", "rows.reshape(-1)")
        + LOOP,
    ],
}
