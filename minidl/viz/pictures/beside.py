"""What did this run send, and what does a right answer send?

    yours       rank 0  --x======.------>      both from their own beginning, on one scale of time;
                rank 1  ---------`=>----      === the message to blame, drawn thick, with a cross at its foot
    a right     rank 0  --o--.---------->
    answer      rank 1  -----`->---------     recorded, without its code

Left out: waiting and computing; see lamport for one run in full.
"""

from minidl.viz.drawing.palette import ALARM, FAINT, INK, arrow_color, rank_label
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Arrow, Axis, Dot, Label, Path, Scene
from minidl.viz.drawing.units import axis_seconds, bytes_text, count_text
from minidl.viz.reading.intervals import extent

MOST = 400  # messages of a run that are drawn
HEAD = 0.9  # rows above each run, for its name


def beside(trace, reference=None, guilty=None, steps=False):
    """The picture of a run's messages above those of a reference, if there is one.

    reference: a Trace, or None; guilty: a send or receive event of `trace` that is to blame, or None;
    steps: a second of the record is a step.
    """
    sides = [("yours", trace)] + ([("a right answer", reference)] if reference is not None else [])
    longest = max(seconds_of(side) for _, side in sides) or 1.0
    unit, scale = (1.0, "steps") if steps else axis_seconds(longest)
    tops, ticks, top = [], [], 0.0
    for _, side in sides:
        tops.append(top + HEAD + 0.4)
        ticks += [
            (tops[-1] + rank, rank_label(rank, side.world_size)) for rank in range(side.world_size)
        ]
        top += HEAD + side.world_size + 0.2
    rows = top + 0.2
    scene = Scene(
        finding(sides),
        caption(sides, guilty),
        rows=max(150, 30 * rows),
        x=Axis(
            scale if steps else f"time ({scale})", -0.03 * longest / unit, 1.05 * longest / unit
        ),
        y=Axis("", rows, 0, ticks),
    )
    scene.add(
        "ranks",
        [
            Path((0, longest / unit), (at + rank,) * 2, FAINT)
            for (_, side), at in zip(sides, tops)
            for rank in range(side.world_size)
        ],
    )
    drawn = [
        (message, at, side)
        for (_, side), at in zip(sides, tops)
        for message in side.messages()[:MOST]
    ]
    blamed = [
        (message, at, side)
        for message, at, side in drawn
        if side is trace and is_it(message, guilty)
    ]
    scene.add(
        "message",
        [
            arrow(m, at, side, unit, longest)
            for m, at, side in drawn
            if m.recv is not None and (m, at, side) not in blamed
        ],
        legend=True,
    )
    scene.add(
        "never received",
        [
            arrow(m, at, side, unit, longest)
            for m, at, side in drawn
            if m.recv is None and (m, at, side) not in blamed
        ],
        legend=True,
    )
    marked = [
        arrow(m, at, side, unit, longest)._replace(color=ALARM, width=4.0) for m, at, side in blamed
    ]
    scene.add("to blame", marked, legend=True)
    scene.add("mark", [Dot(a.x0, a.y0, ALARM, 12, a.hover, "cross") for a in marked])
    scene.add(
        "words",
        [
            Label(0, at - 0.4 - HEAD / 2.6, words(name, side), INK, "start", 13)
            for (name, side), at in zip(sides, tops)
        ],
    )
    return Picture(
        "beside",
        f"{count_text(len(sides), 'run')}, {' and '.join(count_text(sum(s.sent()), 'message') for _, s in sides)}",
        scene,
        table(sides),
    )


def seconds_of(trace):
    """How long a run took, from its own beginning."""
    start, end = extent(trace)
    return end - start


def is_it(message, guilty):
    """Is this the message of that event?"""
    if guilty is None:
        return False
    event = message.send if guilty.kind == "send" else message.recv
    return event is not None and (event.rank, event.seq) == (guilty.rank, guilty.seq)


def arrow(message, at, trace, unit, longest):
    """From the posting of the send to the end of the receive; a broken stub if nobody received it."""
    send, recv = message
    start = extent(trace)[0]
    color = arrow_color(send.rank, trace.world_size)
    hover = f"rank {send.rank} to rank {send.peer}, message #{send.number}\n{send.shape} {send.dtype}, {bytes_text(send.nbytes)}\n{send.line}"
    begins = (send.posted - start) / unit
    if recv is None or recv.done is None:
        lean = 0.42 if send.peer > send.rank else -0.42
        return Arrow(
            begins,
            at + send.rank,
            begins + 0.04 * longest / unit,
            at + send.rank + lean,
            ALARM,
            hover,
            broken=True,
        )
    return Arrow(begins, at + send.rank, (recv.done - start) / unit, at + send.peer, color, hover)


def words(name, trace):
    """What stands above a run."""
    return f"{name}: {count_text(sum(trace.sent()), 'message')}, {bytes_text(sum(trace.sent('nbytes')))}"


def finding(sides):
    """What differs, in one sentence."""
    if len(sides) < 2:
        return f"This run sends {count_text(sum(sides[0][1].sent()), 'message')}"
    (_, own), (_, right) = sides
    for what, unit in (("messages", lambda n: count_text(n, "message")), ("nbytes", bytes_text)):
        a, b = sum(own.sent(what)), sum(right.sent(what))
        if a != b:
            return f"Yours sends {unit(a)}, a right answer {unit(b)}"
    return "Yours sends as much as a right answer, but not the same"


def caption(sides, guilty):
    """What the picture shows."""
    said = "Each arrow is a message, from the posting of the send to the end of the receive."
    said += (
        " Above, your run; below, that of a right answer on the same sizes."
        if len(sides) > 1
        else ""
    )
    return said + (
        " The thick arrow with a cross at its foot is the message to blame."
        if guilty is not None
        else ""
    )


def table(sides):
    """One row a message."""
    rows = [
        (
            name,
            m.send.rank,
            m.send.peer,
            m.send.nbytes,
            m.send.posted,
            m.recv.done if m.recv else None,
        )
        for name, side in sides
        for m in side.messages()
    ]
    return Table(("run", "source", "to", "nbytes", "posted", "done"), rows)
