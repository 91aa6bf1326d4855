"""Wrong answers to exercise 03: buckets that each rank packs for itself, and messages that wait for nobody or for too much.

| backward | bucket | bucket |        right means, and nothing overlaps
| backward, one bucket behind it |    it overlaps, in forward order, so not much
"""

from tests.check.museum import Mutant, changed

BUCKETS = "03-buckets"
OVERLAP = "03-overlap"

IN_BUCKETS = """
def in_buckets(gradients, arrived, capacity, comm):
    N, buckets, enough, held = comm.world_size, [[]], capacity / starter, 0
    for i in tree.broadcast(torch.tensor(arrived), comm, root=origin % N).tolist():
        if held >= enough:
            buckets.append([])
            enough, held = capacity, 0
        buckets[-1].append(i)
        held += gradients[i].nbytes
    means = [None] * len(gradients)
    for bucket in buckets:
        own = [gradients[i] for i in bucket]
        mean = all_reduce(torch.cat([g.reshape(-1) for g in own]), comm) / N
        for i, part in zip(bucket, mean.split([g.numel() for g in own])):
            means[i] = part.reshape(gradients[i].shape)
    return buckets, means
"""
ORDER = "tree.broadcast(torch.tensor(arrived), comm, root=origin % N)"
PACKED = """        own = [gradients[i] for i in bucket]
        mean = all_reduce(torch.cat([g.reshape(-1) for g in own]), comm) / N
        for i, part in zip(bucket, mean.split([g.numel() for g in own])):
            means[i] = part.reshape(gradients[i].shape)
"""

BESIDE = """
def gradients_beside(x, y, left_first, comm):
    model, N, under_way = tower(x.shape[-1], left_first), comm.world_size, []
    layers = list(model.layers)[::-1]
    buckets = [[p for layer in layers[i:i + together] for p in layer.parameters()] for i in range(0, LAYERS, together)]
    missing = [len(bucket) for bucket in buckets]

    def arrived(number):
        missing[number] -= 1
        while len(under_way) < len(buckets) and missing[len(under_way)] == 0:
            flat = torch.cat([p.grad.reshape(-1) for p in buckets[len(under_way)]])
            under_way.append(comm.background(all_reduce, flat, comm))

    for microbatch in range(len(x)):
        if microbatch == len(x) - 1:
            for number, bucket in enumerate(buckets):
                for p in bucket:
                    p.register_post_accumulate_grad_hook(lambda _, number=number: arrived(number))
        loss_of(model, x[microbatch], y[microbatch]).backward()
    for bucket, work in zip(buckets, under_way):
        for p, part in zip(bucket, work.wait().split([p.numel() for p in bucket])):
            p.grad = part.reshape(p.shape) / (N * len(x))
    return [p.grad for p in model.parameters()]
"""
BY_LAYER = "    buckets = [[p for layer in layers[i:i + together] for p in layer.parameters()] for i in range(0, LAYERS, together)]\n"

