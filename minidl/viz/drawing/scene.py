"""What is on a picture, before anyone decides how to draw it?

    Scene -- Layer "waiting" (hatched) -- Box, Box, ...        the shapes of a layer are of one kind
          |- Layer "message"           -- Arrow, Arrow, ...    coordinates are those of the data
          `- Layer "text"              -- Label, ...

plotly_json.py and svg.py draw the same Scene, so what holds for one holds for the other. Layers
are drawn in their order. A Scene may have another one beside it, and moments: what some of its layers
hold in each frame of a film. Left out: events. A Scene no longer knows what a rank is.
"""

from dataclasses import dataclass, field
from typing import NamedTuple


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
    """A mark of `size` pixels. symbol: "circle", "ring", "square", "diamond", "triangle" or "cross"."""

    x: float
    y: float
    color: str
    size: float = 8.0
    hover: str = ""
    symbol: str = "circle"


class Label(NamedTuple):
    """A text of one line or more; `anchor` says which part of it is at x: "start", "middle" or "end"."""

    x: float
    y: float
    text: str
    color: str
    anchor: str = "start"
    size: float = 11.0


class Cells(NamedTuple):
    """A matrix as shades of blue, row 0 on top; None is left blank. `hover` has %{x}, %{y} and %{z:,} in it."""

    values: list
    hover: str
    opaque: bool = False


@dataclass
class Layer:
    """Shapes of one kind.

    style, for boxes: "solid", "hatched" or "outline"; for paths: "solid", a name in plotly_traces.DASH.
    empty: what a shape looks like, for a layer that has none at first, and some in a later moment.
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
    def kind(self):
        """The class of its shapes."""
        return type(self.sample)


class Moment(NamedTuple):
    """One frame of a film: layer name -> its shapes now. `stop` names it on the slider, "" where the slider has no stop."""

    shapes: dict
    stop: str = ""


@dataclass
class Axis:
    """One axis: what it measures and its unit, from `low` to `high`; ticks are (value, text), or None for round numbers."""

    title: str
    low: float
    high: float
    ticks: list | None = None
    log: bool = False
    shown: bool = True


@dataclass
class Scene:
    """A whole picture: the finding above, the plot, the sentence below. `rows` pixels is the height of the plot.

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
        """Add a layer, if there is anything in it, now or, where `empty` says what it looks like, later."""
        shapes = list(shapes)
        if shapes or empty:
            self.layers.append(Layer(name, shapes, style, legend, empty))
        return self

    def shapes(self, kind):
        """All shapes of one kind, in the order in which they are drawn."""
        return [shape for layer in self.layers for shape in layer.shapes if isinstance(shape, kind)]
