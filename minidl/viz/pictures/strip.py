"""What is left of a film where nothing can move? Its first steps, side by side.

    step 1          step 2          step 3        each panel: the ranks, and an arrow for each message of
    o---->o         o---->o         o---->o       the step; up to four ranks, also what it carries
    ^     |         ^     |         ^     |
    o<----o         o<----o         o<----o

Messages that nobody received stand in a last panel, broken. Left out: what the ranks do meanwhile.
"""

import math

from minidl.viz.drawing.palette import ALARM, INK, arrow_color, rank_color
from minidl.viz.drawing.scene import Arrow, Axis, Dot, Label, Scene
from minidl.viz.pictures.stage import NAMED, WIDE, Stage
from minidl.viz.pictures.wait_for import places
from minidl.viz.reading.findings import is_lost

PANELS = 8  # steps that are shown; six where there is room for values


def strip(film, trace, title, caption):
    """The first steps side by side: a still picture; what was never received stands last."""
    n, few = trace.world_size, trace.world_size <= 4
    columns, shown = 3 if few else 4, film.shown[: 6 if few else PANELS]
    panels = [(film.words(number).split(" of ")[0], step) for number, step in enumerate(shown)]
    panels += [("never received", film.lost)] if film.lost else [] if panels else [("", [])]
    wide, high, lines = WIDE / columns, 100 if n <= 2 else 150, math.ceil(len(panels) / columns)
    scene = Scene(
        title,
        f"{reading(film, shown, few)}{caption}",
        rows=high * lines,
        square=True,
        x=Axis("", 0, WIDE, shown=False),
        y=Axis("", high * lines, 0, shown=False),
    )
    stage = Stage(
        n,
        high,
        trace.values,
        {(m.send.rank, m.send.peer) for m in film.lost + [m for step in shown for m in step]},
    )
    stage.box, stage.where = (
        15,
        [((0.24 if few else 0.42) * wide * x, (high / 2 - 34) * y) for x, y in places(n, 1.0)],
    )
    arrows, dots, words = [], [], []
    for number, (name, messages) in enumerate(panels):
        left, top = wide * (number % columns + 0.5), high * (number // columns + 0.56)
        words.append(Label(left, top - high / 2 + 3, name, INK, "middle", 12))
        dots += [
            Dot(left + x, top + y, rank_color(rank, n), 9 if n <= NAMED else 4)
            for rank, (x, y) in enumerate(stage.where)
        ]
        if n <= 8:
            words += [
                Label(
                    left + 1.2 * x,
                    top + (y + 16 * (1 if y > 0 else -1) if n > 2 else y - 14),
                    str(rank),
                    INK,
                    "middle",
                    10,
                )
                for rank, (x, y) in enumerate(stage.where)
            ]
        for m, _ in stage.kept([(m, 0.5) for m in messages], 48):
            (x0, y0), (x1, y1) = stage.at(m, 0.0), stage.at(m, 0.6 if is_lost(m) else 1.0)
            color = ALARM if is_lost(m) else arrow_color(m.send.rank, n)
            arrows.append(Arrow(left + x0, top + y0, left + x1, top + y1, color, broken=is_lost(m)))
            if few:
                words.append(stage.value(m, 0.5, 2)._replace(size=10))
                words[-1] = words[-1]._replace(
                    x=left + words[-1].x, y=top + words[-1].y + 15 * stage.direction(m)[0]
                )
    scene.add("message", [arrow for arrow in arrows if not arrow.broken], legend=True)
    scene.add("never received", [arrow for arrow in arrows if arrow.broken], legend=True)
    scene.add("ranks", dots)
    return scene.add("words", [label for label in words if label.text])


def reading(film, shown, few):
    """How to read it."""
    if not film.steps:
        return ""
    part = (
        ""
        if len(shown) == len(film.shown)
        else f" The first {len(shown)} of {len(film.shown)} are shown."
    )
    return f"Each panel is a step{': its messages, and what they carry' * few}.{part} "
