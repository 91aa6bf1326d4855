"""The arithmetic of the virtual network, on hand-posted messages."""

import pytest

from minidl import Islands, Link, OneSlowLink, Uniform
from minidl.runtime.comms.record import Posting
from minidl.runtime.virtual.network import Fabric, Ticket


def side(fabric, sends, source, to, nbytes, time, signature="same"):
    """One side of a message from `source` to `to`, not posted yet."""
    posting = Posting(source if sends else to, time)
    ticket = Ticket(sends, fabric.way("world", source, to), posting, nbytes, signature)
    posting.tickets.append(ticket)
    return ticket


def meet(fabric, source, to, nbytes, sent, received):
    """Post both sides of a message, the earlier first; returns when send and receive end."""
    send = side(fabric, True, source, to, nbytes, sent)
    recv = side(fabric, False, source, to, nbytes, received)
    first, second = (send, recv) if sent <= received else (recv, send)
    assert fabric.post(first) is None and fabric.post(second) is first
    return send.done, recv.done


def test_a_message_takes_alpha_plus_beta_times_bytes_from_when_both_are_there():
    for sent, received in ((0, 3), (3, 0), (3, 3)):
        fabric = Fabric(Uniform(alpha=2, beta=0.5))
        assert meet(fabric, 0, 1, 10, sent, received) == (10, 10)  # 3 + 2 + 5


def test_buffered_sends_are_over_at_once_and_travel_meanwhile():
    fabric = Fabric(Uniform(alpha=2, beta=0.5), buffered=True)
    assert meet(fabric, 0, 1, 10, 0, 3) == (0, 7)  # under way since 0
    assert meet(fabric, 0, 1, 10, 20, 40) == (20, 40)  # there before it is asked for


def test_a_buffered_message_leaves_when_it_is_sent_and_not_when_it_is_asked_for():
    fabric = Fabric(Uniform(alpha=0, beta=1), buffered=True)
    early = side(fabric, True, 0, 1, 10, 0)
    assert fabric.post(early) is None and early.done == 0
    assert meet(fabric, 0, 2, 1000, 100, 100) == (100, 1100)  # sent later, received first
    late = side(fabric, False, 0, 1, 10, 500)
    assert fabric.post(late) is early and late.done == 500


def test_a_rank_sends_one_message_at_a_time_and_receives_one_at_a_time():
    fabric = Fabric(Uniform(alpha=1, beta=1))
    assert meet(fabric, 0, 1, 10, 0, 0) == (11, 11)
    assert meet(fabric, 0, 2, 10, 0, 0) == (21, 21)  # the port out of 0 is busy until 10
    assert meet(fabric, 1, 2, 10, 0, 0) == (31, 31)  # the port into 2 is busy until 20
    assert meet(fabric, 1, 0, 10, 0, 30) == (41, 41)  # 1 receives and sends at once


def test_islands_are_fast_inside_and_slow_between():
    network = Islands(2, fast=Link(1, 0), slow=Link(10, 0))
    assert [network.between(0, to)[0].alpha for to in (1, 2, 3)] == [1, 10, 10]


def test_a_port_serves_in_the_order_in_which_the_sides_met():
    fabric = Fabric(Uniform(alpha=0, beta=1))
    assert [meet(fabric, *pair, 10, 0, 0)[1] for pair in ((2, 1), (0, 1), (0, 3))] == [10, 20, 30]


@pytest.mark.parametrize("contention, ends", [(False, [20, 20, 20]), (True, [20, 30, 40])])
def test_messages_that_leave_an_island_share_its_link_if_wanted(contention, ends):
    fabric = Fabric(Islands(4, fast=Link(0, 0), slow=Link(10, 1), contention=contention))
    assert [meet(fabric, rank, rank + 4, 10, 0, 0)[1] for rank in range(3)] == ends


def test_one_slow_link_is_slow_both_ways():
    network = OneSlowLink(1, 2, slow=Link(9, 0), others=Link(1, 0))
    assert [network.between(*pair)[0].alpha for pair in ((1, 2), (2, 1), (0, 1), (2, 0))] == [
        9,
        9,
        1,
        1,
    ]


def test_delays_add_to_a_link():
    fabric = Fabric(Uniform(alpha=1, beta=0), delay=lambda source, to: 5 * (source < to))
    assert meet(fabric, 0, 1, 10, 0, 0) == (6, 6) and meet(fabric, 1, 0, 10, 0, 0) == (1, 1)


def test_sides_that_differ_never_meet_and_leftovers_are_known():
    fabric = Fabric(Uniform())
    one = side(fabric, True, 0, 1, 4, 0, "a")
    two = side(fabric, False, 0, 1, 8, 0, "b")
    three = side(fabric, True, 0, 1, 4, 0, "a")
    assert fabric.post(one) is None and fabric.post(two) is one and one.done is two.done is None
    assert fabric.post(three) is None and three.number == 1 and fabric.leftovers() == [three]


def test_a_link_is_never_faster_than_light():
    with pytest.raises(ValueError, match="not negative"):
        Link(alpha=-1)
    with pytest.raises(ValueError, match="not negative"):
        Uniform(beta=float("nan"))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Islands(0), "1 rank or more, not 0"),
        (lambda: Islands(2.5), "1 rank or more"),
        (lambda: OneSlowLink(1, 1), "two different ranks"),
        (lambda: OneSlowLink(-1, 0), "counted from 0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
