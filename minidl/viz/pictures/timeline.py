"""What did each rank do, and for how long?

    rank 0  [ step                       ]      frames: spans, nested
            ##########////####//////######      filled: computing, hatched: waiting
                 ========    ========           thin: a message is under way

A rank with background threads has one lane a thread, so overlap can be seen: a thin line beside a
filled stretch. Left out: which message went where; see lamport.
"""

from minidl.viz.drawing.palette import rank_color, rank_label
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Path, Scene
from minidl.viz.drawing.units import axis_seconds, count_text, percent, seconds_text
from minidl.viz.pictures.compare import without
from minidl.viz.reading.findings import left_out, waiting_finding
from minidl.viz.reading.intervals import extent, legible, main_threads, stretches, total

MOST = 700  # stretches of a kind
SPANS = 400  # frames
FEW = 16  # lanes that still have room for spans


def timeline(trace):
    """The picture of computing, waiting and messages under way on every rank, inside their spans."""
    start, end = extent(trace)
    unit, name = axis_seconds(end - start)
    doing = {what: stretches(trace, what, end) for what in ("computing", "waiting", "under way")}
    drawn = {what: legible(lanes, start, end, MOST) for what, lanes in doing.items()}
    spans = [event for event in trace if event.kind == "span"]
    lanes, height = layout(trace, spans)
    pad = 0.012 * (end - start)
    shown = longest(spans) if len(lanes) <= FEW else []
    scene = Scene(
        finding(trace, doing),
        caption(drawn, spans, shown, lanes, end - start) + left_out(trace),
        rows=height,
        x=Axis(f"time ({name})", (start - pad) / unit, (end + pad) / unit),
        y=Axis("" if len(lanes) <= FEW else "rank", height, 0, lane_ticks(trace, lanes)),
    )
    n, thick = trace.world_size, 16 if len(lanes) <= FEW else 7
    scene.add("span", span_boxes(shown, lanes, n, unit, end), "outline", legend=True)
    for what, style in (("computing", "solid"), ("waiting", "hatched")):
        scene.add(
            what,
            [
                Box(
                    a / unit,
                    b / unit,
                    lanes[who],
                    thick,
                    rank_color(who[0], n),
                    f"{what} {seconds_text(b - a)}",
                )
                for who, when in sorted(drawn[what][0].items())
                for a, b in when
            ],
            style,
            legend=True,
        )
    below = thick / 2 + thick / 5
    scene.add(
        "message under way",
        [
            Path((a / unit, b / unit), (lanes[who] + below,) * 2, rank_color(who[0], n), thick / 5)
            for who, when in sorted(drawn["under way"][0].items())
            for a, b in when
        ],
        legend=True,
    )
    return Picture(
        "timeline",
        f"{count_text(n, 'rank')}, {count_text(len(trace), 'event')}",
        scene,
        table(trace, doing, start, end),
    )


def finding(trace, doing):
    """Who waited; where nobody did, how much of the time of background messages lies beside the main thread's computing."""
    said, main = waiting_finding(trace), main_threads(trace)
    beside, uncovered = 0.0, 0.0
    for (rank, thread), when in doing["under way"].items():
        if thread != main[rank]:
            beside += total(when)
            uncovered += total(without(when, doing["computing"].get((rank, main[rank]), [])))
    if said != "No rank waited" or not beside or uncovered == beside:
        return said
    return f"{percent(beside - uncovered, beside)} of the messages' time is hidden behind computing"


def layout(trace, spans):
    """({(rank, thread): the middle of its lane}, height) in pixels; spans stand above the middle."""
    threads = {
        (rank, thread) for rank, thread in zip(trace.columns["rank"], trace.columns["thread"])
    }
    threads |= {(rank, 0) for rank in set(range(trace.world_size)) - {rank for rank, _ in threads}}
    roomy, deep = len(threads) <= FEW, {}
    for event in spans:
        who = event.rank, event.thread
        deep[who] = max(deep.get(who, 0), depth(event) + 1)
    lanes, y = {}, 4.0
    for who in sorted(threads):
        above = 19 * deep.get(who, 0) if roomy else 0
        lanes[who] = y + above + (9 if roomy else 4)
        y += above + (34 if roomy else max(4, min(11, 720 / len(threads))))
    return lanes, y


def depth(event):
    """How many spans a span lies in."""
    return event.span.count("/")


def lane_ticks(trace, lanes):
    """The name of each lane; beyond 32 lanes every other or every fourth is named."""
    main, step = (
        main_threads(trace),
        1 if len(lanes) <= 32 else 2 if len(lanes) <= 96 else len(lanes) // 32,
    )
    named = [
        (
            y,
            rank_label(rank, trace.world_size)
            + ("" if thread == main.get(rank, thread) else f", thread {thread}"),
        )
        for (rank, thread), y in sorted(lanes.items())
    ]
    return named[::step]


def longest(spans):
    """Those spans that are long enough to be seen."""
    return sorted(spans, key=lambda event: event.posted - (event.done or float("inf")))[:SPANS]


def span_boxes(spans, lanes, n, unit, end):
    """A frame for each span, the outermost on top, with its name inside."""
    boxes, deepest = [], {}
    for e in spans:
        deepest[e.rank, e.thread] = max(deepest.get((e.rank, e.thread), 0), depth(e))
    for e in sorted(spans, key=lambda e: (e.rank, e.posted)):
        done, label = end if e.done is None else e.done, e.span.rsplit("/", 1)[-1]
        y = lanes[e.rank, e.thread] - 18 - 19 * (deepest[e.rank, e.thread] - depth(e))
        words = f"{e.span}, {seconds_text(done - e.posted)}\n{e.line}"
        boxes.append(Box(e.posted / unit, done / unit, y, 17, rank_color(e.rank, n), words, label))
    return boxes


def caption(drawn, spans, shown, lanes, seconds):
    """What the marks mean, and what was left out."""
    words = [
        "Filled: the rank computes. Hatched: it waits for a message. Thin line: a message is under way."
    ]
    if shown:
        words.append("Frames: spans.")
    if spans and len(lanes) > FEW:
        words.append(f"Spans are drawn up to {FEW} lanes.")
    elif len(shown) < len(spans):
        words.append(f"The {len(shown):,} longest of {len(spans):,} spans are drawn.")
    made_coarse = [bins for _, bins in drawn.values() if bins]
    if made_coarse:
        words.append(
            f"Events are joined: a slice of about {seconds_text(seconds / min(made_coarse))} shows what fills half of it or more."
        )
    return " ".join(words)


def table(trace, doing, start, end):
    """One row a thread: how long it did what."""
    rows, sent = [], {}
    for rank, thread, kind in zip(*(trace.columns[name] for name in ("rank", "thread", "kind"))):
        sent[rank, thread] = sent.get((rank, thread), 0) + (kind == "send")
    for who in sorted(sent):
        seconds = [
            total(doing[what].get(who, ())) for what in ("computing", "waiting", "under way")
        ]
        rows.append((*who, *seconds, seconds[1] / (end - start), sent[who]))
    return Table(
        (
            "rank",
            "thread",
            "computing_seconds",
            "waiting_seconds",
            "under_way_seconds",
            "waiting_share",
            "messages_sent",
        ),
        rows,
    )
