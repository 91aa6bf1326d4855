"""The film shows every message on its way, step by step, and moves only when asked to."""

import json
import xml.etree.ElementTree as ElementTree

import plotly.graph_objects as go
import pytest
import torch

from minidl import PerRank, Uniform, VirtualWorld
from minidl.collectives.ring import all_reduce
from minidl.trace import Trace
from minidl.viz.drawing.plotly_frames import changes
from minidl.viz.drawing.scene import Label
from minidl.viz.pictures.film import DOTS, FRAMES
from minidl.viz.pictures.replay import replay
from minidl.viz.reading.waves import waves
from tests.viz import samples
from tests.viz.test_lamport import layer

SVG = "{http://www.w3.org/2000/svg}"


def around(x, comm):
    """A ring all-gather of single numbers, written out: N - 1 steps, one message a rank in each."""
    for _ in range(comm.world_size - 1):
        x = comm.exchange(x, to=comm.right, source=comm.left)
    return x


def ring(n=4):
    return (
        VirtualWorld(n, network=Uniform(10e-6, 1e-9))
        .run(around, PerRank([torch.tensor([10.0 + rank]) for rank in range(n)]))
        .trace
    )


def chain(x, comm):
    """Each rank computes twice as long as the one before and hands on what it got."""
    if comm.rank:
        x = comm.recv(x, source=comm.rank - 1)
    comm.compute(1e-4)
    if comm.rank < comm.world_size - 1:
        comm.send(x, to=comm.rank + 1)


def stops(picture):
    return {moment.stop: moment.shapes for moment in picture.scene.moments if moment.stop}


def texts(shapes):
    return [label.text for label in shapes]


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_messages_that_end_together_are_one_step(n):
    steps, ticks = waves(ring(n).messages())
    assert ticks and [len(step) for step in steps] == [n] * (n - 1)
    assert {(m.send.rank, m.send.peer) for m in steps[0]} == {(r, (r + 1) % n) for r in range(n)}


@pytest.mark.parametrize("count", [6, 7, 10])
def test_chunks_that_differ_by_an_element_do_not_make_more_steps(count):
    trace = VirtualWorld(5).run(all_reduce, torch.arange(float(count))).trace
    assert replay(trace).title == "Every rank sends to its right neighbour, in 8 steps"


def test_on_a_real_clock_a_step_is_what_need_not_follow():
    steps, ticks = waves(samples.ring(4).messages())  # its times scatter: no two are equal
    assert not ticks and [len(step) for step in steps] == [4] * 6
    assert [{m.send.number for m in step} for step in steps] == [{k} for k in range(6)]


def test_one_rank_sends_one_message_a_step_and_never_before_what_it_needs():
    maker = samples.Maker(4)
    for i, to in enumerate((1, 2, 3)):  # all posted at once, received one after the other
        maker.message(0, to, 0.0, 0.0, 1e-3 * (i + 1.1) + 1e-5 * i**2)
    maker.message(3, 2, 3.5e-3, 0.0, 4e-3)  # posted after what rank 3 had received
    steps, _ = waves(maker.trace().messages())
    assert [[(m.send.rank, m.send.peer) for m in step] for step in steps] == [
        [(0, 1)],
        [(0, 2)],
        [(0, 3)],
        [(3, 2)],
    ]


def test_each_stop_shows_its_messages_half_way_with_their_numbers():
    seen = stops(replay(ring(4)))
    assert list(seen) == ["1", "2", "3", "end"]
    assert texts(seen["1"]["values"]) == ["10", "11", "12", "13"] and texts(
        seen["2"]["values"]
    ) == ["13", "10", "11", "12"]
    assert not seen["end"]["message"] and not seen["end"]["values"]
    dots = {(dot.x, dot.y) for dot in seen["1"]["message"]}
    assert (
        any(abs(x) <= 1 for x, _ in dots) and any(abs(y) <= 1 for _, y in dots) and len(dots) == 4
    )


def test_a_dot_travels_from_its_sender_to_its_receiver():
    picture = replay(ring(4))
    nodes = [(dot.x, dot.y) for dot in layer(picture, "ranks").shapes]
    ways = [
        moment.shapes["message"][0] for moment in picture.scene.moments[:5]
    ]  # rank 0's first message
    away = [[(dot.x - x) ** 2 + (dot.y - y) ** 2 for dot in ways] for x, y in nodes[:2]]
    assert (
        away[0] == sorted(away[0])
        and away[1] == sorted(away[1], reverse=True)
        and len(set(away[0])) == 5
    )
    assert away[0][0] < 0.1 * away[0][-1] and away[1][-1] < 0.1 * away[1][0]


def test_a_rank_computes_then_its_message_is_under_way_then_it_is_done():
    picture = replay(VirtualWorld(3).run(chain, torch.ones(2)).trace)
    frames = [moment.shapes["names"] for moment in picture.scene.moments]
    first = [names[0].text.split("\n")[1] for names in frames]
    last = [names[2].text.split("\n")[1] for names in frames]
    assert (
        first[0] == "computes"
        and "sends" in first
        and first[-1] == "done"
        and "waits" not in " ".join(first)
    )
    assert (
        last[0] == "waits for 1"
        and "receives" in last
        and last.index("receives") > last.index("waits for 1")
    )
    hatched = [{box.x0 for box in moment.shapes["waiting"]} for moment in picture.scene.moments]
    assert layer(picture, "waiting").style == "hatched" and len(hatched[0]) == 2 and not hatched[-1]


def test_large_tensors_show_their_size():
    assert set(texts(stops(replay(samples.ring()))["1"]["values"])) == {"1 MiB"}


