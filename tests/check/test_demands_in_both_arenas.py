"""Memory, FLOPs and overlap: a learner's notebook and the judge's cage find the same."""

import functools
import sys

import pytest
import torch
from torch import nn

from minidl import Device, Uniform
from minidl.check import arena as arenas
from minidl.check import check
from minidl.check.book import Book, open_book
from minidl_grader.judge.cage.caged_arena import CagedArena, CaseLimits, Remote
from tests.check.museum import VirtualArena, run
from tests.deadlines import generous

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the cage is Linux's")
NETWORK, DEVICE = Uniform(alpha=0.0, beta=1e-6), Device(flops_per_second=1e7)
CELL = """
import torch
from torch import nn
from minidl.collectives import ring

def stepped(model, batches, comm, sharded=True, forwards=1):
    trained = list(model.parameters())
    mine = trained[comm.rank::comm.world_size] if sharded else trained
    optimizer = torch.optim.SGD(mine, lr=0.1, momentum=0.5) if mine else None
    for batch in batches:
        for _ in range(forwards - 1):
            model(batch)
        model(batch).sum().backward()
        for p in trained:
            p.grad = ring.all_reduce(p.grad, comm) / comm.world_size
        if mine:
            optimizer.step()
        for i, p in enumerate(trained):
            own = i % comm.world_size == comm.rank
            p.data = ring.all_reduce(p.data if own else torch.zeros_like(p), comm)
            p.grad = None
    return [p.detach() for p in trained]

def right(model, batches, comm):
    return stepped(model, batches, comm)

def shards_nothing(model, batches, comm):
    return stepped(model, batches, comm, sharded=False)

def twice_forward(model, batches, comm):
    return stepped(model, batches, comm, forwards=2)

def multiplies_unseen(model, batches, comm):
    import threading
    out = []
    thread = threading.Thread(target=lambda: out.append(model(batches[0]).sum().backward()))
    thread.start()
    thread.join()

def hides_what_it_returns(model, batches, comm):
    from torch.utils._python_dispatch import _disable_current_modes
    with _disable_current_modes():
        return torch.arange(20_000.0)

def passes(x, comm):
    return comm.exchange(x, to=comm.right, source=comm.left)

def overlaps(model, batches, comm):
    job = comm.background(passes, model.weight.detach(), comm)
    model(batches[0])
    return job.wait()

def waits_at_once(model, batches, comm):
    came = comm.background(passes, model.weight.detach(), comm).wait()
    model(batches[0])
    return came
"""


CHECK = """
from torch import nn

class Sample(nn.Linear):
    def __init__(self, n):
        super().__init__(n, n, bias=False)
"""


@functools.cache
def judges_own():
    """The class of a model that a check defines: ranks know nothing of it."""
    names = {"__name__": "__main__"}
    run(CHECK, "<a check>", names)
    return names["Sample"]


def given(rank, N, n, draws):
    torch.manual_seed(0)
    model = nn.Sequential(judges_own()(n), nn.Linear(n, n, bias=False))
    return model, [torch.arange(2.0 * n).reshape(2, n) / n + rank]


def one_layer(rank, N, n, draws):
    return judges_own()(n), [torch.ones(32, n)]


def expected(inputs, rank, N):
    model = inputs[rank][0]
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    for own, batches in inputs:
        own(batches[0]).sum().backward()
    for p, *grads in zip(
        model.parameters(), *([q.grad for q in own.parameters()] for own, _ in inputs)
    ):
        p.data -= 0.1 * sum(grads) / N
    return [p.detach() for p in model.parameters()]


@pytest.fixture(scope="module")
def judged():
    names = {"__name__": "__main__"}
    run(CELL, "<a cell>", names)
    with CagedArena("Ada", [("answer cell", CELL)], CaseLimits(case_seconds=generous(20))) as caged:

        def both(name, sentence):
            reports = []
            for arena, fn in ((VirtualArena(), names[name]), (caged, Remote(name))):
                with arenas.use(arena), open_book(Book()):
                    reports.append(sentence(check(fn, "t")).worth(8))
            return reports

        yield both


def sharded(asked):
    return (
        asked.given(given)
        .over([1, 2], [8])
        .equals(expected, within=1e-5)
        .holds_at_most("4 * 2 * n * n // N", of="optimizer state")
        .computes("5 * 2 * 2 * n * n")
        .never_deadlocks()
    )


def lost(report):
    return {finding.demand.key for finding in report.findings if not finding.passed}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, loses, earned",
    [("right", set(), 8), ("shards_nothing", {"memory"}, 4), ("twice_forward", {"flops"}, 4)],
)
def test_a_sharded_optimizer(judged, name, loses, earned):
    local, caged = judged(name, sharded)
    assert lost(local) == lost(caged) == loses
    assert local.earned == caged.earned == earned
    assert [finding.sight for finding in local.findings] == [
        finding.sight for finding in caged.findings
    ]


@pytest.mark.parametrize(
    "name, passed, counted", [("overlaps", True, "100%"), ("waits_at_once", False, "0%")]
)
def test_overlap_that_waits_at_once(judged, name, passed, counted):
    for report in judged(
        name,
        lambda asked: (
            asked.given(one_layer).over([2, 3], [8]).overlaps(0.9, on=NETWORK, device=DEVICE)
        ),
    ):
        assert report.passed is passed and counted in report.findings[0].sight.counted


def test_what_is_computed_where_no_meter_is_does_not_pass_for_few_flops(judged):
    for report in judged(
        "multiplies_unseen",
        lambda asked: asked.given(given).over([2], [8]).computes_at_most("10 ** 6"),
    ):
        assert not report.passed and "was not counted" in report.findings[0].sight.counted


def test_a_reading_below_what_was_returned_is_refused(judged):
    for report in judged(
        "hides_what_it_returns",
        lambda asked: asked.given(given).over([2], [8]).holds_at_most("10 ** 5"),
    ):
        assert not report.passed and "takes 80,000" in report.findings[0].sight.counted


def test_a_model_that_is_given_may_be_changed_by_no_run_but_its_own(judged):
    for report in judged(
        "right", lambda asked: asked.given(given).over([2], [8]).leaves_inputs_alone()
    ):
        assert lost(report) == {"inputs"}
    for report in judged(
        "overlaps", lambda asked: asked.given(one_layer).over([2], [8]).leaves_inputs_alone()
    ):
        assert report.passed
