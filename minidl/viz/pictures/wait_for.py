"""Who waits for whom, when nothing moves any more?

        (0) ------> (1)      an arrow runs from the waiting rank to the rank that it waits for;
         ^           |       a circle of arrows is a deadlock
         |           v
        (3) <------ (2)

Drawn from `trace.waits`, the graph as it was when the run was stopped. Left out: how the ranks came
there; see lamport.
"""

import math
import textwrap

from minidl.viz.drawing.palette import FAINT, INK, rank_color
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Arrow, Axis, Dot, Label, Scene
from minidl.viz.drawing.units import count_text
from minidl.viz.reading.findings import cycle, deadlock

WIDE = 728  # pixels; the axes of this picture count pixels from the middle
NODE = 9  # radius of a rank's dot
WORDY = 8  # waiting ranks that have room for words beside them


def wait_for(trace):
    """The picture of the ranks that waited for each other when the run stopped."""
    n, waits = trace.world_size, trace.waits
    high = 130 if n <= 2 else 270 if n <= 4 else 400 if n <= 16 else 520
    where = places(n, 110 if n == 2 else high / 2 - (52 if n <= 16 else 34))
    ring = cycle(waits)
    scene = Scene(
        deadlock(trace),
        caption(waits, ring),
        rows=high,
        square=True,
        x=Axis("", -WIDE / 2, WIDE / 2, shown=False),
        y=Axis("", high / 2, -high / 2, shown=False),
    )
    waiting = {wait.rank for wait in waits}
    on_ring = set(zip(ring, ring[1:] + ring[:1]))
    pairs = {(wait.rank, wait.peer) for wait in waits}
    scene.add(
        "waits",
        [
            edge(wait, where, n, (wait.peer, wait.rank) in pairs, (wait.rank, wait.peer) in on_ring)
            for wait in waits
        ],
    )
    scene.add(
        "ranks",
        [
            Dot(
                *where[rank],
                rank_color(rank, n) if rank in waiting else FAINT,
                2 * NODE if n <= 16 else 9,
            )
            for rank in range(n)
        ],
    )
    scene.add("words", [words(rank, where, waits, n) for rank in range(n)])
    columns = ("rank", "peer", "awaits", "comm", "number", "line", "text")
    return Picture(
        "wait_for",
        f"{count_text(n, 'rank')}, {count_text(len(waits), 'wait')}",
        scene,
        Table(columns, waits),
    )


def places(n, radius):
    """(x, y) of each rank on a circle, clockwise, turned so that no rank of an even number is at the very top."""
    turn = -math.pi / 2 + (math.pi / n if n % 2 == 0 else 0)
    turn = math.pi if n == 2 else turn
    return [
        (
            radius * math.cos(turn + 2 * math.pi * rank / n),
            radius * math.sin(turn + 2 * math.pi * rank / n),
        )
        for rank in range(n)
    ]


def edge(wait, where, n, both_ways, on_ring):
    """An arrow between two dots; one of two opposite arrows stands a little aside."""
    (x0, y0), (x1, y1) = where[wait.rank], where[wait.peer]
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    gap, aside = (NODE if n <= 16 else 4) + 4, 6 if both_ways else 0
    hover = f"rank {wait.rank} {wait.text or 'waits ' + awaited(wait)}\n{wait.line}"
    return Arrow(
        x0 + gap * dx - aside * dy,
        y0 + gap * dy + aside * dx,
        x1 - gap * dx - aside * dy,
        y1 - gap * dy + aside * dx,
        rank_color(wait.rank, n),
        hover,
        (2.5 if on_ring else 1.5) if n <= 16 else 1,
    )


def awaited(wait):
    """What a rank waits for, in words."""
    doing = {"send": "to send", "recv": "to receive"}.get(wait.awaits, f"to enter {wait.awaits}")
    return f"for rank {wait.peer} {doing} (#{wait.number})"


def words(rank, where, waits, n):
    """The rank's name, and beside it what it waits for and on which line, while there is room."""
    x, y = where[rank]
    mine = [wait for wait in waits if wait.rank == rank]
    lines = [f"rank {rank}" if n <= 16 else str(rank)]
    if mine and len({wait.rank for wait in waits}) <= WORDY and n <= 16:
        others = f" (and {len(mine) - 1} more)" if len(mine) > 1 else ""
        lines += [
            *textwrap.wrap((mine[0].text or f"waits {awaited(mine[0])}") + others, 36)[:3],
            mine[0].line,
        ]
    away = (NODE if n <= 16 else 4) + 6
    side = "start" if x >= -1 else "end"
    lift = (22 if len(lines) > 1 else 12 if n > 8 else 0) * y / max(1, math.hypot(x, y))
    return Label(
        x + away if side == "start" else x - away,
        y + lift,
        "\n".join(filter(None, lines)),
        INK,
        side,
        11 if n <= 32 else 9,
    )


def caption(waits, ring):
    """How to read the arrows, and what can be done."""
    if not waits:
        return "When the run stopped, nobody was waiting: every message was received and every wait came to its end."
    reading = "An arrow runs from the rank that waits to the rank that it waits for."
    remedy = (
        " The thick arrows close a circle: none of these ranks can go on before the others."
        if ring
        else (
            " There is no circle: the rank at the end has finished or failed without the awaited call."
        )
    )
    return reading + remedy
