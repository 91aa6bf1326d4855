"""Each wait is an arrow from the waiting rank to the awaited one; the title names the circle."""

import math

import pytest

from minidl.trace import Trace, Wait
from minidl.viz.drawing.scene import Arrow, Dot, Label
from minidl.viz.pictures.wait_for import wait_for
from tests.viz import samples


def nearest(dots, x, y):
    """The rank whose dot is nearest."""
    return min(range(len(dots)), key=lambda rank: math.hypot(dots[rank].x - x, dots[rank].y - y))


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 16, 64])
def test_arrows_run_from_the_waiting_to_the_awaited(n):
    trace = samples.deadlock(n)
    scene = wait_for(trace).scene
    dots, arrows = scene.shapes(Dot), scene.shapes(Arrow)
    assert len(dots) == n
    assert [(nearest(dots, a.x0, a.y0), nearest(dots, a.x1, a.y1)) for a in arrows] == [
        (w.rank, w.peer) for w in trace.waits
    ]
    assert max(abs(label.x) for label in scene.shapes(Label)) < 364


def test_the_title_closes_the_circle():
    assert wait_for(samples.deadlock(2)).title == "Rank 0 waits for rank 1, which waits for rank 0"
    assert (
        wait_for(samples.deadlock(8)).title
        == "8 ranks wait in a circle: 0, 7, 6, ..., 1, and 0 again"
    )


def test_each_wait_is_told_with_its_line():
    picture = wait_for(samples.deadlock(2))
    first = picture.scene.shapes(Label)[0].text
    assert first.startswith("rank 0\nwaits for rank 1 to send") and first.endswith("In [3], line 4")
    assert picture.table()["peer"] == [1, 0] and picture.table()["awaits"] == ["send", "send"]


def test_a_wait_for_a_rank_that_is_gone_has_no_circle():
    waits = [
        Wait(0, 1, "recv", "world", 2, "In [1], line 1", ""),
        Wait(1, 2, "all_reduce", "world", 0, "In [1], line 2", ""),
    ]
    picture = wait_for(Trace(3, [], waits))
    assert picture.title == "Rank 1 waits for rank 2, which will never answer"
    assert "no circle" in picture.caption
    assert [label.text for label in picture.scene.shapes(Label)][
        0
    ] == "rank 0\nwaits for rank 1 to receive (#2)\nIn [1], line 1"
    assert "to enter all_reduce" in picture.scene.shapes(Label)[1].text.replace("\n", " ")


def test_a_side_branch_is_thinner_than_the_circle():
    waits = [
        Wait(0, 1, "send", "world", 0, "", ""),
        Wait(1, 0, "send", "world", 0, "", ""),
        Wait(2, 0, "send", "world", 0, "", ""),
    ]
    picture = wait_for(Trace(3, [], waits))
    widths = [arrow.width for arrow in picture.scene.shapes(Arrow)]
    assert (
        widths[0] == widths[1] > widths[2]
        and picture.title == "Rank 0 waits for rank 1, which waits for rank 0"
    )


def test_a_run_that_ended_well_has_no_arrows():
    picture = wait_for(samples.ring())
    assert picture.title == "No rank waited forever" and not picture.scene.shapes(Arrow)
    assert repr(picture) == "Picture(wait_for: 4 ranks, 0 waits)"
