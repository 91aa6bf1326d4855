"""Who sent what to whom, and when?

    rank 0  ----o///////-------------->     an arrow, from the posting of the send
                 `---.                      to the end of the receive
    rank 1  ##########/v--o////////////     #### the rank computes   //// it is blocked and waits
                           `--x             broken, with a cross: nobody received it
    rank 2  -------------------------->

After Lamport 1978, "Time, clocks, and the ordering of events in a distributed system". Many messages are
drawn as bundles: one arrow for all of a pair in a slice of the time. Left out: spans, and what
background threads wait for; see timeline.
"""

from collections import defaultdict
from statistics import median

from minidl.trace import Message
from minidl.viz.drawing.palette import ALARM, FAINT, INK, arrow_color, rank_color, rank_label
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Arrow, Axis, Box, Label, Path, Scene
from minidl.viz.drawing.units import axis_seconds, bytes_text, count_text, seconds_text
from minidl.viz.reading.findings import is_lost, left_out, messages_finding
from minidl.viz.reading.intervals import extent, legible, main_threads, stretches

MOST = 400  # arrows, and hatched stretches, that a reader can tell apart
HEAVIEST = 120  # bundles drawn where even one a pair would be more than MOST
NAMED = 40  # collectives whose name stands above them
COLUMNS = (
    "source",
    "to",
    "number",
    "comm",
    "shape",
    "dtype",
    "nbytes",
    "posted",
    "done",
    "span",
    "line",
    "fate",
)


def lamport(trace, since=None, until=None):
    """The picture of all messages between ranks over time, or of those between `since` and `until` seconds."""
    start, end = extent(trace)
    start, end = start if since is None else since, end if until is None else until
    if not end > start:
        raise ValueError(f"until={end} does not lie after since={start}")
    messages = [
        m for m in trace.messages() if m.send.posted <= end and (is_lost(m) or m.recv.done >= start)
    ]
    n, (unit, name) = trace.world_size, axis_seconds(end - start)
    bundles = [[m] for m in messages]
    said = ""
    if len(messages) > MOST:
        bundles, said = bundled(messages, start, end)
    waits, bins = legible(clip(main_only(trace, "waiting"), start, end), start, end, 2 * MOST)
    computing, _ = legible(clip(main_only(trace, "computing"), start, end), start, end, 2 * MOST)
    scene = Scene(
        messages_finding(trace, messages),
        caption(messages, said, bins, end - start, waits) + left_out(trace),
        rows=row_pixels(n) * n,
        x=Axis(f"time ({name})", start / unit, end / unit),
        y=rank_axis(n),
    )
    pad = 0.012 * (scene.x.high - scene.x.low)
    scene.x.low, scene.x.high = scene.x.low - pad, scene.x.high + pad
    scene.add("ranks", [Path((start / unit, end / unit), (rank, rank), FAINT) for rank in range(n)])
    scene.add("computing", time_boxes(computing, n, unit, 0.14), legend=True)
    scene.add("waiting", time_boxes(waits, n, unit, 0.3), "hatched", legend=True)
    calls = collectives(trace, start, end)
    scene.add("collective", [call_box(e, end, n, unit) for e in calls], "outline", legend=True)
    scene.add(
        "names",
        [
            Label((e.posted + (e.done or end)) / 2 / unit, e.rank - 0.37, e.kind, INK, "middle")
            for e in calls
            if len(calls) <= NAMED
        ],
    )
    scene.add("message", arrows([b for b in bundles if not is_lost(b[0])], n, unit), legend=True)
    scene.add(
        "never received",
        stubs([b[0] for b in bundles if is_lost(b[0])], n, unit, end - start),
        legend=True,
    )
    return Picture(
        "lamport",
        f"{count_text(n, 'rank')}, {count_text(len(messages), 'message')}",
        scene,
        table(messages),
    )


def rank_axis(n):
    """Rank 0 on top, one line a rank; beyond 16 ranks every other or every fourth is named."""
    step = 1 if n <= 32 else 2 if n <= 96 else n // 32
    return Axis(
        "" if n <= 16 else "rank",
        n - 0.5,
        -0.5,
        [(rank, rank_label(rank, n)) for rank in range(0, n, step)],
    )


def row_pixels(n):
    """The height of a rank's line."""
    return 56 if n <= 4 else 44 if n <= 8 else 30 if n <= 16 else max(4, 720 / n)


def main_only(trace, doing):
    """{rank: stretches} of each rank's main thread."""
    threads = main_threads(trace)
    return {
        rank: when
        for (rank, thread), when in stretches(trace, doing, extent(trace)[1]).items()
        if threads[rank] == thread
    }


def clip(lanes, start, end):
    """Only what lies between start and end."""
    return {
        rank: [(max(a, start), min(b, end)) for a, b in when if b > start and a < end]
        for rank, when in lanes.items()
    }


