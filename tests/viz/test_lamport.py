"""Each message is one arrow from the right rank at the right time; each wait is hatched."""

import pytest

from minidl.viz.drawing.palette import RANKS
from minidl.viz.drawing.scene import Arrow, Box
from minidl.viz.pictures.lamport import MOST, lamport
from tests.viz import samples


def layer(picture, name):
    """The layer of this name, or None."""
    return next((layer for layer in picture.scene.layers if layer.name == name), None)


def test_every_message_is_an_arrow_between_its_ends():
    trace = samples.ring()
    arrows = {(a.y0, a.y1, round(a.x0, 9)): a for a in lamport(trace).scene.shapes(Arrow)}
    assert len(arrows) == 24
    for send, recv in trace.messages():
        arrow = arrows[
            send.rank, send.peer, round(send.posted * 1e3, 9)
        ]  # the axis counts milliseconds
        assert arrow.x1 == pytest.approx(recv.done * 1e3)
        assert arrow.color == RANKS[send.rank] and not arrow.broken
        assert (
            f"message #{send.number}" in arrow.hover
            and "1 MiB" in arrow.hover
            and send.line in arrow.hover
            and send.span in arrow.hover
        )


def test_plotly_and_svg_draw_as_many_arrows_as_messages():
    picture = lamport(samples.ring())
    heads = [
        trace
        for trace in picture.plotly()["data"]
        if trace.get("marker", {}).get("angleref") == "previous"
    ]
    assert sum(trace["x"].count(None) for trace in heads) == 24
    starts = sorted((x, y) for trace in heads for x, y in zip(trace["x"][::3], trace["y"][::3]))
    wanted = sorted((m.send.posted * 1e3, m.send.rank) for m in samples.ring().messages())
    assert [y for _, y in starts] == [rank for _, rank in wanted]
    assert [x for x, _ in starts] == pytest.approx([x for x, _ in wanted], abs=1e-4)


def test_waits_are_hatched_from_waited_to_done():
    waiting = layer(lamport(samples.unfinished()), "waiting")
    assert waiting.style == "hatched"
    stretches = [(box.y, round(box.x0, 6), round(box.x1, 6)) for box in waiting.shapes]
    assert stretches == [(0, 0.0, 2.0), (1, 1.0, 2.0), (1, 2.5, 3.0), (2, 2.0, 3.0), (2, 3.5, 3.85)]


def test_a_message_without_a_receive_is_broken():
    picture = lamport(samples.unfinished())
    (stub,) = layer(picture, "never received").shapes
    assert (
        stub.broken and stub.x0 == 3.5 and stub.y0 == 2 and 1 < stub.y1 < 2
    )  # towards rank 0, and not as far
    assert len(layer(picture, "message").shapes) == 2
    assert "stroke-dasharray" in picture.svg() and "#minidl-cross" in picture.svg()
    assert picture.title == "Rank 2's message to rank 0 was never received"
    assert picture.table()["fate"] == ["delivered", "delivered", "unfinished"]


def test_a_deadlock_waits_to_the_edge_of_the_picture():
    picture = lamport(samples.deadlock(3))
    assert (
        picture.title == "Rank 0 waits for rank 2, which waits for rank 1, which waits for rank 0"
    )
    assert len({box.x1 for box in layer(picture, "waiting").shapes}) == 1
    assert picture.caption.startswith("No message was sent.")


def test_background_threads_do_not_block_the_rank():
    picture = lamport(samples.background())
    assert [(box.y, box.x0, box.x1) for box in layer(picture, "waiting").shapes] == [
        (0, 6.5, 7.5),
        (1, 6.5, 7.5),
    ]
    assert [(box.x0, box.x1) for box in layer(picture, "collective").shapes] == [(6.0, 7.5)] * 2
    assert [label.text for label in layer(picture, "names").shapes] == ["all_reduce"] * 2


def test_many_messages_become_bundles_and_the_caption_counts_them():
    picture = lamport(samples.ring(32))
    arrows = picture.scene.shapes(Arrow)
    assert len(arrows) <= MOST
    assert f"1,984 messages, drawn as {len(arrows)} bundles" in picture.caption
    bundled = sum(int(arrow.hover.split("\n")[1].split()[0]) for arrow in arrows)
    assert bundled == 1984 and all(arrow.y1 == (arrow.y0 + 1) % 32 for arrow in arrows)
    assert len(picture.table()) == 1984


def test_a_crowd_shows_its_heaviest_bundles_and_says_so():
    picture = lamport(samples.crowd(64, 20_000))
    assert (
        len(picture.scene.shapes(Arrow)) == 120
        and "5,000 messages, drawn as the 120 bundles of most bytes, of" in picture.caption
    )
    assert len(picture.scene.shapes(Box)) < 2000


def test_a_part_of_the_time_is_shown_in_full():
    trace = samples.ring(32)
    picture = lamport(trace, since=2e-3, until=3e-3)
    wanted = [m for m in trace.messages() if m.send.posted <= 3e-3 and m.recv.done >= 2e-3]
    assert 0 < len(wanted) == len(picture.scene.shapes(Arrow)) < 400
    with pytest.raises(ValueError, match="does not lie after"):
        lamport(trace, since=1.0, until=0.5)


def test_up_to_eight_ranks_have_colours_of_their_own():
    assert len({arrow.color for arrow in lamport(samples.ring(8)).scene.shapes(Arrow)}) == 8
    assert len({arrow.color for arrow in lamport(samples.ring(9)).scene.shapes(Arrow)}) == 1
    assert [text for _, text in lamport(samples.ring(9)).scene.y.ticks] == [
        f"rank {rank}" for rank in range(9)
    ]
