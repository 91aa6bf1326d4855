"""How does a number change over steps, sizes or ranks, and do several runs agree about it?

    loss |\\_ . mean               {"mean": [2.6, 1.9, ...], "sum": [2.6, 0.9, ...]}
         |  `-.\\__                a list is one value a step; pairs (x, y) stand where they say
         +---------- step

Curves that coincide are drawn as a band in a band, so that none hides another, and the title says how far they are
apart. Left out: where the numbers come from, and error bars.
"""

import math

from minidl.viz.drawing.palette import RANKS
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Dot, Path, Scene
from minidl.viz.drawing.units import count_text, plain, power_ticks

STYLES = ("solid", "dashed", "dashdot", "dotted", "long", "longdot", "solid", "dashed")
ALIKE = 0.01  # curves that differ by less than this share of the picture's height coincide
MARKED = 24  # points of a curve up to which each gets a dot


def curves(lines, x="step", y="loss", log="", title=None):
    """The picture of some curves.

    lines   {name: [value, ...]} or {name: [(x, y), ...]}, one to eight; values that are no number or infinite are left out
    log     which axes are logarithmic: "", "x", "y" or "xy"; points at 0 or below are then left out
    title   what was found, where it is something else than which curve ends lowest

    Raises ValueError for no curve or more than eight, or if no point is left.
    """
    if not 1 <= len(lines) <= len(RANKS):
        raise ValueError(f"1 to {len(RANKS)} curves can be told apart, not {len(lines)}")
    points = {str(name): points_of(values, log) for name, values in lines.items()}
    if not any(points.values()):
        raise ValueError("no curve has a point that can be drawn")
    gap = apart(points)
    everything = [point for own in points.values() for point in own]
    axes = [
        axis(title, [point[i] for point in everything], "xy"[i] in log)
        for i, title in enumerate((x, y))
    ]
    coincide = len(points) > 1 and gap is not None and gap <= ALIKE * (axes[1].high - axes[1].low)
    scene = Scene(
        title or finding(points, y, gap if coincide else None),
        caption(points, x, y, coincide),
        rows=300,
        x=axes[0],
        y=axes[1],
    )
    for i, (name, own) in enumerate(points.items()):
        if own:
            width = 2.5 + 3.5 * (len(points) - 1 - i) if coincide else 2.5
            scene.add(
                name,
                [Path(*zip(*own), RANKS[i], width)],
                "solid" if coincide else STYLES[i],
                legend=True,
            )
    for i, (name, own) in enumerate(points.items()):
        if len(own) <= MARKED and not coincide:
            scene.add(
                f"{name}: points",
                [Dot(a, b, RANKS[i], 7, f"{name}\n{x} {plain(a)}: {y} {plain(b)}") for a, b in own],
            )
    return Picture(
        "curves",
        f"{count_text(len(points), 'line')}, {count_text(len(everything), 'point')}",
        scene,
        Table(("curve", x, y), [(name, *point) for name, own in points.items() for point in own]),
    )


def points_of(values, log):
    """[(x, y), ...] that can be drawn: finite, and above 0 on a logarithmic axis."""
    values = list(values)
    pairs = [
        tuple(map(float, pair))
        for pair in (values if values and hasattr(values[0], "__len__") else enumerate(values))
    ]
    return [
        (a, b)
        for a, b in pairs
        if math.isfinite(a)
        and math.isfinite(b)
        and (a > 0 or "x" not in log)
        and (b > 0 or "y" not in log)
    ]


def axis(title, values, log):
    """An axis with room for all values."""
    low, high = min(values), max(values)
    if log:
        low, high = low / 1.15, high * 1.15
        return Axis(title, low, high, power_ticks(low, high, 10, plain), log=True)
    pad = 0.04 * (high - low) or 0.5
    return Axis(title, low - pad, high + pad)


def apart(points):
    """How far the curves are apart at most, or None if they do not stand above the same places."""
    first, *others = points.values()
    if any([a for a, _ in own] != [a for a, _ in first] for own in others):
        return None
    return max(
        (max(own) - min(own) for own in zip(*([b for _, b in own] for own in points.values()))),
        default=0.0,
    )


def finding(points, y, gap):
    """The title: that they coincide, or which one ends lowest and which highest."""
    ends = sorted((own[-1][1], name) for name, own in points.items() if own)
    if gap is not None:
        return (
            f"The {len(points)} curves coincide: they differ by {gap:.0e} at most"
            if gap
            else f"The {len(points)} curves are the same"
        )
    if len(points) == 1:
        ((name, own),) = points.items()
        return f"{name}: {y} goes from {plain(own[0][1])} to {plain(own[-1][1])}"
    (low, lowest), (high, highest) = ends[0], ends[-1]
    return f"Lowest {y} at the end: {lowest}, {plain(low)}; highest: {highest}, {plain(high)}"


def caption(points, x, y, coincide):
    """What the lines are."""
    said = (
        f"The {y} against the {x}"
        + (", one line each for " + ", ".join(points) if len(points) > 1 else "")
        + "."
    )
    return said + (
        " They lie on each other, so each is drawn as a band within the one before."
        if coincide
        else ""
    )
