"""Wrong answers to exercise 03: statistics that are not those of all rows, replicas that look alike, and steps that are not fast."""

from tests.check.museum import Mutant, changed

NORM = "03-norm"
ALIKE = "03-alike"
FASTEST = "03-fastest"

NORMALISED = """
def normalised(x, dy, comm):
    N, C = comm.world_size, x.shape[1]
    own = x.sum(0) / max(len(x), 1)
    scatter = ((x - own) ** 2).sum(0)
    seen = ring.all_gather(torch.cat([own, scatter, x.new_tensor([len(x)])]), comm).reshape(N, 2 * C + 1)
    means, scatters, rows = seen[:, :C], seen[:, C:2 * C], seen[:, 2 * C:]
    near = means[rows.argmax()]
    shift = ((means - near) * rows).sum(0) / rows.sum()
    variance = (scatters + rows * (means - near - shift) ** 2).sum(0) / rows.sum()
    scale = (variance + 1e-5).rsqrt()
    y = (x - near - shift) * scale
    of_dy, of_dy_y = all_reduce(torch.cat([dy.sum(0), (dy * y).sum(0)]), comm).chunk(2)
    return y, (dy - of_dy / rows.sum() - y * of_dy_y / rows.sum()) * scale
"""
HEAD = NORMALISED[: NORMALISED.index("    own =")]
STATISTICS = NORMALISED[NORMALISED.index("    own =") : NORMALISED.index("    scale =")]
BACKWARD = NORMALISED[NORMALISED.index("    of_dy,") :]

ALIKES = """
def odd_ones_out(parameters, comm):
    digest = hashlib.sha256(b"".join(p.detach().contiguous().numpy().tobytes() for p in parameters)).digest()
    prints = ring.all_gather(torch.frombuffer(bytearray(digest), dtype=torch.uint8), comm).reshape(comm.world_size, -1)
    return [not torch.equal(own, prints[origin % comm.world_size]) for own in prints]
"""
DIGEST = ALIKES[ALIKES.index("    digest") : ALIKES.index("    prints")]
GATHERED = "ring.all_gather(torch.frombuffer(bytearray(digest), dtype=torch.uint8), comm)"

FAST = """
def fastest_step(x, y, comm):
    model, under_way = deep(x.shape[-1]), []
    weights = [layer.weight for layer in model.layers]
    buckets = [weights[i:i + 4] for i in reversed(range(0, DEPTH, 4))]

    def leave(bucket):
        flat = torch.cat([weight.grad.reshape(-1) for weight in bucket])
        under_way.append((bucket, comm.background(doubling.halving_doubling_all_reduce, flat, comm)))

    for bucket in buckets:
        bucket[0].register_post_accumulate_grad_hook(lambda _, bucket=bucket: leave(bucket))
    loss_of(model, x, y).backward()
    for bucket, work in under_way:
        for weight, part in zip(bucket, work.wait().split([weight.numel() for weight in bucket])):
            weight.grad = part.reshape(weight.shape) / comm.world_size
    return [weight.grad for weight in weights]
"""
HALVING = "comm.background(doubling.halving_doubling_all_reduce, flat, comm)"


def fingerprint(sums):
    """Replicas compared by this expression over `flat`, all parameters in one vector."""
    return changed(
        ALIKES,
        DIGEST,
        "    flat = torch.cat([p.reshape(-1) for p in parameters])\n",
        GATHERED,
        f"ring.all_gather({sums}.reshape(-1), comm)",
    )


