"""How much did each rank send to each other rank?

            to 0   1   2   3
    from 0     .  48   .   .        a ring: only right neighbours
         1     .   .  48   .
         2     .   .   .  48
         3    48   .   .   .

Counted at the sender, for every message that was posted. Left out: when it went, and what native
collectives send inside, which no event tells.
"""

from minidl.viz.drawing.palette import on_shade
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Cells, Label, Scene
from minidl.viz.drawing.units import BYTES, bytes_text, count_text, percent, plain, scaled
from minidl.viz.reading.findings import left_out, pattern

NUMBERS = 16  # ranks up to which each cell has its number


def traffic(trace, what="nbytes"):
    """The picture of bytes (or "messages") from each rank, row, to each rank, column."""
    if what not in ("nbytes", "messages"):
        raise ValueError(f'traffic shows "nbytes" or "messages", not {what!r}')
    n = trace.world_size
    nbytes, messages = matrix(trace, "nbytes"), matrix(trace, "messages")
    counts = nbytes if what == "nbytes" else messages
    most = max(map(max, counts))
    unit = "messages" if what == "messages" else scaled(most, BYTES)[1]
    scale = next((size for size, name in BYTES if name == unit), 1)
    text = bytes_text if what == "nbytes" else lambda count: count_text(count, "message")
    cell = 52 if n <= 4 else 44 if n <= 8 else 36 if n <= 16 else max(4, 560 / n)
    ticks = [(rank, str(rank)) for rank in range(0, n, 1 if n <= 32 else 2 if n <= 64 else n // 32)]
    said = (
        "No message was recorded"
        if left_out(trace) and not any(map(any, messages))
        else finding(counts, messages, n, text)
    )
    scene = Scene(
        said,
        caption(trace, counts, messages, unit, text) + left_out(trace),
        rows=cell * n,
        square=True,
        x=Axis("to rank", -0.5, n - 0.5, ticks),
        y=Axis("from rank", n - 0.5, -0.5, ticks),
    )
    blanked = [
        [value if sent else None for value, sent in zip(*rows)] for rows in zip(counts, messages)
    ]
    hover = "from rank %{y} to rank %{x}: %{z:,} " + ("B" if what == "nbytes" else "messages")
    scene.add("sent", [Cells(blanked, hover, n <= NUMBERS)])
    if n <= NUMBERS:
        scene.add(
            "numbers",
            [
                Label(
                    to,
                    source,
                    plain(value / scale),
                    on_shade(value / (most or 1)),
                    "middle",
                    12 if n <= 8 else 10,
                )
                for source, row in enumerate(blanked)
                for to, value in enumerate(row)
                if value is not None
            ],
        )
    rows = [
        (source, to, messages[source][to], nbytes[source][to])
        for source in range(n)
        for to in range(n)
        if messages[source][to]
    ]
    summary = f"{count_text(n, 'rank')}, {count_text(sum(row[2] for row in rows), 'message')}"
    return Picture("traffic", summary, scene, Table(("source", "to", "messages", "nbytes"), rows))


def matrix(trace, what):
    """counts[source][to] of messages or bytes."""
    counts = [[0] * trace.world_size for _ in range(trace.world_size)]
    for rank, kind, peer, nbytes in zip(
        *(trace.columns[name] for name in ("rank", "kind", "peer", "nbytes"))
    ):
        if kind == "send":
            counts[rank][peer] += nbytes if what == "nbytes" else 1
    return counts


def finding(counts, messages, n, text):
    """Who sends, or receives, more than its share; or that all send alike."""
    sent, received, total = (
        [sum(row) for row in counts],
        [sum(column) for column in zip(*counts)],
        sum(map(sum, counts)),
    )
    pairs = {
        (source, to) for source, row in enumerate(messages) for to, count in enumerate(row) if count
    }
    if not pairs:
        return "No rank sent a message"
    if len(set(sent)) == 1 and len(set(received)) == 1:
        beside = {1: " to its right neighbour", n - 1: " to its left neighbour"} if n > 2 else {}
        return f"Every rank sends {text(sent[0])}{beside.get(the_step(pairs, n), '')}"
    for totals, does in ((sent, "sends"), (received, "receives")):
        if max(totals) > 1.5 * total / n:
            all_of = "all messages" if counts is messages else "all bytes"
            return (
                f"Rank {totals.index(max(totals))} {does} {percent(max(totals), total)} of {all_of}"
            )
    return pattern(pairs, n) or f"Rank {sent.index(max(sent))} sends most: {text(max(sent))}"


def the_step(pairs, n):
    """How far round the ring all messages go, or None if they differ."""
    steps = {(to - source) % n for source, to in pairs}
    return steps.pop() if len(steps) == 1 else None


def caption(trace, counts, messages, unit, text):
    """What a cell holds, and the largest one."""
    n = trace.world_size
    words = [
        f"Row: the sending rank; column: the receiving rank; {'numbers' if n <= NUMBERS else 'shades'} in {unit}."
    ]
    if any(map(any, messages)):
        value, source, to = max((counts[s][d], -s, -d) for s in range(n) for d in range(n))
        words.append(
            f"In all {text(sum(map(sum, counts)))}; most in one cell: {text(value)}, from rank {-source} to rank {-to}."
        )
    if trace.collectives():
        words.append(f"Not counted: what {', '.join(sorted(trace.collectives()))} sent inside.")
    return " ".join(words)
