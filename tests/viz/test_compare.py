"""Two runs on one scale: the title says what differs; a second is computing, a message, a wait."""

import pytest
import torch

from minidl import Uniform, VirtualWorld
from minidl.collectives import ring, tree
from minidl.trace import Trace
from minidl.viz.drawing.scene import Box, Label, Path
from minidl.viz.pictures.compare import compare
from minidl.viz.reading.intervals import without
from tests.viz import samples
from tests.viz.test_lamport import layer

WORLD = VirtualWorld(4, network=Uniform(10e-6, 0.0))
RING, TREE = WORLD.run(ring.all_reduce, torch.ones(8)), WORLD.run(tree.all_reduce, torch.ones(8))


def late(x, comm):
    comm.compute(1e-4 if comm.rank == 2 else 2e-5)
    return ring.all_reduce(x, comm)


def two(seconds, late=0.0):
    """One message that takes so long, its receiver late by so much."""
    maker = samples.Maker(2)
    maker.message(0, 1, 0.0, late, late + seconds, nbytes=16)
    return maker.trace()


def test_the_title_says_who_sends_more_and_who_takes_longer():
    assert compare(RING, TREE, ("ring", "tree")).title == (
        "The ring sends 6 messages a rank, the tree at most 2, and the ring takes 1.5 times as long"
    )
    assert (
        compare(TREE, RING).title
        == "Run a sends at most 2 messages a rank, run b 6, and run b takes 1.5 times as long"
    )
    assert compare(RING, RING).title == "Both send 6 messages a rank, and both take the same time"


def test_equal_messages_of_unequal_size_differ_in_bytes():
    small, large = (
        WORLD.run(ring.all_reduce, torch.ones(8)),
        WORLD.run(ring.all_reduce, torch.ones(32)),
    )
    assert (
        compare(small, large, ("N = 8", "N = 32")).title
        == "Both send 6 messages a rank, N = 32 4 times the bytes, and both take the same time"
    )


def test_the_caption_says_who_waits_more():
    picture = compare(RING, WORLD.run(late, torch.ones(8)), ("even", "uneven"))
    assert picture.title.endswith("the uneven takes 2.67 times as long")
    assert (
        "The uneven waits more: " in picture.caption
        and "its rank 1 waits longest, 80 us" in picture.caption
    )
    assert "In neither run does a rank wait" in compare(RING, RING).caption


def test_a_wait_ends_when_both_sides_have_posted():
    rows = [row[4:8] for row in compare(two(0.25), two(0.25, late=0.5)).table()]
    assert rows[0] == pytest.approx((0.0, 0.25, 0.0, 0.25)) and rows[2] == pytest.approx(
        (0.0, 0.25, 0.5, 0.75)
    )
    assert rows[3] == pytest.approx((0.0, 0.25, 0.0, 0.75))
    waiting = layer(compare(two(0.25), two(0.25, late=0.5)), "waiting for another rank")
    assert waiting.style == "hatched" and [(box.x0, box.x1) for box in waiting.shapes] == [
        (0.0, 500.0)
    ]


def test_both_runs_stand_on_one_scale():
    picture = compare(RING, TREE, ("ring", "tree"))
    ends = [path.xs[0] for path in picture.scene.shapes(Path)]
    assert (
        ends == pytest.approx([60.0, 40.0])
        and picture.scene.x.title == "time (us)"
        and picture.scene.x.high > 60
    )
    boxes = layer(picture, "message under way").shapes
    assert (
        len([box for box in boxes if box.hover.startswith("ring")]) == 24
    )  # six a rank, each to be seen
    assert max(box.y for box in boxes if box.hover.startswith("ring")) < min(
        box.y for box in boxes if box.hover.startswith("tree")
    )
    assert [label.text.split(":")[0] for label in picture.scene.shapes(Label)] == ["ring", "tree"]
    assert [text for _, text in picture.scene.y.ticks] == [
        f"rank {rank}" for rank in (0, 1, 2, 3)
    ] * 2


def test_a_run_and_its_trace_give_the_same_picture():
    assert compare(RING, TREE).plotly() == compare(RING.trace, TREE.trace).plotly()
    assert repr(compare(RING, TREE)) == "Picture(compare: 2 runs, 24 messages and 6 messages)"
    assert compare(RING, TREE).table()["messages"] == [6] * 4 + TREE.trace.sent()


def test_a_run_that_hangs_is_said_to():
    assert (
        compare(samples.deadlock(4), RING).title
        == "Run a sends no message a rank, run b 6, and run a never ends"
    )


def test_runs_of_unequal_size_and_large_ones_stay_small():
    picture = compare(samples.crowd(64, 20_000), samples.ring(32), ("crowd", "ring"))
    assert (
        len(str(picture.plotly())) < 150_000
        and len(picture.scene.shapes(Box)) < 4000
        and len(picture.table()) == 96
    )


def test_runs_without_an_event_are_a_picture_too():
    picture = compare(Trace(2), Trace(3))
    assert picture.title == "No rank sends a message, and both take the same time"
    assert picture.svg().startswith("<svg") and picture.plotly()["data"]


def test_names_must_differ():
    with pytest.raises(ValueError, match="two different names"):
        compare(RING, TREE, ("a", "a"))


def test_without_cuts_what_is_covered():
    assert without([(0, 10), (12, 14)], [(-1, 1), (3, 4), (9, 13)]) == [(1, 3), (4, 9), (13, 14)]
    assert without([(0, 1)], []) == [(0, 1)] and without([(0, 1)], [(0, 1)]) == []


def test_messages_of_a_background_thread_stand_beside_the_computation():
    picture = compare(samples.background(), samples.background(), names=("early", "late"))
    beside = layer(picture, "message beside the computation").shapes
    assert [(round(box.x0, 6), round(box.x1, 6)) for box in beside] == [
        (2, 5)
    ] * 4 and "Thin frame" in picture.caption
    assert picture.table()["beside_seconds"] == pytest.approx([3e-3] * 4)
    assert (
        layer(compare(RING, TREE), "message beside the computation") is None
        and "Thin frame" not in compare(RING, TREE).caption
    )