def test_the_title_counts_the_steps_and_the_text_holds_counts_only():
    picture = replay(ring(4))
    assert picture.title == "Every rank sends to its right neighbour, in 3 steps"
    assert repr(picture) == "Picture(replay: 4 ranks, 12 messages)"
    assert "Press Play" in picture.caption and "same moment" in picture.caption
    rows = list(picture.table())
    assert (
        [row[0] for row in rows] == [1] * 4 + [2] * 4 + [3] * 4
        and rows[0][5] == [10.0]
        and len(picture.table()["done"]) == 12
    )


def test_two_runs_give_the_same_film():
    assert (
        json.dumps(replay(ring(5)).plotly()) == json.dumps(replay(ring(5)).plotly())
        and replay(ring(5)).svg() == replay(ring(5)).svg()
    )


TRACES = {
    "ring": ring(4),
    "real": samples.ring(),
    "eight": samples.ring(8),
    "unfinished": samples.unfinished(),
    "dead": samples.deadlock(4),
    "background": samples.background(),
    "empty": Trace(3),
    "one rank": Trace(1),
    "crowd": samples.crowd(64, 8000),
    "32": samples.ring(32),
}


@pytest.mark.parametrize("name", TRACES)
def test_plotly_accepts_the_frames_and_they_name_what_they_change(name):
    figure = replay(TRACES[name]).plotly()
    figure.pop("config")
    go.Figure(figure)  # raises on an unknown key or a wrong value
    names = [frame["name"] for frame in figure["frames"]]
    steps = figure["layout"]["sliders"][0]["steps"]
    assert len(set(names)) == len(names) <= FRAMES and {
        step["args"][0][0] for step in steps
    } <= set(names)
    for frame in figure["frames"]:
        assert len(frame["data"]) == len(frame["traces"]) and max(frame["traces"]) < len(
            figure["data"]
        )
        for change, at in zip(frame["data"], frame["traces"]):
            assert change.get("type", "scatter") == figure["data"][at]["type"] and set(
                change
            ) <= set(figure["data"][at])
    assert len(json.dumps(figure)) < 150_000


@pytest.mark.parametrize("name", TRACES)
def test_the_still_picture_stays_on_its_page(name):
    picture = replay(TRACES[name])
    root = ElementTree.fromstring(picture.svg())
    width, height = float(root.get("width")), float(root.get("height"))
    words = "".join(root.itertext())
    assert picture.title in words and "Press Play" not in words
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= width and 0 < float(text.get("y")) < height
    assert len(picture.svg()) < 150_000


@pytest.mark.parametrize("n", [3, 5, 8])
def test_numbers_of_neighbouring_panels_stand_apart(n):
    still = replay(ring(n)).strip
    width = 728 / (3 if n <= 4 else 4)
    numbers = [
        label.x for label in still.shapes(Label) if label.text.isdigit() and label.size == 10
    ]
    assert len(numbers) >= n and all(8 < x % width < width - 8 for x in numbers)


def test_nothing_plays_by_itself(tmp_path):
    picture = replay(ring(4))
    play, pause = picture.plotly()["layout"]["updatemenus"][0]["buttons"]
    assert (play["label"], play["args"][0], play["args"][1]["fromcurrent"]) == ("Play", None, True)
    assert (pause["label"], pause["args"][0]) == ("Pause", [None])
    page = picture.save(tmp_path / "a.html").read_text(encoding="utf-8")
    assert (
        "Plotly.addFrames" in page and "Plotly.animate('" not in page.split("Plotly.addFrames")[-1]
    )


def test_a_frame_carries_only_what_changes():
    assert changes(
        [
            {"x": [1], "mode": "text", "font": {"size": 1, "color": "a"}},
            {"x": [2], "mode": "text", "font": {"size": 1, "color": "b"}},
        ]
    ) == [{"x": [1], "font": {"color": "a"}}, {"x": [2], "font": {"color": "b"}}]
    assert all(
        "mode" not in change and "hoverinfo" not in change
        for frame in replay(ring(4)).plotly()["frames"]
        for change in frame["data"]
    )


def test_many_steps_share_stops_and_the_caption_says_so():
    picture = replay(TRACES["32"])
    assert (
        "62 steps, 2 at each stop of the slider." in picture.caption
        and len(picture.scene.moments) == 32
    )
    assert "since=, until=" in picture.caption
    crowd = replay(TRACES["crowd"])
    assert (
        sum(len(moment.shapes["message"]) for moment in crowd.scene.moments) <= DOTS
        and "At most" in crowd.caption
    )
    assert len(crowd.table()) == 2000


def test_a_part_of_the_time_has_its_own_steps():
    trace = samples.ring(32)
    wanted = [m for m in trace.messages() if m.send.posted <= 3e-3 and m.recv.done >= 2e-3]
    assert 0 < len(wanted) == len(replay(trace, since=2e-3, until=3e-3).table())
    with pytest.raises(ValueError, match="does not lie after"):
        replay(trace, since=1.0, until=0.5)


def test_a_message_that_nobody_took_is_a_cross_at_the_end():
    picture = replay(samples.unfinished())
    assert picture.title == "Rank 2's message to rank 0 was never received"
    (cross,) = stops(picture)["end"]["never received"]
    assert cross.symbol == "cross" and picture.table()["step"][-1] is None
    assert (
        "waits for 0" in stops(picture)["end"]["names"][2].text and "#minidl-cross" in picture.svg()
    )


def test_a_deadlock_shows_who_waits():
    picture = replay(samples.deadlock(4))
    assert len(stops(picture)["end"]["waiting"]) == 4 and picture.caption.startswith(
        "No message was sent."
    )
