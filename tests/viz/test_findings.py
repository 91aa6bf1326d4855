"""The sentence names the pattern that all messages share, and only where all share it."""

import pytest

from minidl.trace import Wait
from minidl.viz.reading.findings import messages_finding, pattern, wait_circle
from tests.viz import samples

EVERYONE = [(s, d) for s in range(4) for d in range(4) if s != d]


@pytest.mark.parametrize(
    "n, pairs, sentence",
    [
        (4, [(0, 1), (1, 2), (2, 3), (3, 0)], "Every rank sends to its right neighbour"),
        (4, [(1, 0), (2, 1), (3, 2), (0, 3)], "Every rank sends to its left neighbour"),
        (4, [(0, 1), (1, 2), (2, 3)], "Messages pass down a chain from rank 0 to rank 3"),
        (4, [(0, 1), (0, 2), (0, 3)], "Rank 0 sends to every other rank"),
        (4, [(0, 2), (1, 2), (3, 2)], "Every other rank sends to rank 2"),
        (4, [(0, 1), (1, 0), (2, 0)], "Every message goes to rank 0 or comes from it"),
        (4, EVERYONE, "Every rank sends to every other rank"),
        (
            4,
            [(r, r ^ d) for r in range(4) for d in (1, 2)],
            "Each rank exchanges with partners at distance 1, 2",
        ),
        (
            6,
            [(r, (r + d) % 6) for r in range(6) for d in (1, 5)],
            "Every rank sends to both its neighbours",
        ),
        (2, [(0, 1), (1, 0)], "Ranks 0 and 1 send to each other"),
        (2, [(1, 0)], "Rank 1 sends to rank 0"),
        (6, [(0, 1), (2, 3)], ""),
        (5, [(0, 1), (1, 3), (3, 4), (2, 0)], ""),
    ],
)
def test_pattern(n, pairs, sentence):
    assert pattern(set(pairs), n) == sentence


def test_without_a_pattern_the_busiest_rank_is_named():
    maker = samples.Maker(5)
    for source, to in ((0, 1), (1, 3), (3, 4), (2, 0), (3, 0)):
        maker.message(source, to, 0.0, 0.0, 1e-3)
    trace = maker.trace()
    assert messages_finding(trace, trace.messages()) == "Rank 3 sends most: 2 of 5 messages"


def test_a_receive_that_nothing_met_is_the_finding():
    maker = samples.Maker(2)
    maker.add(1, "recv", 0.0, 0.0, None, peer=0, nbytes=4, fate="unfinished")
    trace = maker.trace()
    assert messages_finding(trace, trace.messages()) == "Rank 1's receive from rank 0 was never met"


def test_cycle_is_found_behind_a_branch():
    waits = [
        Wait(rank, peer, "send", "world", 0, "", "")
        for rank, peer in ((0, 3), (1, 2), (1, 4), (4, 5), (5, 1))
    ]
    assert wait_circle(waits) == [1, 4, 5] and wait_circle(waits[:2]) == []