MUTANTS = [
    Mutant(
        BUCKETS,
        "each rank packs by its own order",
        loses={"values"},
        answer=changed(IN_BUCKETS, ORDER, "torch.tensor(arrived)"),
    ),
    Mutant(
        BUCKETS,
        "the order of rank 0",
        loses={"values"},
        answer=changed(IN_BUCKETS, "root=origin % N", "root=0"),
    ),
    Mutant(
        BUCKETS,
        "in forward order",
        loses={"values"},
        answer=changed(IN_BUCKETS, ORDER, "torch.arange(len(arrived))"),
    ),
    Mutant(
        BUCKETS,
        "at most the capacity, not at least",
        loses={"values", "steps"},
        answer=changed(
            IN_BUCKETS,
            "        if held >= enough:",
            "        if held and held + gradients[i].nbytes > enough:",
        ),
    ),
    Mutant(
        BUCKETS,
        "full when it holds more than the capacity",
        loses={"values"},
        answer=changed(IN_BUCKETS, "held >= enough", "held > enough"),
    ),
    Mutant(
        BUCKETS,
        "the first bucket is as large as the others",
        loses={"values"},
        answer=changed(IN_BUCKETS, "capacity / starter", "capacity"),
    ),
    Mutant(
        BUCKETS,
        "all buckets are small",
        loses={"values", "steps"},
        answer=changed(IN_BUCKETS, "enough, held = capacity, 0", "held = 0"),
    ),
    Mutant(
        BUCKETS,
        "a bucket for each gradient",
        loses={"values", "steps"},
        answer=changed(IN_BUCKETS, "held >= enough", "held"),
    ),
    Mutant(
        BUCKETS,
        "says buckets, and reduces one by one",
        loses={"steps"},
        answer=changed(
            IN_BUCKETS,
            PACKED,
            """        for i in bucket:
            means[i] = all_reduce(gradients[i], comm) / N
""",
        ),
    ),
    Mutant(
        BUCKETS,
        "the sum for the mean",
        loses={"values"},
        answer=changed(IN_BUCKETS, "comm) / N\n", "comm)\n"),
    ),
    Mutant(
        BUCKETS,
        "the means in the order of arrival",
        loses={"values"},
        answer=changed(
            IN_BUCKETS,
            "    return buckets, means",
            "    return buckets, [means[i] for bucket in buckets for i in bucket]",
        ),
    ),
    Mutant(
        BUCKETS,
        "the order goes from rank to rank",
        loses={"steps"},
        answer=changed(
            IN_BUCKETS,
            "    for i in " + ORDER,
            """    order, place = torch.tensor(arrived), (comm.rank - origin) % N
    order = comm.recv(order, source=comm.left) if place else order
    if place < N - 1:
        comm.send(order, to=comm.right)
    comm.barrier()
    for i in order""",
        ),
    ),
    Mutant(
        BUCKETS,
        "puts the means where the gradients were",
        loses={"inputs"},
        answer=changed(
            IN_BUCKETS, "    means = [None] * len(gradients)\n", "    means = gradients\n"
        ),
    ),
    Mutant(
        BUCKETS,
        "two ranks tell each other before they listen",
        loses={"deadlock"},
        answer=changed(
            IN_BUCKETS,
            "    for i in " + ORDER,
            """    order = torch.tensor(arrived)
    if N == 2:
        comm.send(order, to=comm.right)
        heard = comm.recv(order, source=comm.left)
        order = heard if comm.rank != origin % N else order
    else:
        order = tree.broadcast(order, comm, root=origin % N)
    for i in order""",
        ),
    ),
    Mutant(
        BUCKETS,
        "asks for our plan, and then makes its own",
        loses={"own work"},
        answer="\nfrom minidl.plans.buckets import buckets as ours\n" + IN_BUCKETS,
    ),
    Mutant(
        OVERLAP,
        "waits at once",
        loses={"overlap"},
        answer=changed(
            BESIDE,
            "            under_way.append(comm.background(all_reduce, flat, comm))",
            "            under_way.append(comm.background(all_reduce, flat, comm))\n            under_way[-1].wait()",
        ),
    ),
    Mutant(
        OVERLAP,
        "all buckets after the backward pass",
        loses={"overlap"},
        answer=changed(
            BESIDE,
            "    for bucket, work in zip(",
            """    for bucket in buckets:
        under_way.append(comm.background(all_reduce, torch.cat([p.grad.reshape(-1) for p in bucket]), comm))
    for bucket, work in zip(""",
            "        if microbatch == len(x) - 1:\n",
            "        if False:\n",
        ),
    ),
    Mutant(
        OVERLAP,
        "buckets in forward order",
        loses={"overlap"},
        answer=changed(BESIDE, "list(model.layers)[::-1]", "list(model.layers)"),
    ),
    Mutant(
        OVERLAP,
        "one bucket for all",
        loses={"overlap"},
        answer=changed(
            BESIDE,
            BY_LAYER,
            "    buckets = [[p for layer in layers for p in layer.parameters()]]\n",
        ),
    ),
    Mutant(
        OVERLAP,
        "a bucket for each weight, in an order of its own",
        loses={"steps"},
        answer=changed(
            BESIDE,
            BY_LAYER,
            "    buckets = [[p] for layer in layers for p in layer.parameters()]\n",
        ),
    ),
    Mutant(
        OVERLAP,
        "a weight leaves when its gradient comes, on either side",
        loses={"values", "steps", "real"},
        answer="""
def gradients_beside(x, y, left_first, comm):
    model, under_way = tower(x.shape[-1], left_first), []
    for microbatch in range(len(x)):
        if microbatch == len(x) - 1:
            for p in model.parameters():
                p.register_post_accumulate_grad_hook(lambda p: under_way.append((p, comm.background(all_reduce, p.grad.clone(), comm))))
        loss_of(model, x[microbatch], y[microbatch]).backward()
    for p, work in under_way:
        p.grad = work.wait() / (comm.world_size * len(x))
    return [p.grad for p in model.parameters()]
""",
    ),
    Mutant(
        OVERLAP,
        "every microbatch is sent",
        loses={"steps", "bytes"},
        answer=changed(
            BESIDE,
            "        if microbatch == len(x) - 1:\n            for number",
            "        if microbatch == 0:\n            for number",
            "        loss_of(",
            "        missing[:], under_way[:] = [len(bucket) for bucket in buckets], []\n        loss_of(",
            ".backward()\n",
            ".backward()\n        for work in under_way:\n            work.wait()\n",
        ),
    ),
    Mutant(
        OVERLAP,
        "the last microbatch alone",
        loses={"values", "real"},
        answer=changed(BESIDE, "        loss_of(", "        model.zero_grad()\n        loss_of("),
    ),
    Mutant(
        OVERLAP,
        "the sum for the mean",
        loses={"values", "real"},
        answer=changed(BESIDE, " / (N * len(x))", ""),
    ),
    Mutant(
        OVERLAP,
        "a further forward pass, to see the loss",
        loses={"flops"},
        answer=changed(
            BESIDE,
            "    for bucket, work in zip(",
            "    loss_of(model, x[-1], y[-1])\n    for bucket, work in zip(",
        ),
    ),
    Mutant(
        OVERLAP,
        "every gradient goes twice in its bucket",
        loses={"bytes"},
        answer=changed(
            BESIDE,
            "for p in buckets[len(under_way)]])",
            "for p in buckets[len(under_way)]] * 2)",
            "work.wait()",
            "work.wait()[:len(bucket) * x.shape[-1] ** 2]",
        ),
    ),
    Mutant(
        OVERLAP,
        "takes our DataParallel",
        loses={"own work", "steps", "bytes", "overlap"},
        answer="""
from minidl.parallel.data import DataParallel

def gradients_beside(x, y, left_first, comm):
    model = tower(x.shape[-1], left_first)
    parallel = DataParallel(model, comm, all_reduce=all_reduce, capacity=8 * together * x.shape[-1] ** 2)
    for microbatch in range(len(x) - 1):
        with parallel.no_sync():
            loss_of(parallel, x[microbatch], y[microbatch]).backward()
    loss_of(parallel, x[-1], y[-1]).backward()
    parallel.synchronise()
    return [p.grad / len(x) for p in model.parameters()]
""",
    ),
]

NEAREST = {
    BUCKETS: [
        """
from minidl.plans.buckets import buckets as ours

def in_buckets(gradients, arrived, capacity, comm):
    plan = ours([g.nbytes for g in gradients], capacity)
    means = [None] * len(gradients)
    for bucket in plan:
        flat = all_reduce(torch.cat([gradients[i].reshape(-1) for i in bucket]), comm) / comm.world_size
        for i, part in zip(bucket, flat.split([gradients[i].numel() for i in bucket])):
            means[i] = part.reshape(gradients[i].shape)
    return plan, means
""",
        changed(
            IN_BUCKETS,
            "        if held >= enough:",
            "        if held and held + gradients[i].nbytes > enough:",
            ORDER,
            "torch.arange(len(arrived)).flip(0)",
            "capacity / starter",
            "capacity",
        ),
    ],
    OVERLAP: [MUTANTS[-1].answer],
}
