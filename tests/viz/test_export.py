"""A file that Perfetto opens: slices nest, flows have both ends inside their slices, ranks are
processes.
"""

import json
from collections import defaultdict

import pytest

from minidl.viz.pictures.export import to_perfetto
from tests.viz import samples

TRACES = {
    "ring": samples.ring(),
    "background": samples.background(),
    "unfinished": samples.unfinished(),
    "crowd": samples.crowd(16, 4000),
}


@pytest.fixture(params=TRACES)
def exported(request, tmp_path):
    """(trace, its events as exported)."""
    path = to_perfetto(TRACES[request.param], tmp_path / "run.json")
    assert path == tmp_path / "run.json"
    return TRACES[request.param], json.loads(path.read_text(encoding="utf-8"))["traceEvents"]


def of(events, phase):
    """The events of one phase."""
    return [event for event in events if event["ph"] == phase]


def test_every_event_is_a_slice_with_its_arguments(exported):
    trace, events = exported
    slices = of(events, "X")
    assert len(slices) == len(trace) and all(
        piece["dur"] >= 0 and piece["ts"] >= 0 for piece in slices
    )
    for piece, event in zip(slices, trace):
        assert piece["pid"] == event.rank and piece["ts"] == pytest.approx(
            event.posted * 1e6, abs=1e-3
        )
        assert piece["args"]["line"] == event.line and piece["args"]["fate"] == event.fate
        if event.kind in ("send", "recv"):
            assert piece["args"]["nbytes"] == event.nbytes and piece["args"]["shape"] == list(
                event.shape
            )
        if event.done is not None:
            assert piece["dur"] == pytest.approx((event.done - event.posted) * 1e6, abs=2e-3)


def test_slices_of_a_track_nest(exported):
    tracks = defaultdict(list)
    for piece in of(exported[1], "X"):
        tracks[piece["pid"], piece["tid"]].append(
            (piece["ts"], piece["ts"] + piece["dur"], piece["cat"])
        )
    for pieces in tracks.values():
        open_ends = []
        for start, end, _ in sorted(pieces, key=lambda piece: (piece[0], -piece[1])):
            while open_ends and open_ends[-1] <= start + 1e-6:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1] + 1e-6
            open_ends.append(end)
        assert (
            len({cat in ("span", "compute") for *_, cat in pieces}) == 1
        )  # messages have tracks of their own


def test_every_flow_starts_in_a_send_and_ends_in_its_receive(exported):
    trace, events = exported
    starts, ends = ({flow["id"]: flow for flow in of(events, phase)} for phase in "sf")
    finished = [m for m in trace.messages() if m.recv is not None and m.recv.done is not None]
    assert set(starts) == set(ends) and len(starts) == len(finished) == len(of(events, "s"))
    by_track = defaultdict(list)
    for piece in of(events, "X"):
        by_track[piece["pid"], piece["tid"]].append(piece)

    def inside(flow):
        return next(
            p
            for p in by_track[flow["pid"], flow["tid"]]
            if p["ts"] <= flow["ts"] < p["ts"] + p["dur"]
        )

    for number, start in starts.items():
        end = ends[number]
        send, recv = inside(start), inside(end)
        assert end["bp"] == "e" and start["ts"] <= end["ts"]
        assert (send["cat"], recv["cat"]) == ("send", "recv") and send["args"]["number"] == recv[
            "args"
        ]["number"]
        assert (
            send["name"] == f"send to {recv['pid']}" and recv["name"] == f"recv from {send['pid']}"
        )


def test_ranks_and_tracks_have_names(exported):
    trace, events = exported
    names = {
        (e["pid"], e["tid"]): e["args"]["name"]
        for e in of(events, "M")
        if e["name"] == "thread_name"
    }
    ranks = [e["args"]["name"] for e in of(events, "M") if e["name"] == "process_name"]
    assert ranks == [f"rank {rank}" for rank in range(trace.world_size)]
    assert {(e["pid"], e["tid"]) for e in of(events, "X")} == set(names)


def test_a_message_that_never_ended_lasts_to_the_end(tmp_path):
    events = json.loads(
        to_perfetto(samples.unfinished(), str(tmp_path / "x.json")).read_text(encoding="utf-8")
    )["traceEvents"]
    (lost,) = [piece for piece in of(events, "X") if piece["args"]["fate"] == "unfinished"]
    assert lost["name"] == "send to 0" and lost["ts"] + lost["dur"] == pytest.approx(3850)
