"""Bytes are counted where they pass, not only where they leave: all that one cable carries."""

import pytest

from minidl.check import arena as arenas
from minidl.check import check
from minidl.check.book import Book, open_book
from tests.check.museum import VirtualArena


@pytest.fixture(autouse=True)
def own_book():
    with open_book(Book()), arenas.use(VirtualArena()):
        yield


def around(x, comm):
    return comm.exchange(x, to=comm.right, source=comm.left)


def sentence(nbytes, link, fn=around):
    def left(inputs, rank, N):
        return inputs[(rank - 1) % N]

    return (
        check(fn, "t")
        .equals(left)
        .over([2, 4], [6])
        .carries_at_most(nbytes, link, "the cable")
        .worth(4)
    )


def halves(source, to, N):
    return "cable" if source * 2 // N != to * 2 // N else None


def each_way(source, to, N):
    return (source * 2 // N, to * 2 // N) if halves(source, to, N) else None


@pytest.mark.parametrize(
    "nbytes, link, passed",
    [
        ("8 * n", halves, True),
        ("8 * n - 1", halves, False),
        ("4 * n", each_way, True),
        ("4 * n - 1", each_way, False),
        (0, lambda source, to, N: None, True),
    ],
)
def test_a_link_carries_what_all_ranks_send_over_it(nbytes, link, passed):
    assert sentence(nbytes, link).passed is passed


def test_the_message_that_goes_too_far_is_to_blame_and_half_of_the_points_are_left():
    report = sentence("4 * n", halves)
    [finding] = [finding for finding in report.findings if not finding.passed]
    sight = finding.sight
    assert (finding.demand.key, finding.demand.says(), report.earned) == (
        "link",
        "the cable carries at most 4 * n bytes",
        2,
    )
    assert (
        finding.case.N,
        sight.wanted,
        sight.counted,
        (sight.guilty.rank, sight.guilty.peer),
    ) == (2, "at most 24", "48", (1, 0))


def test_a_link_that_nothing_takes_carries_nothing():
    report = (
        check(lambda x, comm: x, "t")
        .equals(lambda inputs, rank, N: inputs[rank])
        .over([1, 3], [2])
        .carries_at_most(0, halves, "it")
        .worth(1)
    )
    assert report.passed and report.findings[-1].sight.counted == "0"
