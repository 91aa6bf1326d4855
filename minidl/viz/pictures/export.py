"""How can a run be seen in a viewer made for long recordings?

    process = rank      thread = thread     track "messages 0, 1, ..." for sends and receives
    span  |--------------|                  X: a slice with a beginning and a duration
     send    |---|                          s -> f: a flow from each send to its receive
                  `--> recv

Writes the Trace Event Format that ui.perfetto.dev and chrome://tracing open. Times are in
microseconds. Slices of one track may nest and never cross; a slice that would cross goes to the
next track. Left out: the waits of a deadlock; see wait_for.
"""

import json
from pathlib import Path
from typing import NamedTuple

from minidl.trace import MARKERS
from minidl.viz.reading.intervals import done_by, extent
from minidl.viz.reading.matching import is_lost

TRACKS = 1000  # track numbers set aside for one thread
MESSAGE_TRACKS = 500  # its first number for messages
LEAST = 0.001  # microseconds: a flow needs a slice that is not empty
ROUNDING = 1e-6  # microseconds by which ends may miss each other


def to_perfetto(trace, path):
    """Write the run to `path` as Trace Event JSON. Returns the path."""
    # An event that never ended lasts to the end of the picture.
    end = extent(trace)[1]
    slices = {(event.rank, event.seq): _slice(event, end) for event in trace}
    tracks = _assign_tracks(slices.values())
    events = [*_names(trace, tracks), *slices.values(), *_flows(trace, slices)]
    path = Path(path)
    text = json.dumps({"displayTimeUnit": "ns", "traceEvents": events})
    path.write_text(text, encoding="utf-8")
    return path


class _Track(NamedTuple):
    """A row of the viewer: one level of what a thread does, or of its messages."""

    thread: int
    messages: bool
    level: int

    @property
    def number(self):
        """Its number within the process."""
        first = self.thread * TRACKS
        if self.messages:
            first += MESSAGE_TRACKS
        return first + self.level

    @property
    def name(self):
        """Its name in the viewer."""
        if self.messages:
            return f"thread {self.thread}, messages {self.level}"
        if self.level:
            return f"thread {self.thread}, level {self.level}"
        return f"thread {self.thread}"


def _microseconds(seconds):
    """Rounded to the nanosecond."""
    return round(seconds * 1e6, 3)


def _slice(event, end):
    """An X event: a slice with its arguments. `tid` is its thread until it gets a track."""
    done = done_by(event, end)
    args = {"span": event.span, "line": event.line, "fate": event.fate}
    least = 0.0
    if not event.is_marker:
        least = LEAST
        args |= {
            "number": event.number,
            "comm": event.comm,
            "shape": list(event.shape),
            "dtype": event.dtype,
            "nbytes": event.nbytes,
            "waited_us": None if event.waited is None else _microseconds(done - event.waited),
        }
    return {
        "ph": "X",
        "name": _slice_name(event),
        "cat": event.kind,
        "pid": event.rank,
        "tid": event.thread,
        "ts": _microseconds(event.posted),
        "dur": max(_microseconds(done - event.posted), least),
        "args": args,
    }


def _slice_name(event):
    """What stands on a slice: the span's own name, or what was done."""
    if event.kind == "span":
        return event.span.rpartition("/")[2]
    directions = {"send": "send to", "recv": "recv from"}
    if event.kind in directions:
        return f"{directions[event.kind]} {event.peer}"
    return event.kind


def _assign_tracks(slices):
    """Give each slice the first track on which it crosses no other; returns {(rank, _Track)}."""
    # Slices in the order of their beginnings, an outer one before those inside it.
    tracks = set()
    open_ends = {}  # (rank, track) -> ends of the slices that are open, the innermost last
    for piece in sorted(slices, key=lambda piece: (piece["ts"], -piece["dur"])):
        rank = piece["pid"]
        start = piece["ts"]
        end = start + piece["dur"]
        track = _Track(piece["tid"], piece["cat"] not in MARKERS, 0)
        while True:
            ends = open_ends.setdefault((rank, track), [])
            while ends and ends[-1] <= start + ROUNDING:
                ends.pop()
            # markers nest; messages do not, so that a flow meets one slice only
            fits_inside = not track.messages and ends and end <= ends[-1] + ROUNDING
            if not ends or fits_inside:
                break
            track = track._replace(level=track.level + 1)
        ends.append(end)
        piece["tid"] = track.number
        tracks.add((rank, track))
    return tracks


def _flows(trace, slices):
    """An arrow from inside each send's slice to inside its receive's slice."""
    for number, message in enumerate(trace.messages()):
        if is_lost(message):
            continue
        send, recv = [slices[event.rank, event.seq] for event in message]
        # An arrow ends just inside the receive's slice, and never before it begins.
        arrival = round(recv["ts"] + recv["dur"] - LEAST, 3)
        arrival = max(recv["ts"], send["ts"], arrival)
        yield _flow("s", send, send["ts"], number)
        # "e": it ends in the slice around it, not in the next one
        yield _flow("f", recv, arrival, number) | {"bp": "e"}


def _flow(phase, piece, time, number):
    """One end of an arrow: "s", where it starts, or "f", where it finishes."""
    name = {"cat": "message", "name": "message", "id": number}
    return {"ph": phase, "pid": piece["pid"], "tid": piece["tid"], "ts": time, **name}


def _names(trace, tracks):
    """The names of ranks and tracks."""
    for rank in range(trace.world_size):
        yield _name("process_name", rank, 0, f"rank {rank}")
    for rank, track in sorted(tracks):
        yield _name("thread_name", rank, track.number, track.name)


def _name(subject, rank, track, name):
    """An M event: the name of a rank or a track. Viewers sort both by their numbers."""
    args = {"name": name}
    return {"ph": "M", "name": subject, "pid": rank, "tid": track, "ts": 0, "args": args}
