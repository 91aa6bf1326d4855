"""Wrong answers to exercise 04: gradients that stay too long, leave twice, or go to everybody; activations kept, or made too often.

12 whole gradients at the end of a backward pass:  the same values, and the memory of no sharding at all
each segment from the very beginning:              the memory of nothing kept, and L / stride times the work
"""

from tests.check.museum import Mutant

GRADIENTS = "04-gradients"
RECOMPUTE = "04-recompute"

HEAD = """
def sharded_gradients(weights, x, y, comm):
    N, parameters, shards = comm.world_size, [nn.Parameter(weight) for weight in weights], [0.0] * len(weights)
    layers = [*parameters, parameters[0]]

    def scattered(gradient):
        rows = deal(gradient, N).T[[column(r, N) for r in range(N)]]
        return ring.reduce_scatter(rows.reshape(-1), comm) / (N * len(x))
"""
HOOKS = """
    for i, parameter in enumerate(parameters):
        parameter.register_post_accumulate_grad_hook(lambda parameter, i=i: leave(i, parameter))
    for batch, wanted in zip(x, y):
        distance(chain(layers, batch), wanted).backward()
    return shards
"""
LEAVE = """
    def leave(i, parameter):
        shards[i] = shards[i] + scattered(parameter.grad)
        parameter.grad = None
"""

MUTANTS = [
    Mutant(
        GRADIENTS,
        "whole gradients until the end",
        loses={"memory"},
        answer=HEAD
        + """
    for batch, wanted in zip(x, y):
        distance(chain(layers, batch), wanted).backward()
    return [scattered(parameter.grad) for parameter in parameters]
""",
    ),
    Mutant(
        GRADIENTS,
        "whole gradients until the backward pass is over",
        loses={"memory"},
        answer=HEAD
        + """
    for batch, wanted in zip(x, y):
        distance(chain(layers, batch), wanted).backward()
        for i, parameter in enumerate(parameters):
            shards[i] = shards[i] + scattered(parameter.grad)
            parameter.grad = None
    return shards
""",
    ),
    Mutant(
        GRADIENTS,
        "reduced in time, and not forgotten",
        loses={"memory"},
        answer=HEAD
        + """
    def leave(i, parameter):
        shards[i] = shards[i] + scattered(parameter.grad)
        parameter.grad.zero_()
"""
        + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "all-reduce where a reduce-scatter will do",
        loses={"bytes"},
        answer=HEAD
        + """
    def leave(i, parameter):
        whole = ring.all_reduce(parameter.grad, comm) / (N * len(x))
        parameter.grad = None
        shards[i] = shards[i] + shard_of(whole, comm.rank, N)
"""
        + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "the tied weight leaves twice, once for each use",
        loses={"bytes"},
        answer=HEAD.replace(
            "layers = [*parameters, parameters[0]]",
            "again = nn.Parameter(weights[0])\n    layers = [*parameters, again]",
        )
        + LEAVE
        + """
    again.register_post_accumulate_grad_hook(lambda parameter: leave(0, parameter))
"""
        + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "the tied weight counts twice",
        loses={"values"},
        answer=HEAD
        + LEAVE.replace("shards[i] + scattered", "shards[i] + (1 + (i == 0)) * scattered")
        + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "not tied: the last layer's part is lost",
        loses={"values"},
        answer=HEAD.replace("[*parameters, parameters[0]]", "[*parameters, weights[0]]")
        + LEAVE
        + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "the sum for the mean",
        loses={"values"},
        answer=HEAD.replace(" / (N * len(x))", "") + LEAVE + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "the last microbatch only",
        loses={"values"},
        answer=HEAD + LEAVE.replace("shards[i] + ", "") + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "columns in the order of ranks",
        loses={"values"},
        answer=HEAD.replace(".T[[column(r, N) for r in range(N)]]", ".T") + LEAVE + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "ours, sorted afterwards",
        loses={"own work"},
        answer="""
from minidl.parallel import zero
"""
        + HEAD
        + LEAVE
        + HOOKS,
    ),
    Mutant(
        GRADIENTS,
        "pairs that both send first: works by buffering only",
        loses={"deadlock"},
        answer=HEAD.replace(
            "        return ring.reduce_scatter(rows.reshape(-1), comm) / (N * len(x))",
            """
        for other in range(N):
            if other != comm.rank:
                comm.send(rows[other].contiguous(), to=other)
        mine = rows[comm.rank].clone()
        for other in range(N):
            if other != comm.rank:
                mine += comm.recv(mine, source=other)
        return mine / (N * len(x))""",
        )
        + LEAVE
        + HOOKS,
    ),
    Mutant(
        RECOMPUTE,
        "keeps all",
        loses={"memory"},
        answer="""
def recomputed(weights, x, y):
    parameters = [nn.Parameter(weight) for weight in weights]
    distance(chain(parameters, x), y).backward()
    return [p.grad for p in parameters]
""",
    ),
    Mutant(
        RECOMPUTE,
        "keeps the input of every layer",
        loses={"memory"},
        answer="""
def recomputed(weights, x, y):
    parameters, kept = [nn.Parameter(weight) for weight in weights], []
    with torch.no_grad():
        for parameter in parameters:
            kept.append(x)
            x = chain([parameter], x)
        dx = 2 * (x - y) / x.numel()
    for parameter, start in zip(reversed(parameters), reversed(kept)):
        start.requires_grad_()
        chain([parameter], start).backward(dx)
        dx = start.grad
    return [p.grad for p in parameters]
""",
    ),
    Mutant(
        RECOMPUTE,
        "makes all segments again before the first goes back",
        loses={"memory"},
        answer="""
def recomputed(weights, x, y):
    parameters, kept = [nn.Parameter(weight) for weight in weights], []
    starts = range(0, len(weights), stride)
    with torch.no_grad():
        for start in starts:
            kept.append(x)
            x = chain(parameters[start:start + stride], x)
        dx = 2 * (x - y) / x.numel()
    kept = [x.requires_grad_() for x in kept]
    outs = [chain(parameters[start:start + stride], x) for start, x in zip(starts, kept)]
    for x, out in zip(reversed(kept), reversed(outs)):
        out.backward(dx)
        dx = x.grad
    return [p.grad for p in parameters]
""",
    ),
    Mutant(
        RECOMPUTE,
        "keeps nothing: each segment from the very beginning",
        loses={"flops"},
        answer="""
def recomputed(weights, x, y):
    parameters = [nn.Parameter(weight) for weight in weights]
    with torch.no_grad():
        out = chain(parameters, x)
        dx = 2 * (out - y) / out.numel()
    for start in reversed(range(0, len(weights), stride)):
        with torch.no_grad():
            begin = chain(parameters[:start], x).clone()
        begin.requires_grad_()
        chain(parameters[start:start + stride], begin).backward(dx)
        dx = begin.grad
    return [p.grad for p in parameters]
""",
    ),
    Mutant(
        RECOMPUTE,
        "two passes more than one: the loss is computed once for its value alone",
        loses={"flops"},
        answer="""
def recomputed(weights, x, y):
    with torch.no_grad():
        loss = distance(chain(weights, x), y)
    parameters, kept = [nn.Parameter(weight) for weight in weights], []
    starts = range(0, len(weights), stride)
    with torch.no_grad():
        for start in starts:
            kept.append(x)
            x = chain(parameters[start:start + stride], x)
        dx = 2 * (x - y) / x.numel()
    for start in reversed(starts):
        x = kept.pop().requires_grad_()
        chain(parameters[start:start + stride], x).backward(dx)
        dx = x.grad
    return [p.grad for p in parameters]
""",
    ),
    Mutant(
        RECOMPUTE,
        "each segment begins with the same gradient",
        loses={"values"},
        answer="""
def recomputed(weights, x, y):
    parameters, kept = [nn.Parameter(weight) for weight in weights], []
    starts = range(0, len(weights), stride)
    with torch.no_grad():
        for start in starts:
            kept.append(x)
            x = chain(parameters[start:start + stride], x)
        dx = 2 * (x - y) / x.numel()
    for start in reversed(starts):
        x = kept.pop().requires_grad_()
        chain(parameters[start:start + stride], x).backward(dx)
    return [p.grad for p in parameters]
""",
    ),
    Mutant(
        RECOMPUTE,
        "PyTorch's checkpoint",
        loses={"own work"},
        answer="""
from torch.utils.checkpoint import checkpoint

def recomputed(weights, x, y):
    parameters = [nn.Parameter(weight) for weight in weights]
    out = x.requires_grad_()
    for start in range(0, len(weights), stride):
        out = checkpoint(chain, parameters[start:start + stride], out, use_reentrant=False)
    distance(out, y).backward()
    return [p.grad for p in parameters]
""",
    ),
]

