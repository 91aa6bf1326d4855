"""Wrong answers to exercise 04's open challenge: everything over the cable, or everything kept.

0 1 2 3 ===cable=== 4 5 6 7     a weight that has come over the cable can stay on the island, a quarter with each rank
"""

from tests.check.museum import Mutant
from tests.check.museum_04_gather import CHAIN, RIGHT

ISLANDS = "04-islands"

FLAT = RIGHT.replace("gather_on_use", "on_islands")
HEAD = """
def on_islands(shards, x, y, comm):
    N, n, m, first = comm.world_size, x.shape[1], len(shards[0]), comm.rank // 4 * 4
    home, twins = comm.group(range(first, first + 4)), comm.group(range(comm.rank % 4, N, 4))
    quarter = ring.all_gather(torch.cat(shards), twins).reshape(N // 4, LAYERS, m)
    sums = torch.empty_like(quarter)

    def gathered(i):
        rows = ring.all_gather(quarter[:, i].reshape(-1), home).reshape(4, N // 4, m).transpose(0, 1).reshape(N, m)
        return rows[[owner(c, N) for c in range(N)]].T.reshape(-1)[:n * n].reshape(n, n)

    def add_up_at_home(i, gradient):
        rows = deal(gradient, N).T[[column(r, N) for r in range(N)]].reshape(N // 4, 4, m)
        sums[:, i] = ring.reduce_scatter(rows.transpose(0, 1).reshape(-1), home).reshape(N // 4, m)

    kept = []
"""
PASSES = """
    for i in range(LAYERS):
        t = torch.tanh(x @ gathered(i))
        kept.append((x, t))
        x = x + t
    dx = 2 * (x - y) / x.numel()
    for i in reversed(range(LAYERS)):
        x, t = kept.pop()
        dz = dx * (1 - t * t)
        add_up_at_home(i, x.T @ dz)
        dx = dx + dz @ gathered(i).T
"""
END = """
    return list((ring.reduce_scatter(sums.reshape(-1), twins) / N).reshape(LAYERS, m))
"""

MUTANTS = [
    Mutant(ISLANDS, "one ring over all", loses={"seconds"}, answer=FLAT),
    Mutant(
        ISLANDS,
        "whole weights kept on every rank",
        loses={"memory"},
        answer=HEAD
        + """
    weights = [gathered(i) for i in range(LAYERS)]
"""
        + PASSES.replace("gathered(i)", "weights[i]")
        + END,
    ),
    Mutant(
        ISLANDS,
        "the sum of one's own island only",
        loses={"values"},
        answer=HEAD
        + PASSES
        + """
    return list(sums[comm.rank // 4] / 4)
""",
    ),
    Mutant(
        ISLANDS,
        "the sum for the mean",
        loses={"values"},
        answer=HEAD + PASSES + END.replace(" / N", ""),
    ),
    Mutant(
        ISLANDS,
        "twins send before they receive: works by buffering only",
        loses={"deadlock"},
        answer=HEAD.replace(
            "    quarter = ring.all_gather(torch.cat(shards), twins).reshape(N // 4, LAYERS, m)\n",
            """
    mine, parts = torch.cat(shards), []
    for other in range(N // 4):
        if other != twins.rank:
            twins.send(mine, to=other)
    for other in range(N // 4):
        parts.append(mine if other == twins.rank else twins.recv(mine, source=other))
    quarter = torch.stack(parts).reshape(N // 4, LAYERS, m)
""",
        )
        + PASSES
        + END,
    ),
    Mutant(
        ISLANDS,
        "names ours",
        loses={"own work"},
        answer="\nimport minidl.parallel.zero\n" + HEAD + PASSES + END,
    ),
]

NEAREST = {
    ISLANDS: [
        CHAIN
        + """
def gradient_of(flat):
    own = torch.cat([piece.grad.reshape(-1) for piece in flat.pieces])
    return torch.cat([own, own.new_zeros(len(flat.shard) - len(own))])

def on_islands(shards, x, y, comm):
    N, n = comm.world_size, x.shape[1]
    rows = [ring.all_gather(shard, comm).reshape(N, -1)[[owner(c, N) for c in range(N)]].T.reshape(-1)[:n * n] for shard in shards]
    model = Zero3(nn.Sequential(*[Layer(row.reshape(n, n)) for row in rows]), comm, lambda ps: torch.optim.SGD(ps, lr=1.0))
    distance(model(x), y).backward()
    model.synchronise()
    return [shard_of(ring.all_gather(gradient_of(flat), comm)[:n * n], comm.rank, N) for flat in model.trained_flats]
"""
    ]
}
