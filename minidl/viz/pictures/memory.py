"""What does a rank hold, and when is it most?

    bytes |          ..####..                 #### activations        the height of a band is what
          |    ++++++++++++++++++             ++++ gradients          is held; the bands stand on
          | ================================  ==== optimizer state    each other
          | --------------------------------  ---- parameters
          +---------------------------------> time, or operations where no time passes

Left out: what torch's kernels and the allocator take for themselves.
"""

from itertools import groupby
from operator import add, itemgetter
from typing import NamedTuple

from minidl.trace import MEMORY
from minidl.viz.drawing.palette import INK, RANKS
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Label, Path, Scene
from minidl.viz.drawing.units import (
    BYTES,
    Unit,
    axis_seconds,
    axis_unit,
    bytes_text,
    percent,
)

COLORS = dict(zip(MEMORY, (*RANKS[:3], RANKS[6])))
SLICES = 240  # of the time; a slice shows what was held at its fullest moment


def memory(trace, rank=0, span=None):
    """The picture of what one rank held over time, within spans of a name if one is given.

    Raises ValueError if memory was not metered, or if there is no such span.
    """
    moments, kinds = trace.memory_over_time(rank, span)
    if not moments:
        raise ValueError(f"rank {rank} held no tensor")
    held = list(zip(*kinds.values()))  # one row a moment: bytes of each kind
    totals = [sum(row) for row in held]
    most = max(totals)
    unit = axis_unit(most, BYTES)

    # time if any passes, else the number of the operation
    operations, seconds = zip(*moments)
    by_time = seconds[-1] > seconds[0]
    # Without a clock each operation counts as one step of time.
    values = operations
    scale = Unit(1, "operations")
    x_title = scale.name
    if by_time:
        values = seconds
        scale = axis_seconds(seconds[-1] - seconds[0])
        x_title = f"time ({scale.name})"
    x = [value / scale.size for value in values]
    # A single moment has no width, so the axis gets some.
    low = x[0]
    high = max(x[-1], low + 1e-9)

    at_most = f"at most {bytes_text(most)}"
    top = most / unit.size
    shares = _shares(kinds, totals.index(most))
    scene = Scene(
        f"Rank {rank} holds {at_most}: {shares}",
        _caption(trace, rank, by_time),
        rows=260,
        x=Axis(x_title, low, high),
        y=Axis(unit.name, 0, 1.12 * top or 1),
    )
    # each kind is a band of boxes on top of the bands before it
    slices = _fullest(x, totals, low, high)
    bottoms = [0] * len(slices)  # where the next band begins, in bytes
    for kind in MEMORY:
        heights = [kinds[kind][piece.moment] for piece in slices]
        scene.add(kind, _band(kind, slices, bottoms, heights, unit), legend=True)
        bottoms = list(map(add, bottoms, heights))
    scene.add("most", [Path((low, high), (top, top), INK)], "dashed")
    scene.add("words", [Label(low, 1.06 * top, at_most, INK, size=12)])

    rows = [(*moment, *row) for moment, row in zip(moments, held)]
    table = Table(("operation", "seconds", *MEMORY), rows)
    return Picture("memory", f"rank {rank}, {at_most}", scene, table)


class Slice(NamedTuple):
    """A part of the x axis, and the index of the moment in it at which most was held."""

    start: float
    stop: float
    moment: int


def _fullest(x, totals, low, high):
    """The slices of the x axis; what is held lasts until the next moment."""
    width = (high - low) / SLICES
    slices = []
    now = 0  # the last moment before the end of the slice
    for number in range(SLICES):
        start = low + number * width
        stop = low + (number + 1) * width
        best = now
        while now + 1 < len(x) and x[now + 1] <= stop:
            now += 1
            if totals[now] > totals[best]:
                best = now
        slices.append(Slice(start, stop, best))
    return slices


def _band(kind, slices, bottoms, heights, unit):
    """What is held of one kind: one box for neighbouring slices of one height, in bytes."""
    # Neighbouring slices of one height share a box, which keeps the picture small.
    boxes = []
    pieces = zip(bottoms, heights, slices)
    for (bottom, nbytes), alike in groupby(pieces, key=itemgetter(0, 1)):
        alike = [piece for _, _, piece in alike]
        if nbytes:
            middle = (bottom + nbytes / 2) / unit.size
            hover = f"{kind}: {bytes_text(nbytes)}"
            ends = (alike[0].start, alike[-1].stop)
            boxes.append(Box(*ends, middle, nbytes / unit.size, COLORS[kind], hover))
    return boxes


def _shares(kinds, moment):
    """What is held at a moment, most first: "67 % activations, 33 % parameters"."""
    # Equal sizes are sorted by name, so the text is the same in every run.
    held = sorted(((values[moment], kind) for kind, values in kinds.items()), reverse=True)
    whole = sum(nbytes for nbytes, _ in held)
    words = []
    for nbytes, kind in held:
        if nbytes:
            words.append(f"{percent(nbytes, whole)} {kind}")
    return ", ".join(words)


def _caption(trace, rank, by_time):
    """How to read the bands."""
    text = (
        "The height of a band is what the rank holds of this kind; the bands stand on each other. "
        "Each slice shows its fullest moment."
    )
    if not by_time:
        text += " No virtual time passes here, so the x axis counts operations."
    if trace.flops and trace.flops[rank]:
        text += f" {trace.flops[rank]:,} floating-point operations in all."
    return text
