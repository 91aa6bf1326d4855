"""Memory, FLOPs and overlap are demanded in formulas, and counted on virtual ranks."""

import pytest
import torch

from minidl import Device, Uniform
from minidl.check import arena as arenas
from minidl.check import check
from minidl.check.book import Book, open_book
from minidl.viz.reading.intervals import total, union, without
from tests.check.museum import VirtualArena

NETWORK, DEVICE = Uniform(alpha=0.0, beta=1e-3), Device(flops_per_second=1e3)


@pytest.fixture(autouse=True)
def own_book():
    with open_book(Book()), arenas.use(VirtualArena()):
        yield


def sentence(fn):
    return check(fn, "t").over([1, 2], [8])


def momentum_of(share):
    def train(x, comm):
        mine = torch.nn.Parameter(x[: len(x) // (comm.world_size if share else 1)].clone())
        optimizer = torch.optim.SGD([mine], lr=0.1, momentum=0.9)
        (mine**2).sum().backward()
        optimizer.step()
        return mine.detach()

    return train


@pytest.mark.parametrize("share, passed", [(True, True), (False, False)])
def test_an_optimizer_that_shards_nothing_holds_too_much(share, passed):
    report = sentence(momentum_of(share)).holds_at_most("4 * n // N", of="optimizer state").worth(4)
    assert report.passed is passed
    assert passed or (
        report.earned,
        report.findings[0].sight.wanted,
        report.findings[0].sight.counted,
    ) == (2, "at most 16 bytes", "32 bytes")


@pytest.mark.parametrize("nbytes, passed", [("4 * n + 400", True), ("4 * n + 399", False)])
def test_all_kinds_count_together_and_so_does_what_was_given(nbytes, passed):
    def hold(x, comm):
        y = torch.zeros(100)
        y += 1

    assert sentence(hold).holds_at_most(nbytes).worth(4).passed is passed


@pytest.mark.parametrize(
    "flops, at_most, passed",
    [
        ("2 * n * n", True, True),
        ("2 * n * n", False, True),
        ("2 * n * n - 1", True, False),
        ("2 * n * n + 1", True, True),
        ("2 * n * n + 1", False, False),
    ],
)
def test_flops_are_counted(flops, at_most, passed):
    def outer(x, comm):
        return x.reshape(-1, 1) @ x.reshape(1, -1)

    asked = sentence(outer)
    assert (asked.computes_at_most(flops) if at_most else asked.computes(flops)).worth(
        4
    ).passed is passed


def overlapped(x, comm):
    job = comm.background(lambda x, comm: comm.exchange(x, to=comm.right, source=comm.left), x)
    x.reshape(-1, 1) @ x[:2].reshape(1, -1)  # 32 FLOPs, 32 ms, as long as the message
    return job.wait()


def one_after_the_other(x, comm):
    came = comm.background(
        lambda x, comm: comm.exchange(x, to=comm.right, source=comm.left), x
    ).wait()
    x.reshape(-1, 1) @ x[:2].reshape(1, -1)
    return came


def half(x, comm):
    job = comm.background(lambda x, comm: comm.exchange(x, to=comm.right, source=comm.left), x)
    x[:4].reshape(-1, 1) @ x[:2].reshape(1, -1)
    return job.wait()


@pytest.mark.parametrize(
    "fn, share, passed",
    [
        (overlapped, 1.0, True),
        (one_after_the_other, 0.01, False),
        (half, 0.5, True),
        (half, 0.51, False),
    ],
)
def test_overlap_is_a_share_of_the_time_with_messages_under_way(fn, share, passed):
    report = sentence(fn).overlaps(share, on=NETWORK, device=DEVICE).worth(4)
    assert report.passed is passed
    assert fn is not half or report.findings[0].sight.counted == "rank 0: 50%"


def test_what_raises_meets_no_metered_demand():
    def fail(x, comm):
        raise ValueError("no")

    report = sentence(fail).holds_at_most(10**9).overlaps(0.0, on=NETWORK, device=DEVICE).worth(4)
    assert [finding.passed for finding in report.findings] == [False, False]


def test_a_list_of_tensors_is_given_anew_to_each_run():
    def spoil(xs, comm):
        xs[0] += 1
        return xs[0].clone()

    report = (
        check(spoil, "t")
        .over([2], [3])
        .given(lambda rank, N, n, draws: ([torch.zeros(n)],))
        .equals(lambda inputs, rank, N: torch.ones(3))
        .holds_at_most(1000)
        .never_deadlocks()
        .worth(4)
    )
    assert report.passed


def test_stretches_are_joined_before_they_are_compared():
    assert union([(2, 3), (0, 1), (0.5, 2.5)]) == [(0, 3)]
    messages = [(0, 2), (4, 6)]
    assert total(messages) - total(without(messages, [(1, 5)])) == 2
    assert without([(0, 1)], []) == [(0, 1)]
