"""What does a rank hold, and when is it most?

    bytes |          ..####..                 #### activations        the height of a band is what
          |    ++++++++++++++++++             ++++ gradients          is held; the bands stand on
          | ================================  ==== optimizer state    each other
          | --------------------------------  ---- parameters
          +---------------------------------> time, or operations where no time passes

Left out: what torch's kernels and the allocator take for themselves.
"""

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

COLORS = dict(zip(MEMORY, (RANKS[0], RANKS[1], RANKS[2], RANKS[6])))
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
    by_time = moments[-1][1] > moments[0][1]
    if by_time:
        values = [seconds for _, seconds in moments]
        scale = axis_seconds(values[-1] - values[0])
        x_title = f"time ({scale.name})"
    else:
        values = [operation for operation, _ in moments]
        scale = Unit(1, "operations")
        x_title = scale.name
    x = [value / scale.size for value in values]
    low = x[0]
    high = max(x[-1], low + 1e-9)

    scene = Scene(
        _finding(rank, kinds, totals),
        _caption(trace, rank, by_time),
        rows=260,
        x=Axis(x_title, low, high),
        y=Axis(unit.name, 0, 1.12 * most / unit.size or 1),
    )
    # each kind is a band of boxes, one a slice, on top of the bands before it
    slices = _fullest(x, totals, low, high)
    bottoms = [0.0] * len(slices)  # where the next band begins
    for kind in MEMORY:
        band = _band(kind, kinds[kind], slices, bottoms, unit)
        scene.add(kind, _merged(band), legend=True)
    top = most / unit.size
    scene.add("most", [Path((low, high), (top, top), INK)], "dashed")
    scene.add("words", [Label(low, 1.06 * top, f"at most {bytes_text(most)}", INK, size=12)])

    rows = [(*moment, *row) for moment, row in zip(moments, held)]
    table = Table(("operation", "seconds", *MEMORY), rows)
    return Picture("memory", f"rank {rank}, at most {bytes_text(most)}", scene, table)


class Slice(NamedTuple):
    """A part of the x axis, and the index of the moment in it at which most was held."""

    start: float
    stop: float
    moment: int


def _fullest(x, totals, low, high):
    """The slices of the x axis; what is held lasts until the next moment."""
    width = (high - low) / SLICES
    slices = []
    now = 0
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


def _band(kind, held, slices, bottoms, unit):
    """One box a slice, on top of the bands below; raises `bottoms` for the next band."""
    boxes = []
    for i, piece in enumerate(slices):
        nbytes = held[piece.moment]
        if not nbytes:
            continue
        height = nbytes / unit.size
        hover = f"{kind}: {bytes_text(nbytes)}"
        middle = bottoms[i] + height / 2
        boxes.append(Box(piece.start, piece.stop, middle, height, COLORS[kind], hover))
        bottoms[i] += height
    return boxes


def _merged(boxes):
    """Neighbouring boxes of one height and place become one."""
    merged = []
    for box in boxes:
        last = merged[-1] if merged else None
        if last and _touch(last, box) and (last.y, last.height) == (box.y, box.height):
            merged[-1] = last._replace(x1=box.x1)
        else:
            merged.append(box)
    return merged


def _touch(left, right):
    """Does the one box end where the other begins, but for rounding?"""
    return abs(left.x1 - right.x0) < 1e-9 * max(1.0, abs(right.x0))


def _finding(rank, kinds, totals):
    """What is held at the fullest moment, in one sentence."""
    most = max(totals)
    fullest = totals.index(most)
    held = sorted(((values[fullest], kind) for kind, values in kinds.items()), reverse=True)
    shares = [f"{percent(nbytes, most)} {kind}" for nbytes, kind in held if nbytes]
    return f"Rank {rank} holds at most {bytes_text(most)}: {', '.join(shares)}"


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