def time_boxes(lanes, n, unit, height):
    """A box for each stretch on its rank's line."""
    return [
        Box(a / unit, b / unit, rank, height, rank_color(rank, n), seconds_text(b - a))
        for rank, when in sorted(lanes.items())
        for a, b in when
    ]


def collectives(trace, start, end):
    """The native collectives between start and end; the longest ones where there are many."""
    calls = [
        e
        for e in trace
        if e.kind not in ("send", "recv", "compute", "span")
        and e.posted <= end
        and (e.done or end) >= start
    ]
    return sorted(calls, key=lambda e: (e.done or end) - e.posted)[-MOST:]


def call_box(event, end, n, unit):
    """A frame around a native collective on its rank's line."""
    words = f"{event.kind}\n{bytes_text(event.nbytes)}\n{event.line}"
    return Box(
        event.posted / unit,
        (event.done or end) / unit,
        event.rank,
        0.5,
        rank_color(event.rank, n),
        words,
    )


def hover(message):
    """What stands in the box that appears over an arrow."""
    send, recv = message
    words = [
        f"rank {send.rank} to rank {send.peer}, message #{send.number}",
        f"{send.shape} {send.dtype}, {bytes_text(send.nbytes)}",
    ]
    words.append(
        "never received"
        if is_lost(message)
        else f"{seconds_text(recv.done - send.posted)} from posting to end"
    )
    words += [word for word in (send.span, send.line) if word]
    return "\n".join(words + ([send.fate] if send.fate not in ("delivered", "unfinished") else []))


def arrows(bundles, n, unit):
    """An arrow for each message or bundle, from the send's posting to the receive's end."""
    drawn = []
    for bundle in bundles:
        send = bundle[0].send
        ends = median(m.send.posted for m in bundle), median(m.recv.done for m in bundle)
        words = (
            hover(bundle[0])
            if len(bundle) == 1
            else (
                f"rank {send.rank} to rank {send.peer}\n{count_text(len(bundle), 'message')}, {bytes_text(sum(m.send.nbytes for m in bundle))}"
            )
        )
        width = 1.5 if len(bundle) == 1 else 1.0 + min(2, len(bundle).bit_length() // 3)
        drawn.append(
            Arrow(
                ends[0] / unit,
                send.rank,
                ends[1] / unit,
                send.peer,
                arrow_color(send.rank, n),
                words,
                width,
            )
        )
    return drawn


def stubs(lost, n, unit, seconds):
    """A broken arrow towards the rank that never took the message."""
    return [
        Arrow(
            m.send.posted / unit,
            m.send.rank,
            (m.send.posted + 0.03 * seconds) / unit,
            m.send.rank + (0.42 if m.send.peer > m.send.rank else -0.42),
            ALARM,
            hover(m),
            broken=True,
        )
        for m in lost[:MOST]
    ]


def bundled(messages, start, end):
    """(bundles, sentence): messages of a pair in one slice of the time together; the largest of them if too many."""
    lost = [[m] for m in messages if is_lost(m)]
    pairs = len({(m.send.rank, m.send.peer) for m in messages})
    slices = max(1, MOST // pairs)
    groups = defaultdict(list)
    for m in messages:
        if not is_lost(m):
            at = int((m.send.posted - start) / (end - start) * slices)
            groups[m.send.rank, m.send.peer, min(max(at, 0), slices - 1)].append(m)
    largest = sorted(groups.values(), key=lambda group: -sum(m.send.nbytes for m in group))
    largest = largest if len(largest) <= MOST else largest[:HEAVIEST]
    kept = sorted(largest, key=lambda group: group[0].send.posted)
    if len(largest) < len(groups):
        return (
            kept + lost,
            f"{len(messages):,} messages, drawn as the {HEAVIEST} bundles of most bytes, of {len(groups):,}",
        )
    return kept + lost, f"{len(messages):,} messages, drawn as {len(groups):,} bundles"


def caption(messages, said, bins, seconds, waits):
    """What the picture shows, and what was left out of it."""
    words = [
        f"{said or count_text(len(messages), 'message')}: each arrow runs from the posting of the send to the end of the receive."
    ]
    words = words if messages else ["No message was sent."]
    if said:
        words.append(
            "A thicker arrow stands for more messages; lamport(since=, until=) shows a part in full."
        )
    if any(waits.values()):
        words.append("Hatched: the rank waits.")
    if bins:
        words.append(
            f"Shown for whole slices of {seconds_text(seconds / bins)} of which half or more is waiting."
        )
    if any(is_lost(m) for m in messages):
        words.append("A broken arrow with a cross was never received.")
    return " ".join(words)


def table(messages):
    """One row a message."""
    return Table(
        COLUMNS,
        [
            (
                s.rank,
                s.peer,
                s.number,
                s.comm,
                s.shape,
                s.dtype,
                s.nbytes,
                s.posted,
                r.done if r else None,
                s.span,
                s.line,
                "unfinished" if is_lost(Message(s, r)) else s.fate,
            )
            for s, r in messages
        ],
    )
