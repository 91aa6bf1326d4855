"""The matrix counts what each rank sent to each other rank, and the title says what stands out."""

import pytest

from minidl.viz.drawing.scene import Cells, Label
from minidl.viz.pictures.traffic import traffic
from tests.viz import samples


def cells(picture):
    """The matrix."""
    return picture.scene.shapes(Cells)[0].values


def test_a_ring_fills_one_diagonal():
    picture = traffic(samples.ring(4))
    assert cells(picture) == [
        [6 << 20 if to == (source + 1) % 4 else None for to in range(4)] for source in range(4)
    ]
    assert picture.title == "Every rank sends 6 MiB to its right neighbour"
    assert {(label.y, label.x, label.text) for label in picture.scene.shapes(Label)} == {
        (r, (r + 1) % 4, "6") for r in range(4)
    }
    assert "In all 24 MiB" in picture.caption and "numbers in MiB" in picture.caption
    assert picture.table().rows == [(r, (r + 1) % 4, 6, 6 << 20) for r in range(4)]


def test_messages_are_counted_too():
    picture = traffic(samples.ring(4), what="messages")
    assert (
        cells(picture)[0] == [None, 6, None, None]
        and picture.title == "Every rank sends 6 messages to its right neighbour"
    )


def test_unfinished_messages_count_at_their_sender():
    picture = traffic(samples.unfinished())
    assert cells(picture) == [[None, 16, None], [None, None, 16], [64, None, None]]
    assert picture.title == "Rank 2 sends 67 % of all bytes"


def test_messages_of_no_bytes_are_not_blank():
    maker = samples.Maker(2)
    maker.message(0, 1, 0.0, 0.0, 1e-3, nbytes=0)
    assert cells(traffic(maker.trace())) == [[None, 0], [None, None]]


def test_many_ranks_have_shades_and_no_numbers():
    picture = traffic(samples.ring(32))
    assert not picture.scene.shapes(Label) and "shades in MiB" in picture.caption
    heat = picture.plotly()["data"][0]
    assert heat["zmax"] == 62 << 20 and "%{z:,} B" in heat["hovertemplate"]


def test_native_collectives_are_said_not_to_count():
    assert "Not counted: what all_reduce sent inside." in traffic(samples.background()).caption


def test_an_unknown_count_is_refused():
    with pytest.raises(ValueError, match='"nbytes" or "messages"'):
        traffic(samples.ring(), what="seconds")
