"""Where do ranks stand on a circle, and which way does a message take between two of them?

         (3)    (0)       ranks stand clockwise, two ranks side by side; a point on a Route
                          is so many pixels `along` it and `aside`, to its left
         (2)    (1)

Coordinates are pixels from the middle, y downwards. Left out: what stands there.
"""

import math
from typing import NamedTuple

from minidl.viz.drawing.palette import INK
from minidl.viz.drawing.scene import Axis, Label, Scene

WIDE = 728  # pixels of a plot whose axes count pixels from the middle


def rank_places(n, radius):
    """(x, y) of each rank on a circle; no rank of an even number is at the very top."""
    turn = -math.pi / 2
    if n == 2:
        turn = math.pi
    elif n % 2 == 0:
        turn += math.pi / n
    places = []
    for rank in range(n):
        angle = turn + 2 * math.pi * rank / n
        places.append((radius * math.cos(angle), radius * math.sin(angle)))
    return places


def circle_radius(n, height, room):
    """The radius in a plot of this height; up to 16 ranks leave `room` pixels for words."""
    if n == 2:
        return 110
    return height / 2 - (room if n <= 16 else 34)


def label_beside(place, text, away, lift, size):
    """A text outside of the circle: `away` pixels beside a rank, up to `lift` above or below it."""
    x, y = place
    y += lift * y / max(1.0, math.hypot(x, y))
    if x >= -1:
        return Label(x + away, y, text, INK, "start", size)
    return Label(x - away, y, text, INK, "end", size)


class Route(NamedTuple):
    """The straight way from one place to another."""

    x: float  # where it begins
    y: float
    dx: float  # its direction, of length 1
    dy: float
    length: float

    def at(self, along, aside=0.0):
        """The point this many pixels along the way, and this many to the left of it."""
        x = self.x + along * self.dx
        y = self.y + along * self.dy
        # y grows downwards, so the left of a way to the right is a smaller y
        x += aside * self.dy
        y -= aside * self.dx
        return x, y


def route(start, end):
    """The Route between two places; it has length 1 if they are the same."""
    x, y = start
    dx = end[0] - x
    dy = end[1] - y
    length = math.hypot(dx, dy) or 1.0
    return Route(x, y, dx / length, dy / length, length)


def circle_scene(title, caption, height):
    """An empty Scene whose axes count pixels from the middle."""
    return pixel_scene(title, caption, height, left=-WIDE / 2, top=-height / 2)


def pixel_scene(title, caption, height, left=0, top=0):
    """An empty Scene whose axes count pixels, from its upper left corner at (left, top)."""
    bottom = top + height
    return Scene(
        title,
        caption,
        rows=height,
        square=True,
        x=Axis("", left, left + WIDE, shown=False),
        y=Axis("", bottom, top, shown=False),
    )
