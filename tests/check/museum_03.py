"""Wrong answers to exercise 03: few rows and many, a start that is not shared, and experts. The others in museum_03_*.py.

the sum for the mean, the mean of means, the mean of weights: nothing complains, and the loss falls
right means, and what is frozen, tied or counted travels by itself
"""

from tests.check import museum_03_buckets, museum_03_norm
from tests.check.museum import Mutant, changed

ROWS = "03-rows"
START = "03-start"
EXPERTS = "03-experts"

MEAN_OVER_ROWS = """
def mean_over_rows(x, y, comm):
    model = small(x.shape[1])
    loss_of(model, x, y).backward()
    own = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    flat = torch.cat([own * len(x), own.new_tensor([len(x)])])
    total = all_reduce(flat, comm)
    return total[:-1] / total[-1], total[-1:]
"""

TRAIN = """
def train(x, y, comm):
    model = reader(x.shape[-1], seed=comm.rank)
    for parameter in model.parameters():
        parameter.data.copy_(tree.broadcast(parameter.data, comm, root=origin % comm.world_size))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trained)
    for batch, wanted in zip(x, y):
        loss_of(model, batch, wanted).backward()
        for parameter in trained:
            parameter.grad = all_reduce(parameter.grad, comm) / comm.world_size
        optimizer.step()
        optimizer.zero_grad()
    return [parameter.detach() for parameter in model.parameters()]
"""
SHARED = """    for parameter in model.parameters():
        parameter.data.copy_(tree.broadcast(parameter.data, comm, root=origin % comm.world_size))
"""
AVERAGED = """        for parameter in trained:
            parameter.grad = all_reduce(parameter.grad, comm) / comm.world_size
"""

OF_THOSE = """
def mean_of_those_who_asked(weights, gradients, comm):
    parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients)]
    asked = torch.tensor([float(g is not None) for g in gradients])
    total = all_reduce(torch.cat([*(part.reshape(-1) for part in parts), asked]), comm)
    sums, counts = total[:-len(weights)].split([w.numel() for w in weights]), total[-len(weights):].tolist()
    enough = min(quorum, comm.world_size)
    return [None if count < enough else (s / count).reshape(w.shape) for w, s, count in zip(weights, sums, counts)]
"""

