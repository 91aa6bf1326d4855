"""What is left of a film where nothing can move? Its first steps, side by side.

    step 1          step 2          step 3        each panel: the ranks, and an arrow for each
    o---->o         o---->o         o---->o       message of the step; up to four ranks, its values
    ^     |         ^     |         ^     |
    o<----o         o<----o         o<----o

Messages that were never received stand in a last panel, broken. Left out: what the ranks do.
"""

import math

from minidl.viz.drawing.palette import ALARM, INK, arrow_color
from minidl.viz.drawing.scene import Arrow, Label
from minidl.viz.pictures.circle import WIDE, pixel_scene
from minidl.viz.pictures.stage import Stage, heaviest
from minidl.viz.reading.matching import is_lost, pair_of

FEW = 4  # ranks up to which panels are large and show values
NUMBERED = 8  # ranks that have room for their numbers
ARROWS = 48  # in a panel


def strip(film, trace, title, caption):
    """A Scene of the first steps side by side; what was never received stands last."""
    n = trace.world_size
    # Few ranks have large panels, three in a row; more ranks have four small ones.
    columns = 4
    radius = 0.36  # of the oval, as a share of a panel's width
    if n <= FEW:
        columns = 3
        radius = 0.24
    panels = {}  # name -> messages
    for number, messages in enumerate(film.stops[: 2 * columns]):
        panels[film.stop_name(number)] = messages
    shown = len(panels)
    if film.lost:
        panels["never received"] = film.lost
    # A run without messages still shows its ranks.
    panels = panels or {"": []}
    width = WIDE / columns
    height = 100 if n <= 2 else 150
    rows = math.ceil(len(panels) / columns)

    # Opposite arrows keep to their own sides in every panel, if both occur in any.
    pairs = {pair_of(message) for messages in panels.values() for message in messages}
    arrows = []
    dots = []
    labels = []
    for i, (name, messages) in enumerate(panels.items()):
        # Each panel is a small stage around its own middle.
        x = width * (i % columns + 0.5)
        y = height * (i // columns + 0.56)
        radii = (radius * width, height / 2 - 34)
        stage = Stage(n, (x, y), radii, box=15, values=trace.values, pairs=pairs)
        labels.append(Label(x, y - height / 2 + 3, name, INK, "middle", 12))
        dots += stage.rank_dots(size=9)
        if n <= NUMBERED:
            labels += _rank_numbers(stage)
        # heaviest() takes messages with the share of their way, which does not matter here.
        for message, _ in heaviest([(message, 0.5) for message in messages], ARROWS):
            arrows.append(_arrow(stage, message))
            if n <= FEW:
                labels.append(_value(stage, message))
    words = _panels_help(film, shown, n) + caption
    scene = pixel_scene(title, words, height * rows)
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
        x += 0.2 * (x - middle_x)
        labels.append(Label(x, y + lift, str(rank), INK, "middle", 10))
    return labels


def _arrow(stage, message):
    """An arrow from the sender to the receiver; a broken one that ends on its way if it is lost."""
    # 0.0 and 1.0 are the edges of the two boxes, not the middles of the ranks.
    start = stage.place_of(message, 0.0)
    if is_lost(message):
        end = stage.place_of(message, 0.6)
        return Arrow(*start, *end, ALARM, broken=True)
    end = stage.place_of(message, 1.0)
    return Arrow(*start, *end, arrow_color(message.send.rank, stage.n))


def _value(stage, message):
    """What a message carries, beside its arrow."""
    label = stage.value(message, 0.5, most=2)
    way = stage.route_of(message)
    y = label.y + 15 * way.dx  # nearer to the arrow than in a film
    return label._replace(y=y, size=10)


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
