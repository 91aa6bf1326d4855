"""Who is fastest on this network, and how near is that to what nobody can beat?

    lower bound     |=====:                     : the bound, drawn through all rows
    paper           |=====:===========|
    yours, now      |=====:====|
    your best       |=====:==|

All are virtual seconds, so they are the same on every machine.
"""

from minidl.viz.drawing.palette import FAINT, INK, RANKS
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Label, Path, Scene
from minidl.viz.drawing.units import axis_seconds, plain, seconds_text


def race(seconds, bound, rival_name, rival, earlier=()):
    """The picture of a run beside its lower bound, a rival's run, and the best earlier attempts. All in virtual seconds."""
    board = [
        (("your best", "your second best", "your third best")[i], time)
        for i, time in enumerate(sorted(set(earlier) - {seconds})[:3])
    ]
    rows = [
        ("lower bound", bound, FAINT),
        (rival_name, rival, RANKS[1]),
        ("yours, now", seconds, RANKS[0]),
    ]
    rows += [(name, time, RANKS[4]) for name, time in board]
    longest = max(time for _, time, _ in rows)
    unit, scale = axis_seconds(longest)
    scene = Scene(
        finding(seconds, bound, rival_name, rival),
        "Bars are virtual seconds on the network of the challenge. The dashed line is the lower bound.",
        rows=30 * len(rows),
        x=Axis(f"time ({scale})", 0, 1.18 * longest / unit),
        y=Axis("", len(rows) - 0.5, -0.5, [(i, name) for i, (name, _, _) in enumerate(rows)]),
    )
    scene.add(
        "seconds",
        [
            Box(0, time / unit, i, 0.6, color, seconds_text(time))
            for i, (_, time, color) in enumerate(rows)
        ],
    )
    scene.add(
        "lower bound", [Path((bound / unit,) * 2, (-0.5, len(rows) - 0.5), INK, 1.5)], "dashed"
    )
    scene.add(
        "texts",
        [
            Label(time / unit + 0.01 * longest / unit, i + 0.03, seconds_text(time), INK)
            for i, (_, time, _) in enumerate(rows)
        ],
    )
    return Picture(
        "race",
        f"{len(rows)} times",
        scene,
        Table(("who", "seconds"), [(name, time) for name, time, _ in rows]),
    )


def finding(seconds, bound, rival_name, rival):
    """Who is faster, and how far from the bound, in one sentence."""
    times = f"{plain(seconds / bound)} times the lower bound"
    if seconds < rival:
        return f"Faster than {rival_name}: {times}"
    return f"{'As fast as' if seconds == rival else 'Slower than'} {rival_name}: {times}"
