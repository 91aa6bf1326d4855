"""What did each rank do, and for how long?

    rank 0  [ step                       ]      frames: spans, nested
            ##########////####//////######      filled: computing, hatched: waiting
                 ========    ========           thin: a message is under way

A rank with background threads has one lane a thread, so overlap can be seen: a thin line beside a
filled stretch. Left out: which message went where; see lamport.
"""

import math
from collections import Counter
from dataclasses import dataclass

from minidl.viz.drawing.palette import rank_color, rank_label
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Path, Scene
from minidl.viz.drawing.units import counts_text, percent, seconds_text
from minidl.viz.pictures.rows import Row, Timescale, named_every
from minidl.viz.reading.findings import NO_WAIT, left_out, waiting_finding
from minidl.viz.reading.intervals import (
    done_by,
    extent,
    legible,
    main_threads,
    stretches,
    threads_of,
    total,
    without,
)

MOST = 700  # stretches of a kind
SPANS = 400  # frames
FEW = 16  # lanes that still have room for spans
ACTIVITIES = ("computing", "waiting", "under way")
COLUMNS = (
    "rank",
    "thread",
    "computing_seconds",
    "waiting_seconds",
    "under_way_seconds",
    "waiting_share",
    "messages_sent",
)


def timeline(trace):
    """The picture of each rank's computing, waiting and messages under way, inside its spans."""
    start, end = extent(trace)
    scale = Timescale(start, end)
    spans = [event for event in trace if event.kind == "span"]
    layout = _lay_out(trace, spans)
    # The title and the table use all stretches; what is drawn may be made coarse.
    lanes = {activity: stretches(trace, activity, end) for activity in ACTIVITIES}
    title = waiting_finding(trace)
    if title == NO_WAIT:
        title = _hidden_finding(trace, lanes) or title
    scene = Scene(
        title,
        "",
        rows=layout.height,
        x=scale.axis(),
        y=Axis("" if layout.roomy else "rank", layout.height, 0, layout.labels),
    )
    frames = []
    if layout.roomy:
        frames = _longest(spans)
    # Spans lie below what happens inside them.
    scene.add("span", _span_frames(frames, layout, scale), "outline", legend=True)
    coarse_bins = []
    for activity in ACTIVITIES:
        drawn, bins = legible(lanes[activity], start, end, MOST)
        if bins:
            coarse_bins.append(bins)
        _add_activity(scene, activity, drawn, layout, scale)
    # The caption comes last: only now is it known what had to be joined or left out.
    words = _caption(spans, frames)
    if coarse_bins:
        slice_text = seconds_text((end - start) / min(coarse_bins))
        words += (
            f" Events are joined: a slice of about {slice_text} "
            "shows what fills half of it or more."
        )
    scene.caption = words + left_out(trace)
    summary = counts_text(rank=trace.world_size, event=len(trace))
    return Picture("timeline", summary, scene, _seconds_table(trace, lanes, end - start))


def _add_activity(scene, activity, lanes, layout, scale):
    """Add what the threads do: boxes, or for a message under way a thin line just below them."""
    thick = layout.thick
    if activity != "under way":
        style = "solid" if activity == "computing" else "hatched"
        boxes = scale.boxes(lanes, layout.rows, activity, thick)
        scene.add(activity, boxes, style, legend=True)
        return
    lines = []
    for box in scale.boxes(lanes, layout.rows, "", thick / 5, 0.7 * thick):
        xs = (box.x0, box.x1)
        ys = (box.y, box.y)
        lines.append(Path(xs, ys, box.color, box.height))
    scene.add("message under way", lines, legend=True)


def _caption(spans, frames):
    """How to read it, and which spans are drawn."""
    words = (
        "Filled: the rank computes. Hatched: it waits for a message. "
        "Thin line: a message is under way."
    )
    if frames:
        words += " Frames: spans."
    if spans and not frames:
        words += f" Spans are drawn up to {FEW} lanes."
    elif len(frames) < len(spans):
        words += f" The {len(frames):,} longest of {len(spans):,} spans are drawn."
    return words


