"""How much did each rank send to each other rank?

            to 0   1   2   3
    from 0     .  48   .   .        a ring: only right neighbours
         1     .   .  48   .
         2     .   .   .  48
         3    48   .   .   .

Counted at the sender, for every message that was posted. Left out: when it was sent, and what
native collectives send inside, which no event records.
"""

from functools import partial
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
    """What each rank (row) sent to each rank (column), and how it is written."""

    counts: list
    noun: str  # "bytes" or "messages"
    unit: Unit  # of the numbers in the cells
    text: object  # a function: 2048 -> "2 KiB"
    most: int  # the largest cell
    total: int  # the sum of all cells


def traffic(trace, what="nbytes"):
    """The picture of bytes (or "messages") from each rank, row, to each rank, column."""
    if what not in ("nbytes", "messages"):
        raise ValueError(f'traffic shows "nbytes" or "messages", not {what!r}')
    n = trace.world_size
    messages, nbytes = _count(trace)
    counts = nbytes if what == "nbytes" else messages
    most = max(map(max, counts))
    if what == "nbytes":
        words = ("bytes", unit_of(most, BYTES), bytes_text)
        hover_unit = "B"
    else:
        words = ("messages", Unit(1, "messages"), partial(count_text, noun="message"))
        hover_unit = "messages"
    matrix = Matrix(counts, *words, most, sum(map(sum, counts)))

    pairs = [(source, to) for source in range(n) for to in range(n) if messages[source][to]]
    ticks = [(rank, str(rank)) for rank in range(0, n, named_every(n))]
    scene = Scene(
        _finding(trace, matrix, pairs),
        _caption(trace, matrix, pairs) + left_out(trace),
        rows=_cell_pixels(n) * n,
        square=True,
        x=Axis("to rank", -0.5, n - 0.5, ticks),
        y=Axis("from rank", n - 0.5, -0.5, ticks),
    )
    cells = [[None] * n for _ in range(n)]  # None is left blank; a message of 0 bytes is not
    for source, to in pairs:
        cells[source][to] = counts[source][to]
    hover = "from rank %{y} to rank %{x}: %{z:,} " + hover_unit
    scene.add("sent", [Cells(cells, hover, opaque=n <= NUMBERS)])
    if n <= NUMBERS:
        scene.add("numbers", [_number(matrix, source, to) for source, to in pairs])

    rows = [(source, to, messages[source][to], nbytes[source][to]) for source, to in pairs]
    summary = counts_text(rank=n, message=sum(map(sum, messages)))
    return Picture("traffic", summary, scene, Table(("source", "to", "messages", "nbytes"), rows))


def _count(trace):
    """(messages, nbytes), each as counts[source][to]."""
    n = trace.world_size
    messages = [[0] * n for _ in range(n)]
    nbytes = [[0] * n for _ in range(n)]
    for event in trace:
        if event.kind == "send":
            messages[event.rank][event.peer] += 1
            nbytes[event.rank][event.peer] += event.nbytes
    return messages, nbytes


def _cell_pixels(n):
    """How wide and tall a cell is."""
    for ranks, pixels in ((4, 52), (8, 44), (16, 36)):
        if n <= ranks:
            return pixels
    return max(4, 560 / n)


def _number(matrix, source, to):
    """The number in a cell."""
    value = matrix.counts[source][to]
    text = number_text(value / matrix.unit.size)
    color = on_shade(value / (matrix.most or 1))
    size = 12 if len(matrix.counts) <= 8 else 10
    return Label(to, source, text, color, "middle", size)


def _finding(trace, matrix, pairs):
    """Which rank sends, or receives, more than its share; or that all send the same."""
    if not pairs:
        return no_message_finding(trace)
    n = trace.world_size
    sent = [sum(row) for row in matrix.counts]
    received = [sum(column) for column in zip(*matrix.counts)]
    # equal for all ranks, then much for one rank, then a shape of the graph, then the busiest
    if len(set(sent)) == len(set(received)) == 1:
        words = f"Every rank sends {matrix.text(sent[0])}"
        side = neighbour(pairs, n)
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
    return pattern(set(pairs), n) or busiest


def _caption(trace, matrix, pairs):
    """What a cell holds, and the largest one."""
    shown = "numbers" if trace.world_size <= NUMBERS else "shades"
    text = f"Row: the sending rank; column: the receiving rank; {shown} in {matrix.unit.name}."
    if pairs:
        source, to = max(pairs, key=lambda pair: matrix.counts[pair[0]][pair[1]])
        total = matrix.text(matrix.total)
        most = matrix.text(matrix.most)
        text += f" In all {total}; most in one cell: {most}, from rank {source} to rank {to}."
    calls = sorted(trace.collectives())
    if calls:
        text += f" Not counted: what {', '.join(calls)} sent inside."
    return text