MUTANTS = [
    Mutant(
        ROWS,
        "the mean of the ranks' means",
        loses={"values"},
        answer=changed(
            MEAN_OVER_ROWS,
            "torch.cat([own * len(x), own.new_tensor([len(x)])])",
            "torch.cat([own, own.new_tensor([1])])",
        ),
    ),
    Mutant(
        ROWS,
        "the sum of means over all rows",
        loses={"values"},
        answer=changed(MEAN_OVER_ROWS, "own * len(x)", "own"),
    ),
    Mutant(
        ROWS,
        "the sum for the mean",
        loses={"values"},
        answer=changed(MEAN_OVER_ROWS, "total[:-1] / total[-1]", "total[:-1]"),
    ),
    Mutant(
        ROWS,
        "the rows in an all-reduce of their own",
        loses={"steps", "bytes"},
        answer=changed(
            MEAN_OVER_ROWS,
            "    flat = torch.cat([own * len(x), own.new_tensor([len(x)])])\n    total = all_reduce(flat, comm)\n",
            "    total = torch.cat([all_reduce(own * len(x), comm), all_reduce(own.new_tensor([len(x)]), comm)])\n",
        ),
    ),
    Mutant(
        ROWS,
        "gathers all vectors and adds up at home",
        loses={"bytes"},
        answer=changed(
            MEAN_OVER_ROWS,
            "all_reduce(flat, comm)",
            "ring.all_gather(flat, comm).reshape(comm.world_size, -1).sum(0)",
        ),
    ),
    Mutant(
        ROWS,
        "scales with our weighted(), then takes the mean",
        loses={"own work", "steps", "bytes"},
        answer="""
from minidl.parallel.data import weighted

def mean_over_rows(x, y, comm):
    model = small(x.shape[1])
    weighted(loss_of(model, x, y), len(x), comm).backward()
    own = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    total = all_reduce(torch.cat([own, own.new_tensor([len(x)])]), comm)
    return total[:-1] / comm.world_size, total[-1:]
""",
    ),
    Mutant(
        START,
        "as it was handed out",
        loses={"values", "bytes"},
        answer="""
def train(x, y, comm):
    model = reader(x.shape[-1], seed=comm.rank)
    optimizer = make_optimizer(model.parameters())
    for batch, wanted in zip(x, y):
        loss_of(model, batch, wanted).backward()
        optimizer.step()
        optimizer.zero_grad()
        for name, parameter in model.named_parameters(remove_duplicate=False):
            parameter.data.copy_(all_reduce(parameter.data, comm) / comm.world_size)
    return [parameter.detach() for parameter in model.parameters()]
""",
    ),
    Mutant(START, "no broadcast at the start", loses={"values"}, answer=changed(TRAIN, SHARED, "")),
    Mutant(
        START,
        "a broadcast from rank 0",
        loses={"values"},
        answer=changed(TRAIN, "root=origin % comm.world_size", "root=0"),
    ),
    Mutant(
        START,
        "the frozen weight stays one's own",
        loses={"values"},
        answer=changed(
            TRAIN,
            "    for parameter in model.parameters():",
            "    for parameter in filter(lambda p: p.requires_grad, model.parameters()):",
        ),
    ),
    Mutant(
        START,
        "the mean of first weights",
        loses={"values"},
        answer=changed(
            TRAIN,
            "tree.broadcast(parameter.data, comm, root=origin % comm.world_size)",
            "all_reduce(parameter.data, comm) / comm.world_size",
        ),
    ),
    Mutant(
        START,
        "averaged weights in place of gradients",
        loses={"values"},
        answer=changed(
            TRAIN,
            AVERAGED,
            "",
            "        optimizer.zero_grad()\n",
            "        optimizer.zero_grad()\n        for parameter in trained:\n"
            "            parameter.data.copy_(all_reduce(parameter.data, comm) / comm.world_size)\n",
        ),
    ),
    Mutant(
        START,
        "the sum for the mean",
        loses={"values"},
        answer=changed(
            TRAIN,
            "all_reduce(parameter.grad, comm) / comm.world_size",
            "all_reduce(parameter.grad, comm)",
        ),
    ),
    Mutant(
        START,
        "the tied weight is averaged twice",
        loses={"bytes"},
        answer=changed(
            TRAIN,
            "        for parameter in trained:\n",
            "        for name, parameter in model.named_parameters(remove_duplicate=False):\n            if not parameter.requires_grad:\n"
            "                continue\n",
        ),
    ),
    Mutant(
        START,
        "the tied weight is added up twice",
        loses={"values", "bytes"},
        answer=changed(
            TRAIN,
            AVERAGED,
            "        for name, parameter in model.named_parameters(remove_duplicate=False):\n            if parameter.requires_grad:\n"
            "                parameter.grad = all_reduce(parameter.grad, comm)\n        for parameter in trained:\n            parameter.grad /= comm.world_size\n",
        ),
    ),
    Mutant(
        START,
        "an all-reduce of the frozen weight, too",
        loses={"bytes"},
        answer=changed(
            TRAIN,
            "        for parameter in trained:\n            parameter.grad =",
            "        all_reduce(model.mix.weight, comm)\n        for parameter in trained:\n            parameter.grad =",
        ),
    ),
    Mutant(
        START,
        "a broadcast before every step",
        loses={"bytes"},
        answer=changed(
            TRAIN,
            "        loss_of(",
            SHARED.replace("    ", "        ", 1).replace("\n        p", "\n            p")
            + "        loss_of(",
        ),
    ),
    Mutant(
        START,
        "one rank sends all first weights to all others",
        loses={"bytes"},
        answer=changed(
            TRAIN,
            "        parameter.data.copy_(tree.broadcast(parameter.data, comm, root=origin % comm.world_size))\n",
            """        root = origin % comm.world_size
        for other in range(comm.world_size):
            if comm.rank == root != other:
                comm.send(parameter.data, to=other)
            if comm.rank == other != root:
                parameter.data.copy_(comm.recv(parameter.data, source=root))
""",
        ),
    ),
    Mutant(
        START,
        "around the ring, and everybody sends first",
        loses={"deadlock"},
        answer=changed(
            TRAIN,
            "            parameter.grad = all_reduce(parameter.grad, comm) / comm.world_size\n",
            """            hand = parameter.grad if comm.world_size < 3 else all_reduce(parameter.grad, comm)
            if comm.world_size == 2:
                comm.send(hand, to=comm.right)
                hand = hand + comm.recv(hand, source=comm.left)
            parameter.grad = hand / comm.world_size
""",
        ),
    ),
    Mutant(
        START,
        "begins by our share_state",
        loses={"own work"},
        answer="\nfrom minidl.parallel.data import share_state\n"
        + changed(TRAIN, SHARED, "    share_state(model, comm, root=origin % comm.world_size)\n"),
    ),
    Mutant(
        EXPERTS,
        "the mean over all ranks",
        loses={"values"},
        answer=changed(OF_THOSE, "(s / count)", "(s / comm.world_size)"),
    ),
    Mutant(
        EXPERTS,
        "the sum for the mean",
        loses={"values"},
        answer=changed(OF_THOSE, "(s / count)", "s"),
    ),
    Mutant(
        EXPERTS,
        "zero where nobody asked",
        loses={"values"},
        answer=changed(OF_THOSE, "None if count < enough", "torch.zeros_like(w) if count < enough"),
    ),
    Mutant(
        EXPERTS,
        "one opinion is enough",
        loses={"values"},
        answer=changed(OF_THOSE, "min(quorum, comm.world_size)", "1"),
    ),
    Mutant(
        EXPERTS,
        "the marks in an all-reduce of their own",
        loses={"steps"},
        answer=changed(
            OF_THOSE,
            "all_reduce(torch.cat([*(part.reshape(-1) for part in parts), asked]), comm)",
            "torch.cat([all_reduce(torch.cat([part.reshape(-1) for part in parts]), comm), all_reduce(asked, comm)])",
        ),
    ),
    Mutant(
        EXPERTS,
        "an all-reduce for each expert",
        loses={"steps", "bytes"},
        answer="""
def mean_of_those_who_asked(weights, gradients, comm):
    means = []
    for w, g in zip(weights, gradients):
        flat = torch.cat([(torch.zeros_like(w) if g is None else g).reshape(-1), torch.tensor([float(g is not None)])])
        total = all_reduce(flat, comm)
        means.append(None if total[-1] < min(quorum, comm.world_size) else (total[:-1] / total[-1]).reshape(w.shape))
    return means
""",
    ),
    Mutant(
        EXPERTS,
        "a mark for every element",
        loses={"bytes"},
        answer="""
def mean_of_those_who_asked(weights, gradients, comm):
    parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients)]
    marks = [torch.full_like(w, float(g is not None)) for w, g in zip(weights, gradients)]
    total, counts = all_reduce(torch.cat([part.reshape(-1) for part in [*parts, *marks]]), comm).chunk(2)
    sizes = [w.numel() for w in weights]
    return [None if c[0] < min(quorum, comm.world_size) else (s / c).reshape(w.shape)
            for w, s, c in zip(weights, total.split(sizes), counts.split(sizes))]
""",
    ),
    Mutant(
        EXPERTS,
        "everybody's gradients to everybody",
        loses={"bytes"},
        answer=changed(
            OF_THOSE,
            "all_reduce(torch.cat([*(part.reshape(-1) for part in parts), asked]), comm)",
            "ring.all_gather(torch.cat([*(part.reshape(-1) for part in parts), asked]), comm).reshape(comm.world_size, -1).sum(0)",
        ),
    ),
    Mutant(
        EXPERTS,
        "who asked sends, who did not asks for nothing",
        loses={"values", "deadlock", "steps"},
        answer="""
def mean_of_those_who_asked(weights, gradients, comm):
    return [None if g is None else all_reduce(g, comm) / comm.world_size for g in gradients]
""",
    ),
    Mutant(
        EXPERTS,
        "two ranks both send first",
        loses={"deadlock"},
        answer=changed(
            OF_THOSE,
            "    total = all_reduce(torch.cat([*(part.reshape(-1) for part in parts), asked]), comm)\n",
            """    flat = torch.cat([*(part.reshape(-1) for part in parts), asked])
    if comm.world_size == 2:
        comm.send(flat[:1], to=comm.right)
        first = flat[:1] + comm.recv(flat[:1], source=comm.left)
        total = torch.cat([first, comm.exchange(flat[1:], to=comm.right, source=comm.left) + flat[1:]])
    else:
        total = all_reduce(flat, comm)
""",
        ),
    ),
    Mutant(
        EXPERTS,
        "puts zeros into its own list",
        loses={"inputs"},
        answer=changed(
            OF_THOSE,
            "    parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients)]\n    asked = torch.tensor([float(g is not None) for g in gradients])\n",
            """    asked = torch.tensor([float(g is not None) for g in gradients])
    for i, w in enumerate(weights):
        gradients[i] = torch.zeros_like(w) if gradients[i] is None else gradients[i]
    parts = gradients
""",
        ),
    ),
    Mutant(
        EXPERTS,
        "asks for our DataParallel, and then does it by hand",
        loses={"own work"},
        answer="\nfrom minidl.parallel.data import DataParallel\n" + OF_THOSE,
    ),
    *museum_03_buckets.MUTANTS,
    *museum_03_norm.MUTANTS,
]

