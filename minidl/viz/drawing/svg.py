"""How does a Scene become an SVG that shows wherever plotly's code does not run?

    title                       the finding
    legend                      Page turns data coordinates into pixels;
    +--------------------+      <g class="layer name"> <rect/> <path/> ... </g>
    +--------------------+      each shape is drawn by svg_shapes
    caption

Grey text and a transparent background read on white and on black pages. There is no style sheet: it
would leak into the page. Left out: hovering. A picture that GitHub shows cannot react.
"""

import math
from html import escape

from minidl.viz.drawing.frame import LINE, TITLE, WIDTH, frame, text_width
from minidl.viz.drawing.palette import INK, faded
from minidl.viz.drawing.scene import Arrow, Box, Dot
from minidl.viz.drawing.svg_shapes import (
    DRAW,
    arrow_path,
    box_fill,
    dashes,
    hatch_id,
    mark,
    num,
    text,
)
from minidl.viz.drawing.units import round_ticks


class Page:
    """Data coordinates to pixels, and the words around the plot. `of` is the scene that has this one beside it."""

    def __init__(self, scene, of=None):
        self.scene, self.frame = scene, frame(of or scene)
        self.left, self.top = self.frame.left, self.frame.top
        self.wide, self.tall = WIDTH - self.left - self.frame.right, (of or scene).rows
        self.names = self.frame.left  # room for the texts of the upright axis
        if of or scene.beside:
            gap = frame(of.beside if of else scene.beside).left
            self.wide = (self.wide - gap) / 2
        if of:
            self.left, self.names = self.left + self.wide + gap, gap
        if scene.square:  # one step along x is as long as one step along y
            per_unit = min(
                self.wide / abs(scene.x.high - scene.x.low),
                self.tall / abs(scene.y.high - scene.y.low),
            )
            middle = self.left + self.wide / 2
            self.wide = per_unit * abs(scene.x.high - scene.x.low)
            self.left = middle - self.wide / 2

    def px(self, x):
        """Pixels from the left edge."""
        return self.left + self.wide * along(self.scene.x, x)

    def py(self, y):
        """Pixels from the upper edge."""
        return self.top + self.tall * (1 - along(self.scene.y, y))


def along(axis, value):
    """How far along an axis a value lies, from 0 to 1."""
    if axis.log:
        return math.log(value / axis.low) / math.log(axis.high / axis.low)
    return (value - axis.low) / (axis.high - axis.low)


def hatchings(scene):
    """A pattern for each colour that waits."""
    used = sorted(
        {box.color for layer in scene.layers if layer.style == "hatched" for box in layer.shapes}
    )
    used += [INK] if used and INK not in used else []
    return "".join(
        f'<pattern id="{hatch_id(c)}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<path d="M1.5 0V6" stroke="{c}" stroke-width="2"/></pattern>'
        for c in used
    )


def ticks_of(axis):
    """The (value, text) of an axis: its own, or round numbers."""
    return (
        axis.ticks
        if axis.ticks is not None
        else [(v, plain_tick(v)) for v in round_ticks(axis.low, axis.high)]
    )


def axes(page):
    """Ticks, their texts and the titles of both axes; grid lines where an axis measures something."""
    scene, bottom, right, grid = (
        page.scene,
        page.top + page.tall,
        page.left + page.wide,
        faded(INK, 0.25),
    )
    for value, words in ticks_of(scene.x) if scene.x.shown else ():
        x = page.px(value)
        if not scene.square:
            yield f'<path stroke="{grid}" d="M{num(x)} {num(page.top)}V{num(bottom)}"/>'
        yield text(x, bottom + 15, words, size=11, anchor="middle")
    if scene.x.shown:
        yield text((page.left + right) / 2, bottom + 34, scene.x.title, anchor="middle")
    for value, words in ticks_of(scene.y) if scene.y.shown else ():
        y = page.py(value)
        if scene.y.log:
            yield f'<path stroke="{grid}" d="M{num(page.left)} {num(y)}H{num(right)}"/>'
        yield text(page.left - 7, y + 4, words, size=11, anchor="end")
    if scene.y.title:
        x, middle = page.left - page.names + 14, page.top + page.tall / 2
        yield f'<g transform="rotate(-90 {num(x)} {num(middle)})">{text(x, middle, scene.y.title, anchor="middle")}</g>'


def plain_tick(value):
    """A tick's number as it stands: 0.25, 50, 1200."""
    return f"{value:,.10g}" if value >= 10_000 else f"{value:.10g}"


def legend(page):
    """One grey sample and name for each layer that asks for it."""
    x, y = page.left, page.top - 12
    for layer in page.scene.layers:
        if not layer.legend:
            continue
        yield legend_sample(layer, x, y)
        yield text(x + 30, y + 4, layer.name)
        x += 48 + text_width(layer.name)


def legend_sample(layer, x, y):
    """What a shape of this layer looks like, 24 pixels wide; grey where its shapes have the colours of ranks."""
    wide = f"M{num(x)} {num(y)}h24"
    color = layer.sample.color if len({each.color for each in layer.shapes}) <= 1 else INK
    if layer.kind is Box:
        return f'<rect x="{num(x)}" y="{num(y - 5)}" width="24" height="10" {box_fill(layer.style, color)}/>'
    if layer.kind is Dot:
        return mark(layer.sample._replace(color=color, size=min(10, layer.sample.size)), x + 12, y)
    if layer.kind is not Arrow:
        return f'<path stroke="{color}" stroke-width="2"{dashes(layer.style)} d="{wide}"/>'
    if layer.shapes[0].broken:
        return (
            f'<g fill="none" stroke="{color}" stroke-width="1.5"><path stroke-dasharray="4 3" d="{wide}"/>'
            f'<use href="#minidl-cross" x="{num(x + 20)}" y="{num(y)}"/></g>'
        )
    return f'<path fill="none" stroke="{color}" stroke-width="{layer.sample.width:g}" d="{arrow_path(x, y, x + 24, y)}"/>'


def svg(scene):
    """The SVG text of a scene."""
    page = Page(scene)
    box = page.frame
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {box.height}" width="{WIDTH}" height="{box.height}" '
        f'font-family="system-ui,sans-serif" role="img" style="max-width:100%">',
        f"<title>{escape(scene.title)}</title><desc>{escape(scene.caption)}</desc>",
        f'<defs>{hatchings(scene)}<path id="minidl-cross" stroke-width="2" d="M-4 -4L4 4M-4 4L4 -4"/></defs>',
    ]
    parts += [text(8, 24 + 21 * i, line, size=TITLE, bold=True) for i, line in enumerate(box.title)]
    parts += legend(page)
    for part in [page, Page(scene.beside, scene)] if scene.beside else [page]:
        parts += axes(part)
        for layer in part.scene.layers:
            parts += [f'<g class="{escape(layer.name)}">', *DRAW[layer.kind](layer, part), "</g>"]
    below = page.top + page.tall + box.caption_drop
    parts += [text(8, below + LINE * i, line) for i, line in enumerate(box.caption)]
    return "".join([*parts, "</svg>"])
