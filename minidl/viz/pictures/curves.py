"""How does a number change over steps, sizes or ranks, and do several runs agree about it?

    loss |\\_ . mean               {"mean": [2.6, 1.9, ...], "sum": [2.6, 0.9, ...]}
         |  `-.\\__                a list is one value a step; pairs (x, y) say where they stand
         +---------- step

Curves that coincide are drawn as a band in a band, so that none hides another, and the title says
how far they are apart. Left out: where the numbers come from, and error bars.
"""

import math
from collections import defaultdict
from itertools import chain

from minidl.viz.drawing.palette import RANKS
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Dot, Path, Scene, log_axis
from minidl.viz.drawing.units import counts_text, number_text

STYLES = ("solid", "dashed", "dashdot", "dotted", "long", "longdot", "solid", "dashed")
WIDTH = 2.5  # pixels of a line
ALIKE = 0.01  # curves that differ by less than this share of the picture's height coincide
MARKED = 24  # points of a curve up to which each gets a dot


def curves(lines, x="step", y="loss", log="", title=None):
    """The picture of some curves.

    lines   {name: [value, ...]} or {name: [(x, y), ...]}, one to eight; NaN and infinity are left
            out
    log     which axes are logarithmic: "", "x", "y" or "xy"; points at 0 or below are then left out
    title   what was found, if it is something else than which curve ends lowest

    Raises ValueError for no curve or more than eight, or if no point is left.
    """
    if not 1 <= len(lines) <= len(RANKS):
        raise ValueError(f"1 to {len(RANKS)} curves can be told apart, not {len(lines)}")
    points = {str(name): _points(values, log) for name, values in lines.items()}
    rows = [(name, *point) for name, own in points.items() for point in own]
    if not rows:
        raise ValueError("no curve has a point that can be drawn")
    _, xs, ys = zip(*rows)
    # Curves coincide if a reader cannot see their distance, so it is compared with the axis.
    y_axis = _axis(y, ys, "y" in log)
    gap = _largest_gap(points)
    coincide = len(points) > 1 and gap <= ALIKE * (y_axis.high - y_axis.low)
    finding = _coincidence(points, gap) if coincide else _ends(points, y)
    scene = Scene(
        title or finding,
        _caption(points, x, y, coincide),
        rows=300,
        x=_axis(x, xs, "x" in log),
        y=y_axis,
    )
    for i, (name, own) in enumerate(points.items()):
        style = STYLES[i]
        width = WIDTH
        if coincide:  # the first curve is the widest band, and the last one lies on top
            style = "solid"
            width += 3.5 * (len(points) - 1 - i)
        if own:
            scene.add(name, [Path(*zip(*own), RANKS[i], width)], style, legend=True)
    for (name, own), color in zip(points.items(), RANKS):  # on top of all lines
        if len(own) <= MARKED and not coincide:
            dots = []
            for a, b in own:
                hover = f"{name}\n{x} {number_text(a)}: {y} {number_text(b)}"
                dots.append(Dot(a, b, color, 7, hover))
            scene.add(f"{name}: points", dots)
    summary = counts_text(line=len(points), point=len(rows))
    return Picture("curves", summary, scene, Table(("curve", x, y), rows))


def _points(values, log):
    """[(x, y), ...] that can be drawn: finite, and above 0 on a logarithmic axis."""
    pairs = list(values)
    # A plain list is one value a step.
    if pairs and not hasattr(pairs[0], "__len__"):
        pairs = enumerate(pairs)
    points = []
    for pair in pairs:
        x, y = map(float, pair)
        below = ("x" in log and x <= 0) or ("y" in log and y <= 0)
        if math.isfinite(x) and math.isfinite(y) and not below:
            points.append((x, y))
    return points


def _axis(title, values, log):
    """An axis with room for all values."""
    if log:
        return log_axis(title, values, room=1.15, base=10, text=number_text)
    low = min(values)
    high = max(values)
    room = 0.04 * (high - low) or 0.5  # all values may be equal
    return Axis(title, low - room, high + room)


def _largest_gap(points):
    """How far the curves are apart at most; infinity unless all stand above the same places."""
    heights = defaultdict(list)  # x -> what the curves have there
    for x, y in chain(*points.values()):
        heights[x].append(y)
    gap = 0.0
    for ys in heights.values():
        if len(ys) != len(points):
            return math.inf
        gap = max(gap, max(ys) - min(ys))
    return gap


def _coincidence(points, gap):
    """The title of curves that lie on each other."""
    if gap == 0:
        return f"The {len(points)} curves are the same"
    return f"The {len(points)} curves coincide: they differ by {gap:.0e} at most"


def _ends(points, y):
    """The title of other curves: which one ends lowest, and which highest."""
    # A curve may have lost all its points to a logarithmic axis.
    ends = []
    for name, own in points.items():
        if own:
            _, last = own[-1]
            ends.append((last, name))
    low, lowest = min(ends)
    high, highest = max(ends)
    end = number_text(low)
    if len(points) == 1:
        _, first = points[lowest][0]
        start = number_text(first)
        return f"{lowest}: {y} goes from {start} to {end}"
    return f"Lowest {y} at the end: {lowest}, {end}; highest: {highest}, {number_text(high)}"


def _caption(points, x, y, coincide):
    """What the lines are."""
    text = f"The {y} against the {x}."
    if len(points) > 1:
        text = f"The {y} against the {x}, one line each for {', '.join(points)}."
    if coincide:
        text += " They lie on each other, so each is drawn as a band within the one before."
    return text
