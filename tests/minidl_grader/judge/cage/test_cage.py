"""A caged run is the run: the same values, messages, bytes, virtual times and errors, though every
rank is a process elsewhere.

The network stands in one process and the ranks in others; so it is separable from them.
"""

import sys

import pytest
import torch

from minidl import DeadlockError, Islands, LeftoverError, RankDied, RankError, RankTimeout, Uniform
from minidl.check.arena import LocalArena
from minidl_grader.judge.cage.caged_arena import CagedArena, CaseLimits, Remote
from tests.check.museum import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the cage is Linux's")
CELL = """
import torch
from minidl import Recv, Send

def ring(x, comm):
    chunks = x.reshape(comm.world_size, -1).clone()
    for step in range(comm.world_size - 1):
        give, take = (comm.rank - step - 1) % comm.world_size, (comm.rank - step - 2) % comm.world_size
        with comm.span("step"):
            chunks[take] += comm.exchange(chunks[give], to=comm.right, source=comm.left)
        comm.compute(1e-5)
    return {"chunk": chunks[comm.rank], "rank": comm.rank, "pair": (1, None)}

def grouped(x, comm):
    pair = comm.group([comm.rank // 2 * 2, comm.rank // 2 * 2 + 1])
    job = comm.background(lambda x, comm: comm.exchange(x, to=comm.right, source=comm.left), x, comm)
    near = pair.exchange(x, to=1 - pair.rank, source=1 - pair.rank)
    several = comm.start([Recv(x, comm.left), Recv(x, comm.right), Send(x, comm.left), Send(2 * x, comm.right)]).wait()
    return near, several, job.wait(), comm.split(comm.rank % 2).world_size

def many_lanes(x, comm):
    exchange = lambda x, comm: comm.exchange(x, to=comm.right, source=comm.left)
    groups = [comm, *(comm.group([rank for rank in range(4) if rank != left]) for left in range(4) if left != comm.rank)]
    jobs = [group.background(exchange, x + i, group) for i, group in enumerate(groups)]
    return [job.wait() for job in jobs]

def stuck(x, comm):
    comm.send(x, to=comm.right)

def spoils(x, comm):
    x.zero_()

def forgets(x, comm):
    comm.start([Send(x, comm.right), Recv(x, comm.left)])
    return x

def fails(x, comm):
    return [][comm.rank]

def dies(x, comm):
    import os
    os._exit(7)

def loops(x, comm):
    while True:
        pass

def closes_over(x, comm):
    return comm.background(lambda: comm.send(x, to=comm.right)).wait()
"""


@pytest.fixture(scope="module")
def caged():
    with CagedArena(
        "Ada", [("answer cell", CELL)], CaseLimits(case_seconds=4, later_seconds=1)
    ) as arena:
        yield arena


@pytest.fixture(scope="module")
def names():
    names = {}
    run(CELL, "<the same cell>", names)
    return names


def inputs(N, n=12):
    return [(torch.arange(float(n)) + rank,) for rank in range(N)]


@pytest.mark.parametrize("network", [Uniform(1.0, 0.0), Islands(2, contention=True)])
@pytest.mark.parametrize(
    "name, N", [("ring", 1), ("ring", 3), ("ring", 4), ("grouped", 4), ("many_lanes", 4)]
)
def test_a_caged_run_equals_a_virtual_one(caged, names, name, N, network):
    theirs = caged.run(Remote(name), inputs(N), network=network)
    ours = LocalArena().run(names[name], inputs(N), network=network)
    assert theirs.error is None is ours.error
    assert str(theirs.results) == str(ours.results) and str(theirs.after) == str(ours.after)
    for column in (
        "rank",
        "kind",
        "comm",
        "peer",
        "number",
        "shape",
        "dtype",
        "nbytes",
        "posted",
        "waited",
        "done",
        "span",
        "fate",
    ):
        assert theirs.trace.columns[column] == ours.trace.columns[column], column
    assert all(line.startswith("answer cell, line") for line in theirs.trace.columns["line"])


def test_a_deadlock_is_certain_and_names_the_learners_line(caged):
    error = caged.run(Remote("stuck"), inputs(3)).error
    assert isinstance(
        error, DeadlockError
    ) and "answer cell, line 28: comm.send(x, to=comm.right)" in str(error)
    assert (
        caged.run(Remote("stuck"), inputs(2), buffered=True).error is not None
    )  # sent, and never received


def test_what_nobody_waited_for_is_told_with_its_line_as_in_the_learners_notebook(caged, names):
    theirs = caged.run(Remote("forgets"), inputs(3)).error
    ours = LocalArena().run(names["forgets"], inputs(3)).error
    assert isinstance(theirs, LeftoverError) and isinstance(ours, LeftoverError)
    assert "never waited for" in str(theirs) and theirs.ranks == ours.ranks == (0, 1, 2)
    assert "answer cell, line" in str(theirs) and ": comm.start([Send(x, comm.right)" in str(theirs)


def test_what_becomes_of_the_inputs_is_seen(caged):
    outcome = caged.run(Remote("spoils"), inputs(2))
    assert [after[0].sum().item() for after in outcome.after] == [0, 0]


@pytest.mark.parametrize(
    "name, kind, words",
    [
        ("fails", RankError, "All ranks raised IndexError: list index out of range"),
        ("dies", RankDied, "exit code 7"),
        ("loops", RankTimeout, "did not come to an end in time"),
        ("nowhere", RankError, "nowhere"),
    ],
)
def test_failures_are_told_and_the_next_run_is_untouched(caged, name, kind, words):
    error = caged.run(Remote(name), inputs(2)).error
    assert isinstance(error, kind) and words in str(error)
    assert caged.run(Remote("ring"), inputs(4)).error is None


def test_a_background_function_that_closes_over_comm_is_told_so(caged):
    error = caged.run(Remote("closes_over"), inputs(2)).error
    assert isinstance(error, RankError) and "RuntimeError" in str(error)
    assert "which is not its own" in str(error) and "answer cell, line" in str(error)


def test_a_remote_is_no_function():
    with pytest.raises(TypeError, match="runs on caged ranks only"):
        Remote("ring")(1)
