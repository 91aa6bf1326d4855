"""Where did the time go: into computing, or into messages?

    rank 0  ##########|###=====////////      ## computes    == a message is under way
    rank 1  ######====|//////                // waits for a rank that has not posted its side
                      |  half of the time: where ## ends before it, the rank is communication-bound

A wait is split at the moment when both sides have posted: before it the other rank is late, after it
the link is slow. Main threads only. Left out: what a computation beside a message hides.
"""

from minidl.viz.drawing.palette import INK, rank_color
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Path, Scene
from minidl.viz.drawing.units import axis_seconds, count_text, percent, plain, seconds_text
from minidl.viz.pictures.lamport import rank_axis, row_pixels
from minidl.viz.reading.findings import left_out
from minidl.viz.reading.intervals import main_threads, total, union

COLUMNS = (
    "rank",
    "computing_seconds",
    "under_way_seconds",
    "waiting_seconds",
    "messages_sent",
    "nbytes_sent",
)


def cost(trace):
    """The picture of computing against communication on every rank; its table holds the seconds."""
    rows = [
        (rank, *parts, messages, nbytes)
        for rank, (parts, messages, nbytes) in enumerate(
            zip(parts_of(trace), trace.sent("messages"), trace.sent("nbytes"))
        )
    ]
    n, longest = trace.world_size, max((sum(row[1:4]) for row in rows), default=0.0) or 1e-6
    unit, name = axis_seconds(longest)
    scene = Scene(
        finding(rows),
        caption(rows) + left_out(trace),
        rows=row_pixels(n) * n,
        x=Axis(f"time ({name})", 0, 1.02 * longest / unit),
        y=rank_axis(n),
    )
    for at, (what, style, height) in enumerate(
        (
            ("computing", "solid", 0.5),
            ("message under way", "outline", 0.5),
            ("waiting for another rank", "hatched", 0.5),
        ),
        start=1,
    ):
        scene.add(
            what,
            [
                Box(
                    sum(row[1:at]) / unit,
                    sum(row[1 : at + 1]) / unit,
                    row[0],
                    height,
                    rank_color(row[0], n),
                    f"rank {row[0]}, {what}: {seconds_text(row[at])}",
                )
                for row in rows
                if row[at] > 0
            ],
            style,
            legend=True,
        )
    scene.add(
        "half of the time",
        [
            Path((sum(row[1:4]) / 2 / unit,) * 2, (row[0] - 0.4, row[0] + 0.4), INK, 2)
            for row in rows
            if sum(row[1:4])
        ],
        "dashed",
        legend=True,
    )
    return Picture(
        "cost",
        f"{count_text(n, 'rank')}, {count_text(sum(row[4] for row in rows), 'message')}",
        scene,
        Table(COLUMNS, rows),
    )


def parts_of(trace):
    """[(computing, under way, waiting)] in seconds, one entry a rank, from its first event to the end of its last."""
    threads, both = main_threads(trace), both_posted(trace)
    first, last = [None] * trace.world_size, [0.0] * trace.world_size
    link, wait = [[] for _ in first], [[] for _ in first]
    for e in trace:
        if e.thread != threads[e.rank]:
            continue
        first[e.rank] = e.posted if first[e.rank] is None else min(first[e.rank], e.posted)
        last[e.rank] = max(last[e.rank], e.done or e.waited or e.posted)
        if e.kind not in ("compute", "span") and e.waited is not None and e.done is not None:
            ready = min(max(e.waited, both.get(meeting(e), e.waited)), e.done)
            wait[e.rank].append((e.waited, e.done))
            link[e.rank].append((ready, e.done))
    return [
        parts(0.0 if begin is None else end - begin, total(union(waits)), total(union(links)))
        for begin, end, waits, links in zip(first, last, wait, link)
    ]


def parts(whole, communicating, under_way):
    """(computing, under way, waiting) of one rank; a send and a receive at the same time count once."""
    return max(0.0, whole - communicating), under_way, communicating - under_way


def meeting(event):
    """What a send shares with its receive, and a collective with the other ranks' calls of it."""
    if event.kind in ("send", "recv"):
        pair = (event.rank, event.peer) if event.kind == "send" else (event.peer, event.rank)
        return ("message", event.comm, *pair, event.number)
    return (event.kind, event.comm, event.number)


def both_posted(trace):
    """{meeting: when the last of its sides was posted}."""
    when = {}
    for event in trace:
        if event.kind not in ("compute", "span"):
            when[meeting(event)] = max(event.posted, when.get(meeting(event), event.posted))
    return when


def totals(rows):
    """(computing, communication) in seconds, summed over ranks."""
    return sum(row[1] for row in rows), sum(row[2] + row[3] for row in rows)


def finding(rows):
    """Which of the two takes more of the ranks' time."""
    computing, talking = totals(rows)
    if not talking:
        return "No rank spent time on messages"
    bound = "Communication-bound" if talking > computing else "Compute-bound"
    return f"{bound}: the ranks spend {percent(talking, computing + talking)} of their time on messages"


def caption(rows):
    """What the bars are, and how far away the turning point is."""
    computing, talking = totals(rows)
    words = [
        "Filled: the rank computes, or does anything else than wait. Framed: both sides have posted, the message is under way. "
        "Hatched: the other rank is late. Dashed: half of the rank's time."
    ]
    if talking > computing > 0:
        words.append(
            f"With {plain(talking / computing)} times as much computing between the same messages, the two would be equal."
        )
    elif computing >= talking > 0:
        words.append(
            f"If the same computing took {plain(computing / talking)} times less time, the two would be equal."
        )
    return " ".join(words)
