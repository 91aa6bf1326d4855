"""What is on a picture, before anyone decides how to draw it?

    Scene -- Layer "waiting" (hatched) -- Box, Box, ...        the shapes of a layer are of one kind
          |- Layer "message"           -- Arrow, Arrow, ...    coordinates are those of the data
          `- Layer "text"              -- Label, ...

plotly_json.py and svg.py draw the same Scene, so what holds for one holds for the other. Layers
are drawn in their order. A Scene may have another one beside it, and moments: what some of its
layers hold in each frame of a film. Left out: events. A Scene does not know what a rank is.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from minidl.viz.drawing.palette import INK
from minidl.viz.drawing.units import power_ticks

# styles of a line: pixels drawn, pixels left out, and so on; "solid" has none
DASHES = {
    "dashed": (6, 4),
    "dotted": (2, 3),
    "dashdot": (9, 3, 2, 3),
    "long": (16, 4),
    "longdot": (16, 3, 2, 3),
    "broken": (4, 3),
}


class Box(NamedTuple):
    """A rectangle around the height `y`, with a text inside where there is room."""

    x0: float
    x1: float
    y: float
    height: float
    color: str
    hover: str = ""
    label: str = ""


class Arrow(NamedTuple):
    """A line from (x0, y0) with a head at (x1, y1); a cross in place of the head when broken."""

    x0: float
    y0: float
    x1: float
    y1: float
    color: str
    hover: str = ""
    width: float = 1.5
    broken: bool = False


class Path(NamedTuple):
    """A line through points, without a head."""

    xs: tuple
    ys: tuple
    color: str
    width: float = 1.0


class Dot(NamedTuple):
    """A mark of `size` pixels around (x, y).

    symbol: "circle", "ring", "square", "diamond", "triangle" or "cross".
    """

    x: float
    y: float
    color: str
    size: float = 8.0
    hover: str = ""
    symbol: str = "circle"


class Label(NamedTuple):
    """A text of one line or more.

    anchor: which part of it is at x, "start", "middle" or "end".
    """

    x: float
    y: float
    text: str
    color: str
    anchor: str = "start"
    size: float = 11.0


class Cells(NamedTuple):
    """A matrix as shades of blue, row 0 on top; None is left blank.

    hover: a text in which plotly replaces %{x}, %{y} and %{z:,}.
    """

    values: list
    hover: str
    opaque: bool = False

    def cells(self):
        """(row, column, value) of each cell that is not blank."""
        for row, values in enumerate(self.values):
            for column, value in enumerate(values):
                if value is not None:
                    yield row, column, value

    @property
    def most(self):
        """The largest value, or 1 if no value is above 0."""
        return max((value for _, _, value in self.cells()), default=1) or 1


@dataclass
class Layer:
    """Shapes of one kind.

    style   of boxes: "solid", "hatched" or "outline"; of paths: "solid" or a name in DASHES
    legend  whether the layer's name stands in the legend
    empty   what a shape looks like, for a layer that has none at first and some in a later moment
    """

    name: str
    shapes: list
    style: str = "solid"
    legend: bool = False
    empty: tuple | None = None

    @property
    def sample(self):
        """A shape that stands for all of them."""
        return self.shapes[0] if self.shapes else self.empty

    @property
    def legend_sample(self):
        """The shape in the legend: grey if the shapes have the colours of several ranks."""
        sample = self.sample
        # The legend shows shapes of several colours in grey: they share only the form.
        if len({shape.color for shape in self.shapes}) > 1:
            sample = sample._replace(color=INK)
        # A large dot would not fit into the line of the legend.
        if self.kind is Dot:
            sample = sample._replace(size=min(10, sample.size))
        return sample

    @property
    def kind(self):
        """The class of its shapes."""
        return type(self.sample)


class Moment(NamedTuple):
    """One frame of a film.

    shapes  {name of a layer: its shapes now}
    stop    its name on the slider; "" if the slider does not stop there
    """

    shapes: dict
    stop: str = ""


@dataclass
class Axis:
    """One axis, from `low` to `high`.

    title  what it measures, and its unit
    ticks  [(value, text), ...], or None for round numbers
    """

    title: str
    low: float
    high: float
    ticks: list | None = None
    log: bool = False
    shown: bool = True

    def share(self, value):
        """How far along the axis a value lies, from 0 to 1."""
        if self.log:
            whole = math.log(self.high / self.low)
            return math.log(value / self.low) / whole
        whole = self.high - self.low
        return (value - self.low) / whole


def log_axis(title, values, room, base, text):
    """A logarithmic axis for some values, with powers of `base` as its ticks.

    room  the factor by which it reaches beyond the least and the largest value
    text  function: a tick's value -> its text
    """
    low = min(values, default=1e-6) / room
    high = max(values, default=1e-6) * room
    ticks = power_ticks(low, high, base, text)
    return Axis(title, low, high, ticks, log=True)


@dataclass
class Scene:
    """A whole picture: the finding above, the plot, the sentence below.

    rows     the height of the plot in pixels
    square   whether one step along x is as long as one step along y
    beside   a second Scene, drawn to the right; its title and caption are not shown
    moments  the frames of a film; every layer that moves is of boxes, dots or labels
    """

    title: str
    caption: str
    x: Axis
    y: Axis
    rows: float
    layers: list = field(default_factory=list)
    square: bool = False
    beside: "Scene | None" = None
    moments: list = field(default_factory=list)

    def add(self, name, shapes, style="solid", legend=False, empty=None):
        """Add a layer that has shapes now, or, if `empty` says what they look like, later."""
        # A layer without shapes is not added, unless a later moment gives it some.
        shapes = list(shapes)
        if shapes or empty:
            self.layers.append(Layer(name, shapes, style, legend, empty))
        return self

    def shapes(self, kind):
        """All shapes of one kind, in the order in which they are drawn."""
        return [shape for layer in self.layers for shape in layer.shapes if isinstance(shape, kind)]
