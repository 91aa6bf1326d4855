"""How do shapes become SVG elements? One rect a box, one path an arrow, one circle a dot.

    Box     <rect/>                 hatched: filled with a pattern named after its colour
    Arrow   <path d="M.. L.. M.."/> the line and the two strokes of its head, in one path
    broken  <path/> <use/>          a dashed line, and a cross at its end

Each function takes a layer and a page, which turns data coordinates into pixels, and yields text.
Left out: axes, title, caption, legend; see svg.
"""

import math
from html import escape
from itertools import groupby

from minidl.viz.drawing.frame import TEXT, text_width
from minidl.viz.drawing.palette import INK, faded, shade
from minidl.viz.drawing.scene import Arrow, Box, Cells, Dot, Label, Path

HEAD = 7  # length of an arrow's head in pixels
DASH = {
    "dashed": "6 4",
    "dotted": "2 3",
    "dashdot": "9 3 2 3",
    "long": "16 4",
    "longdot": "16 3 2 3",
}
SHADES = 12  # steps of a matrix's colour


def num(value):
    """A number with one digit after the point, where it is needed."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "-0" if value <= -0.1 else "0")


def text(x, y, words, color=INK, size=TEXT, anchor="start", bold=False):
    """A text element; one tspan a line, the lines centred around y."""
    lines = words.split("\n")
    start = y - (len(lines) - 1) * size * 0.62
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    weight = ' font-weight="600"' if bold else ""
    parts = [
        escape(line) if i == 0 else f'<tspan x="{num(x)}" dy="1.24em">{escape(line)}</tspan>'
        for i, line in enumerate(lines)
    ]
    return f'<text x="{num(x)}" y="{num(start)}" font-size="{num(size)}" fill="{color}"{place}{weight}>{"".join(parts)}</text>'


def hatch_id(color):
    """The name of a colour's hatching; equal in all pictures of a page, and so is what it names."""
    return f"minidl-hatch-{color.lstrip('#')}"


def box_fill(style, color):
    """The attributes of a box in this style."""
    if style == "hatched":
        return f'fill="url(#{hatch_id(color)})" stroke="{color}"'
    if style == "outline":
        return f'fill="{faded(INK, 0.12)}" stroke="{color}" stroke-width="1.2"'
    return f'fill="{color}"'


def boxes(layer, page):
    """Rectangles, and the labels that fit into them."""
    labels = []
    for color, alike in groupby(layer.shapes, key=lambda box: box.color):
        yield f"<g {box_fill(layer.style, color)}>"
        for box in alike:
            x0, x1 = page.px(box.x0), page.px(box.x1)
            y0, y1 = sorted((page.py(box.y - box.height / 2), page.py(box.y + box.height / 2)))
            yield f'<rect x="{num(x0)}" y="{num(y0)}" width="{num(max(0.3, x1 - x0))}" height="{num(y1 - y0)}"/>'
            if box.label and text_width(box.label, 11) < x1 - x0 - 4 and y1 - y0 > 10:
                labels.append(
                    text((x0 + x1) / 2, (y0 + y1) / 2 + 4, box.label, size=11, anchor="middle")
                )
        yield "</g>"
    yield from labels


def arrow_path(x0, y0, x1, y1):
    """A line and the two strokes of its head."""
    angle, head = math.atan2(y1 - y0, x1 - x0), min(HEAD, 0.7 * math.hypot(x1 - x0, y1 - y0))
    wing = [
        (x1 - head * math.cos(angle + turn), y1 - head * math.sin(angle + turn))
        for turn in (0.42, -0.42)
    ]
    (ax, ay), (bx, by) = wing
    return f"M{num(x0)} {num(y0)}L{num(x1)} {num(y1)}M{num(ax)} {num(ay)}L{num(x1)} {num(y1)}L{num(bx)} {num(by)}"


