"""Each second of each thread is in the right lane, and the title says who waited."""

import pytest

from minidl.viz.drawing.scene import Box, Path
from minidl.viz.pictures.timeline import timeline
from tests.viz import samples


def boxes(picture, name):
    """(lane, from, to) of a layer's boxes."""
    return [
        (box.y, round(box.x0, 6), round(box.x1, 6))
        for layer in picture.scene.layers
        if layer.name == name
        for box in layer.shapes
    ]


def test_a_background_thread_has_its_own_lane():
    picture = timeline(samples.background())
    lanes = {text: y for y, text in picture.scene.y.ticks}
    assert list(lanes) == ["rank 0", "rank 0, thread 1", "rank 1", "rank 1, thread 1"]
    assert boxes(picture, "computing") == [(lanes["rank 0"], 1, 6), (lanes["rank 1"], 1, 6)]
    assert set(boxes(picture, "waiting")) == {
        (lanes["rank 0"], 6.5, 7.5),
        (lanes["rank 1"], 6.5, 7.5),
        (lanes["rank 0, thread 1"], 2, 5),
        (lanes["rank 1, thread 1"], 2, 5),
    }
    assert {(path.xs[0], path.xs[1]) for path in picture.scene.shapes(Path)} == {
        (2.0, 5.0),
        (6.0, 7.5),
    }


def test_spans_nest():
    spans = [
        box
        for box in timeline(samples.background()).scene.shapes(Box)
        if box.label and box.hover.startswith("epoch")
    ]
    outer, inner = [box for box in spans if box.y < 60]
    assert (outer.label, inner.label) == ("epoch", "step")
    assert (
        outer.x0 < inner.x0 < inner.x1 < outer.x1
        and outer.y + outer.height / 2 < inner.y - inner.height / 2
    )


def test_the_title_names_the_rank_that_waited():
    maker = samples.Maker(2)
    maker.add(0, "compute", 0.0, None, 10e-3)
    maker.add(1, "recv", 0.0, 3.9e-3, 10e-3, peer=0, nbytes=4)
    maker.add(0, "send", 10e-3, 10e-3, 10e-3, peer=1, nbytes=4)
    picture = timeline(maker.trace())
    assert picture.title == "Rank 1 waited 61 % of its time"
    assert picture.table()["waiting_share"] == pytest.approx([0, 0.61])
    assert picture.table()["computing_seconds"] == pytest.approx([0.01, 0]) and picture.table()[
        "messages_sent"
    ] == [1, 0]


def test_the_title_does_not_blame_one_of_equals():
    assert timeline(samples.background()).title == "Every rank waited about 10 % of its time"
    quiet = samples.Maker(2)
    quiet.add(0, "compute", 0.0, None, 1e-3)
    assert timeline(quiet.trace()).title == "No rank waited"


@pytest.mark.slow
def test_a_crowd_is_joined_and_the_caption_says_so():
    picture = timeline(samples.crowd(64, 20_000))
    assert len(picture.scene.shapes(Box)) < 3000
    assert (
        "Events are joined" in picture.caption
        and "Spans are drawn up to 16 lanes" in picture.caption
    )


def test_waits_that_overlap_count_once():
    maker = samples.Maker(2)
    maker.add(0, "send", 0.0, 1e-3, 3e-3, peer=1, nbytes=4)
    maker.add(0, "recv", 0.0, 1e-3, 4e-3, peer=1, nbytes=4)
    maker.add(1, "compute", 0.0, None, 6e-3)
    table = timeline(maker.trace()).table()
    assert table["waiting_seconds"] == pytest.approx([3e-3, 0])


def test_the_title_says_how_much_of_the_messages_is_hidden():
    maker = samples.Maker(2)
    for rank in (0, 1):
        maker.add(rank, "compute", 0.0, None, 6e-3)
        for begin in (2e-3, 4e-3, 6e-3, 8e-3):
            maker.message(rank, 1 - rank, begin, begin, begin + 1e-3, thread=1, comm="+1")
    assert timeline(maker.trace()).title == "50 % of the messages' time is hidden behind computing"