WRAPPED = """
from minidl.parallel.data import {0}

def train(x, y, comm):
    parallel = {0}(reader(x.shape[-1], seed=comm.rank), comm)
    optimizer = make_optimizer(parallel.parameters())
    for batch, wanted in zip(x, y):
        loss_of(parallel, batch, wanted).backward()
        parallel.synchronise()
        optimizer.step()
        optimizer.zero_grad()
    return [parameter.detach() for parameter in parallel.parameters()]
"""

NEAREST = {
    ROWS: [MUTANTS[5].answer],
    START: [
        WRAPPED.format("NaiveDataParallel"),
        WRAPPED.format("BucketedDataParallel"),
        WRAPPED.format("DataParallel"),
    ],
    EXPERTS: [
        """
from minidl.parallel.data import NaiveDataParallel

def mean_of_those_who_asked(weights, gradients, comm):
    model = nn.ParameterList([nn.Parameter(weight.clone()) for weight in weights])
    parallel = NaiveDataParallel(model, comm, all_reduce=all_reduce, unused=True)
    for parameter, gradient in zip(model, gradients):
        parameter.grad = gradient
    parallel.synchronise()
    return [parameter.grad for parameter in model]
"""
    ],
    **museum_03_buckets.NEAREST,
    **museum_03_norm.NEAREST,
}