def arrows(layer, page):
    """One path an arrow; a broken one is a dashed line that ends in a cross."""
    for (color, width), alike in groupby(
        layer.shapes, key=lambda arrow: (arrow.color, arrow.width)
    ):
        yield f'<g fill="none" stroke="{color}" stroke-width="{num(width)}">'
        for arrow in alike:
            ends = page.px(arrow.x0), page.py(arrow.y0), page.px(arrow.x1), page.py(arrow.y1)
            if arrow.broken:
                x0, y0, x1, y1 = map(num, ends)
                yield f'<path stroke-dasharray="4 3" d="M{x0} {y0}L{x1} {y1}"/><use href="#minidl-cross" x="{x1}" y="{y1}"/>'
            else:
                yield f'<path d="{arrow_path(*ends)}"/>'
        yield "</g>"


def dashes(style):
    """The attribute that breaks a line, where the style asks for it."""
    return f' stroke-dasharray="{DASH[style]}"' if style in DASH else ""


def paths(layer, page):
    """One path a line."""
    dash = dashes(layer.style)
    for path in layer.shapes:
        points = "L".join(f"{num(page.px(x))} {num(page.py(y))}" for x, y in zip(path.xs, path.ys))
        yield f'<path fill="none" stroke="{path.color}" stroke-width="{num(path.width)}"{dash} d="M{points}"/>'


def dots(layer, page):
    """One mark a dot."""
    for dot in layer.shapes:
        yield mark(dot, page.px(dot.x), page.py(dot.y))


def mark(dot, x, y):
    """A circle, or the path of another symbol, around (x, y)."""
    r, at = dot.size / 2, f"M{num(x)} {num(y)}"
    if dot.symbol == "circle":
        return f'<circle cx="{num(x)}" cy="{num(y)}" r="{num(r)}" fill="{dot.color}"/>'
    if dot.symbol == "ring":
        return f'<circle cx="{num(x)}" cy="{num(y)}" r="{num(r)}" fill="none" stroke="{dot.color}" stroke-width="2"/>'
    if dot.symbol == "cross":
        d, low = num(2 * r), num(-2 * r)
        return f'<path stroke="{dot.color}" stroke-width="2" d="{at}m{num(-r)} {num(-r)}l{d} {d}m0 {low}l{low} {d}"/>'
    corners = {
        "square": ((-0.9, -0.9), (1.8, 0), (0, 1.8), (-1.8, 0)),
        "diamond": ((0, -1.2), (1.2, 1.2), (-1.2, 1.2), (-1.2, -1.2)),
        "triangle": ((0, -1.2), (1.1, 1.9), (-2.2, 0)),
    }[dot.symbol]
    (dx, dy), *sides = corners
    return (
        f'<path fill="{dot.color}" d="{at}m{num(r * dx)} {num(r * dy)}'
        + "".join(f"l{num(r * a)} {num(r * b)}" for a, b in sides)
        + 'z"/>'
    )


def labels(layer, page):
    """Texts, a little away from their point on the side to which they run."""
    for label in layer.shapes:
        aside = {"start": 3, "middle": 0, "end": -3}[label.anchor]
        yield text(
            page.px(label.x) + aside,
            page.py(label.y) + 0.36 * label.size,
            label.text,
            label.color,
            label.size,
            label.anchor,
        )


def cells(layer, page):
    """One path a shade: cells of nearly the same value are drawn together."""
    for shape in layer.shapes:
        top = max((v for row in shape.values for v in row if v is not None), default=1) or 1
        shades = {}
        for row, values in enumerate(shape.values):
            for column, value in enumerate(values):
                if value is not None:
                    shades.setdefault(round(SHADES * value / top), []).append(
                        (column - 0.5, row - 0.5)
                    )
        wide, tall = abs(page.px(1) - page.px(0)), abs(page.py(1) - page.py(0))
        size = f"h{num(wide - 1)}v{num(tall - 1)}h{num(1 - wide)}z"
        for step, corners in sorted(shades.items()):
            places = "".join(f"M{num(page.px(x))} {num(page.py(y))}{size}" for x, y in corners)
            yield f'<path fill="{shade(step / SHADES, shape.opaque)}" d="{places}"/>'


DRAW = {Box: boxes, Arrow: arrows, Path: paths, Dot: dots, Label: labels, Cells: cells}