def _hidden_finding(trace, lanes):
    """How much of the background messages' time is hidden; "" if nothing is."""
    main = main_threads(trace)
    seconds = 0.0
    uncovered = 0.0
    for (rank, thread), under_way in lanes["under way"].items():
        if thread != main[rank]:
            computing = lanes["computing"].get((rank, main[rank]), [])
            seconds += total(under_way)
            uncovered += total(without(under_way, computing))
    if uncovered == seconds:
        return ""
    share = percent(seconds - uncovered, seconds)
    return f"{share} of the messages' time is hidden behind computing"


@dataclass
class _Layout:
    """One row a thread, from top to bottom, in pixels; its spans stand above the row's middle.

    rows    {(rank, thread): Row}
    labels  (y, label) of the rows that are named, for an axis
    levels  {(rank, thread): how deep its spans are nested}
    height  of all rows
    thick   height of a box
    roomy   whether the lanes are so few that spans and their names fit
    """

    rows: dict
    labels: list
    levels: Counter
    height: float
    thick: int
    roomy: bool


def _lay_out(trace, spans):
    """The _Layout of all threads with events; a rank without events has an empty row."""
    n = trace.world_size
    main = main_threads(trace)
    lanes = {(rank, main.get(rank, 0)) for rank in range(n)}.union(threads_of(trace))
    roomy = len(lanes) <= FEW
    # The deeper the spans of a lane are nested, the more room they need above it.
    levels = Counter()
    for event in spans:
        lane = event.rank, event.thread
        levels[lane] = max(levels[lane], _depth(event) + 1)
    # pixels of a lane, of a box in it, and from the lane's top to the middle of the box
    height = max(4, min(11, 720 / len(lanes)))
    thick = 7
    half = 4
    if roomy:
        height = 34
        thick = 16
        half = 9
    rows = {}
    labels = []
    y = 4.0
    for rank, thread in sorted(lanes):
        background = "" if thread == main.get(rank, thread) else f", thread {thread}"
        if roomy:  # spans stand above, 19 pixels each
            y += 19 * levels[rank, thread]
        middle = y + half
        rows[rank, thread] = Row(middle, rank_color(rank, n), f"rank {rank}{background}")
        labels.append((middle, rank_label(rank, n) + background))
        y += height
    every = named_every(len(lanes))
    return _Layout(rows, labels[::every], levels, y, thick, roomy)


def _depth(event):
    """How many spans a span lies in."""
    return event.span.count("/")


def _longest(spans):
    """The spans that are long enough to be seen; those that never ended are the longest."""
    spans = sorted(spans, key=lambda event: event.posted - done_by(event, math.inf))
    return spans[:SPANS]


def _span_frames(spans, layout, scale):
    """A frame for each span, the outermost on top, with its name inside."""
    frames = []
    # An outer span begins first, so its frame lies below the inner ones.
    for event in sorted(spans, key=lambda event: (event.rank, event.posted)):
        lane = event.rank, event.thread
        row = layout.rows[lane]
        done = done_by(event, scale.end)
        above = layout.levels[lane] - 1 - _depth(event)
        frame = Box(
            scale.at(event.posted),
            scale.at(done),
            y=row.y - 18 - 19 * above,
            height=17,
            color=row.color,
            hover=f"{event.span}, {seconds_text(done - event.posted)}\n{event.line}",
            label=event.span.rpartition("/")[2],
        )
        frames.append(frame)
    return frames


def _seconds_table(trace, lanes, seconds):
    """One row a thread: for how long it did what."""
    # A message belongs to the thread that sent it.
    sent = Counter((event.rank, event.thread) for event in trace if event.kind == "send")
    rows = []
    for lane in threads_of(trace):
        spent = [total(lanes[activity].get(lane, ())) for activity in ACTIVITIES]
        _, waiting, _ = spent
        rows.append((*lane, *spent, waiting / seconds, sent[lane]))
    return Table(COLUMNS, rows)