NEAREST = {
    GRADIENTS: [
        """
from minidl.parallel.zero import Zero2

class Chain(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.weights = nn.ParameterList(weights)

    def forward(self, x):
        return chain([*self.weights, self.weights[0]], x)

def sharded_gradients(weights, x, y, comm):
    model = Zero2(Chain(weights), comm, lambda ps: torch.optim.SGD(ps, lr=1.0))
    for batch, wanted in zip(x, y):
        (distance(model(batch), wanted) / len(x)).backward()
    model.synchronise()
    (flat,) = model.trained_flats
    own = torch.cat([piece.grad.reshape(-1) for piece in flat.pieces])
    whole = ring.all_gather(torch.cat([own, own.new_zeros(len(flat.shard) - len(own))]), comm)
    size = weights[0].numel()
    return [shard_of(whole[i * size:(i + 1) * size], comm.rank, comm.world_size) for i in range(len(weights))]
""",
        HEAD.replace(
            "rows = deal(gradient, N).T[[column(r, N) for r in range(N)]]",
            """rows = torch.cat([gradient.reshape(-1), gradient.new_zeros(-gradient.numel() % N)])  # Zero2's: shards in blocks""",
        )
        + LEAVE
        + HOOKS,
    ],
    RECOMPUTE: [MUTANTS[-1].answer],
}
