"""How can a run be seen in a viewer made for long recordings?

    process = rank      thread = thread     track "messages 0, 1, ..." for sends and receives
    span  |--------------|                  X: a slice with a beginning and a duration
     send    |---|                          s -> f: a flow from each send to its receive
                  `--> recv

Writes the Trace Event Format that ui.perfetto.dev and chrome://tracing open. Times are microseconds.
Slices of one track may nest and never cross; what would cross goes to the next track.
Left out: the waits of a deadlock; see wait_for.
"""

import json
from pathlib import Path

from minidl.viz.reading.findings import is_lost
from minidl.viz.reading.intervals import extent

TRACKS = 1000  # track numbers set aside for one thread
LEAST = 0.001  # microseconds: a flow needs a slice that is not empty


def to_perfetto(trace, path):
    """Write the run to `path` as Trace Event JSON. Returns the path."""
    path = Path(path)
    end = extent(trace)[1]
    slices, tracks = [], {}
    for event in trace:
        slices.append(complete(event, end))
    place(slices, tracks)
    flows = list(
        flow_events(trace, {key: piece for key, piece in ((p.pop("key"), p) for p in slices)})
    )
    names = list(metadata(trace, tracks))
    path.write_text(
        json.dumps({"displayTimeUnit": "ns", "traceEvents": names + slices + flows}),
        encoding="utf-8",
    )
    return path


def complete(event, end):
    """An X event: a slice with its arguments. Its track is given by place()."""
    done = end if event.done is None else event.done
    moves = event.kind not in ("span", "compute")
    name = event.span.rsplit("/", 1)[-1] if event.kind == "span" else event.kind
    if event.kind in ("send", "recv"):
        name += f" {'to' if event.kind == 'send' else 'from'} {event.peer}"
    args = {"span": event.span, "line": event.line, "fate": event.fate}
    if moves:
        waited = None if event.waited is None else round((done - event.waited) * 1e6, 3)
        args |= {
            "number": event.number,
            "comm": event.comm,
            "shape": list(event.shape),
            "dtype": event.dtype,
            "nbytes": event.nbytes,
            "waited_us": waited,
        }
    return {
        "ph": "X",
        "name": name,
        "cat": event.kind,
        "pid": event.rank,
        "tid": event.thread,
        "ts": round(event.posted * 1e6, 3),
        "dur": round(max((done - event.posted) * 1e6, LEAST if moves else 0.0), 3),
        "args": args,
        "key": (event.rank, event.seq),
    }


def place(slices, tracks):
    """Give each slice its track: the thread's own for spans and computing, its message tracks for the rest."""
    open_on = {}
    for piece in sorted(slices, key=lambda piece: (piece["ts"], -piece["dur"])):
        thread, moves = piece["tid"], piece["cat"] not in ("span", "compute")
        start, end, lane = piece["ts"], piece["ts"] + piece["dur"], 0
        while True:
            track = thread * TRACKS + (500 if moves else 0) + lane
            stack = open_on.setdefault((piece["pid"], track), [])
            while stack and stack[-1] <= start + 1e-6:
                stack.pop()
            if not stack or (not moves and end <= stack[-1] + 1e-6):
                break
            lane += 1
        stack.append(end)
        piece["tid"] = track
        tracks[piece["pid"], track] = (thread, moves, lane)


def flow_events(trace, slices):
    """An arrow from inside each send's slice to inside its receive's slice."""
    for number, message in enumerate(trace.messages()):
        if is_lost(message):
            continue
        send, recv = (slices[event.rank, event.seq] for event in message)
        alike = {"cat": "message", "name": "message", "id": number}
        yield {"ph": "s", "pid": send["pid"], "tid": send["tid"], "ts": send["ts"], **alike}
        arrival = max(recv["ts"], send["ts"], round(recv["ts"] + recv["dur"] - LEAST, 3))
        yield {"ph": "f", "bp": "e", "pid": recv["pid"], "tid": recv["tid"], "ts": arrival, **alike}


def metadata(trace, tracks):
    """The names of ranks and tracks, and their order."""
    for rank in range(trace.world_size):
        yield {
            "ph": "M",
            "name": "process_name",
            "pid": rank,
            "tid": 0,
            "ts": 0,
            "args": {"name": f"rank {rank}"},
        }
        yield {
            "ph": "M",
            "name": "process_sort_index",
            "pid": rank,
            "tid": 0,
            "ts": 0,
            "args": {"sort_index": rank},
        }
    for (rank, track), (thread, moves, lane) in sorted(tracks.items()):
        name = f"thread {thread}" + (
            f", messages {lane}" if moves else f", level {lane}" if lane else ""
        )
        yield {
            "ph": "M",
            "name": "thread_name",
            "pid": rank,
            "tid": track,
            "ts": 0,
            "args": {"name": name},
        }
        yield {
            "ph": "M",
            "name": "thread_sort_index",
            "pid": rank,
            "tid": track,
            "ts": 0,
            "args": {"sort_index": track},
        }
