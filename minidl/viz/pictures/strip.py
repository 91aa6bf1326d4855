"""What is left of a film where nothing can move? Its first steps, side by side.

    step 1          step 2          step 3        each panel: the ranks, and an arrow for each
    o---->o         o---->o         o---->o       message of the step; up to four ranks, its values
    ^     |         ^     |         ^     |
    o<----o         o<----o         o<----o

Messages that were never received stand in a last panel, broken. Left out: what the ranks do.
"""

import math

from minidl.viz.drawing.palette import ALARM, INK, arrow_color
from minidl.viz.drawing.scene import Arrow, Axis, Label, Scene
from minidl.viz.pictures.circle import WIDE
from minidl.viz.pictures.stage import Stage, heaviest
from minidl.viz.reading.matching import is_lost, pair_of

FEW = 4  # ranks up to which panels are large and show values
NUMBERED = 8  # ranks that have room for their numbers
ARROWS = 48  # in a panel


def strip(film, trace, title, caption):
    """A Scene of the first steps side by side; what was never received stands last."""
    n = trace.world_size
    columns = 3 if n <= FEW else 4
    shown = film.stops[: 6 if n <= FEW else 8]
    panels = []  # (name, messages)
    for number, messages in enumerate(shown):
        panels.append((film.stop_words(number).split(" of ")[0], messages))
    if film.lost:
        panels.append(("never received", film.lost))
    if not panels:
        panels.append(("", []))
    width = WIDE / columns
    height = 100 if n <= 2 else 150
    rows = math.ceil(len(panels) / columns)

    wide = (0.24 if n <= FEW else 0.42) * width
    high = height / 2 - 34
    pairs = {pair_of(message) for _, messages in panels for message in messages}
    arrows = []
    dots = []
    labels = []
    for i, (name, messages) in enumerate(panels):
        left = width * (i % columns + 0.5)
        top = height * (i // columns + 0.56)
        # Each panel is a small stage around its own middle.
        stage = Stage(n, (left, top), (wide, high), box=15, values=trace.values, pairs=pairs)
        labels.append(Label(left, top - height / 2 + 3, name, INK, "middle", 12))
        dots += stage.rank_dots(size=9)
        if n <= NUMBERED:
            labels += _rank_numbers(stage)
        for message, _ in heaviest([(message, 0.5) for message in messages], ARROWS):
            arrows.append(_arrow(stage, message))
            if n <= FEW:
                labels.append(_value(stage, message))
    scene = Scene(
        title,
        _panels_help(film, len(shown), n) + caption,
        rows=height * rows,
        square=True,
        x=Axis("", 0, WIDE, shown=False),
        y=Axis("", height * rows, 0, shown=False),
    )
    scene.add("message", [arrow for arrow in arrows if not arrow.broken], legend=True)
    scene.add("never received", [arrow for arrow in arrows if arrow.broken], legend=True)
    scene.add("ranks", dots)
    return scene.add("words", [label for label in labels if label.text])


def _rank_numbers(stage):
    """The number of each rank, outside of the oval; above a pair of ranks."""
    middle_x, middle_y = stage.middle
    labels = []
    for rank, (x, y) in enumerate(stage.places):
        lift = 16 if y > middle_y else -16
        if stage.n <= 2:
            lift = -14
        labels.append(Label(x + 0.2 * (x - middle_x), y + lift, str(rank), INK, "middle", 10))
    return labels


def _arrow(stage, message):
    """An arrow from the sender to the receiver; a broken one that ends on its way if it is lost."""
    lost = is_lost(message)
    start = stage.place_of(message, 0.0)
    end = stage.place_of(message, 0.6 if lost else 1.0)
    color = ALARM if lost else arrow_color(message.send.rank, stage.n)
    return Arrow(*start, *end, color, broken=lost)


def _value(stage, message):
    """What a message carries, beside its arrow."""
    label = stage.value(message, 0.5, most=2)
    lower = 15 * stage.route_of(message).dx  # nearer to the arrow than in a film
    return label._replace(y=label.y + lower, size=10)


def _panels_help(film, shown, n):
    """How to read the panels."""
    if not film.steps:
        return ""
    words = "Each panel is a step: its messages, and what they carry. "
    if n > FEW:
        words = "Each panel is a step. "
    if shown < len(film.stops):
        words += f"The first {shown} of {len(film.stops)} are shown. "
    return words
