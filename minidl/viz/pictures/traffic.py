"""How much did each rank send to each other rank?

            to 0   1   2   3
    from 0     .  48   .   .        a ring: only right neighbours
         1     .   .  48   .
         2     .   .   .  48
         3    48   .   .   .

Counted at the sender, for every message that was posted. Left out: when it was sent, and what
native collectives send inside, which no event records.
"""

from collections import Counter
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from minidl.viz.drawing.palette import on_shade
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Cells, Label, Scene
from minidl.viz.drawing.units import (
    BYTES,
    Unit,
    bytes_text,
    count_text,
    counts_text,
    number_text,
    percent,
    unit_of,
)
from minidl.viz.pictures.rows import named_every
from minidl.viz.reading.findings import left_out, neighbour, no_message_finding, pattern

NUMBERS = 16  # ranks up to which each cell has its number


class Matrix(NamedTuple):
    """What each rank sent to each other rank, and how it is written."""

    counts: dict  # (source, to) -> messages or bytes
    noun: str  # "bytes" or "messages"
    unit: Unit  # of the numbers in the cells
    text: object  # a function: 2048 -> "2 KiB"
    total: int  # the sum of all cells


def traffic(trace, what="nbytes"):
    """The picture of bytes (or "messages") from each rank, row, to each rank, column."""
    if what not in ("nbytes", "messages"):
        raise ValueError(f'traffic shows "nbytes" or "messages", not {what!r}')
    n = trace.world_size
    messages, nbytes = _count(trace)
    # One unit for all cells, so that their numbers can be compared.
    if what == "nbytes":
        unit = unit_of(max(nbytes.values(), default=0), BYTES)
        matrix = Matrix(nbytes, "bytes", unit, bytes_text, nbytes.total())
        hover_unit = "B"
    else:
        unit = Unit(1, "messages")
        text = partial(count_text, noun="message")
        matrix = Matrix(messages, "messages", unit, text, messages.total())
        hover_unit = "messages"

    ticks = [(rank, str(rank)) for rank in range(0, n, named_every(n))]
    scene = Scene(
        _finding(trace, matrix),
        _caption(trace, matrix) + left_out(trace),
        rows=_cell_pixels(n) * n,
        square=True,
        x=Axis("to rank", -0.5, n - 0.5, ticks),
        y=Axis("from rank", n - 0.5, -0.5, ticks),
    )
    cells = [[None] * n for _ in range(n)]  # None is left blank; a message of 0 bytes is not
    for (source, to), value in matrix.counts.items():
        cells[source][to] = value
    hover = "from rank %{y} to rank %{x}: %{z:,} " + hover_unit
    scene.add("sent", [Cells(cells, hover, opaque=n <= NUMBERS)])
    if n <= NUMBERS:
        scene.add("numbers", _numbers(matrix, n))

    rows = [(*pair, messages[pair], nbytes[pair]) for pair in messages]
    summary = counts_text(rank=n, message=messages.total())
    return Picture("traffic", summary, scene, Table(("source", "to", "messages", "nbytes"), rows))


def _count(trace):
    """(messages, nbytes): two Counters, each (source, to) -> how much, in the order of ranks."""
    sends = [event for event in trace if event.kind == "send"]
    sends.sort(key=attrgetter("rank", "peer"))
    messages = Counter()
    nbytes = Counter()
    for send in sends:
        pair = send.rank, send.peer
        messages[pair] += 1
        nbytes[pair] += send.nbytes
    return messages, nbytes


def _cell_pixels(n):
    """How wide and tall a cell is."""
    for ranks, pixels in ((4, 52), (8, 44), (16, 36)):
        if n <= ranks:
            return pixels
    return max(4, 560 / n)


def _numbers(matrix, n):
    """The number in each cell."""
    most = max(matrix.counts.values(), default=0) or 1  # all messages may be empty
    size = 12 if n <= 8 else 10
    labels = []
    for (source, to), value in matrix.counts.items():
        text = number_text(value / matrix.unit.size)
        color = on_shade(value / most)
        labels.append(Label(to, source, text, color, "middle", size))
    return labels


def _finding(trace, matrix):
    """Which rank sends, or receives, more than its share; or that all send the same."""
    if not matrix.counts:
        return no_message_finding(trace)
    n = trace.world_size
    sent = [0] * n
    received = [0] * n
    for (source, to), value in matrix.counts.items():
        sent[source] += value
        received[to] += value
    # equal for all ranks, then much for one rank, then a shape of the graph, then the busiest
    if len(set(sent)) == len(set(received)) == 1:
        words = f"Every rank sends {matrix.text(sent[0])}"
        side = neighbour(matrix.counts, n)
        if side and n > 2:
            words += f" to its {side}"
        return words
    for totals, verb in ((sent, "sends"), (received, "receives")):
        most = max(totals)
        if most > 1.5 * matrix.total / n:
            share = percent(most, matrix.total)
            return f"Rank {totals.index(most)} {verb} {share} of all {matrix.noun}"
    most = max(sent)
    busiest = f"Rank {sent.index(most)} sends most: {matrix.text(most)}"
    return pattern(set(matrix.counts), n) or busiest


def _caption(trace, matrix):
    """What a cell holds, and the largest one."""
    shown = "numbers" if trace.world_size <= NUMBERS else "shades"
    text = f"Row: the sending rank; column: the receiving rank; {shown} in {matrix.unit.name}."
    if matrix.counts:
        source, to = max(matrix.counts, key=matrix.counts.get)
        total = matrix.text(matrix.total)
        most = matrix.text(matrix.counts[source, to])
        text += f" In all {total}; most in one cell: {most}, from rank {source} to rank {to}."
    calls = sorted(trace.collectives())
    if calls:
        text += f" Not counted: what {', '.join(calls)} sent inside."
    return text
