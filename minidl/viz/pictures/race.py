"""Who is fastest on this network, and how near is that to the lower bound?

    lower bound     |=====:                     : the bound, drawn through all rows
    paper           |=====:===========|
    yours, now      |=====:====|
    your best       |=====:==|

All are virtual seconds, so they are the same on every machine.
"""

from minidl.viz.drawing.palette import FAINT, INK, RANKS
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Label, Path, Scene
from minidl.viz.drawing.units import number_text, seconds_text
from minidl.viz.pictures.rows import Timescale

BEST = ("your best", "your second best", "your third best")
COLORS = (FAINT, RANKS[1], RANKS[0], RANKS[4], RANKS[4], RANKS[4])


def race(seconds, bound, rival_name, rival, earlier=()):
    """The picture of a run beside its lower bound, a rival's run, and the best earlier attempts.

    All times are virtual seconds.
    """
    # who -> seconds, from top to bottom; of the earlier attempts the best three
    times = {"lower bound": bound, rival_name: rival, "yours, now": seconds}
    times |= zip(BEST, sorted(set(earlier) - {seconds}))
    scale = Timescale(0, max(times.values()))
    bars = []
    texts = []
    gap = 0.01 * scale.at(scale.end)  # between a bar and its text
    for y, (time, color) in enumerate(zip(times.values(), COLORS)):
        text = seconds_text(time)
        end = scale.at(time)
        bars.append(Box(0, end, y, 0.6, color, text))
        texts.append(Label(end + gap, y + 0.03, text, INK))
    # The upright axis runs downwards: the first bar stands at 0, on top.
    bottom = len(times) - 0.5
    ratio = number_text(seconds / bound)
    scene = Scene(
        f"{_how_fast(seconds, rival)} {rival_name}: {ratio} times the lower bound",
        "Bars are virtual seconds on the network of the challenge. "
        "The dashed line is the lower bound.",
        rows=30 * len(times),
        x=scale.axis(before=0, after=0.18),
        y=Axis("", bottom, -0.5, list(enumerate(times))),
    )
    scene.add("seconds", bars)
    # The bound crosses all bars, so that each can be seen beside it.
    x = scale.at(bound)
    scene.add("lower bound", [Path((x, x), (-0.5, bottom), INK, 1.5)], "dashed")
    scene.add("texts", texts)
    table = Table(("who", "seconds"), times.items())
    return Picture("race", f"{len(times)} times", scene, table)


def _how_fast(seconds, rival):
    """This run beside the rival's, in words."""
    if seconds == rival:
        return "As fast as"
    if seconds < rival:
        return "Faster than"
    return "Slower than"