MUTANTS = [
    Mutant(
        NORM,
        "the sums of x and of x squared",
        loses={"values"},
        answer=changed(
            NORMALISED,
            STATISTICS,
            """    total = all_reduce(torch.cat([x.sum(0), (x * x).sum(0), x.new_tensor([len(x)])]), comm)
    rows = total[-1:]
    near, shift = total[:C] / rows, 0
    variance = (total[C:2 * C] / rows - near * near).clamp(min=0)
""",
        ),
    ),
    Mutant(
        NORM,
        "the mean of means and of variances",
        loses={"values"},
        answer=changed(
            NORMALISED,
            "((means - near) * rows).sum(0) / rows.sum()",
            "(means - near).mean(0)",
            "(scatters + rows * (means - near - shift) ** 2).sum(0) / rows.sum()",
            "(scatters / rows.clamp(min=1)).mean(0)",
        ),
    ),
    Mutant(
        NORM,
        "the right mean, and the mean of variances",
        loses={"values"},
        answer=changed(
            NORMALISED,
            "(scatters + rows * (means - near - shift) ** 2).sum(0) / rows.sum()",
            "scatters.sum(0) / rows.sum()",
        ),
    ),
    Mutant(
        NORM,
        "each rank's own statistics",
        loses={"values"},
        answer=changed(
            NORMALISED,
            STATISTICS,
            """    rows = x.new_tensor([max(len(x), 1)])
    near, shift = x.sum(0) / rows, 0
    variance = ((x - near) ** 2).sum(0) / rows
""",
        ),
    ),
    Mutant(
        NORM,
        "the unbiased variance",
        loses={"values"},
        answer=changed(NORMALISED, "** 2).sum(0) / rows.sum()", "** 2).sum(0) / (rows.sum() - 1)"),
    ),
    Mutant(
        NORM,
        "the mean of no rows is not a number",
        loses={"values"},
        answer=changed(NORMALISED, "x.sum(0) / max(len(x), 1)", "x.mean(0)"),
    ),
    Mutant(
        NORM,
        "forward over all rows, backward over one's own",
        loses={"values"},
        answer=changed(
            NORMALISED,
            "all_reduce(torch.cat([dy.sum(0), (dy * y).sum(0)]), comm)",
            "torch.cat([dy.sum(0), (dy * y).sum(0)])",
        ),
    ),
    Mutant(
        NORM,
        "mean and variance taken as constants",
        loses={"values"},
        answer=changed(NORMALISED, BACKWARD, "    return y, dy * scale\n"),
    ),
    Mutant(
        NORM,
        "first the mean, then the variance, then backward",
        loses={"steps"},
        answer=changed(
            NORMALISED,
            STATISTICS,
            """    total = all_reduce(torch.cat([(x - offset).sum(0), x.new_tensor([len(x)])]), comm)
    rows = total[-1:]
    near, shift = offset, total[:-1] / rows
    variance = all_reduce(((x - near - shift) ** 2).sum(0), comm) / rows
""",
        ),
    ),
    Mutant(
        NORM,
        "everybody's rows to everybody",
        loses={"bytes"},
        answer=changed(
            NORMALISED,
            STATISTICS,
            """    padded = torch.cat([x, x.new_full((16 - len(x), C), float("nan"))])
    whole = ring.all_gather(padded, comm)
    whole = whole[~whole.isnan().any(1)]
    rows, near, shift = x.new_tensor([len(whole)]), offset, (whole - offset).mean(0)
    variance = (whole - near - shift).square().mean(0)
""",
        ),
    ),
    Mutant(
        NORM,
        "an all-reduce of doubles for each channel",
        loses={"steps"},
        answer=changed(
            NORMALISED,
            STATISTICS,
            """    wide = x.double()
    totals = [all_reduce(torch.stack([c.sum(), (c * c).sum(), c.new_tensor(len(c))]), comm) for c in wide.T] * 1
    rows = totals[0][2:].float()
    means = torch.stack([t[0] / t[2] for t in totals])
    variance = torch.stack([t[1] / t[2] for t in totals]) - means ** 2
    near, shift, variance, x = 0, 0, variance.float(), (wide - means).float()
""",
        ),
    ),
    Mutant(
        NORM,
        "subtracts in what it was given",
        loses={"inputs"},
        answer=changed(
            NORMALISED, "y = (x - near - shift) * scale", "y = x.sub_(near).sub_(shift) * scale"
        ),
    ),
    Mutant(
        NORM,
        "two ranks both send first",
        loses={"deadlock"},
        answer=changed(
            NORMALISED,
            "    of_dy, of_dy_y = all_reduce(torch.cat([dy.sum(0), (dy * y).sum(0)]), comm).chunk(2)\n",
            """    sums = torch.cat([dy.sum(0), (dy * y).sum(0)])
    if N == 2:
        comm.send(sums, to=comm.right)
        sums = sums + comm.recv(sums, source=comm.left)
    else:
        sums = all_reduce(sums, comm)
    of_dy, of_dy_y = sums.chunk(2)
""",
        ),
    ),
    Mutant(
        NORM,
        "our SyncBatchNorm in double precision",
        loses={"own work"},
        answer="""
from minidl.parallel.batch_norm import Normalised

def normalised(x, dy, comm):
    wide = x.double().requires_grad_()
    y = Normalised.apply(wide, 1e-5, comm, ring.all_reduce)[0]
    y.backward(dy.double())
    return y.detach().float(), wide.grad.float()
""",
    ),
    Mutant(ALIKE, "the sum", loses={"values"}, answer=fingerprint("flat.sum()")),
    Mutant(
        ALIKE,
        "sum, norm and largest element",
        loses={"values"},
        answer=fingerprint("torch.stack([flat.sum(), flat.norm(), flat.max()])"),
    ),
    Mutant(
        ALIKE,
        "each place counts otherwise, in single precision",
        loses={"values"},
        answer=fingerprint("(flat * torch.arange(1.0, len(flat) + 1)).sum()"),
    ),
    Mutant(
        ALIKE,
        "zero is as good as minus zero",
        loses={"values"},
        answer=changed(ALIKES, "for p in parameters))", "for p in [p + 0.0 for p in parameters]))"),
    ),
    Mutant(
        ALIKE,
        "the first tensor alone",
        loses={"values"},
        answer=changed(ALIKES, "for p in parameters)", "for p in parameters[:1])"),
    ),
    Mutant(
        ALIKE,
        "compares with rank 0",
        loses={"values"},
        answer=changed(ALIKES, "prints[origin % comm.world_size]", "prints[0]"),
    ),
    Mutant(
        ALIKE,
        "compares with the left neighbour",
        loses={"values"},
        answer=changed(
            ALIKES,
            "own, prints[origin % comm.world_size]) for own in prints",
            "prints[rank], prints[rank - 1]) for rank in range(comm.world_size)",
        ),
    ),
    Mutant(
        ALIKE,
        "whole models to everybody",
        loses={"bytes"},
        answer=changed(
            ALIKES,
            DIGEST,
            "",
            GATHERED,
            "ring.all_gather(torch.cat([p.reshape(-1) for p in parameters]).view(torch.int32), comm)",
        ),
    ),
    Mutant(
        ALIKE,
        "512 bits, written as text",
        loses={"bytes"},
        answer=changed(
            ALIKES, "hashlib.sha256", "hashlib.sha512", ".digest()", ".hexdigest().encode()"
        ),
    ),
    Mutant(
        ALIKE,
        "flips the signs of what it was given",
        loses={"inputs"},
        answer=changed(ALIKES, "p.detach().contiguous()", "p.neg_()"),
    ),
    Mutant(
        ALIKE,
        "everybody tells, and then listens",
        loses={"deadlock"},
        answer=changed(
            ALIKES,
            f"    prints = {GATHERED}",
            """    hand = torch.frombuffer(bytearray(digest), dtype=torch.uint8)
    rows = [hand] * comm.world_size
    for step in range(1, comm.world_size):
        comm.send(hand, to=comm.right)
        hand = comm.recv(hand, source=comm.left)
        rows[comm.rank - step] = hand
    prints = torch.cat(rows)""",
        ),
    ),
    Mutant(
        ALIKE,
        "PyTorch's own group gathers",
        loses={"own work"},
        answer="\nimport torch.distributed as dist\n" + ALIKES,
    ),
    Mutant(
        FASTEST,
        "one ring a layer",
        loses={"seconds"},
        answer=changed(
            FAST,
            "weights[i:i + 4]",
            "weights[i:i + 1]",
            "range(0, DEPTH, 4)",
            "range(DEPTH)",
            HALVING,
            "comm.background(ring.all_reduce, flat, comm)",
        ),
    ),
    Mutant(
        FASTEST,
        "waits at once",
        loses={"seconds"},
        answer=changed(
            FAST,
            "        under_way.append((bucket, " + HALVING + "))\n",
            "        under_way.append((bucket, comm.background(ring.all_reduce, flat, comm)))\n        under_way[-1][1].wait()\n",
        ),
    ),
    Mutant(
        FASTEST,
        "everybody's gradients to everybody",
        loses={"seconds"},
        answer=changed(
            FAST,
            HALVING,
            "comm.background(lambda flat, comm: ring.all_gather(flat, comm).reshape(comm.world_size, -1).sum(0), flat, comm)",
        ),
    ),
    Mutant(
        FASTEST,
        "the sum for the mean",
        loses={"values"},
        answer=changed(FAST, " / comm.world_size\n", "\n"),
    ),
    Mutant(
        FASTEST,
        "the first bucket is forgotten",
        loses={"values"},
        answer=changed(
            FAST, "for bucket, work in under_way:", "for bucket, work in under_way[1:]:"
        ),
    ),
    Mutant(
        FASTEST,
        "a forward pass to warm up",
        loses={"flops", "seconds"},
        answer=changed(
            FAST,
            "    loss_of(model, x, y).backward()",
            "    with torch.no_grad():\n        model(x)\n    loss_of(model, x, y).backward()",
        ),
    ),
    Mutant(
        FASTEST,
        "in the end everybody says so before listening",
        loses={"deadlock"},
        answer=changed(
            FAST,
            "    return [weight.grad for",
            """    comm.send(torch.ones(1), to=comm.right)
    comm.recv(torch.ones(1), source=comm.left)
    return [weight.grad for""",
        ),
    ),
    Mutant(
        FASTEST,
        "torch's own DDP, by its name",
        loses={"own work"},
        answer="\nfrom torch.nn.parallel import DistributedDataParallel\n" + FAST,
    ),
]

NEAREST = {
    NORM: [
        MUTANTS[13].answer,
        """
from minidl.parallel.batch_norm import synchronised

def normalised(x, dy, comm):
    x = x.clone().requires_grad_()
    y = synchronised(nn.BatchNorm1d(x.shape[1], affine=False), comm)(x)
    y.backward(dy)
    return y.detach(), x.grad
""",
        MUTANTS[0].answer,
    ],
    ALIKE: [MUTANTS[14].answer],
    FASTEST: [
        """
from minidl.parallel.data import DataParallel

def fastest_step(x, y, comm):
    parallel = DataParallel(deep(x.shape[1]), comm, all_reduce=doubling.halving_doubling_all_reduce, capacity=4 * 4 * x.shape[1] ** 2)
    loss_of(parallel, x, y).backward()
    parallel.synchronise()
    return [p.grad for p in parallel.parameters()]
"""
    ],
}
