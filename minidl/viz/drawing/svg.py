"""How does a Scene become an SVG that shows wherever plotly's code does not run?

    title                       the finding
    legend                      Page turns data coordinates into pixels;
    +--------------------+      <g class="layer name"> <rect/> <path/> ... </g>
    +--------------------+      each shape is drawn by svg_shapes
    caption

Grey text and a transparent background read on white and on black pages. There is no style sheet: it
would leak into the page. Left out: hovering. A picture that GitHub shows cannot react.
"""

from html import escape

from minidl.viz.drawing.frame import LINE, TITLE, TITLE_LINE, WIDTH, frame, text_width
from minidl.viz.drawing.palette import INK, faded
from minidl.viz.drawing.scene import Arrow, Box, Dot
from minidl.viz.drawing.svg_elements import element, number, path, text_element
from minidl.viz.drawing.svg_shapes import (
    arrow_line,
    box_fill,
    dash_array,
    definitions,
    mark,
    svg_layer,
)
from minidl.viz.drawing.units import round_ticks

EDGE = 8  # pixels left of title and caption
SAMPLE = 24  # pixels that a sample in the legend is wide
GRID = faded(INK, 0.25)


class Page:
    """The rectangle of one plot in pixels, and what turns data coordinates into pixels.

    names: the room left of the plot, for the texts of the upright axis
    """

    def __init__(self, scene, left, top, width, names):
        self.scene = scene
        self.left = left
        self.top = top
        self.width = width
        self.height = scene.rows
        self.names = names
        if scene.square:  # narrower, in the same middle
            x_units = abs(scene.x.high - scene.x.low)
            y_units = abs(scene.y.high - scene.y.low)
            # the largest scale at which both axes fit
            per_unit = min(width / x_units, scene.rows / y_units)
            self.width = per_unit * x_units
            self.left += (width - self.width) / 2
        self.right = self.left + self.width
        self.bottom = top + scene.rows

    def px(self, x):
        """Pixels from the left edge of the picture."""
        return self.left + self.width * self.scene.x.share(x)

    def py(self, y):
        """Pixels from the upper edge of the picture."""
        return self.bottom - self.height * self.scene.y.share(y)


def _pages(scene, box):
    """The page of a scene, and that of the scene beside it, if there is one."""
    width = WIDTH - box.left - box.right
    if not scene.beside:
        return [Page(scene, box.left, box.top, width, box.left)]
    # two plots of equal width; the right one's names stand in the gap between them
    names = frame(scene.beside).left
    width = (width - names) / 2
    left = Page(scene, box.left, box.top, width, box.left)
    return [left, Page(scene.beside, left.right + names, box.top, width, names)]


def _ticks(axis):
    """The (value, text) of an axis: its own, or round numbers."""
    if axis.ticks is not None:
        return axis.ticks
    ticks = []
    for value in round_ticks(axis.low, axis.high):
        # 10,000 needs its comma, 2048 does not
        commas = "," if value >= 10_000 else ""
        ticks.append((value, f"{value:{commas}.10g}"))
    return ticks


def _x_axis(page):
    """Upright grid lines, the texts below them, and the title."""
    drawn = ""
    axis = page.scene.x
    for value, name in _ticks(axis):
        x = page.px(value)
        if not page.scene.square:
            drawn += path("M", x, page.top, "V", page.bottom, stroke=GRID)
        drawn += text_element(x, page.bottom + 15, name, size=11, anchor="middle")
    # The title stands under the middle of its plot, not of the page.
    middle = (page.left + page.right) / 2
    return drawn + text_element(middle, page.bottom + 34, axis.title, anchor="middle")


def _y_axis(page):
    """The texts left of the plot; grid lines if the axis is logarithmic."""
    drawn = ""
    for value, name in _ticks(page.scene.y):
        y = page.py(value)
        if page.scene.y.log:
            drawn += path("M", page.left, y, "H", page.right, stroke=GRID)
        drawn += text_element(page.left - 7, y + 4, name, size=11, anchor="end")
    return drawn


def _y_title(page):
    """The title of the upright axis, turned to run upwards."""
    # the left edge of the room for the names
    x = page.left - page.names + 14
    y = page.top + page.height / 2
    axis = page.scene.y
    title = text_element(x, y, axis.title, anchor="middle")
    turn = f"rotate(-90 {number(x)} {number(y)})"
    return element("g", title, transform=turn)


def _axes(page):
    """What stands around the plot."""
    drawn = ""
    if page.scene.x.shown:
        drawn += _x_axis(page)
    if page.scene.y.shown:
        drawn += _y_axis(page)
    if page.scene.y.title:
        drawn += _y_title(page)
    return drawn


def _legend(page):
    """One sample and name for each layer that asks for it, above the plot."""
    drawn = ""
    x = page.left
    y = page.top - 12
    for layer in page.scene.layers:
        if layer.legend:
            drawn += _legend_sample(layer, x, y) + text_element(x + 30, y + 4, layer.name)
            # room for the sample, the name, and a gap before the next one
            x += 2 * SAMPLE + text_width(layer.name)
    return drawn


def _legend_sample(layer, x, y):
    """What a shape of this layer looks like, from x to x + SAMPLE."""
    sample = layer.legend_sample
    if layer.kind is Box:
        fill = box_fill(layer.style, sample.color)
        return element("rect", x=x, y=y - 5, width=SAMPLE, height=10, **fill)
    if layer.kind is Dot:
        return mark(sample, x + SAMPLE / 2, y)
    if layer.kind is Arrow:
        line = arrow_line((x, y), (x + SAMPLE, y), sample.broken)
        return element("g", line, fill="none", stroke=sample.color, stroke_width=sample.width)
    dashes = dash_array(layer.style)
    return path(
        *("M", x, y, "h", SAMPLE),
        stroke=sample.color,
        stroke_width=2,
        stroke_dasharray=dashes,
    )


def svg(scene):
    """The SVG text of a scene."""
    box = frame(scene)
    pages = _pages(scene, box)
    parts = [
        element("title", escape(scene.title)),
        element("desc", escape(scene.caption)),
        definitions(scene),
    ]
    for i, line in enumerate(box.title):
        parts.append(text_element(EDGE, 24 + TITLE_LINE * i, line, size=TITLE, bold=True))
    # Two plots beside each other share the legend of the left one.
    parts.append(_legend(pages[0]))
    for page in pages:
        parts.append(_axes(page))
        parts += [svg_layer(layer, page) for layer in page.scene.layers]
    # the caption, line by line, at the foot
    below = pages[0].bottom + box.caption_drop
    for i, line in enumerate(box.caption):
        parts.append(text_element(EDGE, below + LINE * i, line))
    return element(
        "svg",
        "".join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {box.height}",
        width=WIDTH,
        height=box.height,
        font_family="system-ui,sans-serif",
        role="img",
        style="max-width:100%",
    )
