"""What each collective must return, computed in one process, and how to call them all alike.

    Case(ring.all_reduce, "all_reduce", (10,))   -> call(case, xs, comm) on a rank,
                                                    expected(case, xs) beside it

The oracle knows torch and the meaning of the nine names. It knows no message.
"""

from typing import Any, NamedTuple

import pytest
import torch

from minidl import Crash, MismatchError, Op, RankDied, RankError, Uniform, VirtualWorld
from tests.deadlines import generous

SIZES = [1, 2, 3, 4, 5, 7, 8]
COUNTED = [*SIZES, 16]
SPLIT = (
    "scatter",
    "reduce_scatter",
    "all_to_all",
)  # x is the whole: N chunks along the first dimension
JOINED = ("gather", "all_gather")  # x is one chunk
ROOTED = ("broadcast", "reduce", "scatter", "gather")
REDUCING = ("reduce", "all_reduce", "reduce_scatter")


class Case(NamedTuple):
    """A function of the package, and which collective it is.

    shape: of a chunk for SPLIT, else of x.
    """

    fn: Any
    collective: str
    shape: tuple = (3,)
    dtype: torch.dtype = torch.float32
    root: int = 0
    op: str = "sum"
    strided: bool = False


def inputs(case, n, seed=0):
    """One tensor a rank, of small integers, so that sums and products are exact in every dtype."""
    shape = (n * case.shape[0], *case.shape[1:]) if case.collective in SPLIT else case.shape
    low, high = (0, 3) if not case.dtype.is_signed else (-2, 3)
    made = []
    for rank in range(n):
        generator = torch.Generator().manual_seed(1000 * seed + rank)
        x = torch.randint(
            low, high, shape[::-1] if case.strided else shape, generator=generator
        ).to(case.dtype)
        made.append(x.permute(list(reversed(range(x.dim())))) if case.strided else x)
    return made


