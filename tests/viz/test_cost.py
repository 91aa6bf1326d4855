"""The cost card on traces made by hand: a second is computing, the link or a late rank."""

import pytest
import torch

from minidl import Uniform, VirtualWorld
from minidl.viz.pictures.cost import cost, parts_of
from tests.viz.samples import Maker


def two_ranks(late=0.5, link=0.25):
    """Rank 0 computes 1 s and sends; rank 1 computes `late` s longer and receives in `link` s."""
    maker = Maker(2)
    maker.add(0, "compute", 0.0, None, 1.0)
    maker.add(1, "compute", 0.0, None, 1.0 + late)
    maker.message(0, 1, 1.0, 1.0 + late, 1.0 + late + link, nbytes=16)
    return maker.trace()


def test_every_second_is_computing_or_the_link_or_a_late_rank():
    rows = {row[0]: row[1:] for row in cost(two_ranks()).table()}
    assert rows[0] == pytest.approx((1.0, 0.25, 0.5, 1, 16))
    assert rows[1] == pytest.approx((1.5, 0.25, 0.0, 0, 0))


def test_the_title_says_which_of_the_two_takes_more():
    assert (
        cost(two_ranks()).title == "Compute-bound: the ranks spend 29 % of their time on messages"
    )
    assert (
        cost(two_ranks(late=0.0, link=3.0)).title
        == "Communication-bound: the ranks spend 75 % of their time on messages"
    )


def test_the_caption_says_where_the_two_would_be_equal():
    assert "With 3 times as much computing" in cost(two_ranks(late=0.0, link=3.0)).caption
    assert "took 2.5 times less time" in cost(two_ranks()).caption


def test_a_run_without_messages_has_nothing_to_split():
    maker = Maker(2)
    maker.add(0, "compute", 0.0, None, 1.0)
    picture = cost(maker.trace())
    assert picture.title == "No rank spent time on messages"
    assert [row[1:4] for row in picture.table()] == [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0)]


def test_background_threads_do_not_count_as_waiting():
    maker = Maker(2)
    maker.add(0, "compute", 0.0, None, 1.0)
    maker.add(0, "recv", 0.0, 0.0, 1.0, peer=1, nbytes=4, thread=1)
    maker.add(1, "send", 0.0, 0.0, 1.0, peer=0, nbytes=4)
    assert [row[1:4] for row in cost(maker.trace()).table()][0] == (1.0, 0.0, 0.0)


def test_a_collective_waits_for_its_last_member():
    maker = Maker(2)
    maker.add(0, "all_reduce", 0.0, 0.0, 3.0, nbytes=4)
    maker.add(1, "all_reduce", 2.0, 2.0, 3.0, nbytes=4)
    assert [row[1:4] for row in cost(maker.trace()).table()] == [(0.0, 1.0, 2.0), (0.0, 1.0, 0.0)]


def test_the_text_holds_counts_only():
    assert repr(cost(two_ranks())) == "Picture(cost: 2 ranks, 1 message)"


def test_a_send_and_a_receive_at_the_same_time_count_once():
    def work(comm):
        comm.compute(2.0)
        comm.exchange(torch.zeros(1), comm.right, comm.left)

    trace = VirtualWorld(3, network=Uniform(alpha=1.0, beta=0)).run(work).trace
    assert parts_of(trace) == [(2.0, 1.0, 0.0)] * 3
