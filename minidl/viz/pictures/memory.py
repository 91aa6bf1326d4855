"""What does a rank hold, and when is it most?

    bytes |          ..####..                 #### activations        the height of a band is what is held;
          |    ++++++++++++++++++             ++++ gradients          the bands stand on each other
          | ================================  ==== optimizer state
          | --------------------------------  ---- parameters
          +---------------------------------> time, or operations where no time passes

Left out: what torch's kernels and the allocator take for themselves.
"""

from minidl.trace import MEMORY
from minidl.viz.drawing.palette import INK, RANKS
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Label, Path, Scene
from minidl.viz.drawing.units import BYTES, axis_seconds, bytes_text, percent

COLORS = dict(zip(MEMORY, (RANKS[0], RANKS[1], RANKS[2], RANKS[6])))
BINS = 240  # slices of the time; a slice shows what was held at its fullest moment


def memory(trace, rank=0, span=None):
    """The picture of what one rank held over time, within spans of a name if one is given.

    Raises ValueError where memory was not metered, or there is no such span.
    """
    moments, kinds = trace.memory_over_time(rank, span)
    if not moments:
        raise ValueError(f"rank {rank} held no tensor")
    by_time = moments[-1][1] > moments[0][1]
    x = [seconds if by_time else operation for operation, seconds in moments]
    unit, name = axis_seconds(x[-1] - x[0]) if by_time else (1, "operations")
    totals = [sum(at) for at in zip(*kinds.values())]
    most = max(totals)
    scale, size = next(
        (scale, name) for scale, name in reversed(BYTES) if most >= 2 * scale or scale == 1
    )
    low, high = x[0] / unit, max(x[-1], x[0] + unit * 1e-9) / unit
    scene = Scene(
        finding(rank, kinds, totals),
        caption(trace, rank, by_time),
        rows=260,
        x=Axis(f"time ({name})" if by_time else name, low, high),
        y=Axis(size, 0, 1.12 * most / scale or 1),
    )
    slices = fullest([value / unit for value in x], totals, low, high)
    base = dict.fromkeys(slices, 0.0)
    for kind in MEMORY:
        boxes = []
        for (start, stop), i in slices.items():
            tall = kinds[kind][i] / scale
            if tall:
                middle = base[start, stop] + tall / 2
                boxes.append(
                    Box(
                        start,
                        stop,
                        middle,
                        tall,
                        COLORS[kind],
                        f"{kind}: {bytes_text(kinds[kind][i])}",
                    )
                )
                base[start, stop] += tall
        scene.add(kind, joined(boxes), legend=True)
    scene.add("most", [Path((low, high), (most / scale,) * 2, INK)], "dashed")
    scene.add(
        "words", [Label(low, most / scale * 1.06, f"at most {bytes_text(most)}", INK, "start", 12)]
    )
    table = Table(
        ("operation", "seconds", *MEMORY),
        [(*moment, *values) for moment, *values in zip(moments, *(kinds[kind] for kind in MEMORY))],
    )
    return Picture("memory", f"rank {rank}, at most {bytes_text(most)}", scene, table)


def fullest(x, totals, low, high):
    """{(start, stop): index of the moment with most bytes in this slice}; what is held lasts until the next moment."""
    slices, width, i = {}, (high - low) / BINS or 1.0, 0
    for n in range(BINS):
        start, stop = low + n * width, low + (n + 1) * width
        best = i
        while i + 1 < len(x) and x[i + 1] <= stop:
            i += 1
            best = i if totals[i] > totals[best] else best
        slices[start, stop] = best
    return slices


def joined(boxes):
    """Boxes that stand beside each other at one height and place become one."""
    kept = []
    for box in boxes:
        last = kept[-1] if kept else None
        if (
            last
            and abs(last.x1 - box.x0) < 1e-9 * max(1.0, abs(box.x0))
            and (last.y, last.height) == (box.y, box.height)
        ):
            kept[-1] = last._replace(x1=box.x1)
        else:
            kept.append(box)
    return kept


def finding(rank, kinds, totals):
    """What is held at the fullest moment, in one sentence."""
    at = totals.index(max(totals))
    shares = sorted(((values[at], kind) for kind, values in kinds.items()), reverse=True)
    told = ", ".join(f"{percent(nbytes, totals[at])} {kind}" for nbytes, kind in shares if nbytes)
    return f"Rank {rank} holds at most {bytes_text(totals[at])}: {told}"


def caption(trace, rank, by_time):
    """What the bands are."""
    words = "The height of a band is what the rank holds of this kind; the bands stand on each other. Each slice shows its fullest moment."
    words += "" if by_time else " No virtual time passes here, so operations are counted along."
    flops = trace.flops[rank] if trace.flops else 0
    return words + (f" {flops:,} floating-point operations in all." if flops else "")
