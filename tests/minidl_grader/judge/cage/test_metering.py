"""Memory, FLOPs and overlap of caged ranks are those of virtual ones, change by change; and a
reading is looked at before it is believed.
"""

import sys

import pytest
import torch
from torch import nn

from minidl import Device, RankError, Uniform
from minidl.check.arena import LocalArena
from minidl.check.demands_metered import overlap_shares
from minidl_grader.judge.cage.caged_arena import CagedArena, CaseLimits, Remote
from minidl_grader.judge.cage.caged_metering import believed, written
from tests.check.museum import run
from tests.deadlines import generous

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the cage is Linux's")
NETWORK, DEVICE = Uniform(alpha=1e-6, beta=1e-9), Device(flops_per_second=1e9)
CELL = """
import torch
from torch import nn
from minidl import Recv, Send
from minidl.collectives import ring

class Model(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.first, self.second = nn.Linear(n, 2 * n), nn.Linear(2 * n, n)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))

def train(model, x, comm):
    shard = [p for i, p in enumerate(model.parameters()) if i % comm.world_size == comm.rank]
    optimizer = torch.optim.Adam(shard, lr=0.1) if shard else None
    model(x).square().mean().backward()
    for p in model.parameters():
        p.grad = ring.all_reduce(p.grad, comm) / comm.world_size
    if shard:
        optimizer.step()
    return [p.detach() for p in model.parameters()]

def beside(model, x, comm):
    jobs = []
    for layer in (model.first, model.second):
        jobs.append(comm.background(ring.all_reduce, layer.weight.detach().clone(), comm))
        x = x @ torch.ones(x.shape[1], x.shape[1])
    first = jobs.pop(0).wait()
    return first.sum(), jobs[0].wait(), x

def early(model, x, comm):
    big = comm.start([Recv(x, comm.left), Send(2 * x, comm.right)])
    temporary = (x @ x.T).sum()
    into = torch.empty_like(x)
    small = comm.start([Send(x + temporary, comm.left), Recv(into, comm.right, into=into)])
    other = comm.background(lambda x, comm: comm.exchange(x @ x.T, to=comm.right, source=comm.left), x)
    received = big.wait()
    del big
    more = torch.ones(1000) + 1
    del more
    return received, small.wait(), other.wait()

def unfinished(model, x, comm):
    comm.background(lambda x, comm: x @ x.T @ x, x)

def spoils(model, x, comm):
    model.first.weight.data.zero_()

def stuck(model, x, comm):
    comm.send(2 * x, to=comm.right)
    return comm.recv(x, source=comm.left) @ x.T

def cheats(model, x, comm):
    import gc
    from minidl.runtime.metering.meter import Meter
    for found in gc.get_objects():
        if isinstance(found, Meter):
            found.changes = [(0, 0.0, 3, -5)]
"""


@pytest.fixture(scope="module")
def caged():
    with CagedArena("Ada", [("answer cell", CELL)], CaseLimits(case_seconds=generous(10))) as arena:
        yield arena


@pytest.fixture(scope="module")
def names():
    names = {"__name__": "__main__"}
    run(CELL, "<the same cell>", names)
    return names


def inputs(names, N):
    torch.manual_seed(0)
    return [(names["Model"](6), torch.arange(24.0).reshape(4, 6) + rank) for rank in range(N)]


def changes(trace):
    """What was held, change by change, without the number of the operation and the time."""
    return {rank: [row[2:] for row in rows] for rank, rows in trace.held.items()}


@pytest.mark.parametrize(
    "name, N, buffered",
    [
        ("train", 1, False),
        ("train", 3, False),
        ("beside", 2, False),
        ("beside", 3, False),
        ("early", 3, False),
        ("unfinished", 2, False),
        ("stuck", 2, True),
    ],
)
@pytest.mark.parametrize("device", [None, DEVICE])
def test_a_caged_reading_equals_a_virtual_one(caged, names, name, N, buffered, device):
    how = {"network": NETWORK, "device": device, "buffered": buffered, "meter": True}
    theirs, ours = (
        caged.run(Remote(name), inputs(names, N), **how),
        LocalArena().run(names[name], inputs(names, N), **how),
    )
    assert theirs.error is None is ours.error
    assert str(theirs.results) == str(ours.results) and str(theirs.after) == str(ours.after)
    assert theirs.trace.flops == ours.trace.flops and any(ours.trace.flops)
    assert changes(theirs.trace) == changes(ours.trace)
    assert theirs.trace.computing == ours.trace.computing and overlap_shares(
        theirs.trace
    ) == overlap_shares(ours.trace)
    for column in (
        "rank",
        "kind",
        "comm",
        "peer",
        "number",
        "shape",
        "nbytes",
        "posted",
        "waited",
        "done",
    ):
        assert theirs.trace.columns[column] == ours.trace.columns[column], column


def test_what_becomes_of_a_model_is_seen(caged, names):
    after = caged.run(Remote("spoils"), inputs(names, 2)).after
    assert after[1][0]["first.weight"].sum() == 0 and not any(
        isinstance(value, nn.Module) for value in after[1]
    )


def test_a_meter_that_was_tampered_with_ends_the_run(caged, names):
    error = caged.run(Remote("cheats"), inputs(names, 2), meter=True).error
    assert isinstance(error, RankError) and "less than no memory" in str(error)


@pytest.mark.parametrize(
    "reading, charged, words",
    [
        ("much", None, "no known form"),
        ([True, torch.zeros(0, 4)], None, "no known form"),
        ([-1, torch.zeros(0, 4).double()], None, "out of range"),
        ([5, torch.zeros(0, 4).double()], 6, "while it ran"),
        (written(0, [(0, 0.0, 4, 8)]), None, "does not exist"),
        (written(0, [(0, 0.0, 0, 0.5)]), None, "does not exist"),
        (written(0, [(0, float("inf"), 0, 8)]), None, "NaN or infinity"),
        (written(0, [(0, 0.0, 0, 8), (1, 0.0, 1, -8)]), None, "less than no memory"),
    ],
)
def test_a_reading_that_cannot_be_is_refused(reading, charged, words):
    with pytest.raises(ValueError, match=words):
        believed(reading, charged)


def test_a_reading_travels():
    assert believed(written(7, [(0, 0.5, 3, 8), (2, 0.75, 3, -8)]), 7) == (
        7,
        [(0, 0.5, 3, 8), (2, 0.75, 3, -8)],
    )