def call(case, xs, comm):
    """This rank's part in the case; fails if the input changed,
    or if the result is a view of more than itself.
    """
    mine = xs[comm.rank]
    before, keywords, meta = mine.clone(), {}, mine.is_meta
    if case.collective in ROOTED:
        keywords["root"] = case.root
    if case.collective in REDUCING:
        keywords["op"] = case.op
    if case.collective == "scatter":
        keywords["like"] = mine[: len(mine) // comm.world_size]
        mine = mine if comm.rank == case.root else None
    result = case.fn(comm) if case.collective == "barrier" else case.fn(mine, comm, **keywords)
    assert meta or torch.equal(before, xs[comm.rank]), f"{case}: the input was changed"
    if result is not None and not meta:
        assert result.untyped_storage().nbytes() == result.nbytes, (
            f"{case}: the result keeps more memory alive than it shows"
        )
        assert (
            result.untyped_storage().data_ptr() != xs[comm.rank].untyped_storage().data_ptr()
            or not result.nbytes
        )
    return result


def play(cases, comm):
    """All cases, one after the other, on inputs that every rank can make for itself."""
    return [call(case, inputs(case, comm.world_size), comm) for case in cases]


def reduced(xs, op):
    """One tensor of many, in one process."""
    total = xs[0].clone()
    for x in xs[1:]:
        total = {
            "sum": torch.add,
            "mean": torch.add,
            "max": torch.maximum,
            "min": torch.minimum,
            "prod": torch.mul,
        }[op](total, x)
    return total / len(xs) if op == "mean" else total


def expected(case, xs):
    """What each rank must return: a list."""
    n, kind = len(xs), case.collective
    at_root = [rank == case.root for rank in range(n)]
    if kind == "broadcast":
        return [xs[case.root]] * n
    if kind in REDUCING:
        total = reduced(xs, case.op)
        if kind == "reduce_scatter":
            return list(torch.tensor_split(total, n))
        return [total if kind == "all_reduce" or mine else None for mine in at_root]
    if kind in JOINED:
        whole = torch.cat([torch.atleast_1d(x) for x in xs])
        return [whole if kind == "all_gather" or mine else None for mine in at_root]
    if kind == "scatter":
        return list(torch.tensor_split(xs[case.root], n))
    if kind == "all_to_all":
        return [torch.cat([torch.tensor_split(x, n)[rank] for x in xs]) for rank in range(n)]
    assert kind == "barrier"
    return [None] * n


def check(world, cases):
    """Run the cases and hold every rank's result against the oracle."""
    run = world.run(play, cases)
    for i, case in enumerate(cases):
        wanted = expected(case, inputs(case, world.world_size))
        for rank, (results, want) in enumerate(zip(run.results, wanted)):
            same(results[i], want, f"{case}, rank {rank}")
    return run


def same(got, want, words):
    """Equal in kind, dtype, shape and every value."""
    if want is None:
        assert got is None, words
    else:
        assert (
            got is not None
            and got.dtype == want.dtype
            and got.shape == want.shape
            and got.is_contiguous()
            and torch.equal(got, want)
        ), f"{words}: {got} is not {want}"


def variations(fn, collective, n):
    """The cases that each function must pass on n ranks:
    shapes, empty ones among them, dtypes, roots and ops.
    """
    if collective == "barrier":
        return [Case(fn, collective)]
    shapes = [(3,), (0,), (2, 3), (1, 2, 2)] + (
        [(), (1,), (10,), (5, 7)] if collective not in SPLIT else [(5, 0)]
    )
    cases = [Case(fn, collective, shape) for shape in shapes]
    cases += [
        Case(fn, collective, dtype=dtype)
        for dtype in (torch.float64, torch.bfloat16, torch.int64, torch.uint8)
    ]
    cases += [Case(fn, collective, (4, 6), strided=True)] if collective not in SPLIT else []
    if collective in ROOTED:
        cases += [Case(fn, collective, (2, 2), root=root) for root in range(1, n)]
    if collective in REDUCING:
        cases += [Case(fn, collective, (5,), op=op) for op in ("mean", "max", "min", "prod")]
    return cases


def bits(x):
    """The bits of a float32 tensor, as integers that can be compared."""
    return x.view(torch.int32).tolist()


def adversarial(rank, count=64, seed=0):
    """float32 numbers of very different sizes, so that every other order of adding gives other
    bits.
    """
    generator = torch.Generator().manual_seed(1000 * seed + rank)
    return torch.randn(count, generator=generator) * 10 ** (
        8 * torch.rand(count, generator=generator) - 4
    )


def whole_nbytes(case, n):
    """n of the formulas: the bytes of the whole tensor, scattered or gathered."""
    nbytes = inputs(case, n)[0].nbytes
    return nbytes * n if case.collective in JOINED else nbytes


def check_cost(case, n, cost):
    """The recorded messages, bytes and virtual seconds of the case are the formula's:
    cost(alpha, beta) -> costs.Cost.
    """
    alpha, beta = 2e-6, 3e-9
    run, wanted = VirtualWorld(n, network=Uniform(alpha, beta)).run(play, [case]), cost(alpha, beta)
    messages, nbytes, words = run.trace.sent(), run.trace.sent("nbytes"), f"{case} on {n} ranks"
    assert (max(messages), sum(messages)) == (wanted.messages, wanted.total_messages), words
    assert (max(nbytes), sum(nbytes)) == (wanted.nbytes, wanted.total_nbytes), words
    assert run.trace.seconds() == pytest.approx(wanted.seconds, rel=1e-9), words
    steps = VirtualWorld(n, network=Uniform(1, 0)).run(play, [case]).trace.seconds()
    assert steps == wanted.steps == cost(1, 0).seconds, words


def check_death(world, fn, collective):
    """A rank that dies before its first message ends the run, and the error names it."""
    with pytest.raises(RankDied, match="[Rr]ank 1 ") as caught:
        world.run(
            play, [Case(fn, collective)], faults=[Crash(rank=1, at=Op(0))], timeout=generous(10)
        )
    assert caught.value.ranks == (1,)


def check_disagreement(world, fn, collective):
    """Ranks that come with tensors of different sizes are told so, before data moves."""

    def differ(comm):
        case = Case(fn, collective, (4 if comm.rank else 8,))
        call(case, inputs(case, comm.world_size), comm)

    with pytest.raises(MismatchError, match=r"float32"):
        world.run(differ, timeout=generous(10))


def check_refusals(world, fn, collective):
    """What has no meaning is refused in words of the domain."""

    def refused(x, words, **keywords):
        def part(comm):
            fn(x if collective != "scatter" or comm.rank == 0 else None, comm, **keywords)

        with pytest.raises(RankError, match=words):
            world.run(part, timeout=generous(10))

    if collective in SPLIT:
        like = {"like": torch.ones(2)} if collective == "scatter" else {}
        refused(torch.ones(10), "10 elements do not split over 3 ranks", **like)
        refused(torch.ones(10, 3), "10 rows do not split over 3 ranks", **like)
        refused(torch.tensor(1.0), "a single number does not split", **like)
    if collective == "scatter":
        refused(torch.ones(3), "rank [12] does not know what it will get: give like=")
    if collective in REDUCING:
        refused(torch.arange(3), "the mean of int64 numbers may be a fraction", op="mean")
        refused(
            torch.ones(3),
            "op must be one of sum, mean, max, min, prod, not 'average'",
            op="average",
        )
        refused(torch.ones(3, dtype=torch.complex64), "complex64 numbers have no order", op="max")


def check_group(world, fn, collective):
    """Inside a group, numbered backwards, beside another group that does the same."""

    def halves(comm):
        members = [r for r in reversed(range(comm.world_size)) if r % 2 == comm.rank % 2]
        group, case = comm.group(members), Case(fn, collective)
        return call(case, inputs(case, group.world_size, seed=comm.rank % 2), group)

    run, n = world.run(halves), world.world_size
    for odd in (0, 1):
        members = [r for r in reversed(range(n)) if r % 2 == odd]
        wanted = expected(
            Case(fn, collective), inputs(Case(fn, collective), len(members), seed=odd)
        )
        for rank, want in zip(members, wanted):
            same(run.results[rank], want, f"rank {rank}")


def check_barrier(n, barrier):
    """Nobody leaves before the last one has entered."""

    def wait(comm):
        comm.compute((comm.rank * 5 % 7) * 1e-3)
        entered = comm.now()
        barrier(comm)
        return entered, comm.now()

    entered, left = zip(*VirtualWorld(n).run(wait).results)
    assert max(entered) <= min(left)


def check_meta(n, fn, collective):
    """Tensors without data go through the same code: models larger than memory can be tried out."""

    def weightless(comm):
        case = Case(fn, collective)
        return call(case, [x.to("meta") for x in inputs(case, comm.world_size)], comm)

    results = VirtualWorld(n).run(weightless).results
    wanted = expected(Case(fn, collective), inputs(Case(fn, collective), n))
    assert [r is None or r.shape for r in results] == [w is None or w.shape for w in wanted]


def bits_of_all(n, fn, xs=None, **keywords):
    """The bits that each of n ranks gets from an all-reduce of adversarial floats,
    or of xs[rank].
    """

    def part(comm):
        return fn(adversarial(comm.rank) if xs is None else xs[comm.rank], comm, **keywords)

    return [bits(x) for x in VirtualWorld(n).run(part).results]
