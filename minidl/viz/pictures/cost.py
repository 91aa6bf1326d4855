"""Where did the time go: into computing, or into messages?

    rank 0  ##########|###=====////////      ## computes    == a message is under way
    rank 1  ######====|//////                // waits for a rank that has not posted its side
                      |  half of the time: where ## ends before it, the rank is communication-bound

A wait is split at the moment when both sides have posted: before it the other rank is late, after
it the link is slow. Main threads only. Left out: what a computation beside a message hides.
"""

from typing import NamedTuple

from minidl.viz.drawing.palette import INK
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Path
from minidl.viz.drawing.units import counts_text, number_text, percent
from minidl.viz.pictures.rows import Timescale, rank_rows, rank_scene
from minidl.viz.reading.findings import left_out
from minidl.viz.reading.intervals import late_and_under_way, main_events, total

COLUMNS = (
    "rank",
    "computing_seconds",
    "under_way_seconds",
    "waiting_seconds",
    "messages_sent",
    "nbytes_sent",
)
LAYERS = (  # name, style: in the order of CostParts
    ("computing", "solid"),
    ("message under way", "outline"),
    ("waiting for another rank", "hatched"),
)


class CostParts(NamedTuple):
    """What the time of a rank was spent on, in seconds."""

    computing: float  # or anything else than a wait
    under_way: float
    waiting: float


def cost(trace):
    """The picture of computing against communication on every rank; its table holds the seconds."""
    n = trace.world_size
    rows = rank_rows(n)
    parts = parts_of(trace)
    scale = Timescale(0.0, max(map(sum, parts)) or 1e-6)
    computing = sum(part.computing for part in parts)
    talking = sum(part.under_way + part.waiting for part in parts)
    axis = scale.axis(before=0.0, after=0.02)
    scene = rank_scene(_bound_finding(computing, talking), rows, axis)
    scene.caption = _balance_caption(computing, talking) + left_out(trace)
    # The parts of a rank stand behind each other: each bar begins where the one before ends.
    ends = [0.0] * n
    for i, (name, style) in enumerate(LAYERS):
        bars = {}
        for rank, part in enumerate(parts):
            start = ends[rank]
            ends[rank] += part[i]
            if part[i] > 0:
                bars[rank] = [(start, ends[rank])]
        scene.add(name, scale.boxes(bars, rows, name, 0.5), style, legend=True)
    # Where filled ends before this mark, the rank is communication-bound.
    halves = []
    for row, end in zip(rows, ends):
        if end:
            x = scale.at(end / 2)
            ys = (row.y - 0.4, row.y + 0.4)
            halves.append(Path((x, x), ys, INK, 2))
    scene.add("half of the time", halves, "dashed", legend=True)
    sent = trace.sent("messages")
    table = Table(COLUMNS, zip(range(n), *zip(*parts), sent, trace.sent("nbytes")))
    return Picture("cost", counts_text(rank=n, message=sum(sent)), scene, table)


def parts_of(trace):
    """The CostParts of each rank: a list, from its first event to the end of its last.

    A send and a receive at the same time count once.
    """
    # A rank that starts late did not compute before, so each has its own beginning.
    begins = {}
    ends = {}
    for event in main_events(trace):
        last = event.done or event.waited or event.posted
        begins[event.rank] = min(event.posted, begins.get(event.rank, event.posted))
        ends[event.rank] = max(last, ends.get(event.rank, 0.0))
    late, under_way = late_and_under_way(trace)
    parts = []
    for rank in range(trace.world_size):
        seconds = ends.get(rank, 0.0) - begins.get(rank, 0.0)
        moving = total(under_way.get(rank, ()))
        waiting = total(late.get(rank, ()))
        # What is neither a message nor a wait counts as computing, metered or not.
        rest = max(0.0, seconds - moving - waiting)
        parts.append(CostParts(rest, moving, waiting))
    return parts


def _bound_finding(computing, talking):
    """Which of the two takes more of the ranks' time."""
    if not talking:
        return "No rank spent time on messages"
    bound = "Communication-bound" if talking > computing else "Compute-bound"
    share = percent(talking, computing + talking)
    return f"{bound}: the ranks spend {share} of their time on messages"


def _balance_caption(computing, talking):
    """What the bars are, and how far away the point is where the two would be equal."""
    words = (
        "Filled: the rank computes, or does anything else than wait. "
        "Framed: both sides have posted, the message is under way. "
        "Hatched: the other rank is late. Dashed: half of the rank's time."
    )
    if talking > computing > 0:
        times = number_text(talking / computing)
        words += (
            f" With {times} times as much computing between the same messages, "
            "the two would be equal."
        )
    elif computing >= talking > 0:
        times = number_text(computing / talking)
        words += f" If the same computing took {times} times less time, the two would be equal."
    return words
